"""Memory that is free goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import support
from serverprocess import python_path
from twisted.internet.task import Clock

from ftpsvc.allocator import KEPT, TRIM_EVERY, Trimming

SIZE, COUNT = 16 * 1024, 4000


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_what_is_free_between_what_is_in_use_is_given_back() -> None:
    clock = Clock()
    trimming = Trimming(clock)
    trimming.start()
    blocks: list[bytes | None] = [b"x" * SIZE for _ in range(COUNT)]
    full = resident()
    for number in range(COUNT):
        if number % 4:  # so that no end of the heap comes free
            blocks[number] = None
    kept = resident()
    clock.advance(TRIM_EVERY)
    assert kept - resident() > SIZE * COUNT // 4 > KEPT, (full, kept, resident())
    support.result_of(trimming.stop())
    assert clock.getDelayedCalls() == []
    assert len(list(filter(None, blocks))) == COUNT // 4


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_threads_have_no_heaps_of_their_own() -> None:
    assert heaps_of_threads("") > 0
    assert heaps_of_threads("share_one_heap()") == 0


def heaps_of_threads(setting: str) -> int:
    """How many there are in a program with eight threads that have allocated.

    glibc keeps 64 MiB for each, from such a border on: some that it uses, and right behind them what is out of reach.
    Python's own arenas may begin there too, but nothing is kept behind those.
    """
    program = f"""
import re, threading
from ftpsvc.allocator import share_one_heap
{setting}
there = threading.Barrier(9)
def work():
    blocks = [bytes(50_000) for _ in range(20)]
    there.wait()
    there.wait()
for _ in range(8):
    threading.Thread(target=work).start()
there.wait()
maps = re.findall("^([0-9a-f]+)-([0-9a-f]+) (rw-p|---p) 00000000 00:00 0 *$", open("/proc/self/maps").read(), re.M)
there.wait()
size = 64 << 20
starts = {{int(used[0], 16) for used, rest in zip(maps, maps[1:])
    if used[1:] == (rest[0], "rw-p") and rest[2] == "---p" and int(rest[1], 16) - int(used[0], 16) == size}}
print(sum(start % size == 0 for start in starts))
"""
    with python_path() as environment:
        return int(subprocess.check_output([sys.executable, "-c", program], env=environment))


@pytest.mark.usefixtures("no_collector")
def test_circles_among_what_is_new_are_undone() -> None:
    class Circle:
        pass

    clock = Clock()
    trimming = Trimming(clock)
    trimming.start()
    circle: Any = Circle()
    circle.itself = circle
    left = weakref.ref(circle)
    del circle
    assert left() is not None
    clock.advance(TRIM_EVERY)
    assert left() is None
    support.result_of(trimming.stop())
