"""How the process deals with memory that it no longer needs."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

from twisted.internet.task import LoopingCall

#: Blocks of up to this size are kept for their next use. The largest that come and go all the time have 1 MiB: what one
#: recv brings.
KEPT = 4 * 1024 * 1024

#: How often what is free between blocks that are in use goes back to the system, in seconds. It takes a millisecond.
TRIM_EVERY = 10.0


def keep_freed_memory() -> None:
    """Have freed blocks of up to `KEPT` bytes kept for the next ones. For programs to call once, at their start.

    glibc gives each block of more than 128 KiB back to the system, until one of more was freed: from then on it keeps
    those of that size (mallopt(3), M_MMAP_THRESHOLD). Until then the system clears every page of every buffer anew,
    which costs as much as the encryption does, or the way through the network. Other systems' allocators know better.
    """
    bytearray(KEPT)


def share_one_heap() -> None:
    """Have all threads allocate from the same heap. For programs to call once, before they have any.

    glibc makes up to eight heaps for each core, so that threads don't wait for each other (mallopt(3), M_ARENA_MAX). In
    Python they do that anyway, and what one of them has freed would be of no use to the others, nor ever go back.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_ARENA_MAX, 1)


_M_ARENA_MAX = -8  # malloc.h


class Trimming:
    """Gives back what is free, again and again, and looks for circles among what is new.

    What one transfer has freed is mostly not where the next one needs it. Under a mixed load the heap grows for hours,
    to twice of what is ever in use at a time. Each job in a thread leaves a circle of Twisted's, small, but a page that
    it lies in can't go back.
    """

    def __init__(self, clock: Any) -> None:
        # glibc's (malloc_trim(3)); other systems' allocators do it by themselves.
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._looping = LoopingCall(self._give_back)
        self._looping.clock = clock

    def start(self) -> None:
        if self._trim is not None:
            self._looping.start(TRIM_EVERY, now=False)

    async def stop(self) -> None:
        if self._looping.running:
            self._looping.stop()

    def _give_back(self) -> None:
        assert self._trim is not None
        gc.collect(0)  # no more than what has come since it looked last: some milliseconds at the most
        self._trim(0)
