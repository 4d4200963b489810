"""Moving files: TYPE MODE REST RETR STOR APPE STOU ABOR."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import replace
from secrets import token_hex

from ftpsvc import model
from ftpsvc.channel import Channel, Received, Sent
from ftpsvc.frames import digest_of, verified
from ftpsvc.model import Permission, Stored, Whole
from ftpsvc.records import Ending, Transfer
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.states import Mode, Range, Restart
from ftpsvc.storage import Buffer, ReadFile, TakesFactsEarly, WriteFile
from ftpsvc.verbs.digest import demand_as_seen
from ftpsvc.wire import Reply

# The largest restart marker: what fits a file's offset on every system.
MAX_OFFSET = 2**63 - 1

# STOR makes a file, or replaces one: it isn't known yet which.
_STORE = Permission.WRITE | Permission.OVERWRITE

_TYPE = re.compile(r"(?:(A)(?: ?N)?|(?:I|L ?8))", re.IGNORECASE)


async def type_(session: Session, argument: str) -> Reply:
    match = _TYPE.fullmatch(argument)
    if match is None:
        raise model.BadParameter("Types are A (text) and I (bytes).")
    session.parameters = replace(session.parameters, ascii=bool(match[1]))
    return Reply(200, "Type A: text." if match[1] else "Type I: bytes.")


async def mode(session: Session, argument: str) -> Reply:
    if argument.upper() not in ("S", "I"):
        raise model.BadParameter("Modes are S (stream) and I (inline).")
    session.parameters = replace(session.parameters, mode=Mode(argument.upper()))
    return Reply(
        200, "Mode I: data travels inline." if session.is_inline else "Mode S: data travels on its own connection."
    )


async def restart(session: Session, argument: str) -> Reply:
    # Never int() alone, which takes "+3", "1_0" and Arabic digits.
    if not re.fullmatch(r"[0-9]{1,19}", argument) or int(argument) > MAX_OFFSET:
        raise model.BadArgument("A restart marker is a number of bytes.")
    session.state = replace(session.ready, marker=Restart(int(argument)))
    return Reply(350, f"The next transfer begins at byte {argument}.")


class _Record:
    """Counts what a transfer does, and makes exactly one record of how it ended."""

    def __init__(self, session: Session, verb: str, argument: str, declared: int | None = None) -> None:
        """`declared`: how many bytes ALLO said that it will have."""
        self._session = session
        self._declared = declared
        self._offset = session.asked_offset
        self.verb = verb
        self.path = argument  #: as it was sent, where it means no path
        self._account = session.ready.account.name
        self.began = session.clock()
        self.total = declared
        self._channel: Channel | None = None

    def resolve(self, needed: Permission) -> str:
        """As `Session.resolve`; what is refused here is recorded with its path."""
        self.path = model.resolve(self._session.ready.cwd, self.path)
        self._session.demand(needed, self.path)
        return self.path

    @property
    def moved(self) -> int:
        return 0 if self._channel is None else self._channel.moved

    def begin(self, text: str, total: int | None = None) -> Channel:
        """Send the preliminary reply; from here on the transfer has begun. Raises `NoDataConnection`.

        `total`: how many bytes are to be sent.
        """
        channel = self._session.control.channel()
        self._session.control.reply(Reply(150, text))
        self._channel = channel
        if total is not None:
            self.total = total
        self._session.moving = self
        return channel

    def receive_whole(self) -> tuple[bytes, Received] | None:
        """All of a small upload, if it is here already. Then it has begun, and the last reply bears the 150 too."""
        whole = self._session.control.receive_whole()
        if whole is not None:
            self._channel = self._session.control.channel()
        return whole

    def __enter__(self) -> None:
        """For the steps of the transfer: an error that leaves them ends it, and is recorded."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            self.close(error=error)

    def check_size(self) -> None:
        """Raises `ConnectionFailed` for data that ended, however orderly, before it was all there."""
        # Behind REST some clients declare what they send, and others the whole file.
        if self._declared not in (None, self.moved, self._offset + self.moved):
            raise model.ConnectionFailed(f"The data ended at {self.moved} bytes; ALLO said {self._declared}.")

    def close(self, digest: str = "", error: BaseException | None = None) -> None:
        session = self._session
        if session.moving is self:
            session.moving = None
        if error is None:
            ending, cause = Ending.COMPLETE, ""
        else:
            ending = Ending.REJECTED if self._channel is None else Ending.ABORTED
            # One that says nothing is that of a wait which was given up, because the client is gone.
            cause = str(error) or str(session.control.lost or type(error).__name__)
        mode = "" if self._channel is None else self._channel.mode
        seconds = session.clock() - self.began
        session.control.record(
            Transfer(
                self.verb, self._account, session.peer, self.path, ending, self.moved, seconds, digest, cause,
                mode, session.is_protected, session.is_text, session.number, session.time_of_day(),
            )
        )  # fmt: skip


