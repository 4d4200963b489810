"""What a server counts and remembers of all its sessions together, and where that is kept.

In one process that is dictionaries. Several workers keep it in memory that they share (`sharedtable`). Whoever holds a
limit asks the interfaces here, and doesn't know which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

#: What is remembered under a key.
Note = tuple[float, ...]

#: The most numbers that a note may have.
MAX_NUMBERS = 4


class Counts(Protocol):
    """How many there are of each kind, by key. What a process counted is forgotten when it dies."""

    def more(self, key: str, most: int | None = None) -> bool:
        """One more, in one step, unless there are `most` already; whether it was counted."""

    def less(self, key: str) -> None:
        """One less of those that this process has counted."""

    def count(self, key: str) -> int:
        """How many there are by now."""


class Notes(Protocol):
    """A few numbers for each key. The oldest may be forgotten to make room; whose process dies, they stay."""

    def get(self, key: str) -> Note | None:
        """What is remembered."""

    def change(self, key: str, how: Callable[[Note | None], Note | None]) -> Note | None:
        """Replace what is remembered, in one step, by what `how` makes of it; None forgets it. What it is now."""

    def clear(self) -> None:
        """Forget everything."""

    def items(self) -> Iterable[tuple[str, Note]]:
        """All that is remembered, for people to look at; a long key comes as something shorter that stands for it."""


class OwnCounts:
    """Those of one process."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def more(self, key: str, most: int | None = None) -> bool:
        count = self._counts.get(key, 0)
        if most is not None and count >= most:
            return False
        self._counts[key] = count + 1
        return True

    def less(self, key: str) -> None:
        count = self._counts[key]
        if count == 1:
            del self._counts[key]
        else:
            self._counts[key] = count - 1

    def count(self, key: str) -> int:
        return self._counts.get(key, 0)


class OwnNotes:
    """Those of one process."""

    def __init__(self, most: int | None = None) -> None:
        """`most`: how many are remembered; None for any number."""
        self._most = most
        self._notes: dict[str, Note] = {}  #: that which was changed last is the last

    def get(self, key: str) -> Note | None:
        return self._notes.get(key)

    def change(self, key: str, how: Callable[[Note | None], Note | None]) -> Note | None:
        note = how(self._notes.pop(key, None))
        if note is not None:
            if self._most is not None and len(self._notes) >= self._most:
                del self._notes[next(iter(self._notes))]
            self._notes[key] = note
        return note

    def clear(self) -> None:
        self._notes.clear()

    def items(self) -> Iterable[tuple[str, Note]]:
        return list(self._notes.items())


#: Addresses whose failed logins are remembered. Who attacks from more of them can make the oldest forgotten.
MAX_KNOWN = 10_000

#: Uploads under way, and parts of broken ones, of which it is remembered what a quota counts. Of two who go on at once
#: from one that was forgotten each has the room of it, until the home is counted again.
MAX_KEPT = 10_000


class Everywhere(Protocol):
    """What is counted and remembered together with other nodes, where one may wait for their answer."""

    async def more(self, key: str, most: int | None = None) -> bool:
        """One more in one step over all nodes, unless there are `most` already; whether it was counted."""

    async def failed(self, source: str, ban: float) -> int | None:
        """One more failed login, remembered for so many seconds; how many there have been from there. None while
        nobody can tell."""

    def forgiven(self, sources: Iterable[str]) -> None:
        """Those are forgotten."""


async def _nobody_to_wait_for() -> None:
    """In one process a turn is never taken by anybody else: there are locks before it."""
    raise AssertionError("a turn was taken twice in one process")


@dataclass(slots=True)
class Common:
    """All of it."""

    counts: Counts = field(default_factory=OwnCounts)
    failures: Notes = field(default_factory=lambda: OwnNotes(MAX_KNOWN))  #: failed logins, by address
    homes: Notes = field(default_factory=OwnNotes)  #: what lies in each home that has a quota
    kept: Notes = field(default_factory=lambda: OwnNotes(MAX_KEPT))  #: the parts of broken uploads there
    growing: Notes = field(default_factory=OwnNotes)  #: the files there that are being added to
    buckets: Notes | None = None  #: tokens of accounts; None where one process has them all
    room: int | None = None  #: how many connections can be counted; None for any number
    pause: Callable[[], Awaitable[None]] = _nobody_to_wait_for  #: until it is worth asking for a turn again
    make_room: Callable[[str], None] = lambda _: None  #: has the others give up one of these, for who comes next

    everywhere: Everywhere | None = None  #: the other nodes; None where there are none

    async def more(self, key: str, most: int | None = None) -> bool:
        """One more of a key, as in `counts`; and of what nodes count together, also over all of them."""
        if self.everywhere is None:
            return self.counts.more(key, most)
        return await self.everywhere.more(key, most)

    async def turn(self, key: str) -> None:
        """Wait until no other process has the turn of this name, and take it. `counts.less` gives it back.

        Whoever asks for it twice in one process has to have a lock of its own before it.
        """
        while not await self.more(key, most=1):
            await self.pause()
