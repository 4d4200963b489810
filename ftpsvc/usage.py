"""What lies in the homes that have a quota: counted once, and then kept up to date by all who write there."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from ftpsvc import model
from ftpsvc.commons import Common, Note
from ftpsvc.model import Entry
from ftpsvc.threads import done_with

#: How old, in seconds, a count may become before the next login has the home counted again: for what has changed there
#: without passing through here.
COUNT_AGAIN = 3600.0


class Used(NamedTuple):
    """What lies in a home. Folders count as files: they take up inodes as those do."""

    size: int = 0
    files: int = 0


#: When a home was counted that is to be counted again at the next login.
LONG_AGO = float("-inf")


#: What uploads under way are counted as, and commits, of which a path has one at a time; each with the home behind it.
UPLOADS = "uploads "
COMMITS = "commit "

#: The same for those of the uploads that have what an earlier one has left.
RESUMED = "resumed "


class _Known(NamedTuple):
    """What is remembered of a home."""

    size: float
    files: float
    counted: float  #: when
    changes: float  #: how often something was added or taken away


class _Left(NamedTuple):
    """What is remembered of a part: what is counted for it, beside what uploads under way of its name have claimed, and
    how many of those there are. As long as there is one, what lies there and isn't counted so is one of theirs."""

    size: int
    uploads: int


