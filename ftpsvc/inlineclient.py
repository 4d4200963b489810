"""Files and listings in MODE I, on the client's side: the data inline, as docs/protocol.md has it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from twisted.internet.defer import Deferred

from ftpsvc import model
from ftpsvc.client import ClientProtocol
from ftpsvc.exchanges import Download, Fetch, Upload
from ftpsvc.frames import format_time, read_their_facts
from ftpsvc.listing import ListedLines, harmless, parse_machine_line
from ftpsvc.model import NO_FACTS, Entry, Facts, Kind, ProtocolViolation, Stored, Whole, encode_name
from ftpsvc.storage import CHUNK, Buffer
from ftpsvc.wire import Command, Reply


class InlineFiles:
    """What a `Remote` does with data, in MODE I. Many at once: everything is pipelined on the one connection."""

    #: What a transfer that ended without an error was checked by.
    checked = "digest"

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol = protocol

    def ask(self, verb: str, argument: str | None = None) -> Deferred[Reply]:
        """Send a command whose answer is a reply."""
        return self._protocol.ask(verb, argument)

    async def set_time(self, path: str, modified: int) -> None:
        """Set a file's time, in nanoseconds since 1970 UTC."""
        await self.ask("MFMT", f"{format_time(modified)} {path}")

    async def stat(self, path: str) -> Entry:
        return machine_entry(await self.ask("MLST", path))[0]

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        download = Download(Command("MLSD", path), self._protocol)
        self._protocol.submit(download)
        try:
            await download.opened()
            lines = ListedLines()
            while chunk := await download.read(CHUNK):
                lines.feed(bytes(chunk))
                while (line := lines.line()) is not None:
                    entry, facts = parse_machine_line(line)
                    if facts.get("type", "").lower() not in ("cdir", "pdir"):
                        yield harmless(entry)
        finally:
            download.close()

    async def open_read(self, path: str, offset: int = 0) -> RemoteReadFile:
        if offset:
            restarted = self.ask("REST", str(offset))
        download = Download(Command("RETR", path), self._protocol)
        self._protocol.submit(download)
        try:
            if offset:
                await restarted
            opened = await download.opened()
        except BaseException:
            download.close()
            raise
        return RemoteReadFile(path, offset, opened, download)

    async def open_write(self, path: str, offset: int = 0) -> RemoteWriteFile:
        if not offset:
            return self._upload("STOR", path)
        # Both at once: a command of somebody else between the two would use the marker up, and STOR begin at 0.
        restarted = self.ask("REST", str(offset))
        file = self._upload("STOR", path)
        try:
            await restarted
        except BaseException:
            await file.abort()
            raise
        return file

    async def open_append(self, path: str) -> RemoteWriteFile:
        return self._upload("APPE", path)

    def _upload(self, verb: str, path: str) -> RemoteWriteFile:
        upload = Upload(Command(verb, path), self._protocol)
        self._protocol.submit(upload)
        return RemoteWriteFile(upload)

    def fetch(self, path: str) -> Deferred[Whole]:
        fetch = Fetch(path, self._protocol)
        self._protocol.submit(fetch)
        return fetch.whole

    async def put(self, path: str, whole: Whole) -> Stored:
        writing = self._upload("STOR", path)
        try:
            if whole.data:
                await writing.write(whole.data)
            return await writing.commit(whole.facts)
        finally:
            await writing.abort()


class RemoteReadFile:
    """A download, as a `ReadFile`. Its entry knows time and mode once all was read: they come with the end."""

    def __init__(self, path: str, offset: int, opened: Reply, download: Download) -> None:
        self._name = path.rpartition("/")[2]
        self._left = _announced_size(opened)  #: None where that isn't known
        self._size = offset + (self._left or 0)
        self._download = download

    @property
    def entry(self) -> Entry:
        facts = self.facts
        return Entry(self._name, Kind.FILE, self._size, facts.modified or 0, facts.mode or 0)

    @property
    def facts(self) -> Facts:
        return read_their_facts(self._download.facts)

    def fileno(self) -> int | None:
        return None

    async def read(self, size: int) -> Buffer:
        chunk = await self._download.read(size)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:  # it may never end
                raise model.Damaged(f"More came than the {self._size} bytes that the server had said there are.")
        return chunk

    async def close(self) -> None:
        self._download.close()


_SIZE = re.compile(r"\(([0-9]{1,19}) bytes\)\s*$")


def _announced_size(reply: Reply) -> int | None:
    """The size of a file as the 150 to RETR announces it, where it does."""
    match = _SIZE.search(reply.text)
    return int(match[1]) if match else None


_STORED = re.compile(r"\b([0-9]{1,19}) bytes, xxh3-128 ([0-9a-f]{32})\b")


class RemoteWriteFile:
    """An upload, as a `WriteFile`."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    async def write(self, chunk: Buffer) -> None:
        await self._upload.write(chunk)

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        try:
            reply, sent = await self._upload.complete(facts)
        except BaseException:
            await self.abort()  # its turn may not have come yet, and when it does, the sequence has to end
            raise
        match = _STORED.search(reply.text)
        if match is None:
            # It may even be the answer to something else, where the server has sent a reply too many.
            raise model.Damaged("The server told no digest of what it stored, so nobody knows if it is what was sent.")
        if match[2] != sent or digest not in (None, sent):
            raise model.Damaged("The data was damaged on its way: the server stored something else than was sent.")
        return Stored(int(match[1]), sent)

    async def abort(self, keep: bool = False) -> None:
        self._upload.stop("the client stopped it")


def machine_entry(reply: Reply) -> tuple[Entry, bool]:
    """The entry in the answer to MLST, and whether it says a size."""
    for line in reply.inner[1:]:
        entry, _ = parse_machine_line(encode_name(line.lstrip(" ")))
        has_size = "size=" in line.lstrip(" ").partition(" ")[0].lower()
        return entry._replace(name=entry.name.rstrip("/").rpartition("/")[2]), has_size
    raise ProtocolViolation("The server's answer to MLST has no entry.")
