"""The far side of a connection, seen as a `Storage`; with connecting, logging in and leaving."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

from twisted.internet import defer, error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString, connectProtocol
from twisted.internet.interfaces import IStreamClientEndpoint

from ftpsvc import model
from ftpsvc.client import SILENCE, ClientProtocol
from ftpsvc.exchanges import Download, Fetch, Upload, announced_size
from ftpsvc.frames import Incoming, format_time, read_facts
from ftpsvc.listing import parse_machine_line
from ftpsvc.model import (
    NO_FACTS,
    ConnectionFailed,
    Entry,
    Facts,
    Kind,
    ProtocolViolation,
    Stored,
    TransferError,
    Whole,
    encode_name,
)
from ftpsvc.storage import CHUNK, Buffer
from ftpsvc.wire import DEFAULT_PORT, Command, Reply, unquoted

#: How long, in seconds, a server may take to accept a connection, and then to greet.
CONNECT_TIME = 30.0


class Remote:
    """A server, as one logged-in client sees it. Make one with `Remote.connect`, then `login`.

    All methods may be called at any time, many at once: the commands are pipelined on the one connection and answered
    in order. A download that was begun and isn't read holds up what was asked behind it.
    """

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol = protocol
        self.features: dict[str, str] = {}

    # -- coming and going

    @classmethod
    async def connect(cls, reactor: Any, host: str, port: int = DEFAULT_PORT, silence: float = SILENCE) -> Remote:
        """Connect, and wait for the greeting. Raises `ConnectionFailed`, which says what to do."""
        try:
            endpoint = HostnameEndpoint(reactor, host, port, CONNECT_TIME)
            return await cls.connect_endpoint(reactor, endpoint, silence)
        except (TransferError, CancelledError):
            raise
        except Exception as cause:
            raise _connection_failed(host, port, cause) from cause

    @classmethod
    async def connect_endpoint(
        cls, reactor: Any, endpoint: IStreamClientEndpoint | str, silence: float = SILENCE
    ) -> Remote:
        """The same for any endpoint, or its description (`unix:/run/ftpsvc.sock`). Raises what the endpoint raises."""
        if isinstance(endpoint, str):
            endpoint = clientFromString(reactor, endpoint)
        protocol = ClientProtocol(reactor, silence)
        await connectProtocol(endpoint, protocol)
        remote = cls(protocol)
        try:
            await remote._greeted(reactor)
        except BaseException:
            protocol.close()
            raise
        return remote

    async def _greeted(self, clock: Any) -> None:
        greeting = self._protocol.greeting.finished
        greeting.addTimeout(CONNECT_TIME, clock)
        try:
            answer = await greeting
        except ProtocolViolation as violation:
            raise ConnectionFailed(_what_answered(str(violation))) from violation
        except (defer.TimeoutError, error.TimeoutError) as cause:
            raise ConnectionFailed(
                f"It accepted the connection and said nothing for {CONNECT_TIME:g} s. An FTP server greets at once; "
                "a web server waits to be asked. Check the port."
            ) from cause
        if "SMTP" in answer.text:
            raise ConnectionFailed(_what_answered(f"{answer.code} {answer.text}"))
        try:
            self.features = _features(await self._ask("FEAT"))
        except (model.BadCommand, model.NotImplementedHere, model.NotLoggedIn):
            pass  # an old server: it has no extensions to tell of

    async def login(self, user: str = "anonymous", password: str = "ftpsvc@") -> None:
        """Log in and set the session up. Raises `NotLoggedIn`."""
        name = self._ask("USER", user)
        secret = self._ask("PASS", password)
        try:
            is_in_already = (await name).code == 230
        except BaseException:
            secret.addErrback(lambda _: None)
            raise
        if is_in_already:
            secret.addErrback(lambda _: None)
        else:
            await secret
        if "MODE I" not in self.features:
            raise model.NotImplementedHere("This server does not offer MODE I (see FEAT), and this client needs it.")
        await self._ask("MODE", "I")

    async def quit(self) -> None:
        """Say good-bye once everything that was asked is answered, and close."""
        try:
            await self._ask("QUIT")
        except ConnectionFailed:
            pass
        finally:
            self._protocol.close()

    def close(self) -> None:
        """Close at once; whatever is under way fails."""
        self._protocol.close()

    @property
    def lost(self) -> ConnectionFailed | None:
        """Why the connection is no more, or None while it stands."""
        return self._protocol.lost

    # -- looking

    async def change_directory(self, path: str) -> str:
        """Make `path` the current folder, and return where that is."""
        await self._ask("CWD", path)
        return await self.working_directory()

    async def working_directory(self) -> str:
        return unquoted((await self._ask("PWD")).text)

    async def stat(self, path: str) -> Entry:
        reply = await self._ask("MLST", path)
        for line in reply.inner[1:]:
            entry, _ = parse_machine_line(encode_name(line.lstrip(" ")))
            return entry._replace(name=entry.name.rstrip("/").rpartition("/")[2])
        raise ProtocolViolation("The server's answer to MLST has no entry.")

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        download = Download(Command("MLSD", path), self._protocol)
        self._protocol.submit(download)
        try:
            await download.opened()
            lines = Incoming()
            while chunk := await download.read(CHUNK):
                lines.feed(bytes(chunk))
                while (line := lines.line()) is not None:
                    entry, facts = parse_machine_line(line)
                    if facts.get("type", "").lower() not in ("cdir", "pdir"):
                        yield _harmless(entry)
        finally:
            download.close()

    # -- files

    async def open_read(self, path: str, offset: int = 0) -> RemoteReadFile:
        if offset:
            restarted = self._ask("REST", str(offset))
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
        restarted = self._ask("REST", str(offset))
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

    # -- changing

    async def make_dir(self, path: str) -> None:
        await self._ask("MKD", path)

    async def remove(self, path: str) -> None:
        await self._ask("DELE", path)

    async def remove_dir(self, path: str) -> None:
        await self._ask("RMD", path)

    async def rename(self, source: str, target: str) -> None:
        first = self._ask("RNFR", source)
        second = self._ask("RNTO", target)
        try:
            await first
        except BaseException:
            second.addErrback(lambda _: None)
            raise
        await second

    async def set_facts(self, path: str, facts: Facts) -> None:
        if facts.modified is not None:
            await self._ask("MFMT", f"{format_time(facts.modified)} {path}")
        if facts.mode is not None:
            await self._ask("SITE", f"CHMOD {facts.mode:03o} {path}")

    async def space(self, path: str) -> int:
        return int((await self._ask("AVBL", path)).text)

    # -- commands

    def _ask(self, verb: str, argument: str | None = None) -> Deferred[Reply]:
        return self._protocol.ask(verb, argument)


class RemoteReadFile:
    """A download, as a `ReadFile`. Its entry knows time and mode once all was read: they come with the end."""

    def __init__(self, path: str, offset: int, opened: Reply, download: Download) -> None:
        self._name = path.rpartition("/")[2]
        self._size = offset + (announced_size(opened) or 0)
        self._download = download

    @property
    def entry(self) -> Entry:
        facts = self.facts
        return Entry(self._name, Kind.FILE, self._size, facts.modified or 0, facts.mode or 0)

    @property
    def facts(self) -> Facts:
        return read_facts(self._download.facts)

    def fileno(self) -> int | None:
        return None

    async def read(self, size: int) -> Buffer:
        return await self._download.read(size)

    async def close(self) -> None:
        self._download.close()


_STORED = re.compile(r"\b([0-9]{1,19}) bytes, xxh3-128 ([0-9a-f]{32})\b")


class RemoteWriteFile:
    """An upload, as a `WriteFile`."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._size = 0
        self._is_over = False

    async def write(self, chunk: Buffer) -> None:
        await self._upload.write(chunk)
        self._size += len(chunk)

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        self._is_over = True
        reply, sent = await self._upload.complete(facts)
        match = _STORED.search(reply.text)
        if (match and match[2] != sent) or digest not in (None, sent):
            raise model.Damaged("The data was damaged on its way: the server stored something else than was sent.")
        return Stored(int(match[1]) if match else self._size, sent)

    async def abort(self, keep: bool = False) -> None:
        if not self._is_over:
            self._is_over = True
            self._upload.stop("the client stopped it")


