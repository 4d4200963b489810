"""The server's files read and changed without being carried first: cat more tail edit."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import ClassVar

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from ftpsvc import model
from ftpsvc.commands.base import Commands
from ftpsvc.console import Offer, Stopped
from ftpsvc.copying import copy
from ftpsvc.model import NAME_ERRORS, BadArgument, Entry, TransferError
from ftpsvc.output import writing_out
from ftpsvc.places import There
from ftpsvc.pouring import pour
from ftpsvc.progress import Progress
from ftpsvc.storage import CHUNK, Buffer, Storage
from ftpsvc.words import escape, quote

#: How much of a file's end is looked through for its last lines.
END = 64 * 1024

#: How many lines `tail` shows.
TAIL = 10

#: Seconds between two looks at a file that is followed.
FOLLOW_EVERY = 1.0


class Reading(Commands):
    """The commands that read files where they are."""

    heading = "The server's files"
    planning: ClassVar[frozenset[str]] = frozenset(["more", "edit"])

    async def do_cat(self, file: str, *more: str) -> None:
        """cat <file>...

        Show files of the server, whole.

        What would command a terminal is shown as codes; into a pipe the bytes go as they are.

        Example: cat notes.txt
        """
        server, job = self._server, self._job
        found = await self._looked_up(job, "cat", server.matching, (file, *more))
        entries = dict(found)

        async def show(path: str) -> None:
            if entries[path].is_directory:
                raise model.NotAFile(f"{quote(path)} is a folder. Use: list {quote(path)}")
            letters = _letters()
            async with self._lasting(server) as line:
                with self.streaming(path, "-", entries[path].size) as progress:
                    await pour(line, path, entries[path], line, self._counted(progress, letters), self._slowed(line))
                    self._put(b"", letters, is_last=True)

        await self._every(job, "cat", [path for path, _ in found], show, others=len(more))

    async def complete_cat(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)

    async def do_more(self, file: str) -> None:
        """more <file>

        Show a file of the server page by page.

        With the program that $PAGER names, else less. Without a terminal it is cat.

        Example: more notes.txt
        """
        server, job = self._server, self._job
        if self._around.ask is None:
            await self.do_cat(file)
            return
        job.has_terminal = True  # as good as: behind a prompt nobody could use it
        with tempfile.TemporaryDirectory(prefix="ftpsvc-") as folder:
            copied = await self._copied(server, server.path(file), folder)
            await self._around.spawn(f"${{PAGER:-less}} {_shell_quoted(copied)}")

    async def complete_more(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text) if position == 1 else []

    async def do_tail(self, *words: str) -> None:
        """tail [-f] <file>

        Show the last lines of a file of the server.

        -f: go on with what is added to it, until Ctrl-C.

        Example: tail -f log/today
        """
        server = self._server
        letters, files = self._options(words, "f", "tail")
        self._needed(files, 1, "tail")
        if len(files) > 1:
            raise BadArgument(self._misused("tail", ("", *files)))
        path = server.path(files[0])
        entry = await server.entry(path)
        if entry.is_directory:
            raise model.NotAFile(f"{quote(path)} is a folder.")
        start = max(0, entry.size - END)
        end = await _content(server.storage, path, start) if entry.size else b""
        text, is_followed = _letters(), "f" in letters
        self._put(b"".join(end.splitlines(keepends=True)[-TAIL:]), text, not is_followed)
        if is_followed:
            await self._follow(server, path, start + len(end), text)

    async def _follow(self, server: There, path: str, size: int, text: IncrementalDecoder) -> None:
        """Show what is added to a file behind so many bytes, for ever."""
        async with self._lasting(server) as line:
            while True:
                await deferLater(self._reactor, FOLLOW_EVERY)
                now = (await line.through(lambda: server.entry(path))).size
                if now < size:
                    self._write(self._stderr, f"{quote(path)} has become shorter; from its beginning:")
                    size = 0
                if now > size:
                    added = await line.through(functools.partial(_content, line, path, size))
                    self._put(added, text)
                    size += len(added)

    async def complete_tail(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)

    async def do_edit(self, file: str) -> None:
        """edit <file>

        Change a file of the server with an editor of this machine.

        The editor is the program that $VISUAL or $EDITOR names, else vi. The file is stored when the editor has ended,
        if it was changed; never over one that somebody else has changed meanwhile.

        Example: edit notes.txt
        """
        server, job = self._server, self._job
        if self._around.ask is None:
            raise BadArgument("an editor needs a terminal.")
        job.has_terminal = True
        path = server.path(file)
        with tempfile.TemporaryDirectory(prefix="ftpsvc-") as folder:
            # As it was before it was copied: who changes it meanwhile has changed it too.
            entry = await server.entry(path)
            copied = await self._copied(server, path, folder)
            before = copied.read_bytes()
            status = await self._around.spawn(f"${{VISUAL:-${{EDITOR:-vi}}}} {_shell_quoted(copied)}")
            if status:
                raise model.LocalFault(f"the editor ended with {status}. {quote(path)} is as it was.")
            if not copied.exists():
                raise model.LocalFault(f"the editor has left no file. {quote(path)} is as it was.")
            after = copied.read_bytes()
            if after == before:
                self.note(f"{quote(path)} is as it was.")
                return
            try:
                async with self._lasting(server) as line:
                    await line.through(lambda: _put_back(line, path, entry, after))
            except (TransferError, CancelledError) as error:
                # A person's work is not lost because a line is: it may well have broken while they were typing.
                kept = _kept(after, copied.name, self._here.folder, self._here.home, tempfile.gettempdir())
                if isinstance(error, CancelledError):
                    raise Stopped(f"stopped. Yours is {quote(kept)}.") from error
                raise model.Aborted(f"{error} Yours is {quote(kept)}.") from error
        self.note(f"stored {quote(path)}")

    async def complete_edit(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text) if position == 1 else []

    # -- bytes

    @contextlib.contextmanager
    def streaming(self, source: str, target: str, size: int = 0) -> Iterator[Progress]:
        """While the bytes of a file are shown."""
        yield Progress(size, self._reactor.seconds)

    def _counted(self, progress: Progress, letters: IncrementalDecoder) -> Callable[[Buffer], None]:
        def put(data: Buffer) -> None:
            self._put(data, letters)
            progress.advance(len(data))

        return put

    async def _copied(self, server: There, path: str, folder: str) -> Path:
        """A copy of a file of the server, in a folder of this machine that is for it alone."""
        if (await server.entry(path)).is_directory:
            raise model.NotAFile(f"{quote(path)} is a folder.")
        copied = Path(folder) / path.rpartition("/")[2]
        async with self._lasting(server) as line:
            await line.through(lambda: copy(line, path, self._here.storage, str(copied)))
        copied.chmod(0o600)  # it has the mode of the one there, by which perhaps nobody may read it here
        return copied

    def _put(self, data: Buffer, letters: IncrementalDecoder, is_last: bool = False) -> None:
        """A file's bytes, as they are or, on a terminal, as they can be shown."""
        raw = getattr(self.stdout, "buffer", None)
        if self._around.columns is None and raw is not None:
            rest = memoryview(data)
            with writing_out():
                while rest:
                    rest = rest[raw.write(rest) :]  # with PYTHONUNBUFFERED it may take a part of it
                raw.flush()
            return
        text = letters.decode(bytes(data), is_last)
        with writing_out():
            self.stdout.write("".join(letter if letter in "\n\t" else escape(letter) for letter in text))
            self.stdout.flush()


