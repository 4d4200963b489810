"""Files and listings in stream mode, on the client's side: for every server that has no MODE I.

Each transfer has a data connection of its own (`streamtransfer`), and the control connection for itself as long: some
servers answer what is asked in the middle of a transfer before its 226, and replies have no other mark than their
order. So everything takes turns here, and nothing is pipelined.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from ftpsvc import model
from ftpsvc.addresses import extended_passive_port, passive_port
from ftpsvc.client import ClientProtocol
from ftpsvc.clienttls import DataTLS
from ftpsvc.frames import format_time, parse_time
from ftpsvc.inlineclient import machine_entry
from ftpsvc.listing import ListedLines, harmless, parse_machine_line
from ftpsvc.listparser import parse_list_line
from ftpsvc.model import Entry, Facts, Kind, Stored, Whole, parent_and_name
from ftpsvc.storage import CHUNK, SMALL
from ftpsvc.streamtransfer import Dial, StreamReadFile, StreamWriteFile, Transfer
from ftpsvc.wire import Command, Reply, unquoted

#: How long, in seconds, a data connection may take: a server that answers has just said that it listens there.
DATA_CONNECT_TIME = 30.0

#: A server that has no such command, or not in this form.
UNKNOWN = (model.BadCommand, model.BadArgument, model.NotImplementedHere, model.BadParameter)

#: A server that doesn't do something, for whatever reason, and with which one can go on.
REFUSALS = (*UNKNOWN, model.BadSequence, model.Unavailable, model.WrongType, model.Busy, model.NotLoggedIn)

#: A server whose EPSV is of no use: refused, with 522 (RFC 2428, section 3) too, or answered without a port.
NO_EXTENDED = (*REFUSALS, model.NoDataConnection, model.ProtocolViolation)


def dial_peer(reactor: Any, peer: Any) -> Dial | None:
    """A way to data connections with the peer of a control connection; None if that is no TCP."""
    host = getattr(peer, "host", None)
    if host is None:
        return None
    kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint

    def dial(port: int) -> IStreamClientEndpoint:
        return kind(reactor, host, port, DATA_CONNECT_TIME)

    return dial


#: The facts of an entry that something is made of here. A server need not tell all that it could (RFC 3659, 7.9).
_FACTS = ("type", "size", "modify", "unix.mode")


async def ask_for_facts(ask: Callable[[str, str], Deferred[Reply]], features: dict[str, str]) -> None:
    """Have them told by MLSD and MLST, where FEAT shows some that are not."""
    offered = [fact.strip() for fact in features.get("MLST", "").split(";")]
    missing = [fact for fact in offered if fact.lower() in _FACTS]
    if missing:
        told = [fact.removesuffix("*") for fact in offered if fact.endswith("*")]
        with contextlib.suppress(*REFUSALS):
            await ask("OPTS", "MLST " + "".join(f"{fact};" for fact in (*told, *missing)))


class StreamFiles:
    """What a `Remote` does with data, in stream mode and TYPE I."""

    def __init__(
        self,
        protocol: ClientProtocol,
        dial: Dial,
        features: dict[str, str],
        silence: float,
        tls: DataTLS | None = None,
    ) -> None:
        self._protocol = protocol
        self._tls = tls
        self._dial = dial
        self._features = features
        self._silence = silence
        self._turn = DeferredLock()
        self._has_extended = True
        self._sizes_folders: bool | None = None  # None: that was not found out yet
        self._list_options: str | None = "-a"  # without it many servers leave out names that begin with a dot
        self.checked = ""

    # -- commands

    def ask(self, verb: str, argument: str | None = None) -> Deferred[Reply]:
        """Send a command whose answer is a reply, when no transfer is under way."""
        return self._turn.run(self._protocol.ask, verb, argument)

    async def _passive(self) -> int:
        """The port where the server listens for the next data connection."""
        if self._has_extended:
            try:
                return extended_passive_port((await self._protocol.ask("EPSV")).text)
            except NO_EXTENDED:
                self._has_extended = False
        return passive_port((await self._protocol.ask("PASV")).text)

    async def _begin(self, command: Command, offset: int = 0, over: Callable[[], None] | None = None) -> Transfer:
        """Begin a transfer. The caller has the turn, which is given back when it is over, also where it never began."""
        transfer = Transfer(self._protocol, self._silence, over or self._turn.release, self._tls)
        try:
            await self._connect(transfer)
            await transfer.begin(command, offset)
        except BaseException:
            transfer.give_up()
            raise
        return transfer

    async def _connect(self, transfer: Transfer) -> None:
        """Reach the server's port for data; where EPSV's can't be reached, PASV's.

        There are routers that look into the answer to PASV, and let nothing through to a port that they don't know of.
        """
        port = await self._passive()
        try:
            await transfer.connect(self._dial, port)
        except model.NoDataConnection:
            if not self._has_extended:
                raise
            try:
                port = passive_port((await self._protocol.ask("PASV")).text)
            except NO_EXTENDED:
                port = 0
            if not port:
                raise  # what was wrong first
            await transfer.connect(self._dial, port)
            self._has_extended = False

    # -- looking

    async def stat(self, path: str) -> Entry:
        try:
            async with self._turn:
                entry, size = await self._known(path)
                if size is not None and "MLST" not in self._features and await self._is_folder_with_size(path):
                    return Entry(entry.name, Kind.DIRECTORY)
                return entry
        except UNKNOWN as error:
            if "MLST" in self._features:
                raise
            return await self._listed(path, error)

    async def _listed(self, path: str, refusal: model.TransferError) -> Entry:
        """What LIST shows of a file, at a server that doesn't know SIZE."""
        folder, name = parent_and_name(path)
        if not name:
            raise refusal
        async with aclosing(self.list(folder)) as entries:
            async for entry in entries:
                if entry.name == name:
                    return entry
        raise model.NotListed(f"{folder} has no {name} in it.")

    async def _known(self, path: str) -> tuple[Entry, int | None]:
        """An entry, and its size if the server says one."""
        if "MLST" in self._features:
            entry, has_size = machine_entry(await self._protocol.ask("MLST", path))
            return entry, entry.size if has_size and entry.is_file else None
        name = parent_and_name(path)[1]
        try:
            size = number_in((await self._protocol.ask("SIZE", path)).text) if name else None
        except REFUSALS as error:
            try:
                self._go_back(await self._enter(path))  # that works with a directory, and with nothing else
            except REFUSALS:
                raise error from None
            size = None
        if size is None:
            return Entry(name, Kind.DIRECTORY), None
        return Entry(name, Kind.FILE, size, await self._modified(path)), size

    async def _is_folder_with_size(self, path: str) -> bool:
        """Whether what SIZE knows is a folder: Twisted's server tells a size of those too, that of the root as well."""
        if self._sizes_folders is None:
            try:
                await self._protocol.ask("SIZE", "/")
                self._sizes_folders = True
            except REFUSALS:
                self._sizes_folders = False
        if self._sizes_folders:
            with contextlib.suppress(*REFUSALS):
                self._go_back(await self._enter(path))
                return True
        return False

    async def _modified(self, path: str) -> int:
        try:
            return parse_time((await self._protocol.ask("MDTM", path)).text.strip())
        except REFUSALS:
            return 0

    async def _enter(self, path: str) -> str:
        """Make a directory the current one; the one that was that before, for `_go_back`.

        A server that can't tell is left at its root: every other path that is sent begins there.
        """
        try:
            before = unquoted((await self._protocol.ask("PWD")).text)
        except (*REFUSALS, model.ProtocolViolation):
            before = "/"
        try:
            await self._protocol.ask("CWD", path)
        except CancelledError:  # the server goes there all the same
            self._go_back(before)
            raise
        return before

    def _go_back(self, before: str) -> None:
        self._protocol.ask("CWD", before).addErrback(lambda _: None)

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        if "MLST" in self._features:
            async with aclosing(_lines(await self._open_machine_listing(path))) as lines:
                async for line in lines:
                    entry, facts = parse_machine_line(line)
                    if facts.get("type", "").lower() not in ("cdir", "pdir"):
                        yield harmless(entry)
            return
        async with aclosing(self._list_lines(path)) as lines:
            async for line in lines:
                if (found := parse_list_line(line, time.time())) is not None:
                    yield harmless(found)

    async def _list_lines(self, path: str) -> AsyncGenerator[bytes, None]:
        """The lines of LIST, with names that begin with a dot, if the server knows how to be asked for them."""
        options, is_empty = self._list_options, True
        if options is not None:
            try:
                async with aclosing(_lines(await self._open_listing(path, options))) as lines:
                    async for line in lines:
                        is_empty = False
                        yield line
            except REFUSALS:
                if not is_empty:
                    raise
            if not is_empty:
                return
        # There is nothing, or the server has looked for something of the option's name.
        async with aclosing(_lines(await self._open_listing(path, None))) as lines:
            async for line in lines:
                self._list_options = None
                yield line

    async def _open_machine_listing(self, path: str) -> StreamReadFile:
        await self._turn.acquire()
        return StreamReadFile(_NOBODY, None, 0, await self._begin(Command("MLSD", path)))

    async def _open_listing(self, path: str, options: str | None) -> StreamReadFile:
        await self._turn.acquire()
        # Without a path, because servers disagree on what spaces, brackets and a dash at its beginning mean there,
        # and some list what isn't there as if it were empty.
        try:
            before = await self._enter(path)
        except BaseException:
            self._turn.release()
            raise

        def leave() -> None:
            self._go_back(before)
            self._turn.release()

        return StreamReadFile(_NOBODY, None, 0, await self._begin(Command("LIST", options), over=leave))

    # -- files

    async def open_read(self, path: str, offset: int = 0) -> StreamReadFile:
        await self._turn.acquire()
        entry, size = Entry(parent_and_name(path)[1], Kind.FILE), None
        try:
            entry, size = await self._known(path)
            if entry.is_directory:
                raise model.NotAFile(f"{path} is a directory.")
        except REFUSALS as refusal:
            if isinstance(refusal, model.NotAFile):
                self._turn.release()
                raise
            # What RETR says to it counts: a server may let read what it tells nothing of.
        except BaseException:
            self._turn.release()
            raise
        transfer = await self._begin(Command("RETR", path), offset)
        return StreamReadFile(entry, size, offset, transfer, self._was_checked)

    def _was_checked(self, by: str) -> None:
        self.checked = by

    async def open_write(self, path: str, offset: int = 0) -> StreamWriteFile:
        await self._turn.acquire()
        transfer = await self._begin(Command("STOR", path), offset)
        return StreamWriteFile(offset, transfer, lambda size, facts: self._settle(path, size, facts, offset > 0))

    async def open_append(self, path: str) -> StreamWriteFile:
        await self._turn.acquire()
        transfer = await self._begin(Command("APPE", path))
        return StreamWriteFile(0, transfer, lambda _, facts: self._settle(path, None, facts))

    async def _settle(self, path: str, size: int | None, facts: Facts, went_on: bool = False) -> None:
        """What there is to do about an upload behind its 226: compare the size, set the time.

        `went_on`: behind REST it is looked at even where that takes a listing. A server may have ignored it.
        """
        self.checked = ""
        if size is not None and (went_on or "SIZE" in self._features):
            with contextlib.suppress(*REFUSALS):  # a place where one may put files, and not look at them
                has_size = "SIZE" in self._features
                stored = number_in((await self.ask("SIZE", path)).text) if has_size else (await self.stat(path)).size
                if stored != size:
                    raise model.Damaged(f"The server has {stored} bytes of the {size} that were sent, and said 226.")
                self.checked = "size"
        if facts.modified is not None and "MFMT" in self._features:
            with contextlib.suppress(*REFUSALS):
                await self.set_time(path, facts.modified)

    async def set_time(self, path: str, modified: int) -> None:
        """Set a file's time, in whole seconds: RFC 3659, section 2.3, has fractions, and many servers refuse them."""
        await self.ask("MFMT", f"{format_time(modified // model.SECOND * model.SECOND)} {path}")

    async def fetch(self, path: str) -> Whole:
        file = await self.open_read(path)
        data = b""
        try:
            while chunk := await file.read(CHUNK):
                data += chunk
                if len(data) > SMALL:
                    raise model.TooLarge(f"The file has more than {SMALL} bytes.")
            return Whole(data, file.facts)
        finally:
            await file.close()

    async def put(self, path: str, whole: Whole) -> Stored:
        file = await self.open_write(path)
        try:
            if whole.data:
                await file.write(whole.data)
            return await file.commit(whole.facts)
        finally:
            await file.abort()


