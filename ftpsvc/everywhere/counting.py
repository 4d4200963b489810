"""How many there are of each kind: what this process has counted, what its node has, and what the others have told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ftpsvc.commons import Counts
from ftpsvc.connections import ACCOUNT, ADDRESS, ALL
from ftpsvc.usage import COMMITS, UPLOADS

_KINDS = (ADDRESS, ACCOUNT, UPLOADS, COMMITS)


def is_everywhere(key: str) -> bool:
    """Whether it is counted over all nodes. Ports and turns of passwords are a node's own."""
    return key == ALL or key.startswith(_KINDS)


class Mirror:
    """What the other nodes have told of their counts."""

    def __init__(self, node: str) -> None:
        """`node`: whose counts are known without being told."""
        self._mine = f"{node}."
        self._runs: dict[str, dict[str, int]] = {}
        self._sums: dict[str, int] = {}

    def is_elsewhere(self, run: str) -> bool:
        """Whether it is of another node."""
        return not run.startswith(self._mine)

    @property
    def runs(self) -> int:
        return len(self._runs)

    @property
    def nodes(self) -> int:
        """How many others there are."""
        return len({run.partition(".")[0] for run in self._runs if self.is_elsewhere(run)})

    def count(self, key: str) -> int:
        return self._sums.get(key, 0)

    def told(self, run: str, counts: Mapping[str, int]) -> None:
        """What a run has counted by now of some keys."""
        known = self._runs.setdefault(run, {})
        if not self.is_elsewhere(run):
            return
        for key, own in counts.items():
            self._add(key, own - known.get(key, 0))
            if own:
                known[key] = own
            else:
                known.pop(key, None)

    def _add(self, key: str, more: int) -> None:
        total = self._sums.get(key, 0) + more
        if total:
            self._sums[key] = total
        else:
            self._sums.pop(key, None)

    def gone(self, run: str) -> None:
        """It has ended, and nothing that it had counted is there any more."""
        for key, own in self._runs.pop(run, {}).items():
            self._add(key, -own)

    def those(self, runs: set[str]) -> None:
        """There are these runs and no others."""
        for run in [run for run in self._runs if run not in runs]:
            self.gone(run)
        for run in runs:
            self._runs.setdefault(run, {})

    def replace(self, run: str, counts: Mapping[str, int]) -> None:
        """All that a run has counted by now."""
        known = self._runs.get(run, {})
        self.told(run, {key: 0 for key in known if key not in counts} | dict(counts))


class CountsEverywhere:
    """The `Counts` of a process of a node among several."""

    def __init__(
        self, here: Counts, mirror: Mirror, room: Mapping[str, int | None], changed: Callable[[], None]
    ) -> None:
        """`here`: where this node counts, in all of its processes. `room`: how many of a key it may have, whatever may
        be over all nodes. `changed` is called when there is something to tell."""
        self.here = here
        self.mirror = mirror
        self._room = room
        self._changed = changed
        self.own: dict[str, int] = {}  #: what this process has counted of what is counted everywhere
        self.unsaid: set[str] = set()  #: of which of those something is to be told

    def more(self, key: str, most: int | None = None) -> bool:
        if not is_everywhere(key):
            return self.here.more(key, most)
        if not self.here.more(key, self._most_here(key, most)):
            return False
        self.add(key)
        self._mark(key)
        return True

    def _most_here(self, key: str, most: int | None) -> int | None:
        room = self._room.get(key)
        if most is None:
            return room
        most = max(most - self.mirror.count(key), 0)
        return most if room is None else min(most, room)

    def add(self, key: str) -> int:
        """One more of this process; how many those are."""
        own = self.own[key] = self.own.get(key, 0) + 1
        return own

    def less(self, key: str) -> None:
        self.here.less(key)
        if own := self.own.get(key, 0):
            if own == 1:
                del self.own[key]
            else:
                self.own[key] = own - 1
            self._mark(key)

    def _mark(self, key: str) -> None:
        self.unsaid.add(key)
        self._changed()

    def count(self, key: str) -> int:
        return self.here.count(key) + self.mirror.count(key)

    def take_unsaid(self, most: int) -> dict[str, int]:
        """What is to be told, at most of so many keys."""
        keys = [self.unsaid.pop() for _ in range(min(most, len(self.unsaid)))]
        return {key: self.own.get(key, 0) for key in keys}
