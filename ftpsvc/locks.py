"""Locks on open files, which end with them; and what stands in where a file system has none, as some over a network."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os

from twisted.logger import Logger

_log = Logger()

_NONE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class NoLocks(OSError):
    """The file system has none."""


def lock(descriptor: int, to_look: bool = False) -> None:
    """Lock a file, and wait for nobody. Raises `OSError`: EAGAIN if somebody else has locked it, `NoLocks`.

    `to_look`: others who only want to know whether somebody has may do the same meanwhile.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if to_look else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NONE:
            raise
        _tell_of(os.fstat(descriptor).st_dev)
        raise NoLocks(error.errno, error.strerror) from error


def unlock(descriptor: int) -> None:
    """Let others lock it. Raises `OSError`."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@functools.lru_cache(maxsize=256)
def _tell_of(device: int) -> None:
    """Once for each file system."""
    _log.warn(
        "The file system {major}:{minor} has no locks (flock). Uploads are safe there all the same, but their parts are"
        " gone on from only if this server ended them, and workers don't see each other's APPE",
        major=os.major(device),
        minor=os.minor(device),
    )


#: The files, by device and number, that this process adds to where there are no locks.
_added_to: set[tuple[int, int]] = set()


class Alone:
    """Somebody adds to an open file, and nobody else does; where there are no locks, nobody else in this process."""

    def __init__(self, descriptor: int) -> None:
        """Raises `OSError`: EAGAIN if somebody else does."""
        self._descriptor = descriptor
        self._key: tuple[int, int] | None = None
        try:
            lock(descriptor)
            status = os.fstat(descriptor)
        except NoLocks:
            status = os.fstat(descriptor)
            key = (status.st_dev, status.st_ino)
            if key in _added_to:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
            _added_to.add(key)
            self._key = key
        self.before = status.st_size  #: how long it was
        self._times = (status.st_atime_ns, status.st_mtime_ns)

    def was_alone(self, size: int) -> bool:
        """Whether these bytes are all that was added. Others can only add where there are no locks."""
        return self._key is None or os.fstat(self._descriptor).st_size == self.before + size

    def undo(self, size: int) -> None:
        """Cut the file back, but not what others have added behind these bytes. Raises `OSError`.

        Never make it longer: whoever has emptied it meanwhile, as logrotate does in place, gets no zeros instead.
        It gets its time back, too: with another, whoever compares trees would take it for a file that was changed.
        """
        now = os.fstat(self._descriptor).st_size
        if self.before < now and (self._key is None or now <= self.before + size):
            os.ftruncate(self._descriptor, self.before)
            with contextlib.suppress(OSError):  # one that isn't ours, which all of a group may write to
                os.utime(self._descriptor, ns=self._times)

    def end(self) -> None:
        """Others may. To be called where the file is closed, which is what ends a lock."""
        if self._key is not None:
            _added_to.discard(self._key)
            self._key = None
