"""One file from one storage to another, going on from what an earlier attempt has left there, if that is right.

Nothing is gone on from blindly: the digest of what was kept is compared with that of the same bytes at the source.
Where one of the two can't tell digests, the size and time that the source had then, which the journal knows, have to
do, and who asked is told. What is there must then be another size than what was there before: there are servers that
write to a file of another name, and have the old one still where an upload broke off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import CancelledError

from ftpsvc import display, model
from ftpsvc.checksums import ALGORITHMS
from ftpsvc.lines import UNBREAKABLE, Line
from ftpsvc.model import SECOND, Aborted, BadOffset, Changed, ConnectionFailed, Damaged, Entry, ServiceClosing, Stored
from ftpsvc.storage import CHUNK, SMALL, KeepsParts, Storage, TellsDigests, TellsTimes, announce, timed

#: How many bytes are compared by one digest. The other end says nothing while it computes one, and a slow disk must
#: have read so many before the connection is taken for dead.
PIECE = 256 * 1024 * 1024

#: After these the part stays, to be gone on from: nothing is wrong with it. Of a small file none does,
#: because it would only lie about.
FAULTS = (ConnectionFailed, ServiceClosing, Aborted, CancelledError)

NOT_VERIFIED = "not verified"

STILL_THERE = "started over: what is there may be the old one still"

#: How large a file is that isn't there.
NOTHING = -1

#: Is told of so many more bytes, and whether they have moved just now. Those that have not were there already; if they
#: are negative, they have to move again.
Advance = Callable[[int, bool], None]

#: What a server without any of that answers, in its many ways.
CANNOT = (model.NotImplementedHere, model.BadCommand, model.BadArgument, model.BadParameter, model.BadSequence)


class Known(NamedTuple):
    """What a source was like when an earlier attempt began, and how much at the target was not of that attempt.

    `foreign`: the size of what was there before the first byte, `NOTHING` if that was nothing, or nothing wrong; None
    if nobody has looked.
    """

    size: int
    modified: int
    foreign: int | None = None

    def is_of(self, entry: Entry) -> bool:
        """Whether the source is as it was."""
        return (self.size, self.modified) == (entry.size, entry.modified)


class Brought(NamedTuple):
    """What became of a file: what was stored, how much of it was there before, and what is to be said of that."""

    stored: Stored
    resumed: int = 0
    note: str = ""


class _Start(NamedTuple):
    offset: int = 0
    note: str = ""
    foreign: int | None = None  #: as in `Known`, from here on


async def bring(
    source: Storage,
    path: str,
    entry: Entry,
    target: Storage,
    name: str,
    progress: Advance = lambda count, has_moved: None,
    known: Known | None = None,
    *,
    line: Line = UNBREAKABLE,
    via: Storage | None = None,
    goes_on: bool = False,
    begun: Callable[[Known], None] = lambda known: None,
) -> Brought:
    """Copy the file `path`, which is as `entry` says, to `name`. Raises what `copy` raises; then a part may be kept.

    `line` is what may break and be mended meanwhile: then it goes on from what is right of what is there. `via` is read
    in the source's place. `goes_on`: a file that is at `name` already is to be gone on from, as a part would be.
    `begun` is called when the first bytes are at the target: before that, what is there is somebody else's, and `known`
    of a later attempt must not make it ours. It is told what has to be that `known`, and again when that changes.
    """
    course = _Course(entry, progress, begun)
    listed = entry

    async def attempt() -> Brought:
        may_go_on = goes_on or known is not None or course.is_begun or common_algorithm(source, target) is not None
        entry = await _as_it_is(source, path, listed) if may_go_on else listed
        if goes_on and not course.is_begun:
            begin = await _start_with_file(source, path, entry, target, name)
        else:
            ours = course.known if course.is_begun else known
            if ours is not None and (done := await _done_before(source, path, entry, target, name, ours)) is not None:
                course.starts(entry.size)
                return done
            begin = await _start(source, path, entry, target, name, ours)
        if begin.note == NOT_VERIFIED and not course.may_have_brought(begin.offset):
            begin = _Start(0, "started over: what is there is not as long as it should be", begin.offset)
        if begin.offset:
            try:
                return await _carry(via or source, path, entry, target, name, begin, course)
            except (BadOffset, *CANNOT) as error:  # or there is no REST
                begin = _Start(0, f"started over: {str(error).rstrip('.')}", begin.foreign)
        return await _carry(via or source, path, entry, target, name, begin, course)

    brought = await line.through(attempt, course.moved)
    return brought._replace(resumed=course.there_before)


class _Course:
    """How far a file is, from one attempt to the next."""

    def __init__(self, entry: Entry, progress: Advance, begun: Callable[[Known], None]) -> None:
        self.is_begun = False
        self.there_before = 0  #: bytes that the first attempt found
        self.known = Known(entry.size, entry.modified)  #: what a later attempt has to know of this one
        self._told: Known | None = None
        self._progress = progress
        self._begun = begun
        self.at = self._start = self._latest_start = self._furthest = 0

    def starts(self, offset: int) -> None:
        """An attempt has found that so many bytes are right."""
        self.there_before = min(self.there_before, offset) if self.is_begun else offset
        self._progress(offset - self.at, False)
        self.at = self._start = offset
        self._latest_start = max(self._latest_start, offset)

    def may_have_brought(self, size: int) -> bool:
        """Whether so much can be there, if it is ours: what the last attempt went on from, and what was sent since."""
        most = max(self._start, self._furthest) + CHUNK  # the last chunk counts only once all of it was sent
        return self._start <= size and (size <= most or not self.is_begun)

    def advance(self, count: int) -> None:
        self.is_begun = True
        if self._told != self.known:
            self._told = self.known
            self._begun(self.known)
        self.at += count
        self._furthest = max(self._furthest, self.at)
        self._progress(count, True)

    def moved(self) -> int:
        """More than before, if an attempt has got on: what is sent again is no headway, what was kept of it is."""
        return self._latest_start + self._furthest


async def _carry(
    source: Storage, path: str, entry: Entry, target: Storage, name: str, begin: _Start, course: _Course
) -> Brought:
    course.known = course.known._replace(foreign=begin.foreign)
    reading = await source.open_read(path, begin.offset)
    try:
        if not _lists_exactly(source):
            course.known = course.known._replace(modified=reading.facts.modified or entry.modified)
        if not begin.offset:
            announce(target, name, reading.facts)
        writing = await target.open_write(name, begin.offset)
        try:
            course.starts(begin.offset)
            while chunk := await reading.read(CHUNK):
                await writing.write(chunk)
                course.advance(len(chunk))
            facts = reading.facts
            if begin.offset and facts.modified is not None and entry.modified not in (0, facts.modified):
                raise Changed(f"{path} was changed while it was sent: its beginning is that of the old one.")
            if begin.note == NOT_VERIFIED and course.at != entry.size:  # REST may have been ignored
                raise Damaged(f"{course.at} bytes came, with what was kept, and {entry.size} were said to be there.")
        except BaseException as error:
            await writing.abort(keep=isinstance(error, FAULTS) and entry.size > SMALL)
            raise
        return Brought(await writing.commit(timed(facts, entry.modified)), begin.offset, begin.note)
    finally:
        await reading.close()


def _lists_exactly(source: Storage) -> bool:
    return not isinstance(source, TellsTimes) or source.times.are_exact


async def _as_it_is(source: Storage, path: str, entry: Entry) -> Entry:
    """What is known of a file, with its time to the second, by which it can be known again: LIST tells the day."""
    if _lists_exactly(source):
        return entry
    try:
        now = await source.stat(path)
    except (model.Unavailable, *CANNOT):
        return entry  # whatever else this means is said when the file is opened
    return entry._replace(size=now.size, modified=now.modified)


# -- where to begin ------------------------------------------------------------------------------------------


async def _done_before(
    source: Storage, path: str, entry: Entry, target: Storage, name: str, ours: Known
) -> Brought | None:
    """What an earlier attempt has stored, whole, without anybody being left to hear of it; None if it hasn't."""
    if not ours.is_of(entry) or common_algorithm(source, target) is None:
        return None
    try:
        there = await target.stat(name)
        is_like_it = there.size == entry.size and there.modified // SECOND == entry.modified // SECOND
        if not is_like_it or await _has_part(target, name):
            return None
        agreeing = await _agreeing(source, path, target, name, entry.size, is_part=False)
    except (model.Unavailable, *CANNOT):
        return None
    return Brought(Stored(entry.size, ""), entry.size) if agreeing == entry.size else None


