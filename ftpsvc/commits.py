"""Making files durable, many at a time.

A commit is: fsync the file, rename it into place, fsync the directory. What is waiting at the same moment is
committed together: one trip to a thread for all of it, and one fsync for each directory, however many of its
files are new (docs/architecture.md, "What 226 means").
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ftpsvc import unnamed
from ftpsvc.parts import give_name, made_up_part, write_all
from ftpsvc.threads import Run, done_with, owning

#: The most files in one trip. The first of them waits for the last, so this also bounds an unlucky commit's delay.
MAX_TOGETHER = 256

#: A file larger than this is committed on its own: flushing it, or giving back the space of the one that it replaces,
#: may take seconds, which small ones need not wait for.
SMALL = 4 * 1024 * 1024


class PartFile(NamedTuple):
    """A part that is written, and the name it is to have in the same directory."""

    directory: int
    name: bytes
    file: int
    part: bytes
    size: int
    replace: bool = True

    def put_in_place(self, sync: bool) -> None:
        """Let it have its name. Raises `OSError`; then the part is still there."""
        if sync:
            os.fsync(self.file)
        give_name(self.directory, self.part, self.name, self.replace)


class WholeFile(NamedTuple):
    """A small file that is still in memory."""

    directory: int
    name: bytes
    data: bytes
    mode: int
    modified: int | None
    replace: bool = True

    @property
    def size(self) -> int:
        return len(self.data)

    def put_in_place(self, sync: bool) -> None:
        """Write it to a part of its own, and let that have the name. Raises `OSError`; then nothing is left."""
        part = made_up_part()
        file = os.open(part, _NEW, 0o600, dir_fd=self.directory)
        try:
            write_all(file, self.data)
            os.fchmod(file, self.mode)
            if self.modified is not None:
                os.utime(file, ns=(self.modified, self.modified))
            if sync:
                os.fsync(file)
            give_name(self.directory, part, self.name, self.replace)
        except BaseException:
            os.unlink(part, dir_fd=self.directory)
            raise
        finally:
            os.close(file)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Finished(Protocol):
    """What a `Committer` takes."""

    @property
    def directory(self) -> int:
        """The directory's descriptor."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    def put_in_place(self, sync: bool) -> None:
        """Make the file durable and let it have its name. The directory is synced by the caller."""


class Committer:
    """Carries out commits, in the order in which they were asked for as far as small files go."""

    def __init__(self, run: Run, sync: bool = True) -> None:
        """`sync=False` leaves out every fsync: faster, and a power cut may take back what was promised."""
        self._run = run
        self._sync = sync
        self._waiting: list[tuple[Finished, Deferred[None]]] = []
        self._running = False

    def is_quick(self, directory: int, size: int = 0) -> bool:
        """Whether a commit of so many bytes in this directory takes no time, so that a thread would only cost it."""
        return size <= SMALL and self.is_quick_on(os.fstat(directory).st_dev)

    def is_quick_on(self, device: int) -> bool:
        """The same of a small file, for all that is on a device."""
        return not self._sync or is_in_memory(device)

    def commit_now(self, finished: Finished) -> None:
        """Put a file into place and make it durable, at once. Raises `OSError`."""
        finished.put_in_place(self._sync)
        if self._sync:
            fsync_directory(finished.directory)

    def create_now(self, file: WholeFile) -> bool:
        """The same for a small file whose name is new; False if it isn't. Raises `OSError`."""
        if not unnamed.create(file.directory, file.name, file.data, file.mode, file.modified, self._sync):
            return False
        if self._sync:
            fsync_directory(file.directory)
        return True

    def commit(self, finished: Finished) -> Deferred[None]:
        """The same in a thread, together with what else is waiting. Fires when all is durable, or with the `OSError`.

        Can't be cancelled: a caller who goes away leaves behind a file that is whole.
        """
        done: Deferred[None] = Deferred()
        if finished.size > SMALL:
            self._start([(finished, done)])
        else:
            self._waiting.append((finished, done))
            self._next()
        return done

    async def sync(self, directory: int) -> None:
        """Make durable what was made or renamed in a directory. Raises `OSError`."""
        if self.is_quick(directory):
            return
        try:
            kept = os.dup(directory)
        except OSError:
            fsync_directory(directory)  # what was made is there: no want of a descriptor may have it refused now
            return
        await done_with(self._run(owning, fsync_directory, kept))

    async def sync_file(self, file: int, directory: int) -> None:
        """Make durable what was written to a file in place. Raises `OSError`."""
        if self._sync:
            await done_with(self._run(_sync_both, file, directory))

    def _next(self) -> None:
        if self._waiting and not self._running:
            self._running = True
            batch, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
            self._start(batch).addBoth(self._ran)

    def _ran(self, _result: object) -> None:
        self._running = False
        self._next()

    def _start(self, batch: list[tuple[Finished, Deferred[None]]]) -> Deferred[None]:
        job = self._run(_carry_out, [commit for commit, _ in batch], self._sync)

        def finished(outcomes: list[OSError | None] | Failure) -> None:
            for index, (_, done) in enumerate(batch):
                outcome = outcomes if isinstance(outcomes, Failure) else outcomes[index]
                if outcome is None:
                    done.callback(None)
                else:
                    done.errback(outcome)

        return job.addBoth(finished)


def _carry_out(commits: Iterable[Finished], sync: bool) -> list[OSError | None]:
    """What became of each: None, or the error. A directory that can't be synced fails all of its files."""
    outcomes: list[OSError | None] = []
    renamed: dict[tuple[int, int], list[int]] = {}
    directories: dict[tuple[int, int], int] = {}
    for index, commit in enumerate(commits):
        outcomes.append(None)
        try:
            commit.put_in_place(sync)
        except OSError as error:
            outcomes[index] = error
            continue
        if sync:
            status = os.fstat(commit.directory)
            directories[status.st_dev, status.st_ino] = commit.directory
            renamed.setdefault((status.st_dev, status.st_ino), []).append(index)
    for key, directory in directories.items():
        try:
            fsync_directory(directory)
        except OSError as error:
            for index in renamed[key]:
                outcomes[index] = error
    return outcomes


def _sync_both(file: int, directory: int) -> None:
    os.fsync(file)
    fsync_directory(directory)


#: Why a directory can't be synced alone: it may be written and not read, so that its descriptor is O_PATH; and its file
#: system has no such call for directories, as VirtualBox's shared folders and some of 9p.
_NOT_BY_ITSELF = (errno.EBADF, errno.EINVAL)


def fsync_directory(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _NOT_BY_ITSELF:
            raise
        os.sync()


@lru_cache(maxsize=256)
def is_in_memory(device: int) -> bool:
    """Whether a device number belongs to a file system that lives in memory, so that no call on it waits long."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for mount in mounts:
                fields, _, rest = mount.partition(" - ")
                if fields.split(" ", 3)[2] == wanted:
                    return rest.split(" ", 1)[0] in ("tmpfs", "ramfs")
    except OSError:
        pass  # no /proc: then nothing is known, and the careful way is right
    return False
