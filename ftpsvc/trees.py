"""Two trees compared: what has to be done to the one so that it is like the other. Looks, and changes nothing."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeGuard, TypeVar

from twisted.internet.defer import Deferred, DeferredList

from ftpsvc import display
from ftpsvc.model import (
    PART_PREFIX,
    SECOND,
    AlreadyExists,
    ConnectionFailed,
    Entry,
    InvalidName,
    Kind,
    ServiceClosing,
    TransferError,
)
from ftpsvc.rolls import Pile, Roll, Shelf
from ftpsvc.steps import Do, Rules, Side, Step, impossible

T = TypeVar("T")

#: How many folders are listed at once: at 40 ms a round trip, 400 folders a second, or what the disk gives.
LISTINGS_AT_ONCE = 16

#: How deep a tree may be. Links that lead round in a circle, where no storage says so, end here.
MAX_DEPTH = 100


class Lasting(Protocol):
    """Does a work, and again after a lost connection."""

    def __call__(self, work: Callable[[], Awaitable[T]], /) -> Coroutine[Any, Any, T]: ...


async def _once(work: Callable[[], Awaitable[T]], /) -> T:
    return await work()


class _Folder(NamedTuple):
    """A folder to be looked at. `above` are the identities of the folders that it is in, where they are known."""

    path: str
    at_source: bool
    at_target: bool
    depth: int
    above: tuple[str, ...] = ()
    through_link: bool = False


@dataclass(slots=True)
class Seen:
    """What a comparison has come across so far."""

    same: int = 0
    at_target: int = 0


class Comparison:
    """Compares, folder by folder, and says what is to be done in an order in which that can be done at once.

    Folders come before what is in them. Removals come where they are found: whoever carries them out does so at the
    end, the last folder first. A folder that can't be listed is one step, `FAIL`, and nothing in it is removed.
    """

    def __init__(
        self,
        source: Side,
        target: Side,
        rules: Rules,
        lasting: Lasting | None = None,
    ) -> None:
        """`lasting` does a work again that a lost connection has stopped."""
        self._source = source
        self._target = target
        self._rules = rules
        self._lasting = lasting or _once
        self._exact = source.times.are_exact and target.times.are_exact
        self._shelf = Shelf()
        self.seen = Seen()
        #: Folders that the source doesn't have, and that stay for the sake of what is excluded in them.
        self.staying: set[str] = set()

    async def steps(self, path: str = "", at_target: bool = True, unique: str = "") -> AsyncGenerator[Step, None]:
        """All that is to be done for a folder of the source, its own making left out."""
        waiting = [_Folder(path, True, at_target, 0, (unique,) if unique else ())]
        under_way: deque[tuple[_Folder, Deferred[_Listed]]] = deque()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < LISTINGS_AT_ONCE:
                    folder = waiting.pop()
                    under_way.append((folder, Deferred.fromCoroutine(self._listed(folder))))
                folder, listing = under_way.popleft()
                listed = await listing
                below: list[_Folder] = []
                for step in self._compared(folder, listed, below):
                    yield step
                listed.close()
                waiting.extend(reversed(below))
        finally:
            for _, listing in under_way:
                listing.addErrback(lambda _: None)
                listing.cancel()

    # -- looking

    async def _listed(self, folder: _Folder) -> _Listed:
        both: list[Deferred[Any]] = [
            Deferred.fromCoroutine(self._lasting(lambda: self._pile(folder))),
            Deferred.fromCoroutine(self._lasting(lambda: self._roll(folder))),
        ]
        try:
            (_, source), (_, target) = await DeferredList(both, consumeErrors=True)
        except BaseException:
            for listing in both:
                listing.cancel()
            raise
        if isinstance(source, Pile) and isinstance(target, Roll):
            return _Listed(source, target)
        failures = []
        for one in (source, target):
            if isinstance(one, Pile | Roll):
                one.close()
            else:
                failures.append(one.value)
        return _Listed(Pile(self._shelf), Roll(self._shelf), min(failures, key=_is_answer))

    async def _pile(self, folder: _Folder) -> Pile:
        pile = Pile(self._shelf)
        if folder.at_source:
            await _fill(pile, self._source, folder.path)
        return pile

    async def _roll(self, folder: _Folder) -> Roll:
        roll = Roll(self._shelf)
        if folder.at_target:
            await _fill(roll, self._target, folder.path)
        roll.seal()
        return roll

    # -- comparing

    def _compared(self, folder: _Folder, listed: _Listed, below: list[_Folder]) -> Iterator[Step]:
        if listed.failure is not None:
            yield _not_listed(folder, listed.failure)
            return
        before = f"{folder.path}/" if folder.path else ""
        wants_all = self._rules.wanted.is_open
        self.seen.at_target += len(listed.target)
        may_remove = self._rules.delete and len(listed.target) > 0
        new: list[str] = []
        for entry in listed.source.entries():
            path = before + entry.name
            there = listed.target.take(entry.name)
            if may_remove and there is None:
                new.append(entry.name)
            if not wants_all and not self._rules.wanted.admits(path, entry.is_directory):
                continue
            if there is not None and _is_alike(entry, there) and not self._rules.by_digest:
                self.seen.same += 1  # most often so, and soon said
            else:
                yield from self._step(folder, path, entry, there, below)
        yield from self._extra(folder, before, listed.target, new, below)

    def _step(
        self, folder: _Folder, path: str, entry: Entry, there: Entry | None, below: list[_Folder]
    ) -> Iterator[Step]:
        if problem := impossible(entry.name):
            yield _failed(path, entry, InvalidName(problem))
        elif entry.is_link and not self._rules.follow_links:
            yield Step(Do.SKIP, path, entry, "a link")
        elif entry.kind is Kind.LINK:
            yield Step(Do.SKIP, path, entry, "a link that leads nowhere, or out of the root")
        elif entry.kind is Kind.OTHER:
            yield Step(Do.SKIP, path, entry, "neither a file nor a folder")
        elif there is not None and there.kind is not entry.kind:
            yield from self._exchange(folder, path, entry, there, below)
        elif entry.is_directory:
            yield from self._folder_step(folder, path, entry, there, below)
        elif step := self._file_step(path, entry, there):
            yield step
        else:
            self.seen.same += 1

    def _exchange(self, folder: _Folder, path: str, entry: Entry, there: Entry, below: list[_Folder]) -> Iterator[Step]:
        why = f"there is a {_WORDS[there.kind]} of that name"
        if not self._rules.delete or folder.through_link:
            yield _failed(path, entry, AlreadyExists(f"{why}, and without --delete it stays."))
            return
        if not self._rules.wanted.admits(path, there.is_directory):
            yield _failed(path, entry, AlreadyExists(f"{why}, which is left out, and so stays."))
            return
        if there.is_directory and not there.is_link:
            yield Step(Do.REMOVE_FOLDER, path, there)
            below.append(_Folder(path, False, True, folder.depth + 1))
        else:
            yield Step(Do.REMOVE, path, there)
        yield Step(Do.EXCHANGE, path, entry, why)

    def _folder_step(
        self, folder: _Folder, path: str, entry: Entry, there: Entry | None, below: list[_Folder]
    ) -> Iterator[Step]:
        if entry.unique and entry.unique in folder.above:
            yield Step(Do.SKIP, path, entry, "a link that leads back to a folder that it is in")
            return
        if folder.depth >= MAX_DEPTH:
            yield _failed(path, entry, InvalidName(f"it lies more than {MAX_DEPTH} folders deep."))
            return
        if there is None:
            yield Step(Do.MAKE, path, entry)
        above = (*folder.above, entry.unique) if entry.unique else folder.above
        through = folder.through_link or (there is not None and there.is_link)
        below.append(_Folder(path, True, there is not None, folder.depth + 1, above, through))

    def _file_step(self, path: str, entry: Entry, there: Entry | None) -> Step | None:
        """What is to be done about a file, if anything."""
        if there is None:
            return Step(Do.COPY, path, entry)
        age = self._age(entry.modified, there.modified)
        if self._rules.only_newer and age <= 0:
            return None
        if entry.size != there.size:
            return Step(Do.REPLACE, path, entry, "size")
        if self._rules.by_digest:
            return Step(Do.COMPARE, path, entry)
        if age and (age > 0 or self._target.times.are_kept):
            return Step(Do.REPLACE, path, entry, "time")
        if entry.mode and there.mode and entry.mode != there.mode and self._target.times.are_kept:
            return Step(Do.TOUCH, path, entry)
        return None

    def _age(self, source: int, target: int) -> int:
        """By how much the source is newer, as far as both tell. Who shows whole seconds only is compared in these."""
        if not source or not target:
            return 0  # a time that isn't known says nothing
        unit = next((unit for unit in _UNITS[not self._exact] if not (source % unit and target % unit)), 1)
        return source // unit - target // unit

    def _extra(
        self, folder: _Folder, before: str, target: Roll, new: list[str], below: list[_Folder]
    ) -> Iterator[Step]:
        """What only the target has. `new` are the names that only the source has."""
        if not self._rules.delete or folder.through_link:
            return
        twins = _twins(target, new)
        for entry in target.rest():
            path = before + entry.name
            if entry.name in twins:
                self._stay(folder.path)
                yield Step(Do.SKIP, path, entry, _TWIN)
                continue
            if not self._rules.wanted.admits(path, entry.is_directory) or entry.name.startswith(PART_PREFIX):
                self._stay(folder.path)
            elif folder.at_source and impossible(entry.name):
                self._stay(folder.path)
                yield Step(Do.SKIP, path, entry, _UNTOLD)
            elif not entry.is_directory or entry.is_link:
                yield Step(Do.REMOVE, path, entry)
            elif folder.depth < MAX_DEPTH:
                yield Step(Do.REMOVE_FOLDER, path, entry)
                below.append(_Folder(path, False, True, folder.depth + 1))

    def _stay(self, path: str) -> None:
        """A folder, with those that it is in, isn't removed: there is something in it that is none of our business."""
        while path and path not in self.staying:
            self.staying.add(path)
            path = path.rpartition("/")[0]


