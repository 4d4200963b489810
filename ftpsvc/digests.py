"""Remembering the digests of files that were read to their end, so that the next one who retrieves them costs less.

What is remembered is good as long as the file is the same by device, number, size and both times. A digest that has
gone stale unseen is no danger: whoever receives the file digests it again, and would find it damaged.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable

#: How many digests are kept, the latest used: some 400 bytes each.
MAX_KNOWN = 1000

#: A file that was changed less than this many seconds ago may be changed again within the same tick of the file
#: system's clock, which its times would not show: some file systems know every other second only.
SETTLED = 2.0

#: The same where a file's time has a fraction that only a finer clock has: the kernel's ticks every few milliseconds.
SETTLED_FINE = 0.1

_Key = tuple[int, int, int, int, int]


class KnownDigests:
    """The digests of whole files, by what `fstat` says of them."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is the time of day, in seconds since 1970."""
        self._now = now
        self._known: OrderedDict[_Key, str] = OrderedDict()

    def look_up(self, status: os.stat_result) -> str | None:
        """The digest of a file in this state, if it is known."""
        key = _key(status)
        digest = self._known.get(key)
        if digest is not None:
            self._known.move_to_end(key)
        return digest

    def remember(self, before: os.stat_result, descriptor: int, digest: str) -> None:
        """Take down what was found by reading all of a file that was in the state `before` when that began."""
        key = _key(before)
        changed = max(before.st_mtime, before.st_ctime)
        # By the time that nobody can set.
        settled = SETTLED_FINE if before.st_ctime_ns % 1_000_000 else SETTLED
        if key == _key(os.fstat(descriptor)) and changed < self._now() - settled:
            self._known[key] = digest
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)


def _key(status: os.stat_result) -> _Key:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
