"""How long a client may keep its session waiting: for the login, for a command, in a transfer, at the end."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from ftpsvc.limits import Limits
from ftpsvc.model import OverLimit, TimedOut
from ftpsvc.recording import Visit
from ftpsvc.stream import Stream
from ftpsvc.wire import Reply


class Watched(Protocol):
    """A session, as far as it matters here."""

    @property
    def visit(self) -> Visit:
        """Where it is told what becomes of the session."""

    @property
    def is_known(self) -> bool:
        """Whether somebody is logged in."""

    @property
    def stranger_since(self) -> float:
        """Since when nobody has been."""

    @property
    def heard(self) -> float:
        """When something has moved last on the control connection."""

    @property
    def stream(self) -> Stream | None:
        """The transfer under way, if its data has a connection of its own."""

    @property
    def is_transferring(self) -> bool:
        """Whether there is a transfer under way at all."""

    @property
    def is_at_work(self) -> bool:
        """Whether it is the server, and not the client, that is waited for."""

    def stalled(self, why: OverLimit) -> None:
        """End a transfer on the control connection in which nothing has moved."""

    def end(self, last: Reply) -> None:
        """Send the last reply and close."""

    def drop(self) -> None:
        """Cut the connection."""


class Watchdog:
    """One session's. It looks only when it could be time."""

    __slots__ = ("_call", "_clock", "_limits", "watched")

    def __init__(self, clock: Any, limits: Limits, watched: Watched) -> None:
        self._clock = clock
        self._limits = limits
        self.watched = watched
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        self._look_in(min(self._limits.login, self._limits.idle))

    def stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    def wait_for_the_end(self) -> None:
        """From now on the client only has to take what was sent."""
        self.stop()
        self._call = self._clock.callLater(self._limits.closing, self.watched.drop)

    def _look_in(self, seconds: float) -> None:
        self._call = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        watched = self.watched
        limit = self._limits.idle if watched.is_known else self._limits.login
        # A stranger gains no time by what they send: not with a byte now and then, not with whole commands.
        since = watched.heard if watched.is_known else watched.stranger_since
        left = since + limit - self._clock.seconds()
        if watched.stream is not None:
            left = self._check_data(watched.stream, limit)
        elif left <= 0 and watched.is_at_work:
            left = limit
        if left > 0:
            self._look_in(left)
        elif watched.is_transferring:
            watched.stalled(OverLimit(f"No byte of the transfer moved for {limit:g} seconds; closing.", "idle-time"))
        else:
            why = "Nothing was heard" if watched.is_known else "Nobody has logged in"
            name = "idle-time" if watched.is_known else "login-time"
            watched.visit.ends(f"{why} for {limit:g} seconds", name)
            watched.end(Reply(421, f"{why} for {limit:g} seconds; closing. Connect again when you like."))

    def _check_data(self, stream: Stream, limit: float) -> float:
        """Break off a transfer whose data stands still, whatever arrives here; when to look again."""
        since = stream.stalled_since
        if since is None:
            return limit
        left = since + limit - self._clock.seconds()
        if left <= 0:
            stream.fail(TimedOut(f"No byte of data moved for {limit:g} seconds."))
        return left if left > 0 else limit
