"""Memory that is free goes back to the system."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import support
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
