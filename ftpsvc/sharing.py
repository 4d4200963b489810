"""What the workers of a server count and remember together, laid out in memory that all of them have mapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.task import deferLater

from ftpsvc.commons import Common
from ftpsvc.connections import ALL
from ftpsvc.sharedtable import Memory, SharedCounts, SharedNotes
from ftpsvc.usage import counted_long_ago

#: Rows for counts, for each connection that there may be: its address, its account, what it has under way, and as many
#: again, so that the table is never more than half full; twice that, so that nobody ever finds no row.
ROWS_PER_CONNECTION: Final = 8

#: Rows for counts at the least and at the most, whatever the limits are. At the least as many as by default: a reload
#: may allow more connections, and the table stays as it is.
MIN_ROWS: Final = 10_000 * ROWS_PER_CONNECTION
MAX_ROWS: Final = 1 << 20

#: Addresses whose failed logins are remembered, accounts whose rates are held, homes with a quota, parts of broken
#: uploads: of each so many, and then the oldest is forgotten.
NOTES: Final = 1 << 14

#: For how many seconds to wait before asking again for a turn that another process has: some of the fifty milliseconds
#: that it takes to examine a password.
TURN_POLL: Final = 0.01

# Which workers let clients in.
_READY = "ready"


class Sharing:
    """One process's view of it."""

    def __init__(self, memory: Memory, workers: int, rows: int, mine: int) -> None:
        """`mine`: the column that this process counts in; `workers` itself is the parent's."""
        self.memory = memory
        self.workers = workers
        self.rows = rows
        self._mine = mine
        self._counts = SharedCounts(memory, rows, workers + 1, mine)
        self._failures = SharedNotes(memory, NOTES, 2)
        self._homes = SharedNotes(memory, NOTES, 4)
        self._kept = SharedNotes(memory, NOTES, 3)
        self._growing = SharedNotes(memory, NOTES, 1)
        self._buckets = SharedNotes(memory, NOTES, 2)

    @classmethod
    def create(cls, workers: int, connections: int) -> Sharing:
        """The parent's, in new memory."""
        rows = min(max(connections * ROWS_PER_CONNECTION, MIN_ROWS), MAX_ROWS)
        size = SharedCounts.size(rows, workers + 1) + 5 * SharedNotes.size(NOTES)
        return cls(Memory.create(size), workers, rows, workers)

    def common(self, clock: Any, make_room: Callable[[str], None] = lambda _: None) -> Common:
        """Where this process counts."""
        return Common(
            counts=self._counts,
            failures=self._failures,
            homes=self._homes,
            kept=self._kept,
            growing=self._growing,
            buckets=self._buckets,
            room=self.rows // ROWS_PER_CONNECTION,
            pause=lambda: deferLater(clock, TURN_POLL),
            make_room=make_room,
        )

    def ready(self) -> None:
        """This worker lets clients in from now on."""
        self._counts.more(_READY)

    def unready(self) -> None:
        """Nobody more comes to this one."""
        self._counts.less(_READY)

    def somebody_is_ready(self) -> bool:
        """Whether any worker lets clients in."""
        return self._counts.count(_READY) > 0

    def is_ahead(self) -> bool:
        """Whether another worker that lets clients in has so many fewer that the next had better go there."""
        ready, busy = self._counts.columns(_READY), self._counts.columns(ALL)
        if not busy:
            return False
        others = [count for n, (count, is_in) in enumerate(zip(busy, ready, strict=True)) if is_in and n != self._mine]
        least = min(others, default=busy[self._mine])
        return busy[self._mine] > least + least // 4

    def forget(self, worker: int) -> None:
        """A worker has died: nothing that it had counted is there any more. What it had claimed of a quota nobody
        knows, so every home is counted again at the next login."""
        self._counts.forget(worker)
        self._growing.clear()
        self._homes.change_all(counted_long_ago)

    def close(self) -> None:
        self.memory.close()