class Usage:
    """What lies in one home, counted once and then kept up to date by all who write there."""

    _log = Logger()

    def __init__(
        self,
        count: Callable[[], Deferred[Used]],
        clock: Callable[[], float],
        common: Common | None = None,
        home: str = "",
    ) -> None:
        """`count` looks at the disk, beside the reactor. `common`: where it is remembered, by the home's path."""
        self._count = count
        self._clock = clock
        self._common = common or Common()
        self._home = home
        self._counting: Deferred[Any] | None = None
        self._commits: dict[str, tuple[DeferredLock, int]] = {}

    @property
    def _known(self) -> _Known | None:
        note = self._common.homes.get(self._home)
        return None if note is None else _Known(*note)

    @property
    def size(self) -> int:
        return int(known.size) if (known := self._known) else 0

    @property
    def files(self) -> int:
        return int(known.files) if (known := self._known) else 0

    @property
    def uploads(self) -> int:
        """How many are under way."""
        return self._common.counts.count(UPLOADS + self._home)

    @property
    def changes(self) -> float:
        """How often something was added or taken away."""
        return known.changes if (known := self._known) else 0

    def look_again(self) -> None:
        """Have the home counted, if that was long ago or never."""
        known = self._known
        is_old = known is None or self._clock() - known.counted > COUNT_AGAIN
        if is_old and self._counting is None:
            self._counting = self._count()
            self._counting.addCallback(self._learn, self.changes).addErrback(self._not_counted)

    def _learn(self, used: Used, changes: float) -> None:
        self._counting = None
        is_quiet, now = not self.uploads, self._clock()

        def learnt(note: Note | None) -> Note:
            # Of what changed during a count nobody knows whether it is in it. Beside the first nothing does: all wait.
            known = _Known(*note) if note else None
            if known is None or (changes == known.changes and is_quiet):
                return _Known(used.size, used.files, now, known.changes if known else 0)
            return known

        self._common.homes.change(self._home, learnt)

    def _not_counted(self, failure: Failure) -> None:
        self._counting = None
        self._log.failure("A home could not be counted, and its quota can't be held", failure)

    async def counted(self) -> None:
        """Wait for the first count. Raises `Busy` if there is none."""
        await self.count_over()
        if self._known is None:
            raise model.Busy("What lies in this account's home could not be counted. Try again later.")

    async def count_over(self) -> None:
        """The same for who takes something away: the count may have seen it, and who would say so?"""
        if self._known is None:
            self.look_again()
            if self._counting is not None:
                await done_with(self._counting)

    async def look(self) -> None:
        """See to it that what is remembered here is what lies there by now."""

    def add(self, size: int, files: int = 0) -> None:
        """The home has grown by this, or has become smaller."""
        self._common.homes.change(self._home, lambda note: note and _grown(_Known(*note), size, files))

    async def claim(self, size: int, files: int, most: int | None, most_files: int | None) -> str:
        """The same, in one step, if it doesn't become more than this; else nothing, and what there would be too much
        of: `bytes` or `files and folders`. Raises `Busy` if the home has to be counted first."""
        return self.claim_here(size, files, most, most_files)

    def claim_here(self, size: int, files: int, most: int | None, most_files: int | None) -> str:
        """The same by what is remembered here."""
        over = ""

        def claimed(note: Note | None) -> Note | None:
            nonlocal over
            if note is None:
                raise model.Busy("What lies in this account's home has to be counted again. Try again in a moment.")
            known = _Known(*note)
            if most is not None and size > 0 and known.size + size > most:
                over = "bytes"
            elif most_files is not None and files > 0 and known.files + files > most_files:
                over = "files and folders"
            return known if over else _grown(known, size, files)

        try:
            self._common.homes.change(self._home, claimed)
        except model.Busy:
            self.look_again()
            raise
        return over

    # -- uploads under way

    def begin(self, is_resumed: bool = False) -> None:
        """An upload, of which nobody knows how much of it a count would see. `is_resumed`: whether it has what an
        earlier one has left."""
        self._common.counts.more(UPLOADS + self._home)
        if is_resumed:
            self._common.counts.more(RESUMED + self._home)

    def end(self, is_resumed: bool = False) -> None:
        self._common.counts.less(UPLOADS + self._home)
        if is_resumed:
            self._common.counts.less(RESUMED + self._home)

    @contextmanager
    def changing(self) -> Generator[None, None, None]:
        """Something is about to be made, removed or renamed, of which nobody knows either."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def left_parts_alone(self, since: float) -> bool:
        """Whether no upload has had what an earlier one has left, since there were so many changes."""
        return not self._common.counts.count(RESUMED + self._home) and self.changes == since

    def grows(self, file: Entry) -> None:
        """A file is added to in place, and was this large before."""
        self._common.growing.change(file.unique, lambda _: (file.size,))

    def has_grown(self, file: Entry) -> None:
        """Nobody adds to it any more."""
        self._common.growing.change(file.unique, lambda _: None)

    def size_of(self, file: Entry) -> int:
        """The size that is counted for a file by now."""
        note = self._common.growing.get(file.unique)
        return int(note[0]) if note else file.size

    def keep(self, owner: str, path: str, size: int | None) -> None:
        """What `take_kept` has begun is over. So much lies there by now, and goes on counting; 0: nothing; None: what
        another upload counts, or has counted."""
        known, grown = self._known, 0

        def kept(note: Note | None) -> Note | None:
            nonlocal grown
            before, uploads = _left_of(note, known) or (0, 1)
            now = before if size is None else size
            grown = now - before
            return _noted(now, max(uploads - 1, 0), known)

        self._common.kept.change(self._kept(owner, path), kept)
        if grown:
            self.add(grown)

    def take_kept(self, owner: str, path: str) -> float:
        """How much of what is kept there this upload may use, to go on from or to write over, and nobody else until it
        calls `keep`. It counts, by the last count or since."""
        known = self._known
        before: _Left | None = None

        def taken(note: Note | None) -> Note | None:
            nonlocal before
            before = _left_of(note, known)
            return _noted(0, before.uploads + 1 if before else 1, known) if known else None

        self._common.kept.change(self._kept(owner, path), taken)
        return self._usable(before and before.size)

    def put_back(self, owner: str, path: str, size: int) -> None:
        """So much of what `take_kept` has given isn't there, as another upload of the name has it: that one gives it
        back. Without any it went with its folder, and was given back with that."""
        known = self._known

        def noted(note: Note | None) -> Note | None:
            left = _left_of(note, known)
            return note if left is None or left.uploads < 2 else _noted(left.size + size, left.uploads, known)

        self._common.kept.change(self._kept(owner, path), noted)

    def kept(self, owner: str, path: str) -> float:
        """The same for who only wants to know."""
        left = _left_of(self._common.kept.get(self._kept(owner, path)), self._known)
        return self._usable(left and left.size)

    def _usable(self, counted: int | None) -> float:
        """`counted`: what is known of it; 0 while an upload has it."""
        return math.inf if counted is None else counted

    def _kept(self, owner: str, path: str) -> str:
        # Each account has a part of its own.
        return f"{self._home}\0{owner}\0{path}"

    @asynccontextmanager
    async def alone(self, path: str) -> AsyncGenerator[None, None]:
        """Be the only one who commits to a path or takes away what is there: else two would give back the same file."""
        lock, waiting = self._commits.get(path, (DeferredLock(), 0))
        self._commits[path] = lock, waiting + 1
        try:
            await lock.acquire()
            try:
                await self._common.turn(turn := f"{COMMITS}{self._home}\0{path}")
                try:
                    yield
                finally:
                    self._common.counts.less(turn)
            finally:
                lock.release()
        finally:
            lock, waiting = self._commits.pop(path)
            if waiting > 1:
                self._commits[path] = lock, waiting - 1


def _left_of(note: Note | None, known: _Known | None) -> _Left | None:
    """What is known of a part since the home was counted."""
    return _Left(*map(int, note[:2])) if note and known and note[2] == known.counted else None


def _noted(size: int, uploads: int, known: _Known | None) -> Note | None:
    return (size, uploads, known.counted if known else LONG_AGO) if size or uploads else None


def _grown(known: _Known, size: int, files: int) -> _Known:
    return _Known(max(known.size + size, 0), max(known.files + files, 0), known.counted, known.changes + 1)


def counted_long_ago(note: Note) -> Note:
    """What is remembered of a home of which something is not known any more."""
    return _Known(*note)._replace(counted=LONG_AGO)