async def retrieve(session: Session, argument: str) -> Reply:
    record = _Record(session, "RETR", argument)
    with record:
        path = record.resolve(Permission.READ)
        offset = session.take_offset()
        wanted = session.take_range()
        sent = None if offset or wanted else await _send_whole(session, record, path)
        if wanted is not None:
            sent = await _send_range(session, record, path, wanted)
        elif sent is None:
            sent = await _send_open(session, record, path, offset)
    record.close(sent.digest)
    return Reply(226, f"Sent {sent.size} bytes.")


async def _send_whole(session: Session, record: _Record, path: str) -> Sent | None:
    """Send a small file; None if it isn't small."""
    try:
        whole = await session.ready.storage.fetch(path)
    except model.TooLarge:
        return None
    channel = record.begin(_announcement(session, path, len(whole.data)), len(whole.data))
    return await channel.send_whole(whole)


def _announcement(session: Session, path: str, size: int) -> str:
    """The text of the 150, from which clients take the size. How long a text is when converted isn't known yet."""
    return f"Sending {path}" if session.is_text else f"Sending {path} ({size} bytes)"


async def _send_open(session: Session, record: _Record, path: str, offset: int, end: int | None = None) -> Sent:
    file: ReadFile = await session.ready.storage.open_read(path, offset)
    if end is not None:
        file = _Beginning(file, offset, end)
    try:
        left = file.entry.size - offset
        channel = record.begin(_announcement(session, path, left), left)
        return await channel.send_file(file, offset)
    finally:
        await file.close()


async def _send_range(session: Session, record: _Record, path: str, wanted: Range) -> Sent:
    """Send what RANG asked for, as far as the file has it: behind its end there is nothing, and that is no error."""
    size = (await session.ready.storage.stat(path)).size
    return await _send_open(session, record, path, min(wanted.first, size), wanted.last + 1)


class _Beginning:
    """An open file that seems to end early."""

    def __init__(self, file: ReadFile, offset: int, end: int) -> None:
        self._file = file
        self._left = max(min(end, file.entry.size) - offset, 0)
        self.entry = file.entry._replace(size=offset + self._left)
        self.facts = file.facts

    def fileno(self) -> int | None:
        return None  # a descriptor knows nothing of our end

    async def read(self, size: int) -> Buffer:
        if not self._left:
            return b""
        chunk = await self._file.read(min(size, self._left))
        self._left -= len(chunk)
        return chunk

    async def close(self) -> None:
        await self._file.close()


def _refuse_range(session: Session) -> None:
    # To write into the middle of a file would show others a file that is half old and half new.
    if session.take_range() is not None:
        raise model.BadSequence("RANG goes with RETR and HASH; an upload can go on from a byte with REST.")


async def store(session: Session, argument: str) -> Awaitable[Reply]:
    declared = session.take_declared()
    record = _Record(session, "STOR", argument, declared)
    with record:
        path = record.resolve(_STORE)
        _refuse_range(session)
        if path in session.committing:
            await session.control.settled()  # commits have no order among themselves, and the last command is to win
        replace = await _demand_write(session, path)
        await _demand_room(session, path, declared)
        offset, seen = session.take_offset(), session.take_seen(path)
        if replace and not offset and (whole := record.receive_whole()) is not None:
            return _put(session, record, *whole)
        file = await session.ready.storage.open_write(path, offset, replace)
        if offset:
            await demand_as_seen(session, file, path, seen, offset)
        if session.ready.expected is not None:
            _tell_facts(session, path, file)
    return await _receive(session, record, file, f"Ready for {path}.")


def _tell_facts(session: Session, path: str, file: WriteFile) -> None:
    """Let a file know early what SITE FACTS said of it, if it is of use there."""
    ready = session.ready
    if ready.expected is not None and ready.expected[0] == path and isinstance(file, TakesFactsEarly):
        file.expect(session.allowed_facts(ready.expected[1], path))
    session.state = replace(ready, expected=None)


async def _demand_write(session: Session, path: str) -> bool:
    """Whether the account may write here depends on whether something is there. Whether it may replace that, then."""
    may = session.ready.account.may(path)
    if _STORE not in may:
        try:
            await session.ready.storage.stat(path)
        except model.NotFound:
            session.demand(Permission.WRITE, path)
        else:
            session.demand(Permission.OVERWRITE, path)
    return may.allows(Permission.OVERWRITE)


async def _demand_room(session: Session, path: str, declared: int | None) -> None:
    """Where an account has a quota, and a size was declared: refuse what won't fit, before the first byte."""
    if declared is None or session.ready.account.quota_bytes is None:
        return
    storage = session.ready.storage
    try:
        room = await storage.space(path)
    except model.NotFound:
        room = await storage.space(model.parent_and_name(path)[0])
    if declared > room:
        raise model.OverQuota(f"{path}: {declared} bytes were announced, and this account's quota leaves {room}.")