#: What a listing is the content of.
_NOBODY = Entry("", Kind.OTHER)


#: What vsftpd says of a folder that it may not read, behind a listing without entries, and its like. Names in quotes,
#: which others repeat there, don't count.
_UNREAD = re.compile(
    r"(failed|unable) to (open|read|list)|(can't|cannot|could not) (open|read|list)|permission denied", re.I
)
_QUOTED = re.compile(r'".*"')

#: What Pure-FTPd says behind the first 10,000 entries of a larger folder: it shows no more of any.
_CUT_SHORT = re.compile(r"\btruncated\b", re.I)


async def _lines(file: StreamReadFile) -> AsyncGenerator[bytes, None]:
    """The lines of a listing, which is closed whatever happens.

    Raises `Denied` if a 226 says that there was none, and `Unavailable` if it says that there would be more.
    """
    incoming = ListedLines()
    try:
        while chunk := await file.read(CHUNK):
            incoming.feed(bytes(chunk))
            while (line := incoming.line()) is not None:
                yield line
        if len(incoming):
            yield bytes(incoming.raw(len(incoming)))
        said = _QUOTED.sub("", file.last_word)
        if _UNREAD.search(said):
            raise model.Denied(f"The server could not list the folder: {file.last_word}")
        if _CUT_SHORT.search(said):
            raise model.Unavailable(f"The server lists no more than a part of the folder: {file.last_word}")
    finally:
        await file.close()


def number_in(text: str) -> int:
    """The number that is all of a reply's text. Raises `ProtocolViolation`."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise model.ProtocolViolation(f"A number was asked for, and the server's answer is none: {text[:60]}")
    return int(digits)
