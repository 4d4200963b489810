"""The storages behind the accounts: one for each home and account, opened by the first login and kept to the end."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ftpsvc.commons import Common
from ftpsvc.model import Account, TransferError
from ftpsvc.objects.urls import is_address, location
from ftpsvc.parts import is_part
from ftpsvc.quota import Quota
from ftpsvc.storage import Storage
from ftpsvc.threads import Run
from ftpsvc.usage import Usage, Used

#: How many entries one trip to a thread counts, so that others get their turn there.
COUNT_STEP = 2000


class Disk(Storage, Protocol):
    """What a home is kept in."""

    async def sweep(self, before: float, run: str = "") -> int:
        """Remove the parts that no upload holds and that were last written before this time of day, or that have names
        of this run of a worker (`parts.RUN`), which nobody can go on from; how many."""

    def close(self) -> None:
        """Give everything back."""


@runtime_checkable
class CountsItself(Protocol):
    """A home that isn't counted by walking through folders."""

    async def count(self) -> Used:
        """What lies in it."""


#: Makes a `Usage`: of what counts a home, a clock, where that is remembered, and the home's path.
MakeUsage = Callable[[Callable[[], Deferred[Used]], Callable[[], float], Common, str], Usage]


class Homes:
    """Finds the storage for an account. Who shares a home shares its usage; the parts of uploads are each one's own."""

    _log = Logger()

    def __init__(
        self,
        open_disk: Callable[[str, str], Disk],
        run: Run,
        clock: Callable[[], float],
        common: Common | None = None,
        make_usage: MakeUsage = Usage,
    ) -> None:
        """`open_disk` takes a folder and the owner of the parts that are made in it; it raises `OSError`. `common`:
        where what lies in the homes is remembered; `make_usage`: who does so, for each."""
        self._make_usage = make_usage
        self._open_disk = open_disk
        self._run = run
        self._clock = clock
        self._common = common or Common()
        self._disks: dict[tuple[str, str], tuple[tuple[int, int], Disk]] = {}
        self._left: list[Disk] = []  #: of homes that were replaced by others; sessions may still be in them
        self._places: dict[str, str] = {}  #: the homes, by the names of those who have logged in
        self._usages: dict[str, Usage] = {}
        #: The homes that are known beside those in use, for the sweep.
        self.known: Callable[[], Iterable[str]] = tuple

    def storage(self, home: str, account: Account, owner: str) -> Storage:
        """The account's files. Raises `OSError` if the home can't be opened."""
        home = _canonical(home)
        self._places[account.name] = home
        disk = self._disk(home, owner)
        if account.quota_bytes is None and account.quota_files is None:
            return disk
        usage = self._usages.get(home)
        if usage is None:
            usage = self._usages[home] = self._make_usage(
                lambda: self._count(home, disk), self._clock, self._common, home
            )
        return Quota(disk, usage, account)

    def locate(self, account: str, path: str) -> str:
        """Where on this machine somebody's path is; empty if they have never logged in."""
        home = self._places.get(account)
        return "" if home is None else home.rstrip("/") + path

    def _count(self, home: str, disk: Disk) -> Deferred[Used]:
        if isinstance(disk, CountsItself):
            return Deferred.fromCoroutine(disk.count())
        return _counted(home, self._run)

    def _disk(self, home: str, owner: str) -> Disk:
        identity = _identity(home)
        if known := self._disks.get((home, owner)):
            if known[0] == identity:
                return known[1]
            self._left.append(known[1])  # something else is mounted there by now
        disk = self._open_disk(home, owner)
        self._disks[home, owner] = identity, disk
        return disk

    async def sweep(self, before: float, run: str = "") -> int:
        """The same in all homes, those of accounts that nobody has used yet among them."""
        homes = {_canonical(home): None for home in self.known()} | {home: None for home, _ in self._disks}
        removed = 0
        for home in homes:
            with contextlib.suppress(OSError):  # whoever logs in hears of it
                disk = next((disk for (path, _), (_, disk) in self._disks.items() if path == home), None)
                sweep = self._sweep_unused(home, before, run) if disk is None else disk.sweep(before, run)
                try:
                    removed += await sweep
                except TransferError as error:
                    # As an object storage that is away, or lets nobody see its uploads: no reason to leave the others.
                    self._log.warn("{home}: the parts of broken uploads can't be removed: {why}", home=home, why=error)
        return removed

    async def _sweep_unused(self, home: str, before: float, run: str) -> int:
        # Not kept open: there may be thousands, and nobody knows who will ever come.
        disk = self._open_disk(home, "")
        try:
            return await disk.sweep(before, run)
        finally:
            disk.close()

    def close(self) -> None:
        """Close them all."""
        for _, disk in self._disks.values():
            disk.close()
        for disk in self._left:
            disk.close()
        self._disks.clear()
        self._left.clear()