class _Listed(NamedTuple):
    source: Pile
    target: Roll
    failure: BaseException | None = None

    def close(self) -> None:
        self.source.close()
        self.target.close()


#: In nanoseconds: what times are cut to, where either is a whole number of these. Exact, and as LIST shows them.
_UNITS = ((SECOND, 1_000_000, 1_000), (86400 * SECOND, 60 * SECOND))

_WORDS = {Kind.FILE: "file", Kind.DIRECTORY: "folder", Kind.LINK: "link", Kind.OTHER: "special file"}


_TWIN = "it may be what the target calls a name that differs in case or accents only; if not, the next time removes it"


_UNTOLD = "no listing can show whether the source has such a name, so it stays"


def _twins(target: Roll, new: list[str]) -> set[str]:
    """Names at the target that may be new ones of the source, as a target has them that ignores case, or accents' form.

    To remove such a one would remove what has just been copied. Where both are there, they are two.
    """
    folded = {_folded(name) for name in new}
    return {entry.name for entry in target.rest() if _folded(entry.name) in folded} if folded else set()


def _folded(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()


async def _fill(entries: Pile | Roll, side: Side, path: str) -> None:
    try:
        async for entry in side.storage.list(side.at(path)):
            entries.add(entry)
    except BaseException:
        entries.close()
        raise


def _is_alike(entry: Entry, there: Entry) -> bool:
    return (
        entry.kind is Kind.FILE
        and there.kind is Kind.FILE
        and entry.size == there.size
        and entry.modified == there.modified
        and entry.mode == there.mode
        and not entry.is_link
    )


def _failed(path: str, entry: Entry, cause: TransferError) -> Step:
    return Step(Do.FAIL, path, entry, display.reason(cause), cause)


def _not_listed(folder: _Folder, error: BaseException) -> Step:
    """Raises what is no answer about this folder."""
    if not _is_answer(error):
        raise error
    entry = Entry(folder.path.rpartition("/")[2], Kind.DIRECTORY)
    return _failed(folder.path, entry, error)


def _is_answer(error: BaseException) -> TypeGuard[TransferError]:
    """Whether it is about one folder; else it is a lost connection, a cancelled wait, a defect, and ends all."""
    return isinstance(error, TransferError) and not isinstance(error, ConnectionFailed | ServiceClosing)
