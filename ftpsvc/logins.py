"""One session's logins: examined one at a time for each address, and the failed ones counted and delayed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import deferLater

from ftpsvc.bans import Bans
from ftpsvc.commons import Common
from ftpsvc.connections import Connections, Guest
from ftpsvc.limits import Limits
from ftpsvc.model import Account, NoHome, NotLoggedIn, OverLimit, TransferError
from ftpsvc.recording import Visit
from ftpsvc.records import Happening
from ftpsvc.storage import Storage
from ftpsvc.threads import done_with

#: The longest that an answer is delayed. More would not slow down who guesses, because the ban comes first.
MAX_DELAY = 10.0

_EXAMINED = "examined "

#: How a login is examined: the account and its storage. Raises `NotLoggedIn`.
Examine = Callable[[], Awaitable[tuple[Account, Storage]]]


class Door:
    """Where all sessions of a server log in."""

    def __init__(
        self, limits: Limits, clock: Any, connections: Connections, bans: Bans, common: Common | None = None
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.connections = connections
        self.bans = bans
        self._common = common or Common()
        self._locks: dict[str, DeferredLock] = {}

    async def turn(self, source: str) -> Callable[[], None]:
        """Wait until nobody else from there is examined; what is to be called when this one has been.

        To examine a password costs the processor what a guess is meant to cost. So one address occupies one thread,
        however many connections it has, and can't have more guesses under way than will be counted. Who is exempt
        doesn't wait.
        """
        if not source:
            return lambda: None
        lock = self._locks.setdefault(source, DeferredLock())
        await lock.acquire()

        def release() -> None:
            lock.release()
            if not lock.locked:
                self._locks.pop(source, None)

        try:
            await self._common.turn(_EXAMINED + source)
        except BaseException:
            release()
            raise

        def done() -> None:
            self._common.counts.less(_EXAMINED + source)
            if lock.waiting:
                # Not at once: each of those who wait may be done at once too, and the calls would nest.
                self.clock.callLater(0, release)
            else:
                release()

        return done


class Logins:
    """One session's."""

    __slots__ = ("_door", "_failed", "_source", "_visit", "account", "guest")

    def __init__(self, door: Door, guest: Guest, source: str, visit: Visit) -> None:
        self._door = door
        self.guest = guest
        self._source = source
        self._visit = visit
        self._failed = 0
        self.account: Account | None = None  #: who is logged in

    async def attempt(self, name: str, examine: Examine) -> tuple[Account, Storage]:
        """Have a login examined. Raises `NotLoggedIn`, after a while, and `OverLimit` behind the last attempt."""
        done = await self._door.turn(self._source)
        # Who doesn't wait for the answer has had the attempt all the same: it is examined and counted.
        result = await done_with(Deferred.fromCoroutine(self._examined(examine, done)))
        if isinstance(result, NotLoggedIn) and not isinstance(result, NoHome):
            await self._delay(name)
        if isinstance(result, TransferError):
            try:
                raise result
            finally:
                del result  # its traceback holds this, which would hold it
        return result

    async def _examined(
        self, examine: Examine, done: Callable[[], None]
    ) -> tuple[Account, Storage] | NotLoggedIn | OverLimit:
        """What became of the attempt; an error as a value, for perhaps nobody waits for it any more."""
        try:
            self._door.bans.demand_none(self._source)
            return await examine()
        except (OverLimit, NoHome) as error:
            return error  # it is no guess
        except NotLoggedIn as error:
            self._failed += 1
            if ban := await self._door.bans.failed(self._source):
                self._visit.tell(Happening.BANNED, cause=ban, limit="ban-after")
            return error
        finally:
            done()

    async def _delay(self, name: str) -> None:
        """Let who failed wait, the longer the more often. Raises `OverLimit` where there won't be another attempt.

        What is held meanwhile is the connection, which counts as any other; and nobody else waits for it. The wait is
        the same for a name that exists and one that doesn't.
        """
        limits, failed = self._door.limits, self._failed
        before = max(failed, self._door.bans.count(self._source)) - 1
        self._visit.tell(Happening.LOGIN_FAILED, name)
        await deferLater(self._door.clock, min(limits.delay * 2 ** min(before, 30), MAX_DELAY))
        if self._door.clock.seconds() - self.guest.stranger_since >= limits.login:
            raise OverLimit(f"Nobody has logged in for {limits.login:g} seconds; closing.", "login-time")
        if failed >= limits.attempts:
            raise OverLimit(
                f"{failed} logins have failed, which is the limit for one connection; closing.", "max-login-attempts"
            )

    async def enter(self, account: Account) -> None:
        """Somebody has logged in. Raises `OverLimit`."""
        self.leave()
        await self._door.connections.enter(self.guest, account)
        self.account = account
        self._visit.logged_in(account.name)

    def leave(self) -> None:
        """Nobody is logged in any more."""
        if self.account is not None:
            self._door.connections.leave(self.guest, self.account)
            self.account = None
