"""The server: one `ServerProtocol` for each client. Lines in, replies out; the one place where errors become replies.

Commands are carried out one after the other, by one coroutine that takes a line when it is ready for it. What the
client sent meanwhile waits in `incoming`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc import model
from ftpsvc.addresses import Origin
from ftpsvc.channel import Channel, Received
from ftpsvc.datasetup import DataSetup
from ftpsvc.draining import LAST_VERBS
from ftpsvc.frames import is_frame
from ftpsvc.inline import Inline
from ftpsvc.linethenraw import BUFFER, STRANGERS_BUFFER, LineThenRaw, beneath
from ftpsvc.logins import Examine, Logins
from ftpsvc.lookahead import ABORTED, LookAhead
from ftpsvc.model import Account, BadCommand, ConnectionFailed, OverLimit, ProtocolViolation, Stopping, TransferError
from ftpsvc.outbox import COMMIT, MAX_COMMITS, Outbox
from ftpsvc.recording import Visit
from ftpsvc.records import Happening
from ftpsvc.session import Outcome, Session, admit
from ftpsvc.states import Closed, Ready, Security
from ftpsvc.storage import Storage
from ftpsvc.stream import Stream
from ftpsvc.threads import done_with, to_its_end
from ftpsvc.tls import fingerprint_of_peer, name_asked_for
from ftpsvc.traces import clean, without_trace
from ftpsvc.verbs import MOVING, UPLOADS, VERBS
from ftpsvc.watchdog import Watchdog
from ftpsvc.wire import FOREIGN_VERBS, Command, Reply, format_reply, parse_command, reply_for, telnet_refusals

if TYPE_CHECKING:
    from ftpsvc.factory import ServerFactory

T = TypeVar("T")

#: How many commands in a row one session may have carried out before the others have their turn.
TURN = 64


@implementer(IHalfCloseableProtocol)
class ServerProtocol(LineThenRaw):
    """One client's control connection."""

    _log = Logger()
    to_its_end = staticmethod(to_its_end)

    def __init__(self, factory: ServerFactory, origin: Origin, source: str = "") -> None:
        """`source`: what the limits per address know the peer by; empty for those who are exempt."""
        limits = factory.limits
        super().__init__(factory.clock, limits.line, limits.waiting)
        self._server = factory
        self.peer = origin.name
        self.visit = Visit(factory.records, self._clock, self.peer, factory.next_number())
        self.record, self.digesting, self.aside = factory.records.add, factory.digesting, factory.aside
        self.session = Session(
            self, factory.accounts, VERBS, self.peer, self._clock.seconds, origin=origin, number=self.visit.number
        )
        self.data = DataSetup(factory.clock, factory.passive, factory.passive_ports, self._tls_of_data)
        self._channel: Inline | Stream | None = None
        self._look_ahead = LookAhead(self.incoming, UPLOADS)
        self._serving: Deferred[None] | None = None
        self._outbox = Outbox(self.write, factory.counts.replied)
        self._watchdog = Watchdog(factory.clock, limits, self)
        self._paces = factory.rates.free
        self._logins = Logins(factory.door, self, source, self.visit)
        self._overdue: OverLimit | None = None
        self.stranger_since: float = self._clock.seconds()

    # -- the connection

    def connectionMade(self) -> None:
        super().connectionMade()
        beneath(self.transport).bufferSize = STRANGERS_BUFFER
        self.data.attach(self.transport)
        self.session.security = Security(self._server.tls is not None, self._server.required, self.is_secure)
        self.visit.connected(self.is_secure)
        if why := self._server.accounts.refusal(self.session.origin):
            self.visit.tell(Happening.REFUSED, cause=why)
            self.end(Reply(421, why))
            return
        self._is_gathering = True
        self.reply(Reply(220, "ftpsvc is ready."))
        self._watchdog.start()
        self._serving = Deferred.fromCoroutine(self._serve()).addErrback(self._crashed)
        self._is_gathering = False
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        if not isinstance(self.session.state, Closed):
            super().dataReceived(data)

    def bytes_arrived(self) -> None:
        super().bytes_arrived()
        if (stream := self.stream) is not None:
            self._heed(stream)

    def _heed(self, stream: Stream) -> None:
        if stream.has_begun:
            self._look_ahead.heed(stream, self._outbox.post, lambda: self.is_clogged)
            self.resume_reading()  # what was answered is taken
        if (size := len(self.incoming)) >= self._server.limits.waiting:
            # Nothing more is read, so not even an ABOR would be heard.
            stream.fail(OverLimit(f"{size} bytes of commands wait for a transfer's end.", "max-waiting"))

    def readConnectionLost(self) -> None:
        """The client sends no more, as `nc -N` does behind its last line. What it has sent is carried out and answered.

        Not where data has a connection of its own: who is killed ends both so, and half a file would be taken for all.
        """
        self.has_heard_all = True
        if isinstance(self.session.state, Closed):
            self.hang_up()
        elif isinstance(self._channel, Stream):
            self._channel.fail(ConnectionFailed("The client closed the control connection in the middle of it."))
        else:
            self.bytes_arrived()  # none; but whoever waits for some looks again

    def writeConnectionLost(self) -> None:
        """We have said all; that was our own doing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.session.state = Closed()
        self._watchdog.stop()
        self._logins.leave()
        self._server.connections.gone(self)
        self.data.forget()
        # Whoever waits for the client hears of it; whoever waits for something else is cancelled.
        if not self.fail_waiters(self.lost) and self._serving is not None:
            self._serving.cancel()
        self.visit.ended(str(self.lost))
        Deferred.fromCoroutine(self._let_go())

    async def _let_go(self) -> None:
        """When all is over, undo every circle of references: Python looks for those too seldom for so much memory."""
        await self.over()
        nobody: Any = None
        self.session.control = self._watchdog.watched = self._logins.guest = self._outbox.write = self.data.tls = nobody
        self._channel = self.transport = None
        self.lost = self.lost and without_trace(self.lost)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way and no reply is owed: what is said now can't be taken for anything else."""
        is_idle = self._arrival is not None and self._channel is None and not self._outbox.pending
        return is_idle and not isinstance(self.session.state, Closed)

    def take_no_more(self) -> None:
        self.session.verbs = LAST_VERBS

    def break_off(self) -> None:
        if self._channel is not None:
            self._channel.fail(Stopping())

    async def over(self) -> None:
        if self._serving is not None:
            await done_with(self._serving)
        await self._outbox.settled()

    def _crashed(self, failure: Failure) -> None:
        if self.lost is None:
            self._log.failure("The session with {peer} ended by a fault of ours", failure, peer=self.peer)
            self.transport.abortConnection()
        clean(failure)

    def end(self, last: Reply) -> None:
        """Send the last reply and close."""
        self.session.state = Closed()
        self.visit.ends(last.text)
        self.reply(last)
        self._close()

    def _close(self, expects_more: bool = True) -> None:
        """Close once everything is sent; by force if the client doesn't take it. What it still sends is thrown away."""
        self._watchdog.wait_for_the_end()
        expects_more = expects_more or len(self.incoming) > 0
        self.incoming.clear()
        self.data.forget()
        self.close_sending(expects_more)
        self.resume_reading()

    def give_way(self, why: OverLimit) -> None:
        """End at once. Nothing is waited for: there are others for that place."""
        self.session.state = Closed()
        self._watchdog.wait_for_the_end()  # in case that they don't read
        self.visit.ends(str(why), why.limit)
        self.write(format_reply(reply_for(why)))
        self.flush()
        if self.is_secure:
            self.drop()
        else:
            self.hang_up()

    def stalled(self, why: OverLimit) -> None:
        if self._arrival is not None:
            self.fail_waiters(why)
        else:
            # Here a reply would be taken for a part of the frame under way. It follows if that is taken to its end.
            self._overdue = why
            self._watchdog.wait_for_the_end()

    # -- what the watchdog and the live list ask

    @property
    def heard(self) -> float:
        return self.session.idle_since(self._heard)

    @property
    def is_known(self) -> bool:
        return isinstance(self.session.state, Ready)

    @property
    def stream(self) -> Stream | None:
        return self._channel if isinstance(self._channel, Stream) else None

    @property
    def is_transferring(self) -> bool:
        return self._channel is not None and self.lost is None

    @property
    def is_at_work(self) -> bool:
        if isinstance(self._channel, Inline):
            return self._paces.are_resting or not self._channel.waits_for_client
        return self._outbox.pending > 0 or not self.is_waiting

    # -- commands

    async def _serve(self) -> None:
        """Carry out one line after the other, until the session or the connection ends."""
        try:
            await self._carry_out_all()
            await self._outbox.settled()
            self._close(expects_more=False)  # there was a QUIT
        except (OverLimit, ProtocolViolation, Stopping) as error:
            self.visit.ends(str(error), error.limit if isinstance(error, OverLimit) else "")
            await self._outbox.settled()
            self.end(reply_for(without_trace(error)))
        except ConnectionFailed as error:
            if not self.has_heard_all or self.lost is not None:
                raise
            without_trace(error)
            await self._outbox.settled()
            self._close()

    async def _carry_out_all(self) -> None:
        turn = TURN
        while not isinstance(self.session.state, Closed):
            line = self.incoming.line()
            if line is None and self.has_heard_all:
                return
            if line is None:
                await self.arrival()
                turn = TURN
                continue
            self.resume_reading()  # an ABOR may be next, or the client's end
            await self._carry_out(line)
            turn -= 1
            if not turn or self.is_clogged:
                turn = TURN
                await self.pause()

    async def _carry_out(self, line: bytes) -> None:
        """One command, from its line to its reply."""
        if is_frame(line):
            raise ProtocolViolation("A frame where none is due: frames follow STOR, APPE and STOU in MODE I.")
        session = self.session
        marker = None
        if isinstance(session.state, Ready):
            marker, self.stranger_since = session.state.marker, self._clock.seconds()
        verb = self._outbox.verb = ""
        if refusals := telnet_refusals(line) if b"\xff" in line else b"":
            self._outbox.post_bytes(refusals)
        try:
            command = parse_command(line)
            verb = self._outbox.verb = command.verb
            session.begin(verb)
            # The next upload may begin while those before it are committed; anything else waits for them.
            await self._outbox.settled(MAX_COMMITS if verb in UPLOADS else 0)
            self._answer(await self._guarded(command, self._admitted(command)))
            if session.security.is_on and not self.is_secure:
                self.start_tls(self._server.tls)
                self.visit.is_secure = True
        except BadCommand as error:
            await self._outbox.settled()
            self.reply(reply_for(error))
        if verb in UPLOADS and session.is_inline:
            await self._inline().drain()
        if isinstance(self._channel, Stream):
            self.progressed()  # the client was not idle
        self._channel = None
        if verb in MOVING or not isinstance(session.state, Ready):
            self.data.forget()  # one connection is for one command, and for one login
        if not isinstance(session.state, Ready):
            self._logins.leave()
        session.forget_marker(marker, verb)

    async def _admitted(self, command: Command) -> Outcome:
        return await admit(self.session, command).run(self.session, command.argument or "")

    async def _guarded(self, command: Command, work: Awaitable[T]) -> T | Reply:
        """The error boundary: whatever goes wrong in a command becomes its reply here, and nowhere else."""
        try:
            return await work
        except (OverLimit, ProtocolViolation, Stopping, CancelledError):
            raise
        except TransferError as error:
            if self.lost is not None:
                raise
            if command.verb in FOREIGN_VERBS and not isinstance(self.session.state, Ready):
                raise ProtocolViolation("This is an FTP server.") from error
            return reply_for(without_trace(error))
        except Exception:
            self._log.failure("{peer}: {command} failed by a fault of ours", peer=self.peer, command=command)
            return Reply(451, "An error in the server stopped this command; its operator's log has the details.")

    # -- replies

    def reply(self, reply: Reply) -> None:
        self._outbox.post(reply)
        if (stream := self.stream) is not None:
            self.flush()  # each by itself: aria2 waits a minute for a last reply that came together with the 150
            if reply.code == 150:
                stream.has_begun = True
                self._heed(stream)  # what came before there was a transfer to be stopped

    def _answer(self, outcome: Outcome) -> None:
        """Send a reply, or keep a place for it until it is known."""
        if isinstance(outcome, Reply):
            self.reply(outcome)
        elif rest := self._outbox.post_at_once(self._guarded(COMMIT, outcome)):
            Deferred.fromCoroutine(self._outbox.post_later(rest)).addErrback(self._crashed)

    # -- what verbs and the channel ask for

    async def attempt(self, name: str, examine: Examine) -> tuple[Account, Storage]:
        return await self._logins.attempt(name, examine)

    async def settled(self) -> None:
        await self._outbox.settled()

    async def enter(self, account: Account) -> None:
        await self._logins.enter(account)
        beneath(self.transport).bufferSize = BUFFER
        self._paces = self._server.rates.paces_for(account)

    def channel(self) -> Channel:
        if self.session.is_inline:
            return self._inline()
        if self.has_heard_all:
            raise model.NoDataConnection("A data connection needs this one, and it was closed at your end.")
        limit, is_text = self._server.limits.connecting, self.session.is_text
        self._channel = Stream(self.data.take(), self._clock, self._server.run, limit, is_text, self._paces)
        return self._channel

    def _tls_of_data(self) -> Callable[[], SSL.Connection] | None:
        tls = self._server.tls if self.session.parameters.is_protected else None
        return None if tls is None else lambda: tls.accepting(self.transport.getHandle())

    def receive_whole(self) -> tuple[bytes, Received] | None:
        return self._inline().receive_whole() if self.session.is_inline else None

    def _inline(self) -> Inline:
        if not isinstance(self._channel, Inline):
            self._channel = Inline(self, self, self._server.run, self._server.digests, self._paces)
        return self._channel

    @property
    def certificate(self) -> str:
        return fingerprint_of_peer(self.transport) if self.is_secure else ""

    @property
    def server_name(self) -> str:
        return name_asked_for(self.transport) if self.is_secure else ""

    @property
    def idle_limit(self) -> float:
        return self._server.limits.idle

    @property
    def has_more(self) -> bool:
        return len(self.incoming) > 0

    @property
    def interruption(self) -> TransferError | None:
        return self._overdue or (model.Aborted(ABORTED) if self._look_ahead.finds_abort(True) else None)