async def _start(source: Storage, path: str, entry: Entry, target: Storage, name: str, known: Known | None) -> _Start:
    """From which byte to go on, and what there is to say about that."""
    is_here = isinstance(target, KeepsParts)
    try:
        kept = await kept_of(target, name)
    except CANNOT:
        return await _start_under_name(source, path, entry, target, name, known)
    except (model.Unavailable, model.InvalidName):
        # Nothing is kept; whatever else this means is said when the file is opened.
        return _Start(foreign=NOTHING if is_here else None)
    if kept <= 0:
        begin = _Start(0, "", kept)
    elif kept > entry.size:
        note = f"started over: {display.size(kept)} were kept, and the source has {display.size(entry.size)}"
        begin = _Start(0, note, kept)
    else:
        begin = await _judged(source, path, entry, target, name, kept, True, known)
    if begin.offset and begin.offset == await _size_of(target, name):
        # A file of exactly that size would be gone on from, and not the part.
        begin = begin._replace(offset=begin.offset - 1)
    # Parts at a server say nothing of what bears the name, and the next connection may be to one without them.
    return begin if is_here else begin._replace(foreign=None)


async def _start_under_name(
    source: Storage, path: str, entry: Entry, target: Storage, name: str, known: Known | None
) -> _Start:
    """The same for a server that has what it got under the file's own name. It is ours only if the journal says so."""
    if known is None and (entry.size <= SMALL or common_algorithm(source, target) is not None):
        return _Start()  # nobody will have to know what is there now
    there = await _size_of(target, name)
    if known is None or there is None or there <= 0:
        return _Start(0, "", there)
    if there >= entry.size:
        return _Start(0, STILL_THERE if there == known.foreign else "", there)
    return await _judged(source, path, entry, target, name, there, False, known)