async def append(session: Session, argument: str) -> Awaitable[Reply]:
    declared = session.take_declared()
    record = _Record(session, "APPE", argument, declared)
    with record:
        path = record.resolve(Permission.APPEND)
        _refuse_range(session)
        if session.take_offset():
            raise model.BadSequence("APPE adds at the end: REST goes with STOR and RETR.")
        # What it adds to has to be in its place, under whatever name it was stored.
        await session.control.settled()
        if not session.ready.account.may(path).allows(Permission.WRITE):
            await _demand_something_there(session, path)
        await _demand_room(session, path, declared)
        file = await session.ready.storage.open_append(path)
        session.forget_told(path)
    return await _receive(session, record, file, f"Ready to add to {path}.")


async def _demand_something_there(session: Session, path: str) -> None:
    """APPE to no file makes one."""
    try:
        await session.ready.storage.stat(path)
    except model.NotFound:
        session.demand(Permission.WRITE, path)


async def store_unique(session: Session, argument: str) -> Awaitable[Reply]:
    declared = session.take_declared()
    folder, slash, wanted = argument.rpartition("/")
    name = f"{folder}{slash}{wanted or 'file'}-{token_hex(8)}"
    record = _Record(session, "STOU", name, declared)
    with record:
        _refuse_range(session)
        if session.take_offset():
            # Not 503, as behind RANG: the offset is forgotten by now, so the same command will do.
            raise model.Busy("STOU makes a new file, which REST can't go on from. Send STOU again, without it.")
        path = record.resolve(Permission.WRITE)
        await _demand_nothing_there(session, path)
        await _demand_room(session, path, declared)
        file = await session.ready.storage.open_write(path, replace=False)
    # RFC 1123, section 4.1.2.9: the 150 bears the name. As RETR takes it: with the folder, if the client named one.
    return await _receive(session, record, file, f"FILE: {name}")


async def _demand_nothing_there(session: Session, path: str) -> None:
    """64 random bits are nobody else's; this is for the one case in which they are."""
    try:
        await session.ready.storage.stat(path)
    except model.NotFound:
        return
    raise model.Busy(f"{path} is taken. Try again for another name.")


async def _receive(session: Session, record: _Record, file: WriteFile, ready: str) -> Awaitable[Reply]:
    """Take in an upload's data. What is left, its commit, may go on while the next upload arrives."""
    with record:
        try:
            channel = record.begin(ready)
            received = await channel.receive_file(file)
            if not session.is_text:
                record.check_size()
            facts = session.allowed_facts(received.facts, record.path)
        except BaseException as error:
            # Where nobody decided against the upload (a lost connection, a session that ends), what came is kept.
            nobody = model.ConnectionFailed | model.ServiceClosing
            decided = isinstance(error, model.TransferError) and not isinstance(error, nobody)
            await session.control.to_its_end(file.abort(keep=not decided))
            raise

    return _commit(session, record, file.commit(facts, received.digest))


async def _commit(session: Session, record: _Record, commit: Awaitable[Stored], opening: str = "") -> Reply:
    session.committing.add(record.path)
    try:
        with record:
            stored = await commit
    finally:
        session.committing.discard(record.path)
    record.close(stored.digest)
    return Reply(226, f"Stored {stored.size} bytes, xxh3-128 {stored.digest}.", opening=opening)


def _put(session: Session, record: _Record, data: bytes, received: Received) -> Awaitable[Reply]:
    """Store a small upload in one go."""
    verified(digest_of(data), received.digest)
    record.check_size()
    whole = Whole(data, session.allowed_facts(received.facts, record.path))
    return _commit(session, record, session.ready.storage.put(record.path, whole), f"Ready for {record.path}.")


async def abort(session: Session, _: str) -> Reply:
    if session.control.data.forget():
        return Reply(225, "Nothing is being transferred; the data connection that was prepared is closed.")
    # If a transfer was under way, it was stopped when this command arrived, and has had its 426.
    return Reply(226, "Nothing is being transferred.")


VERBS = (
    Verb("TYPE", type_, Takes.TEXT, "TYPE A | I", before_login=True),
    Verb("MODE", mode, Takes.TEXT, "MODE S | I", before_login=True, feature="MODE I"),
    Verb("REST", restart, Takes.TEXT, "REST <bytes>", feature="REST STREAM"),
    Verb("RETR", retrieve, Takes.TEXT, "RETR <file>", permission=Permission.READ, moves_data=True),
    Verb(
        "STOR",
        store,
        Takes.TEXT,
        "STOR <file>",
        permission=_STORE,
        moves_data=True,
        uploads=True,
    ),
    Verb("APPE", append, Takes.TEXT, "APPE <file>", permission=Permission.APPEND, moves_data=True, uploads=True),
    Verb(
        "STOU", store_unique, Takes.MAYBE, "STOU [<name>]", permission=Permission.WRITE, moves_data=True, uploads=True
    ),
    Verb("ABOR", abort, Takes.NOTHING, "ABOR"),
)
