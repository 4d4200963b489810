"""The three descriptors that every program has, also one that was started without them."""

from __future__ import annotations

import io
import os
import sys


def hold_standard() -> None:
    """Open what this program was started without (`<&-`, `>&-`): else the next file or socket would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Not to be read: an input that isn't there is no empty one, which `put -` would store.
            os.open(os.devnull, os.O_RDWR if descriptor else os.O_WRONLY)


def open_streams() -> None:
    """Have the three streams, also where this program was started without one. For programs to call before they import
    anything: some libraries leave a file of their own open, and it would be read as the standard input."""
    hold_standard()
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this locale has no letters for still lists
