"""The far side of a connection, seen as a `Storage`; with connecting, logging in and leaving."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from twisted.internet import defer, endpoints, error
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from ftpsvc import model, strangers
from ftpsvc.addresses import host_of
from ftpsvc.client import SILENCE, ClientProtocol
from ftpsvc.clienttls import ClientTLS, DataTLS, Protection
from ftpsvc.digestclient import RemoteDigests
from ftpsvc.frames import format_facts
from ftpsvc.inlineclient import InlineFiles
from ftpsvc.listing import parse_machine_line
from ftpsvc.model import ConnectionFailed, Entry, Facts, ProtocolViolation, Stored, TransferError, Whole, encode_name
from ftpsvc.storage import ReadFile, Times, WriteFile
from ftpsvc.streamclient import REFUSALS, StreamFiles, ask_for_facts, dial_peer, number_in
from ftpsvc.streamtransfer import Dial
from ftpsvc.threads import done_with
from ftpsvc.wire import DEFAULT_PORT, Reply, features_of, unquoted

#: How long, in seconds, a server may take to accept a connection, and then to greet.
CONNECT_TIME = 30.0

#: How servers refuse TLS.
NO_TLS = (*REFUSALS, model.RefusedByPolicy, model.UnsupportedProtection, model.NotProtected)


class Remote:
    """A server, as one logged-in client sees it. Make one with `Remote.connect`, then `login`.

    All methods may be called at any time, many at once: the commands are pipelined on the one connection and answered
    in order. A download that was begun and isn't read holds up what was asked behind it. Without MODE I nothing is
    pipelined: a transfer has the connection for itself until it is closed.
    """

    #: Set to False before the login, it never uses MODE I.
    may_be_inline = True

    def __init__(self, protocol: ClientProtocol, dial: Dial | None = None, tls: ClientTLS | None = None) -> None:
        """`dial` is for servers without MODE I: it gives the endpoint of a data connection for a port."""
        self._protocol = protocol
        self._tls = tls
        self._dial = dial
        self._files: InlineFiles | StreamFiles = InlineFiles(protocol)
        self.features: dict[str, str] = {}
        self.user = ""
        self._learning: Deferred[None] | None = None
        self._digests = RemoteDigests(lambda verb, argument: self._ask(verb, argument), self.features)

    # -- coming and going

    @classmethod
    async def connect(
        cls,
        reactor: Any,
        host: str,
        port: int = DEFAULT_PORT,
        silence: float = SILENCE,
        tls: ClientTLS | None = None,
    ) -> Remote:
        """Connect, and wait for the greeting. In clear, unless there is a `tls`, which says too whom to trust.

        Raises `ConnectionFailed`, which says what to do; its subclass `UnknownServer` asks for a decision.
        """
        try:
            # A HostnameEndpoint forgets the interface that a link-local address is reached through.
            kind = endpoints.TCP6ClientEndpoint if "%" in host else endpoints.HostnameEndpoint
            endpoint = kind(reactor, host, port, CONNECT_TIME)
            return await cls.connect_endpoint(reactor, endpoint, silence, tls)
        except (TransferError, CancelledError):
            raise
        except Exception as cause:
            raise strangers.why_no_connection(host, port, cause, CONNECT_TIME) from cause

    @classmethod
    async def connect_endpoint(
        cls,
        reactor: Any,
        endpoint: IStreamClientEndpoint | str,
        silence: float = SILENCE,
        tls: ClientTLS | None = None,
    ) -> Remote:
        """The same for any endpoint, or its description (`unix:/run/ftpsvc.sock`). Raises what the endpoint raises."""
        way: Any = endpoints.clientFromString(reactor, endpoint) if isinstance(endpoint, str) else endpoint
        plain: IStreamClientEndpoint | None = way
        protocol = ClientProtocol(reactor, silence)
        secured = None
        if tls is not None:
            tls.check_choice()
            if tls.protection is Protection.IMPLICIT:
                secured = protocol.expect_tls()
                way, plain = endpoints.wrapClientTLS(tls, way), None
        await endpoints.connectProtocol(way, protocol)
        remote = cls(protocol, dial_peer(reactor, protocol.transport.getPeer()), tls)
        try:
            if secured is not None:
                await remote._proven(secured)
            await remote._greeted(reactor, plain)
        except BaseException:
            protocol.close()
            raise
        return remote

    async def _greeted(self, clock: Any, endpoint: IStreamClientEndpoint | None) -> None:
        greeting = self._protocol.greeting.finished
        greeting.addTimeout(CONNECT_TIME, clock)
        try:
            answer = await strangers.unless_stranger(greeting, clock, endpoint)
        except ProtocolViolation as violation:
            raise ConnectionFailed(strangers.what_answered(str(violation))) from violation
        except (defer.TimeoutError, error.TimeoutError) as cause:
            raise ConnectionFailed(
                f"It accepted the connection and said nothing for {CONNECT_TIME:g} s. An FTP server greets at once; "
                "a web server waits to be asked. Check the port."
            ) from cause
        if "SMTP" in answer.text:
            raise ConnectionFailed(strangers.what_answered(f"{answer.code} {answer.text}"))
        self._learn_features()
        if self._tls is not None and not self.is_protected:
            await self._protect(self._tls)

    async def _protect(self, tls: ClientTLS) -> None:
        """Have TLS, if it is wanted and offered. Raises `ConnectionFailed` if it has to be and can't."""
        here = is_here(self._protocol.transport.getPeer())
        if not tls.is_to_be_tried(None, here):
            return
        # AUTH goes behind FEAT at once where it is sent whatever FEAT says: that saves a round trip.
        if not tls.is_to_be_tried(False, here):
            await self._learned()
            if not tls.is_to_be_tried(self.offers_tls if self.features else None, here):
                return
        try:
            await self._proven(self._protocol.secure(tls))
        except NO_TLS as refusal:
            tls.refused(refusal, self.offers_tls if self.features else None)
        else:
            self.features.clear()  # anybody may have written what was said in clear
            self._learn_features()

    async def _proven(self, secured: Deferred[Reply]) -> None:
        """TLS, with the server that is meant. Raises `ConnectionFailed`."""
        assert self._tls is not None
        try:
            await secured
            self._tls.verify()
        except BaseException:
            self._protocol.greeting.finished.addErrback(lambda _: None)  # nobody will wait for it
            raise

    def _learn_features(self) -> None:
        """Ask for them, and go on meanwhile: `_learned` waits for the answer."""
        self._learning = Deferred.fromCoroutine(self._ask_features())
        self._learning.addErrback(lambda _: None)  # what is asked next fails with the same

    async def _learned(self) -> None:
        if self._learning is not None:
            await done_with(self._learning)

    async def _ask_features(self) -> None:
        with contextlib.suppress(model.BadCommand, model.NotImplementedHere, model.NotLoggedIn):
            self.features.update(features_of(await self._ask("FEAT")))

    async def login(self, user: str = "anonymous", password: str = "ftpsvc@") -> None:
        """Log in and set the session up. Raises `NotLoggedIn`."""
        self.user = user
        name = self._ask("USER", user)
        secret = self._ask("PASS", password)
        try:
            is_in_already = (await name).code in (230, 232)
        except BaseException:
            secret.addErrback(lambda _: None)
            raise
        if is_in_already:
            secret.addErrback(lambda _: None)
        else:
            await secret
        await self._learned()
        if not self.features:
            await self._ask_features()  # some tell it only to those who are logged in
        if "MODE I" in self.features and self.may_be_inline:
            # What is asked next goes right behind it, for there is nothing to be decided by the answer.
            self._ask("MODE", "I").addErrback(self._broken_promise)
            return
        if self._dial is None:
            raise model.NotImplementedHere("This server has no MODE I (see FEAT), and there is no way to it for more.")
        if "UTF8" in self.features:
            with contextlib.suppress(*REFUSALS):  # to most it is a matter of course
                await self._ask("OPTS", "UTF8 ON")
        await ask_for_facts(self._ask, self.features)
        try:
            await self._ask("TYPE", "I")
        except REFUSALS as refusal:
            raise model.NotImplementedHere(f"The server sends no file byte by byte (TYPE I): {refusal}") from refusal
        data = await self._protect_data(self._tls) if self._tls is not None and self.is_protected else None
        self._files = StreamFiles(self._protocol, self._dial, self.features, self._protocol.silence, data)

    def _broken_promise(self, failure: Failure) -> None:
        """FEAT has MODE I, and the server refuses it: nobody knows what it makes of all that was sent behind that."""
        why = failure.value
        if not isinstance(why, model.ServiceClosing):  # which is no word about MODE I
            why = ProtocolViolation(f"The server offers MODE I and has none: {failure.getErrorMessage()}")
        self._protocol.give_up(why)

    async def _protect_data(self, tls: ClientTLS) -> DataTLS:
        """Have TLS on data connections too (RFC 4217, section 9). Raises `Unprotected` if the server won't."""
        try:
            await self._ask("PBSZ", "0")
            await self._ask("PROT", "P")
        except NO_TLS as refusal:
            raise model.Unprotected(
                f"The server has no TLS for its data connections ({refusal}), and files in clear were not asked for."
            ) from refusal
        return tls.data

    async def quit(self) -> None:
        """Say good-bye once everything that was asked is answered, and close."""
        try:
            await self._ask("QUIT")
        except ConnectionFailed:
            pass
        finally:
            self._protocol.close()

    def leave(self) -> None:
        """Say good-bye, and don't wait for the answer. For when nothing is under way that has not been confirmed."""
        self._ask("QUIT").addErrback(lambda _: None)
        self._protocol.close()

    def close(self) -> None:
        """Close at once; whatever is under way fails."""
        self._protocol.close()

    @property
    def is_protected(self) -> bool:
        """Whether there is TLS."""
        return self._protocol.is_secure

    @property
    def offers_tls(self) -> bool:
        """Whether the server says that it has TLS."""
        return any(name.startswith("AUTH") and "TLS" in name for name in self.features)

    @property
    def lost(self) -> ConnectionFailed | None:
        """Why the connection is no more, or is about to be no more; None while it stands."""
        return self._protocol.lost or self._protocol.falling

    # -- looking

    async def change_directory(self, path: str) -> str:
        """Make `path` the current folder, and return where that is."""
        await self._ask("CWD", path)
        return await self.working_directory()

    async def working_directory(self) -> str:
        return unquoted((await self._ask("PWD")).text)

    async def stat(self, path: str) -> Entry:
        return await self._files.stat(path)

    def list(self, path: str) -> AsyncGenerator[Entry, None]:
        return self._files.list(path)

    # -- files

    @property
    def checked(self) -> str:
        """What the last transfer that went well was checked by at both ends: `digest`, `size`, or nothing."""
        return self._files.checked

    @property
    def is_inline(self) -> bool:
        """Whether the server has MODE I, and with it what that promises of uploads that fail."""
        return isinstance(self._files, InlineFiles)

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        return await self._files.open_read(path, offset)

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> WriteFile:
        if not replace:
            raise model.NotImplementedHere(f"{path}: no command of FTP stores a file only where there is none.")
        return await self._files.open_write(path, offset)

    def announce(self, path: str, facts: Facts) -> None:
        """Let a server that wants to know it early hear of an upload's facts: SITE FACTS, sent ahead of the STOR."""
        if self.is_inline and "SITE FACTS" in self.features:
            self._ask("SITE", f"FACTS {format_facts(facts)} {path}").addErrback(
                lambda _: None
            )  # it was only to save some work

    async def open_append(self, path: str) -> WriteFile:
        return await self._files.open_append(path)

    def fetch(self, path: str) -> Awaitable[Whole]:
        return self._files.fetch(path)

    async def put(self, path: str, whole: Whole) -> Stored:
        return await self._files.put(path, whole)

    @property
    def times(self) -> Times:
        """LIST shows minutes, or days; without MFMT an upload has the time at which it was sent."""
        return Times("MLST" in self.features, self.is_inline or "MFMT" in self.features, self.is_inline)

    # -- digests, of what stays where it is

    @property
    def algorithms(self) -> tuple[str, ...]:
        return self._digests.algorithms

    async def digest(self, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
        return await self._digests.digest(path, algorithm, first, end, of_part)

    async def kept(self, path: str) -> int:
        return await self._digests.kept(path)

    @property
    def hashes(self) -> tuple[str, ...]:
        """The digests that the server computes of whole files."""
        return self._digests.offered

    async def hash(self, path: str, algorithm: str) -> str:
        """A file's digest, in hexadecimal, computed by the server. Raises `BadParameter`."""
        return await self._digests.hash(path, algorithm)

    # -- changing

    async def make_dir(self, path: str) -> None:
        await self._ask("MKD", path)

    async def remove(self, path: str) -> None:
        await self._ask("DELE", path)

    async def remove_dir(self, path: str) -> None:
        await self._ask("RMD", path)

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        if not replace:
            raise model.NotImplementedHere(f"{target}: no command of FTP renames only to where there is nothing.")
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
            await self._files.set_time(path, facts.modified)
        if facts.mode is not None:
            await self._ask("SITE", f"CHMOD {facts.mode:03o} {path}")

    async def space(self, path: str) -> int:
        return number_in((await self._ask("AVBL", path)).text)

    async def permissions(self, path: str) -> str | None:
        """What this account may do with it, in the letters of RFC 3659, section 7.5.5; None if that isn't told."""
        if "MLST" not in self.features:
            return None
        with contextlib.suppress(*REFUSALS):
            for line in (await self._ask("MLST", path)).inner[1:]:
                return parse_machine_line(encode_name(line.lstrip(" ")))[1].get("perm")
        return None

    # -- commands

    async def command(self, verb: str, argument: str | None = None) -> Reply:
        """Send a command as it is, and return the reply. Raises what a refusal means.

        Not for commands that move data, log in, or change how data is moved: the client would not know of it.
        """
        self._digests.forget()
        return await self._ask(verb, argument)

    def _ask(self, verb: str, argument: str | None = None) -> Deferred[Reply]:
        return self._files.ask(verb, argument)


def is_here(peer: object) -> bool:
    """Whether the other end of a connection is on this machine."""
    if isinstance(peer, UNIXAddress):
        return True
    address = host_of(getattr(peer, "host", ""))
    return address is not None and address.is_loopback
