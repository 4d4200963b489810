"""A file that somebody has written for this program, read whole: of a bounded size, and never waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(file: Path, most: int) -> bytes:
    """What is in a file of at most so many bytes. Raises `OSError`, with a text for people.

    It may be the reactor that reads, and again while others are served. A pipe would have it wait for somebody to
    write, perhaps for ever, and a device like /dev/zero never ends.
    """
    with open(file, "rb", opener=_without_waiting) as opened:
        if stat.S_ISFIFO(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is a pipe, and can't be read again", str(file))
        data = opened.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes", str(file))
    return data


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