async def _judged(
    source: Storage, path: str, entry: Entry, target: Storage, name: str, kept: int, is_part: bool, known: Known | None
) -> _Start:
    """The same for what is there, once it was compared."""
    good = await _agreeing(source, path, target, name, kept, is_part)
    if good is not None:
        if good == kept:
            return _Start(kept, "", NOTHING)
        note = f"started over{f' from byte {good}' if good else ''}: what was kept is not what the source has"
        return _Start(good, note, kept)
    # A source whose time nobody tells may have become another one of the same size.
    if known is None or not known.is_of(entry) or not entry.modified or known.foreign is None:
        return _Start(0, "started over: nobody can tell whether what was kept is right", kept)
    # Another time is no proof where the size is the same: a server may write over the old one without cutting it first.
    if kept == known.foreign:
        return _Start(0, STILL_THERE, kept)
    return _Start(kept, NOT_VERIFIED, known.foreign)


async def _start_with_file(source: Storage, path: str, entry: Entry, target: Storage, name: str) -> _Start:
    """The same for a file that somebody wants to be gone on from, whoever has left it there."""
    kept = await _size_of(target, name)
    foreign = None if isinstance(target, KeepsParts) else kept
    if kept is None or kept <= 0:
        return _Start(0, "", foreign)
    if kept > entry.size:
        note = f"started over: {display.size(kept)} were there, and the source has {display.size(entry.size)}"
        return _Start(0, note, foreign)
    good = await _agreeing(source, path, target, name, kept, is_part=False)
    if good is None:
        return _Start(kept, NOT_VERIFIED, NOTHING)
    if good < kept:
        # Only all of a file can be gone on from; less than that would be taken for the length of a part.
        return _Start(0, "started over: what was there is not how the source begins", foreign)
    return _Start(kept, "", NOTHING)


