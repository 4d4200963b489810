"""What the server has done since its start, in plain numbers: for the metrics, which read them when they are asked."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ftpsvc.records import Ending, Happening, Record, SessionEvent, Transfer

#: Where the histogram of durations is divided, in seconds: from a small file to a night's backup.
SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0)

#: Where the histogram of sizes is divided, in bytes.
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000)

#: What stands for every command that there is none of: who invents verbs must not fill the memory with counters.
OTHER = "other"


#: An enumeration's member costs more to look up than all else that is done for a small file here.
_COMPLETE = Ending.COMPLETE


class Histogram:
    """How many values lay up to each bound and above the one before; the last count is of those above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total: float = 0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Moved:
    """What has become of the transfers of one verb."""

    __slots__ = ("bytes", "complete", "failed", "seconds", "sizes")

    def __init__(self) -> None:
        self.complete = 0
        self.failed: dict[str, int] = {}  #: by ending
        self.bytes = 0  #: all that has moved, whatever came of it
        self.seconds = Histogram(SECONDS)  #: of the complete ones
        self.sizes = Histogram(SIZES)

    def add(self, record: Transfer) -> None:
        size, ending = record.bytes, record.ending
        self.bytes += size
        if ending is _COMPLETE:
            self.complete += 1
            self.seconds.add(record.seconds)
            self.sizes.add(size)
        else:
            self.failed[ending.value] = self.failed.get(ending.value, 0) + 1

    @property
    def endings(self) -> dict[str, int]:
        return {_COMPLETE.value: self.complete, **self.failed}


class Counts:
    """One server's. Nothing here is ever taken back, and what is counted by is known beforehand."""

    def __init__(self, verbs: Collection[str]) -> None:
        """`verbs`: the commands that there are."""
        self._verbs = verbs
        self.replies: dict[tuple[str, int], int] = {}  #: by verb and code; those to no command have no verb
        self.transfers: defaultdict[str, Moved] = defaultdict(Moved)  #: by verb
        self.hooks: dict[tuple[str, str], int] = {}  #: by hook and ending: done, failed, late, dropped
        self.hooks_waiting = 0  #: now
        self.events: dict[str, int] = {happening.value: 0 for happening in Happening}
        self.refusals: dict[str, int] = {}  #: connections that were turned away, by the limit that did it

    def replied(self, verb: str, code: int) -> None:
        """A reply is sent. This is in the way of every command."""
        try:
            self.replies[verb, code] += 1
        except KeyError:
            key = (verb if not verb or verb in self._verbs else OTHER), code
            self.replies[key] = self.replies.get(key, 0) + 1

    def hooked(self, hook: str, ending: str) -> None:
        """A hook was run, or should have been."""
        self.hooks[hook, ending] = self.hooks.get((hook, ending), 0) + 1

    def refused(self, limit: str) -> None:
        """A connection is turned away; not each of them has a record."""
        self.refusals[limit] = self.refusals.get(limit, 0) + 1

    def take(self) -> dict[str, Any]:
        """What was counted since the last time, beside what records tell, fit for JSON; from here on it counts anew."""
        taken = {
            "replies": [[*key, count] for key, count in self.replies.items()],
            "hooks": [[*key, count] for key, count in self.hooks.items()],
            "refusals": list(self.refusals.items()),
        }
        for counts in (self.replies, self.hooks, self.refusals):
            counts.clear()
        return taken

    def add(self, taken: Mapping[str, Any]) -> None:
        """What another process of this server has counted."""
        for verb, code, count in taken["replies"]:
            self.replies[verb, code] = self.replies.get((verb, code), 0) + count
        for hook, ending, count in taken["hooks"]:
            self.hooks[hook, ending] = self.hooks.get((hook, ending), 0) + count
        for limit, count in taken["refusals"]:
            self.refusals[limit] = self.refusals.get(limit, 0) + count

    def recorded(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, Transfer):
                self.transfers[record.verb].add(record)
            elif isinstance(record, SessionEvent):
                self.events[record.happening.value] += 1
