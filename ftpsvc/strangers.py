"""Who it is that accepts a connection and says nothing: a web server, or TLS, both of which wait to be spoken to.

An FTP server greets. So what waits is looked at through a second connection, and a person who has mistyped a port hears
of it after a moment, and not after half a minute.
"""

from __future__ import annotations

import contextlib
from typing import Any, TypeVar

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ftpsvc.model import ConnectionFailed, ConnectionRefused, NoSuchHost
from ftpsvc.wire import DEFAULT_PORT

T = TypeVar("T")

#: After how many seconds of silence it is looked who that is. An FTP server that looks its clients up by name may take
#: longer, and isn't disturbed by it.
SILENT = 2.0

#: How long, in seconds, an answer may take.
ANSWER_TIME = 5.0

#: What a web server answers, and what many that expect TLS answer too: with an alert (RFC 8446, section 6).
_QUESTION = b"GET / HTTP/1.0\r\n\r\n"

#: How much of the answer is looked at.
_ENOUGH = 16


async def unless_stranger(greeting: Deferred[T], clock: Any, endpoint: IStreamClientEndpoint | None) -> T:
    """The greeting, when it comes; without an endpoint nobody else is asked.

    Raises `ConnectionFailed`, long before that is given up, if none will come.
    """
    kind = ""

    async def look() -> None:
        nonlocal kind
        await deferLater(clock, SILENT)
        assert endpoint is not None
        kind = await who_waits(clock, endpoint)
        if kind and not greeting.called:
            greeting.cancel()

    if endpoint is None:
        return await greeting
    looking = Deferred.fromCoroutine(look())
    looking.addErrback(lambda _: None)  # cancelled: there was a greeting
    try:
        return await greeting
    except CancelledError:
        if not kind:
            raise
        raise ConnectionFailed(kind) from None
    finally:
        looking.cancel()


async def who_waits(clock: Any, endpoint: IStreamClientEndpoint) -> str:
    """What there is to say of it, or nothing if it can't be told. Never raises."""
    for question in (_QUESTION, _hello()):
        answer = await _answer(clock, endpoint, question)
        if answer.startswith(b"HTTP/"):
            return f"This is a web server, not an FTP server. Check the port: ftpsvc uses {DEFAULT_PORT}."
        if answer[:1] in (b"\x15", b"\x16") and answer[1:2] == b"\x03":
            return "This server speaks TLS from the first byte. Use --implicit, if it is the one that is meant."
    return ""


def _hello() -> bytes:
    """The beginning of TLS. Some servers, Twisted's among them, close at anything else and don't say why."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(4096)


async def _answer(clock: Any, endpoint: IStreamClientEndpoint, question: bytes) -> bytes:
    """The first bytes of an answer; none if there is none. Never raises."""
    asker = _Asker(question)
    try:
        connecting = connectProtocol(endpoint, asker)
        connecting.addTimeout(ANSWER_TIME, clock)
        await connecting
        asker.answered.addTimeout(ANSWER_TIME, clock)
        return await asker.answered
    except Exception:
        return b""  # whatever it is that went wrong, what is said of the first connection stands
    finally:
        asker.close()


def what_answered(excerpt: str) -> str:
    """Who it is that answers in this way, and not as an FTP server does."""
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
    return f"This is no FTP server. {excerpt.rstrip('.')}. Check the port: ftpsvc uses {DEFAULT_PORT}."


class _Asker(Protocol):
    def __init__(self, question: bytes) -> None:
        self._question = question
        self.answered: Deferred[bytes] = Deferred()
        self._answer = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._question)

    def dataReceived(self, data: bytes) -> None:
        self._answer += data[:_ENOUGH]
        if len(self._answer) >= 5:
            self._done()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._done()

    def _done(self) -> None:
        if not self.answered.called:
            self.answered.callback(self._answer)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def why_no_connection(host: str, port: int, cause: Exception, seconds: float) -> ConnectionFailed:
    """Why there is no connection after so many seconds at most, in the words of the person who wanted one."""
    if isinstance(cause, error.DNSLookupError | UnicodeError | ValueError):
        return NoSuchHost(f'There is no host "{host}". Check the spelling.')
    if isinstance(cause, error.ConnectionRefusedError):
        return ConnectionRefused(
            f"{host} answered, but nothing listens on port {port} (connection refused). Is the server running? "
            f"ftpsvc's own port is {DEFAULT_PORT}."
        )
    if isinstance(cause, error.TimeoutError | error.TCPTimedOutError):
        return ConnectionRefused(
            f"{host} did not answer on port {port} for {seconds:g} s. Is it up, and does its firewall let this in?"
        )
    if isinstance(cause, error.NoRouteError):
        return ConnectionRefused(f"There is no way to {host} from here (no route). Check this machine's network.")
    return ConnectionRefused(f"Could not connect to {host}, port {port}: {cause}")
