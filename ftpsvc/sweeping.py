"""Removing the parts of uploads that broke off and that nobody came back for.

A part that an upload holds is locked (`parts.open_part`), and stays. An upload that begins while its part is being
looked at here finds it locked, and takes another name: nobody waits for anybody.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
from collections.abc import Generator, Iterator

from ftpsvc.jail import Jail
from ftpsvc.locks import NoLocks, lock
from ftpsvc.parts import is_made_up, is_part, made_up_in, open_to_lock

#: How many entries one step looks at: some milliseconds, for which a thread is not to be had by others.
STEP = 2000

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Sweep:
    """One walk through the tree. `step` is called, in a thread, until it says that there is no more to do."""

    def __init__(self, jail: Jail, before: float, run: str = "") -> None:
        """`before`: parts that were written to since then stay, in seconds since 1970; but not those of a run that is
        over, whose names nobody else makes up."""
        self._jail = jail
        self._before = before
        self._of_run = made_up_in(run) if run else None
        self._folders = [b""]
        self._entries: Generator[None, None, None] | None = None
        self.removed = 0

    def step(self) -> bool:
        """Look at some more; whether there is more."""
        for _ in range(STEP):
            if self._entries is None:
                if not self._folders:
                    return False
                self._entries = self._folder(self._folders.pop())
            if next(self._entries, self) is self:
                self._entries = None
        return True

    def close(self) -> None:
        """Give back what is open, in the middle of the walk too."""
        if self._entries is not None:
            self._entries.close()

    def _folder(self, path: bytes) -> Generator[None, None, None]:
        """Sweep one folder, and take down those in it. What can't be looked at is somebody else's, and stays."""
        with (
            contextlib.suppress(OSError),
            _opened(self._jail.open(path, _DIRECTORY)) as directory,
            os.scandir(directory) as entries,
        ):
            for entry in entries:
                name = os.fsencode(entry.name)
                if is_part(name):
                    is_lost = self._of_run is not None and name.startswith(self._of_run)
                    self.removed += remove_part(directory, name, math.inf if is_lost else self._before)
                elif entry.is_dir(follow_symlinks=False):
                    self._folders.append(path + b"/" + name if path else name)
                yield


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def remove_part(directory: int, name: bytes, before: float | None = None) -> bool:
    """Remove a part that no upload holds, and that wasn't written to since `before`; whether it was removed."""
    try:
        with _opened(open_to_lock(directory, name)) as part:
            status = os.fstat(part)
            if not stat.S_ISREG(status.st_mode) or (before is not None and status.st_mtime >= before):
                return False
            if not _is_free(part, name, before is not None):
                return False
            # Between the two an upload may have renamed it, and another made a new one of the same name.
            if not os.path.samestat(status, os.stat(name, dir_fd=directory, follow_symlinks=False)):
                return False
            os.unlink(name, dir_fd=directory)
            return True
    except OSError:
        return False  # it is held, or gone, or not ours to remove


def _is_free(part: int, name: bytes, is_old: bool) -> bool:
    """Whether no upload holds a part. Raises `OSError` if one does."""
    try:
        lock(part)
    except NoLocks:
        return is_old or not is_made_up(name)  # an upload under way has given it a name of its own
    return True


def _is_left(directory: int, name: bytes) -> bool:
    """Whether this is a part that no upload holds."""
    if not is_part(name):
        return False
    try:
        with _opened(open_to_lock(directory, name)) as part:
            return _is_free(part, name, is_old=False)
    except OSError:
        return False


def remove_if_only_parts(parent: int, name: bytes) -> int:
    """Remove a directory in which nothing is left but parts that no upload holds; how many bytes those had. Raises
    `OSError` if there is more. Then they stay: the directory does, and with it what somebody may want to go on from."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    size = 0
    with _opened(os.open(name, flags, dir_fd=parent)) as directory, os.scandir(directory) as entries:
        parts = []
        for entry in entries:
            if not _is_left(directory, os.fsencode(entry.name)):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
            parts.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False).st_size))
        for part, its_size in parts:
            size += its_size * remove_part(directory, part)
    os.rmdir(name, dir_fd=parent)
    return size
