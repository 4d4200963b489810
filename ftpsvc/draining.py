"""Seeing everybody out when the server stops: who is at rest is told, and transfers may finish for a while."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from ftpsvc.limits import Limits
from ftpsvc.model import ConnectionFailed, OverLimit, Stopping
from ftpsvc.session import Outcome, Session, Takes, Verb
from ftpsvc.verbs import VERBS
from ftpsvc.wire import Reply, reply_for

#: Who has said nothing for this long, in seconds, is told to go. Programs that log in, look and retrieve are given the
#: time between two of their commands, or all of them would fail that happen to be there when the server stops.
QUIET = 1.0

#: For how many seconds those who keep giving commands may go on so. Behind that each next command is answered with 421:
#: enough for a program that came a moment ago, and not for one that copies a tree of a million files.
GRACE = 5.0

#: For how many seconds it is waited for a proxy's word on whom it calls for. The word comes with the connection.
WORD = 1.0

#: How often, in seconds, it is looked who has come to rest or is gone.
LOOK_EVERY = 0.1

#: How often, in seconds, the log says who is waited for.
SAY_EVERY = 10.0

#: For how many seconds clients may take in their last reply where somebody is in a hurry. Else it is `--closing-time`.
HURRY = 1.0


async def _no_more(session: Session, argument: str) -> Outcome:
    raise Stopping()


_NO_MORE = Verb("", _no_more, Takes.MAYBE, "", before_login=True)

#: The verbs of a session that is to take no more of them.
LAST_VERBS = dict.fromkeys(VERBS, _NO_MORE) | {name: VERBS[name] for name in ("ABOR", "QUIT")}


class Leaving(Protocol):
    """A session, as far as it matters here."""

    @property
    def lost(self) -> ConnectionFailed | None:
        """Set when the connection is gone."""

    @property
    def heard(self) -> float:
        """When something has moved last on the control connection."""

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way, so that it can be told to go."""

    @property
    def is_transferring(self) -> bool:
        """Whether there is a transfer under way."""

    def take_no_more(self) -> None:
        """Have every further command answered with 421, and the end; but for those that only end what there is."""

    def break_off(self) -> None:
        """Break off the transfer, if there is one, so that the client takes it for failed; then 421 and the end."""

    def end(self, last: Reply) -> None:
        """Send the last reply and close."""

    def drop(self) -> None:
        """Cut the connection."""

    async def over(self) -> None:
        """Wait until nothing of the session goes on, commits among it."""


class Draining:
    """The end of all sessions of one server."""

    _log = Logger()

    def __init__(
        self, sessions: Iterable[Leaving], clock: Any, limits: Limits, expected: Collection[object] = ()
    ) -> None:
        """`sessions`: those that there are when it begins; `expected`: what will be sessions in a moment."""
        self._sessions = sessions
        self._expected = expected
        self._clock = clock
        self._limits = limits
        self._left: list[Leaving] = []
        self._wake: Deferred[None] | None = None
        self._is_hurried = False
        self._has_begun = False

    def demand_not_begun(self) -> None:
        """For those who still come: they had been accepted by then, and their proxy's word has taken too long."""
        if self._has_begun:
            raise OverLimit(str(Stopping()), "drain-time")

    def hurry(self) -> None:
        """Wait no longer."""
        self._is_hurried = True
        self._woken()

    async def run(self) -> None:
        """See everybody out. Back when each session has cleaned up behind itself, and every commit has ended."""
        await self._wait_for_the_expected()
        self._has_begun = True
        sessions = list(self._sessions)
        endings = [Deferred.fromCoroutine(session.over()) for session in sessions]
        for ending in endings:
            ending.addErrback(lambda failure: self._log.failure("A session did not end in order", failure))
        self._left = [session for session in sessions if session.lost is None]
        await self._wait_for_transfers()
        await self._break_off()
        await DeferredList(endings)

    async def _wait_for_the_expected(self) -> None:
        began = self._clock.seconds()
        while self._expected and not self._is_hurried and self._clock.seconds() - began < WORD:
            await self._wait(LOOK_EVERY)

    async def _wait_for_transfers(self) -> None:
        began, said, has_said_no = self._clock.seconds(), 0.0, False
        if self._left:
            self._log.info("Stopping: nobody is let in any more; {left}", left=self._in_words(self._limits.drain))
        while self._look() and not self._is_hurried:
            gone = self._clock.seconds() - began
            if gone >= self._limits.drain:
                break
            if gone >= GRACE and not has_said_no:
                has_said_no = True
                for session in self._left:
                    session.take_no_more()
            if gone - said >= SAY_EVERY:
                said = gone
                self._log.info("Stopping: {left}", left=self._in_words(self._limits.drain - gone))
            await self._wait(min(LOOK_EVERY, self._limits.drain - gone))

    def _look(self) -> bool:
        """Tell those who are at rest; whether anybody is left."""
        are_there = self._are_there()
        quiet = self._clock.seconds() - QUIET
        for session in self._left:
            if session.is_at_rest and session.heard <= quiet:
                session.end(reply_for(Stopping()))
        return are_there

    def _in_words(self, seconds: float) -> str:
        moving = sum(session.is_transferring for session in self._left)
        return (
            f"sessions left: {len(self._left)}, with a transfer: {moving}, time for them: {seconds:.0f} s"
            " (drain-time); a second signal ends them at once"
        )

    async def _break_off(self) -> None:
        """End those that are left, and wait until they have heard of it; but not for long."""
        moving = sum(session.is_transferring for session in self._left)
        if self._left:
            why = "a second signal came" if self._is_hurried else f"{self._limits.drain:g} s are over (drain-time)"
            self._log.info("Stopping: {why}; transfers that are broken off: {moving}", moving=moving, why=why)
        for session in self._left:
            session.take_no_more()
            if not session.is_at_rest:
                session.break_off()
        began = self._clock.seconds()
        while self._are_there() and self._clock.seconds() - began < self._time_to_hear:
            for session in self._left:
                if session.is_at_rest:  # also one whose commit has ended meanwhile
                    session.end(reply_for(Stopping()))
            await self._wait(LOOK_EVERY)
        for session in self._left:
            session.drop()

    @property
    def _time_to_hear(self) -> float:
        return min(HURRY, self._limits.closing) if self._is_hurried else self._limits.closing

    def _are_there(self) -> bool:
        self._left = [session for session in self._left if session.lost is None]
        return bool(self._left)

    async def _wait(self, seconds: float) -> None:
        wake: Deferred[None] = Deferred()
        call = self._clock.callLater(seconds, self._woken)
        self._wake = wake
        try:
            await wake
        finally:
            self._wake = None
            if call.active():
                call.cancel()

    def _woken(self) -> None:
        if self._wake is not None:
            wake, self._wake = self._wake, None
            wake.callback(None)
