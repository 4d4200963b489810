"""The three descriptors that every program has, also one that was started without them."""

from __future__ import annotations

import os


def hold_standard() -> None:
    """Open what this program was started without (`<&-`, `>&-`): else the next file or socket would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Not to be read: an input that isn't there is no empty one, which `put -` would store.
            os.open(os.devnull, os.O_RDWR if descriptor else os.O_WRONLY)
