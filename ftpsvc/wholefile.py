"""Files that are read and replaced as a whole: of a bounded size, never waited for, and by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
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


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While entered, nobody else is in here with the same folder: what they do to its files together, the one would
    undo to the other. Raises `OSError`.

    It is the folder that is locked, since the files are replaced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
