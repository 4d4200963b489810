"""twistd over two disks, one of which is slow: each of its jobs sleeps in its thread before it does anything.

`python bench/slowdisk.py SECONDS FOLDER …`, with what stands behind `twistd` after that. All that is below FOLDER is on
the slow disk. No folder counts as one in memory, though it may be: there, nothing would be left to threads.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ftpsvc import commits, diskfiles, premises, pump
from ftpsvc.localdisk import LocalDisk
from ftpsvc.threads import Run

T = TypeVar("T")


def slowed(run: Run, seconds: float) -> Run:
    """The same place for jobs, each of which takes so much longer."""

    def asleep_first(function: Callable[..., T], *args: Any) -> T:
        time.sleep(seconds)
        return function(*args)

    def run_slowly(function: Callable[..., T], /, *args: Any) -> Any:
        return run(asleep_first, function, *args)

    return run_slowly


def main() -> None:
    from twisted.scripts.twistd import run as twistd

    seconds, folder = float(sys.argv[1]), os.path.realpath(sys.argv[2])
    del sys.argv[1:3]

    def open_disk(home: str, run: Run, **options: Any) -> LocalDisk:
        return LocalDisk(home, slowed(run, seconds) if home.startswith(folder) else run, **options)

    premises.LocalDisk = open_disk  # type: ignore[misc, assignment]
    for module in (commits, diskfiles, pump):
        module.is_in_memory = lambda device: False  # type: ignore[attr-defined]
    twistd()


if __name__ == "__main__":
    main()