def _letters() -> IncrementalDecoder:
    """Makes letters of a file's bytes, also of those that come one half now and the other later."""
    return getincrementaldecoder("utf-8")(NAME_ERRORS)


async def _put_back(server: Storage, path: str, before: Entry, data: bytes) -> None:
    """Store what was edited. Raises `Aborted` if the file isn't as it was, unless an attempt has stored just that."""
    now = await server.stat(path)
    if (now.size, now.modified) != (before.size, before.modified):
        if now.size == len(data) and await _content(server, path) == data:
            return
        raise model.Aborted(f"somebody else has changed {quote(path)} meanwhile.")
    writing = await server.open_write(path)
    try:
        await writing.write(data)
        await writing.commit()
    finally:
        await writing.abort()


def _kept(data: bytes, name: str, *folders: str) -> str:
    """The file that has these bytes now, in the first of the folders that takes it. It is a new one.

    Raises `LocalFault` if there is none.
    """
    for folder in folders:
        for kept in (f"{folder}/{name}.edited", f"{folder}/edited-{token_hex(4)}"):
            try:
                with open(kept, "xb", opener=functools.partial(os.open, mode=0o600)) as file:
                    file.write(data)
            except OSError:
                continue
            return kept
    raise model.LocalFault("what was edited could not be stored, and can't be kept here either.")


async def _content(storage: Storage, path: str, offset: int = 0) -> bytes:
    """A file's bytes from there on."""
    data = b""
    file = await storage.open_read(path, offset)
    try:
        while chunk := await file.read(CHUNK):
            data += chunk
    finally:
        await file.close()
    return data


def _shell_quoted(path: str | os.PathLike[str]) -> str:
    return "'" + os.fspath(path).replace("'", "'\\''") + "'"
