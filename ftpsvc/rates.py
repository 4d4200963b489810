"""How fast data may move: token buckets, for a session and for all sessions of an account, in each direction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from twisted.internet.task import deferLater

from ftpsvc.commons import Common, Note, Notes
from ftpsvc.limits import Limits
from ftpsvc.model import Account
from ftpsvc.storage import Buffer

#: For how many seconds unused tokens are kept: a reactor that comes back late makes up for it, and nobody who was idle
#: has more than this in advance. A fortieth of ten seconds, over which a rate is to be exact to a twentieth.
BURST = 0.25

#: How many pieces a second's worth of data is moved in at the least.
PIECES = 10


class Bucket:
    """Tokens, one for each byte. They come at the rate, and who takes more than there are is told how long to wait."""

    __slots__ = ("__weakref__", "_at", "_clock", "_tokens", "rate")

    def __init__(self, rate: int, clock: Any) -> None:
        """`rate`: bytes a second, at least 1."""
        self.rate = rate
        self._clock = clock
        self._tokens = 0.0
        self._at: float = clock.seconds()

    def take(self, size: int) -> float:
        """Take so many tokens; in how many seconds they will have come.

        Whoever comes next waits behind this one, so those who share a bucket have equal parts of it.
        """
        now = self._clock.seconds()
        since = max(now - self._at, 0.0)  # it is the time of day, and may have been set back
        self._tokens = min(self._tokens + since * self.rate, self.rate * BURST) - size
        self._at = now
        return max(0.0, -self._tokens / self.rate)


class SharedBucket(Bucket):
    """One that the workers of a server take from together."""

    __slots__ = ("_name", "_notes")

    def __init__(self, rate: int, clock: Any, notes: Notes, name: str) -> None:
        super().__init__(rate, clock)
        self._notes = notes
        self._name = name

    def take(self, size: int) -> float:
        def taken(known: Note | None) -> Note:
            # What nobody has taken from for long may have been forgotten, and was full.
            self._tokens, self._at = known or (0.0, self._clock.seconds())
            super(SharedBucket, self).take(size)
            return self._tokens, self._at

        self._notes.change(self._name, taken)
        return max(0.0, -self._tokens / self.rate)


class Pace:
    """How fast one session may move data in one direction: no faster than any of its buckets allows."""

    __slots__ = ("_buckets", "clock", "is_resting", "most")

    def __init__(self, clock: Any, *buckets: Bucket) -> None:
        self.clock = clock
        self._buckets = buckets
        #: the largest piece that may be moved at a time; None: any
        self.most = max(1, min(bucket.rate for bucket in buckets) // PIECES) if buckets else None
        self.is_resting = False  #: whether it is this that a transfer waits for, and not the client

    def take(self, size: int) -> float:
        """In how many seconds a piece of this size may be moved."""
        return max((bucket.take(size) for bucket in self._buckets), default=0.0)

    def cut(self, data: Buffer) -> Iterator[Buffer]:
        """The same bytes in pieces that may be moved at a time."""
        if self.most is None or len(data) <= self.most:
            yield data
            return
        view = memoryview(data)
        for at in range(0, len(view), self.most):
            yield view[at : at + self.most]

    async def turn(self, size: int) -> None:
        """Wait until a piece of this size may be moved."""
        wait = self.take(size)
        if wait:
            self.is_resting = True
            try:
                await deferLater(self.clock, wait)
            finally:
                self.is_resting = False


class Paces(NamedTuple):
    """Those of one session."""

    up: Pace
    down: Pace

    @property
    def are_resting(self) -> bool:
        return self.up.is_resting or self.down.is_resting


class Rates:
    """Makes the paces of a server's sessions."""

    def __init__(self, limits: Limits, clock: Any, common: Common | None = None) -> None:
        """`common`: where the tokens of accounts are."""
        self._limits = limits
        self._clock = clock
        self._common_buckets = common.buckets if common is not None else None
        #: What an account's sessions share. Each is kept by its sessions, and goes with the last of them.
        self._shared: WeakValueDictionary[tuple[str, str, int], Bucket] = WeakValueDictionary()
        self.free = Paces(Pace(clock), Pace(clock))  #: for who may go as fast as it goes

    def paces_for(self, account: Account) -> Paces:
        """The paces of a new session of this account."""
        limits = self._limits
        up = limits.account_up if account.rate_up is None else account.rate_up
        down = limits.account_down if account.rate_down is None else account.rate_down
        if not (limits.session_up or limits.session_down or up or down):
            return self.free
        return Paces(
            self._pace(limits.session_up, account.name, "up", up),
            self._pace(limits.session_down, account.name, "down", down),
        )

    def _pace(self, own: int, name: str, direction: str, shared: int) -> Pace:
        buckets = [Bucket(own, self._clock)] if own else []
        if shared:
            key = (name, direction, shared)
            bucket = self._shared.get(key) or self._bucket(shared, f"{name} {direction} {shared}")
            self._shared[key] = bucket
            buckets.append(bucket)
        return Pace(self._clock, *buckets)

    def _bucket(self, rate: int, name: str) -> Bucket:
        if self._common_buckets is None:
            return Bucket(rate, self._clock)
        return SharedBucket(rate, self._clock, self._common_buckets, name)
