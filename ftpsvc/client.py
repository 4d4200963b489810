"""The client's protocol: commands out, replies in, matched in order.

Any number of commands may be under way at once. Each is an `Exchange`; the one at the head of the queue has the floor.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ftpsvc.exchanges import Ask, Download, Exchange, Fetch, Upload
from ftpsvc.frames import THEIRS, Incoming
from ftpsvc.limits import FAREWELL_LIMIT
from ftpsvc.linethenraw import LineThenRaw, why_no_tls
from ftpsvc.model import ConnectionFailed, NoTLS, ProtocolViolation, ServiceClosing, TimedOut, TransferError
from ftpsvc.wire import Command, Reply, ReplyReader, error_for, format_command

#: How long the server may be silent, in seconds, while something is expected of it. Generous, because the answer to an
#: upload comes after its bytes are on a disk that may be slow.
SILENCE = 120.0


#: What OpenSSL says of bytes that are no TLS.
_IN_CLEAR = "wrong version number"

#: The server ends the session, which is no fault of what it answers so. That may be tried again.
STOPPING = 421


class Handshake(Ask):
    """AUTH TLS, or no command where TLS begins with the first byte. It has the floor until TLS stands."""

    __slots__ = ("_reply", "_tls")

    def __init__(self, command: Command | None, protocol: ClientProtocol, tls: Any) -> None:
        super().__init__(command, protocol)
        self._tls = tls
        self._reply = Reply(234, "")

    def said_of(self, reason: str) -> str:
        """Why there is no TLS, and what may help."""
        if self.command is None and reason == _IN_CLEAR:
            return "the answer is in clear. Without --implicit (in a URL: ftpes:// for ftps://) TLS is asked for first."
        return f"{reason}. TLS 1.2 and 1.3 are spoken, and nothing older."

    def advance(self, incoming: Incoming, replies: ReplyReader) -> bool:
        """Raises `ProtocolViolation` for what stands behind the 234 in clear: it was put there for a reason.

        Taken for an answer of the protected server's, it would be one that somebody in between has made up (RFC 4217,
        section 15; the attack is known from CVE-2011-0411).
        """
        line = incoming.line()
        if line is None:
            return False
        reply = replies.line(line)
        if reply is None:
            return True
        if reply.is_refusal:
            self.is_over = True
            self.ended(reply)
        elif reply.code != 234:
            raise ProtocolViolation(f"The server's answer to AUTH TLS is neither yes nor no: {reply.code}.")
        elif len(incoming):
            raise ProtocolViolation(
                "Behind the server's answer to AUTH TLS came more, in clear: somebody may stand between. Not logged in."
            )
        else:
            self._reply = reply
            self._protocol.start_tls(self._tls)
        return True

    def stands(self) -> None:
        """TLS stands."""
        self.is_over = True
        self.ended(self._reply)


class ClientProtocol(LineThenRaw):
    """The client's end of a control connection."""

    #: Small enough that a tree's files are still in the processor's cache when they are written, and large enough that
    #: a large file is no slower for it: 1.2 s for a GiB, against 1.4 with 256 KiB, and 1.6 with a MiB.
    buffer = 512 * 1024

    def __init__(self, clock: Any, silence: float = SILENCE) -> None:
        super().__init__(clock)
        self.incoming = Incoming(whose=THEIRS)
        self.clock = clock
        self.silence = silence
        self._watchdog: IDelayedCall | None = None
        self._parting: IDelayedCall | None = None
        self._replies = ReplyReader()
        self._queue: deque[Exchange] = deque()  # not sent yet: an upload's sequence is under way
        self._waiting: deque[Exchange] = deque()  # sent; the first one has the floor
        self._uploading: Upload | None = None
        self._held_by: Download | None = None
        self._farewell: TransferError | None = None
        self._due: deque[tuple[Deferred[Any], object]] = deque()
        self._is_firing = False
        self.greeting = Ask(None, self)
        self._waiting.append(self.greeting)

    # -- outgoing

    def ask(self, verb: str, argument: str | None = None) -> Deferred[Reply]:
        """Send a command whose answer is a reply."""
        exchange = Ask(Command(verb, argument), self)
        self.submit(exchange)
        return exchange.finished

    def secure(self, tls: Any) -> Deferred[Reply]:
        """Send AUTH TLS and do as it says. Fires when TLS stands; whom it stands with is for the caller to find out."""
        exchange = Handshake(Command("AUTH", "TLS"), self, tls)
        self.submit(exchange)
        return exchange.finished

    def expect_tls(self) -> Deferred[Reply]:
        """The same where TLS begins with the first byte. To be called before there is a connection."""
        exchange = Handshake(None, self, None)
        self._waiting.appendleft(exchange)
        return exchange.finished

    def handshakeCompleted(self) -> None:
        super().handshakeCompleted()
        exchange = self._waiting.popleft()
        assert isinstance(exchange, Handshake), "nobody else brings TLS about, and there is no renegotiation"
        exchange.stands()

    def submit(self, exchange: Exchange) -> None:
        """Send a command in its turn."""
        if self.lost is not None:
            exchange.failed(self._farewell or self.lost)
            return
        self._queue.append(exchange)
        self._send_next()

    def _send_next(self) -> None:
        while self._queue and self._uploading is None:
            exchange = self._queue.popleft()
            assert exchange.command is not None
            try:
                line = format_command(exchange.command)
            except TransferError as error:
                exchange.failed(error)
                continue
            if not self._waiting:
                self.progressed()
            self._waiting.append(exchange)
            self.write(line)
            if isinstance(exchange, Upload):
                self._uploading = exchange
            exchange.sent()

    def upload_ended(self, upload: Upload) -> None:
        """An upload has sent its last frame: others may send."""
        self.progressed()  # now it is the server that is waited for
        if self._uploading is upload:
            self._uploading = None
            self._send_next()

    def clogged(self) -> None:
        super().clogged()
        self.progressed()  # from here on the server is waited for, however long nothing was sent before

    # -- incoming

    def bytes_arrived(self) -> None:
        was_firing, self._is_firing = self._is_firing, True  # who waits is woken up afterwards
        try:
            while self._held_by is None and self._waiting:
                exchange = self._waiting[0]
                if not exchange.advance(self.incoming, self._replies):
                    break
                if exchange.is_over:
                    self._waiting.popleft()
            if not self._waiting:
                self._unasked()
        except ProtocolViolation as violation:
            self._fall(violation)
        finally:
            self._is_firing = was_firing
        self._fire_due()

    def fire(self, waiter: Deferred[Any], result: object) -> None:
        """Fire a Deferred, with a result or an error, once all that is here has been looked at.

        Not at once: who waits would run in the middle of the parsing. And a small file is here whole by then, so that
        its reader is woken up once, and not four times.
        """
        self._due.append((waiter, result))
        if not self._is_firing:
            self._clock.callLater(0, self._fire_due)

    def _fire_due(self) -> None:
        if self._is_firing:
            return
        self._is_firing = True
        try:
            while self._due:
                waiter, result = self._due.popleft()
                if isinstance(result, Exception):
                    waiter.errback(result)
                else:
                    waiter.callback(result)
        finally:
            self._is_firing = False

    def _unasked(self) -> None:
        """A reply to no command: a server that says good-bye (421)."""
        while (line := self.incoming.line()) is not None:
            reply = self._replies.line(line)
            if reply is not None:
                self.heed(reply)

    def heed(self, reply: Reply) -> None:
        """Where the server answers that the session ends, who waits for anything hears that, and no other cause."""
        if reply.code == STOPPING:
            self._farewell = error_for(reply)

    def is_only_download(self, download: Download) -> bool:
        """Whether no other is under way. ABOR stops the one that the server is sending, whoever asked for that."""
        others = (exchange for exchange in (*self._waiting, *self._queue) if exchange is not download)
        return not any(isinstance(other, Download | Fetch) for other in others)

    def hold(self, download: Download) -> None:
        """Stop reading until this download's reader has caught up."""
        self._held_by = download

    def release(self, download: Download) -> None:
        if self._held_by is download:
            self._held_by = None
            self.progressed()
            self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if self.lost is None:
            self.bytes_arrived()
            self.resume_reading()

    # -- the connection

    def connectionMade(self) -> None:
        super().connectionMade()
        self.progressed()
        self._watchdog = self._clock.callLater(self.silence, self._check_silence)

    def _check_silence(self) -> None:
        left = self._heard + self.silence - self._clock.seconds()
        expected = bool(self._waiting) and self._held_by is None and not self._waiting[0].may_be_silent
        if left <= 0 and expected:
            self._fall(TimedOut(f"The server has said nothing for {self.silence:g} seconds."))
        else:
            self._watchdog = self._clock.callLater(max(left, 1.0) if expected else self.silence, self._check_silence)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        for call in (self._watchdog, self._parting):
            if call is not None and call.active():
                call.cancel()
        if self._farewell is not None:
            self.lost = ConnectionFailed(str(self._farewell))
        elif self.is_secure and self._waiting and isinstance(self._waiting[0], Handshake):
            # OpenSSL has something against it; else it may have been the network, which comes back.
            failed = NoTLS if reason.check(SSL.Error) else ConnectionFailed
            self.lost = failed(f"The TLS handshake failed: {self._waiting[0].said_of(why_no_tls(reason))}")
        elif reason.check(ConnectionDone):
            self.lost = ConnectionFailed("The server has closed the connection.")
        elif reason.check(ConnectionLost):
            self.lost = ConnectionFailed("The server has gone, or the network to it.")
        assert self.lost is not None
        self._fail_all(self._farewell or self.lost)

    def give_up(self, why: ProtocolViolation | ServiceClosing) -> None:
        """Nothing that the server says can be relied on any more, or it has said good-bye."""
        if self.lost is None:
            self._fall(why)

    def _fall(self, error: TransferError) -> None:
        """Give the connection up, for a cause that everybody who waits is to hear."""
        self._farewell = error
        self._fail_all(error)
        self.transport.abortConnection()

    def _fail_all(self, error: TransferError) -> None:
        self._held_by = None
        exchanges = [*self._waiting, *self._queue]
        self._waiting.clear()
        self._queue.clear()
        for exchange in exchanges:
            exchange.failed(error)
        if self.lost is not None:
            self.fail_waiters(self.lost)
        self._fire_due()

    @property
    def falling(self) -> ConnectionFailed | None:
        """Why the connection is about to be lost: the server has said good-bye, or it was given up here."""
        if self._farewell is None or isinstance(self._farewell, ConnectionFailed):
            return self._farewell
        return ConnectionFailed(str(self._farewell))

    def close(self) -> None:
        """End the connection; whatever waits for a reply fails."""
        self.flush()
        if self._parting is None and self.lost is None:
            self.clogged()  # for good: who uploads would write on, and what is written puts the end off
            self.transport.unregisterProducer()  # a transport closes only when nobody is left who may write
            self._parting = self._clock.callLater(FAREWELL_LIMIT, self.transport.abortConnection)
        self.transport.loseConnection()