def _canonical(home: str) -> str:
    """One text for each home, whoever has written it."""
    if is_address(home):
        return str(location(home))
    return os.path.realpath(home)


def _identity(home: str) -> tuple[int, int]:
    """What changes when something else is mounted there. Raises `OSError` if there is nothing."""
    if is_address(home):
        return 0, 0
    status = os.stat(home)
    return status.st_dev, status.st_ino


def _counted(home: str, run: Run) -> Deferred[Used]:
    async def count() -> Used:
        walk = _walk(home)
        used = Used()
        while (step := await run(_step, walk)) is not None:
            used = Used(used.size + step.size, used.files + step.files)
        return used

    return Deferred.fromCoroutine(count())


def _step(walk: Iterator[Used]) -> Used | None:
    """Some of the walk, for a thread; None when it is over."""
    size = files = 0
    for n, found in enumerate(walk, 1):
        size, files = size + found.size, files + found.files
        if n == COUNT_STEP:
            break
    else:
        if not (size or files):
            return None
    return Used(size, files)


def _walk(home: str) -> Iterator[Used]:
    """Everything below a folder. A file with many names counts once; what can't be looked at doesn't count."""
    seen: set[tuple[int, int]] = set()
    try:
        descent = _Descent(home)
    except OSError:
        return
    folders = [(0, b".")]  # how deep it lies, and its name: its path may be of any length, and there are many of them
    try:
        while folders:
            depth, name = folders.pop()
            with contextlib.suppress(OSError), os.scandir(descent.enter(depth, name)) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            folders.append((depth + 1, os.fsencode(entry.name)))
                        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
                            if (status.st_dev, status.st_ino) in seen:
                                yield Used(0, 1)
                                continue
                            seen.add((status.st_dev, status.st_ino))
                        # What becomes of a part is told with its bytes alone, since it is no file yet.
                        files = 0 if is_part(os.fsencode(entry.name)) else 1
                        yield Used(status.st_size if stat.S_ISREG(status.st_mode) else 0, files)
    finally:
        descent.close()


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Descent:
    """Goes from folder to folder in a home, by steps that are names, down, and `..`, up.

    Clients have paths that begin at the home, and carry folders into one another: a path may be longer than the system
    takes, and than there is memory for, if each of many folders has its own.
    """

    def __init__(self, home: str) -> None:
        """Raises `OSError`."""
        self._home = home
        self._descriptor = os.open(home, _FOLDER)
        self._at = 0
        self._way = [(b".", self._identity())]  #: the folders down to the one that was entered last

    def enter(self, depth: int, name: bytes) -> int:
        """A descriptor of a folder in the last one that was entered so deep, good until the next. Raises `OSError`."""
        del self._way[max(depth, 1) :]
        try:
            self._climb()
        except OSError:  # somebody has carried a folder elsewhere in which we were: from the beginning, then
            self._step(self._home, 0)
            self._climb()
        if depth:
            self._step(name, depth)
            self._way.append((name, self._identity()))
        return self._descriptor

    def _climb(self) -> None:
        last = len(self._way) - 1
        while self._at > last:
            self._step(b"..", self._at - 1)
        while self._at < last:
            self._step(self._way[self._at + 1][0], self._at + 1)
        if self._identity() != self._way[last][1]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _step(self, name: str | bytes, to: int) -> None:
        flags = _FOLDER | os.O_NOFOLLOW if to else _FOLDER  # the home may be a link
        before, self._descriptor = self._descriptor, os.open(name, flags, dir_fd=self._descriptor)
        os.close(before)
        self._at = to

    def _identity(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def close(self) -> None:
        os.close(self._descriptor)


def since_the_start() -> float:
    """A clock for `Homes` that nobody can set back."""
    return time.monotonic()