def _harmless(entry: Entry) -> Entry:
    """An entry whose name is a name. A server that sends `../x` or `/etc` must not reach outside of a folder here."""
    if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
        raise ProtocolViolation(f"The server sent {entry.name!r} as the name of an entry.")
    return entry


def _features(reply: Reply) -> dict[str, str]:
    """What FEAT lists: `MODE I` and the like as they are, and each first word with what stands behind it."""
    features: dict[str, str] = {}
    for line in reply.inner[1:]:
        feature = line.strip().upper()
        features[feature] = ""
        word, _, rest = line.strip().partition(" ")
        features.setdefault(word.upper(), rest)
    return features


def _what_answered(excerpt: str) -> str:
    for sign, kind in (
        ("SSH-", "an SSH"),
        ("HTTP/", "a web"),
        ("+OK", "a POP3"),
        ("* OK", "an IMAP"),
        ("RFB ", "a VNC"),
        ("SMTP", "a mail"),
    ):
        if sign in excerpt:
            return f"This is {kind} server, not an FTP server ({excerpt}). Check the port: ftpsvc uses {DEFAULT_PORT}."
    return f"This is no FTP server. {excerpt}. Check the port: ftpsvc uses {DEFAULT_PORT}."


def _connection_failed(host: str, port: int, cause: Exception) -> ConnectionFailed:
    """Why there is no connection, in the words of the person who wanted one."""
    if isinstance(cause, error.DNSLookupError | UnicodeError | ValueError):
        return ConnectionFailed(f'There is no host "{host}". Check the spelling.')
    if isinstance(cause, error.ConnectionRefusedError):
        return ConnectionFailed(
            f"{host} answered, but nothing listens on port {port} (connection refused). Is the server running? "
            f"ftpsvc's own port is {DEFAULT_PORT}."
        )
    if isinstance(cause, error.TimeoutError | error.TCPTimedOutError):
        return ConnectionFailed(
            f"{host} did not answer on port {port} for {CONNECT_TIME:g} s. Is it up, and does its firewall let this in?"
        )
    if isinstance(cause, error.NoRouteError):
        return ConnectionFailed(f"There is no way to {host} from here (no route). Check this machine's network.")
    return ConnectionFailed(f"Could not connect to {host}, port {port}: {cause}")
