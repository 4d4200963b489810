"""Comparing without retrieving: RANG HASH XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512, and what SITE PART says."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ftpsvc import model
from ftpsvc.checksums import ALGORITHMS
from ftpsvc.model import Entry, Permission
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.states import Range, Seen, Told
from ftpsvc.storage import CHUNK, KeepsParts, ReadFile, WriteFile, known_digest
from ftpsvc.wire import Reply

_RANGE = re.compile(r"([0-9]{1,19}) ([0-9]{1,19})")

# The largest offset that a file can have on every system.
_MAX_OFFSET = 2**63 - 1


async def byte_range(session: Session, argument: str) -> Reply:
    """Which bytes the next RETR or HASH is about, both ends included (draft-bryan-ftp-range)."""
    match = _RANGE.fullmatch(argument)
    if match is None or int(match[2]) > _MAX_OFFSET:
        raise model.BadArgument("A range is two numbers, those of its first and its last byte.")
    first, last = int(match[1]), int(match[2])
    if (first, last) == (1, 0):
        session.state = replace(session.ready, marker=None)
        return Reply(350, "The next command is about the whole file.")
    if first > last:
        raise model.BadArgument("A range begins before it ends; RANG 1 0 takes it back.")
    if session.parameters.ascii and not session.is_inline:
        raise model.WrongType("RANG counts bytes and needs TYPE I.")
    session.state = replace(session.ready, marker=Range(first, last))
    return Reply(350, f"The next RETR or HASH is of the bytes {first} to {last}.")


async def digest(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, Permission.READ)
    wanted = session.take_range() or Range(0, _MAX_OFFSET)
    algorithm = session.parameters.algorithm
    await _refuse_directory(session, path)
    found, size = await _digest(session, path, algorithm, wanted)
    last = wanted.first + max(size, 1) - 1
    return Reply(213, f"{algorithm} {wanted.first}-{last} {found} {argument}")


async def _refuse_directory(session: Session, path: str) -> None:
    if (await session.ready.storage.stat(path)).is_directory:
        raise model.InvalidName(f"{path} is a folder, and only files have a digest.")


async def part_digest(session: Session, argument: str) -> Reply:
    """`SITE PART name`: how much of a broken upload is kept, and its digest, of the bytes that RANG said."""
    if not argument:
        raise model.BadArgument("SITE PART takes a name.")
    path = session.resolve(argument, Permission.WRITE | Permission.OVERWRITE)
    if session.ready.account.name == model.ANONYMOUS.name:
        # All guests are one account: the part may be somebody else's, and the digests of single bytes are its content.
        session.demand(Permission.READ, path)
    storage = session.ready.storage
    if not isinstance(storage, KeepsParts):
        raise model.NotImplementedHere("Nothing is kept here of an upload that broke off.")
    wanted = session.take_range() or Range(0, _MAX_OFFSET)
    algorithm = session.parameters.algorithm
    ready = session.ready
    if wanted.first == 0 or ready.seen is None or ready.seen.path != path or ready.seen.told is not Told.PART:
        # What lies behind is looked at later, and has to be of the same.
        session.state = replace(ready, seen=await as_it_is(session, path))
    whole = await storage.open_part(path)
    await whole.close()
    file = await storage.open_part(path, min(wanted.first, whole.entry.size))
    found, size = await _digest_of(session, file, algorithm, wanted)
    last = wanted.first + max(size, 1) - 1
    return Reply(213, f"{whole.entry.size} {algorithm} {wanted.first}-{last} {found} {argument}")


async def as_it_is(session: Session, path: str) -> Seen:
    """What is there of a file and of its part, for an upload to go on from."""
    storage = session.ready.storage
    file = part = None
    with contextlib.suppress(model.NotFound):
        file = await storage.stat(path)
    if isinstance(storage, KeepsParts):
        with contextlib.suppress(model.NotFound):
            opened = await storage.open_part(path)
            await opened.close()
            part = opened.entry
    return Seen(path, Told.PART, file, part)


async def demand_as_seen(session: Session, file: WriteFile, path: str, seen: Seen | None, offset: int) -> None:
    """Hold an upload that goes on to the file and the part of which the client was told. Raises `Busy`, and `BadOffset`
    where that was too little to go on from it.

    Not before the file is open: by then it is decided what it goes on from, and the storage sees to the rest.
    """
    try:
        now = await as_it_is(session, path)
        if seen is not None and not seen.is_still(now):
            raise model.Busy(f"{path} was written to by others since {seen.told.value} was told. Look again.")
        if seen is None or seen.told is Told.SIZE:
            await _demand_its_own(session, now, offset)
        elif seen.told is Told.DIGEST and now.goes_on_from_part(offset):
            raise model.Busy(f"{path}: there is a part of a broken upload too. Look at that with SITE PART.")
    except BaseException:
        await session.control.to_its_end(file.abort(keep=True))
        raise


async def _demand_its_own(session: Session, now: Seen, offset: int) -> None:
    """Refuse who goes on from the end of a file, and knows no more of it than its size, if the upload that has broken
    off, or is under way, began otherwise. Raises `BadOffset`.

    Most servers have cut the old file by then, so its size is that of what has come, and clients as lftp go on from
    there without being asked to. Here it is still the old one's, and the two would become one.
    """
    storage = session.ready.storage
    if now.file is None or now.file.size != offset or not isinstance(storage, KeepsParts):
        return
    try:
        begun = await storage.open_begun(now.path)  # whose client may have gone, and we haven't heard of it yet
    except model.NotFound:
        return
    beginning = Range(0, min(begun.entry.size, offset) - 1)
    part = await _digest_of(session, begun, "XXH3-128", beginning)
    file = await _digest_of(session, await storage.open_read(now.path), "XXH3-128", beginning)
    if file != part:
        raise model.BadOffset(f"{now.path} is an old file, and not how the upload that broke off begins. Send all.")


def tell_size(session: Session, path: str, file: Entry) -> None:
    """Bind an upload that goes on to the file whose size is told; a digest or a part has bound it closer."""
    seen = session.ready.seen
    if seen is None or seen.path != path or seen.told is Told.SIZE:
        session.state = replace(session.ready, seen=Seen(path, Told.SIZE, file))


def _tell_digest(session: Session, path: str, file: Entry, first: int) -> None:
    """The same for a digest; what lies behind is looked at later, and has to be of the same file."""
    ready = session.ready
    if ready.seen is None or ready.seen.path != path or ready.seen.told is Told.SIZE:
        session.state = replace(ready, seen=Seen(path, Told.DIGEST, file))
    elif first == 0:
        session.state = replace(ready, seen=replace(ready.seen, file=file))


async def _digest(session: Session, path: str, algorithm: str, wanted: Range) -> tuple[str, int]:
    """The digest of a part of a file, and how many bytes it is of: none, where the range begins behind the end."""
    storage = session.ready.storage
    found = await storage.stat(path)
    _tell_digest(session, path, found, wanted.first)  # the digest is of a later moment: never is too much believed
    size = found.size
    is_whole = wanted.first == 0 and wanted.last >= size - 1
    if is_whole and algorithm == "XXH3-128" and (known := await known_digest(storage, path)):
        return known, size
    file = await session.ready.storage.open_read(path, min(wanted.first, size))
    return await _digest_of(session, file, algorithm, wanted)


async def _digest_of(session: Session, file: ReadFile, algorithm: str, wanted: Range) -> tuple[str, int]:
    """The same of what was opened where the range begins, and is closed behind it.

    It is computed chunk by chunk, each beside the reactor: the other sessions never wait for it, and it ends soon
    after a client who has gone.
    """
    try:
        checksum = ALGORITHMS[algorithm]()
        left = total = max(min(wanted.last + 1, file.entry.size) - wanted.first, 0)
        with session.control.digesting():
            while left:
                chunk = await file.read(min(CHUNK, left))
                await session.control.aside(checksum.update, chunk)
                left -= len(chunk)
        return checksum.hexdigest(), total
    finally:
        await file.close()


#: `name`, `"name"`, and both with a first byte and the one behind the last. The latter may stand alone behind a name in
#: quotation marks, where it can't be taken for the end of the name. Such marks in a name are doubled there.
_QUOTED = re.compile(r'"((?:[^"]|"")+)"(?: (?:([0-9]{1,18}) )?([0-9]{1,18}))?')
_WITH_RANGE = re.compile(r"(.+) ([0-9]{1,18}) ([0-9]{1,18})", re.DOTALL)


def older(algorithm: str) -> Callable[[Session, str], Awaitable[Reply]]:
    """A command that has its algorithm in its name. No document says how they work; this is what servers do."""

    async def run(session: Session, argument: str) -> Reply:
        path, wanted = await _file_and_range(session, argument)
        found, _ = await _digest(session, path, algorithm, wanted)
        return Reply(250, found.upper())

    return run


async def _file_and_range(session: Session, argument: str) -> tuple[str, Range]:
    """A file with exactly that name wins over any way of reading the argument."""
    everything = Range(0, _MAX_OFFSET)
    quoted = _QUOTED.fullmatch(argument)
    match = quoted or _WITH_RANGE.fullmatch(argument)
    if match is None:
        return session.resolve(argument, Permission.READ), everything
    try:
        path = session.resolve(argument, Permission.READ)
        await session.ready.storage.stat(path)
    except (model.NotFound, model.NotADirectory, model.Denied, model.InvalidName):
        name, first, end = match.groups()
        path = session.resolve(name.replace('""', '"') if quoted else name, Permission.READ)
        return path, everything if end is None else _exclusive(int(first or 0), int(end))
    return path, everything


def _exclusive(first: int, end: int) -> Range:
    if first > end:
        raise model.BadArgument("The first byte goes before the one behind the last.")
    return Range(first, end - 1)


def _hash_feature(session: Session) -> str:
    """With a star at the algorithm that is chosen."""
    chosen = session.parameters.algorithm
    return "HASH " + ";".join(f"{name}*" if name == chosen else name for name in ALGORITHMS)


VERBS = (
    Verb("RANG", byte_range, Takes.TEXT, "RANG <first> <last>", feature="RANG STREAM"),
    Verb("HASH", digest, Takes.TEXT, "HASH <file>", permission=Permission.READ, feature=_hash_feature),
    *(
        Verb(name, older(algorithm), Takes.TEXT, f"{name} <file>", permission=Permission.READ, feature=name)
        for name, algorithm in (
            ("XCRC", "CRC32"),
            ("XMD5", "MD5"),
            ("XSHA", "SHA-1"),
            ("XSHA1", "SHA-1"),
            ("XSHA256", "SHA-256"),
            ("XSHA512", "SHA-512"),
        )
    ),
)
