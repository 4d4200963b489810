"""What a disk tells of its entries: of one, and of all in a folder."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Iterator

from twisted.internet.defer import Deferred

from ftpsvc.jail import Jail
from ftpsvc.model import PART_PREFIX, Entry, Kind, decode_name, encode_name
from ftpsvc.threads import Run, close_behind, done_with

#: How many entries one trip to a thread reads: enough to make the trip cheap, few enough to hold in memory. Twenty-one
#: MLSD of 10,000 a second; one less with half as many, and none is gained with more.
LIST_BATCH = 1024

#: To open an entry for no more than a look at it.
LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)

_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.LINK}


def entry_of(name: str, status: os.stat_result) -> Entry:
    """What `fstat` says, in the domain's terms."""
    kind, mode = _kind_and_mode(status.st_mode)
    # An f-string takes twice as long for hexadecimal digits, and `Entry(...)` for what it comes to. This is done for
    # each name of each listing.
    unique = "%xg%x" % (status.st_dev, status.st_ino)  # noqa: UP031
    return tuple.__new__(Entry, (name, kind, status.st_size, status.st_mtime_ns, mode, status.st_nlink, unique, False))


@functools.lru_cache(maxsize=512)
def _kind_and_mode(mode: int) -> tuple[Kind, int]:
    return _KINDS.get(stat.S_IFMT(mode), Kind.OTHER), mode & 0o777


def _kind_of(entry: os.DirEntry[str]) -> Kind:
    """What the folder itself says of an entry that can't be looked at, as in one that may be read and not entered. It
    is there all the same: a mirror removes what isn't listed."""
    with contextlib.suppress(OSError):
        if entry.is_dir(follow_symlinks=False):
            return Kind.DIRECTORY
        if entry.is_file(follow_symlinks=False):
            return Kind.FILE
    return Kind.OTHER


class Scan:
    """A directory being listed, a batch at a time, in threads: the next one while the last one is made use of."""

    def __init__(self, jail: Jail, run: Run, path: bytes) -> None:
        self._jail = jail
        self._run = run
        self._path = path
        self._directory = jail.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._names: Iterator[os.DirEntry[str]] | None = None
        self._job: Deferred[list[Entry]] | None = None
        self._has_ended = False

    async def next(self) -> list[Entry]:
        """The next entries; none at the end. Raises `OSError`."""
        if self._job is None:
            self._look_ahead()
        if self._job is None:
            return []
        batch = await done_with(self._job)
        self._look_ahead()
        return batch

    def _look_ahead(self) -> None:
        self._job = None if self._has_ended else self._run(self._read)

    def _read(self) -> list[Entry]:
        if self._names is None:
            self._names = os.scandir(self._directory)
        entries: list[Entry] = []
        for found in self._names:
            name = found.name
            if not name.isascii():  # then what Python makes of its bytes depends on the locale
                name = decode_name(os.fsencode(name))
            if name.startswith(PART_PREFIX):
                continue
            # Whatever is wrong with one entry never fails the listing.
            try:
                status = found.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it vanished
            except OSError:
                entry = Entry(name, _kind_of(found))
            else:
                entry = entry_of(name, status)
                if entry.kind is Kind.LINK:
                    entry = self._link(name, status)
            entries.append(entry)
            if len(entries) == LIST_BATCH:
                return entries
        self._has_ended = True
        return entries

    def _link(self, name: str, status: os.stat_result) -> Entry:
        """Where it leads, or the link itself if that can't be told."""
        with contextlib.suppress(OSError):
            descriptor = self._jail.open(self._path + b"/" + encode_name(name), LOOK)
            try:
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        return entry_of(name, status)._replace(is_link=True)

    async def close(self) -> None:
        await close_behind(self._job, self._close)

    def _close(self) -> None:
        if self._names is not None:
            self._names.close()  # type: ignore[attr-defined]  # typeshed calls it an Iterator; it is scandir's own
        os.close(self._directory)