async def _size_of(storage: Storage, path: str) -> int | None:
    """How large a file is; `NOTHING` if there is none, None if that isn't told."""
    try:
        return (await storage.stat(path)).size
    except model.Unavailable:
        return NOTHING
    except FAULTS:
        raise
    except model.TransferError:
        return None  # a place where one may put files, and not look at them


async def _has_part(storage: Storage, path: str) -> bool:
    """Whether there is a part that nothing has become of: then what bears the name was there before."""
    try:
        return await kept_of(storage, path) > 0
    except (model.Unavailable, model.InvalidName, *CANNOT):
        return False


async def kept_of(storage: Storage, path: str) -> int:
    """How many bytes of a broken attempt are there. Raises `NotFound`, or one of `CANNOT`."""
    if isinstance(storage, TellsDigests):
        return await storage.kept(path)
    if not isinstance(storage, KeepsParts):
        raise model.NotImplementedHere("Nothing is kept there.")
    part = await storage.open_part(path)
    await part.close()
    return part.entry.size


async def _agreeing(source: Storage, path: str, target: Storage, name: str, kept: int, is_part: bool) -> int | None:
    """How many of the bytes that were kept are those of the source; None if that can't be told."""
    algorithm = common_algorithm(source, target)
    if algorithm is None:
        return None
    for first in range(0, kept, PIECE):
        end = min(first + PIECE, kept)
        try:
            mine = await digest(source, path, algorithm, first, end)
            if mine != await digest(target, name, algorithm, first, end, of_part=is_part):
                return first
        except CANNOT:
            return None
        except (BadOffset, model.Unavailable):
            return first
    return kept


# -- digests -------------------------------------------------------------------------------------------------


def common_algorithm(one: Storage, other: Storage) -> str | None:
    """By which digest the two can be compared, the quickest that there is; None if there is none."""
    told = [storage.algorithms for storage in (one, other) if isinstance(storage, TellsDigests)]
    # Not those that are easily the same by accident, or made so.
    sound = (name for name in reversed(ALGORITHMS) if name != "CRC32")
    return next((name for name in sound if all(name in names for names in told)), None)


async def digest(storage: Storage, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
    """The digest of a range of a file or of its part: told by the storage, or computed here from what is read."""
    if isinstance(storage, TellsDigests):
        return await storage.digest(path, algorithm, first, end, of_part)
    if not of_part:
        file = await storage.open_read(path, first)
    elif isinstance(storage, KeepsParts):
        file = await storage.open_part(path, first)
    else:
        raise model.NotImplementedHere("Nothing is kept there.")
    try:
        checksum, left = ALGORITHMS[algorithm](), end - first
        while left:
            chunk = await file.read(min(CHUNK, left))
            if not chunk:
                raise BadOffset(f"{path} ends before byte {end}.")
            checksum.update(chunk)
            left -= len(chunk)
        return checksum.hexdigest()
    finally:
        await file.close()


def demand_algorithm(one: Storage, other: Storage) -> str:
    """The same. Raises `NotImplementedHere` if there is none."""
    algorithm = common_algorithm(one, other)
    if algorithm is None:
        raise model.NotImplementedHere("The server has no digests (HASH and RANG), so files can't be compared by them.")
    return algorithm


async def is_same(source: Storage, path: str, target: Storage, name: str, size: int) -> bool:
    """Whether two files of this size have the same bytes. Raises `NotImplementedHere` if that can't be told."""
    algorithm = demand_algorithm(source, target)
    for first in range(0, size, PIECE):
        end = min(first + PIECE, size)
        if await digest(source, path, algorithm, first, end) != await digest(target, name, algorithm, first, end):
            return False
    return True
