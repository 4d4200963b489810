"""How the process deals with memory that it no longer needs."""

from __future__ import annotations

#: Blocks of up to this size are kept for their next use, and twice as much of what is free at the heap's end. The
#: largest that come and go all the time have 1 MiB: what one recv brings.
KEPT = 4 * 1024 * 1024


def keep_freed_memory() -> None:
    """Have freed blocks of up to `KEPT` bytes kept for the next ones. For programs to call once, at their start.

    glibc gives each block of more than 128 KiB back to the system, until one of more was freed: from then on it keeps
    those of that size (mallopt(3), M_MMAP_THRESHOLD). Until then the system clears every page of every buffer anew,
    which costs as much as the encryption does, or the way through the network. Other systems' allocators know better.
    """
    bytearray(KEPT)
