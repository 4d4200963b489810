"""The gate: a command looks at each upload before its name becomes visible, and may refuse it.

It gets what was stored as its standard input, a file that can be read from its beginning or mapped, and the record as
JSON in the environment (FTPSVC_RECORD). An upload whose command says no, or can't say anything, was never there; the
old file stays.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from ftpsvc import model
from ftpsvc.addresses import Origin
from ftpsvc.around import Around
from ftpsvc.commons import Counts, OwnCounts
from ftpsvc.frames import digest_of
from ftpsvc.model import NO_FACTS, Account, Entry, Facts, Stored, Whole
from ftpsvc.programs import Outcome, Programs
from ftpsvc.records import printable
from ftpsvc.session import Accounts, Visitor
from ftpsvc.storage import Buffer, ShowsPart, Storage, SyncsEarly, WriteFile

#: How many uploads may wait for their check. Each holds two descriptors.
MAX_WAITING = 1000

#: How many characters of what the command says a client is told.
MAX_TOLD = 300

#: What sysexits.h has for: not now, try again later. So a check says that it can't judge (EX_TEMPFAIL).
LATER = 75

#: What shells and their like say of a command that can't be run, or isn't there.
_NO_COMMAND = (126, 127)


class Gate:
    """The check that all uploads of a server have to pass."""

    _log = Logger()

    def __init__(self, command: Sequence[str], programs: Programs, counts: Counts | None = None) -> None:
        """`counts`: where the files are counted that somebody adds to; None for here."""
        self._command = command
        self._programs = programs
        self._under_way = 0
        self._counts = counts or OwnCounts()

    def start(self) -> None:
        self._programs.start()

    def hurry(self) -> None:
        """Wait for no judgement: what hasn't one is not stored."""
        self._programs.hurry()

    async def stop(self) -> None:
        self._programs.stop()

    async def check(self, path: str, part: int, told: Mapping[str, object]) -> None:
        """Have the bytes behind a descriptor looked at, which is closed. Raises why they may not be stored."""
        self._under_way += 1
        try:
            outcome = await self._programs.run(self._command, part, {"FTPSVC_RECORD": json.dumps(told)})
        except OSError as error:
            self._log.error("An upload can't be checked: {why}", why=str(error))
            raise _unchecked(path, "the check can't be run") from error
        finally:
            self._under_way -= 1
        self._judge(path, outcome)

    def demand_room(self, path: str) -> None:
        """Raises `Busy` while too many wait."""
        if self._under_way >= MAX_WAITING:
            raise model.Busy(f"{path}: too many uploads wait to be checked. Try again later.")

    def adding(self, path: str, entry: Entry) -> Callable[[], None]:
        """Somebody adds to a file; nobody else may, at any worker, until what this gives was called. Raises `Busy`."""
        key = f"adding {entry.unique or path}"
        if not self._counts.more(key, most=1):
            raise model.Busy(f"{path}: somebody else is adding to it. Try again later.")
        is_over = False

        def done() -> None:
            nonlocal is_over
            if not is_over:  # by a second call the place may be another's
                is_over = True
                self._counts.less(key)

        return done

    def _judge(self, path: str, outcome: Outcome) -> None:
        if outcome.status == 0:
            return
        text = outcome.text[:MAX_TOLD]
        self._log.warn(
            "{path} was not stored: the check {how}: {text}",
            path=printable(path),
            how=outcome.limit if outcome.status is None else f"has ended with status {outcome.status}",
            text=text or "it said nothing",
        )
        if outcome.status is None:
            raise _unchecked(path, f"the check {outcome.limit}")
        if outcome.status < 0 or outcome.status in _NO_COMMAND:
            raise _unchecked(path, "the check has failed")
        if outcome.status == LATER:
            raise _unchecked(path, text or "it can't be checked now")
        why = text.rstrip(".") or "it has not passed the check that files here have to pass"
        raise model.Denied(f"{path} was refused: {why}.")


def _unchecked(path: str, why: str) -> model.LocalFault:
    return model.LocalFault(f"{path} was not stored, because {why}. Try again later.")


@dataclass(frozen=True, slots=True)
class CheckedAccounts:
    """`Accounts` whose storages all have the gate before them."""

    accounts: Accounts
    gate: Gate

    def refusal(self, origin: Origin) -> str:
        return self.accounts.refusal(origin)

    async def recognise(self, user: str, visitor: Visitor) -> tuple[Account, Storage] | None:
        found = await self.accounts.recognise(user, visitor)
        return None if found is None else self._checked(*found, visitor)

    async def login(self, user: str, password: str, visitor: Visitor) -> tuple[Account, Storage]:
        return self._checked(*await self.accounts.login(user, password, visitor), visitor)

    def _checked(self, account: Account, storage: Storage, visitor: Visitor) -> tuple[Account, Storage]:
        told = {"account": account.name, "peer": visitor.origin.name, "session": visitor.session}
        return account, CheckedStorage(storage, self.gate, told)


class CheckedStorage(Around):
    """A `Storage` into which nothing comes unchecked."""

    def __init__(self, storage: Storage, gate: Gate, told: Mapping[str, object]) -> None:
        """`told`: who stores here, for the record."""
        super().__init__(storage)
        self._gate = gate
        self._told = told

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> WriteFile:
        self._gate.demand_room(path)
        return self._checked(path, await self._storage.open_write(path, offset, replace))

    async def open_append(self, path: str) -> WriteFile:
        """What is added in place is seen as it comes. So it is added to a part that begins with the file, checked with
        it, and replaces it: that costs a copy, where the file system can't share the bytes."""
        try:
            before = await self._storage.stat(path)
        except model.NotFound:
            return await self.open_write(path, replace=False)
        self._gate.demand_room(path)
        done = self._gate.adding(path, before)
        try:
            file = await self._storage.open_write(path, before.size)
        except BaseException:
            done()
            raise
        return AddingFile(path, file, self._gate, self._told, self._unchanged(path, before), done)

    def _unchanged(self, path: str, before: Entry) -> Callable[[], Awaitable[bool]]:
        async def is_unchanged() -> bool:
            entry = await self._storage.stat(path)
            return (entry.unique, entry.size, entry.modified) == (before.unique, before.size, before.modified)

        return is_unchanged

    def _checked(self, path: str, file: WriteFile) -> WriteFile:
        return CheckedFile(path, file, self._gate, self._told)

    async def put(self, path: str, whole: Whole) -> Stored:
        file = await self.open_write(path)
        try:
            await file.write(whole.data)
            return await file.commit(whole.facts, digest_of(whole.data))
        except BaseException:
            await file.abort()
            raise


class CheckedFile:
    """A `WriteFile` that passes the gate before it is committed."""

    def __init__(self, path: str, file: WriteFile, gate: Gate, told: Mapping[str, object]) -> None:
        self._path = path
        self._file = file
        self._gate = gate
        self._told = told
        self._size = 0

    async def write(self, chunk: Buffer) -> None:
        self._size += len(chunk)
        await self._file.write(chunk)

    async def sync(self) -> None:
        if isinstance(self._file, SyncsEarly):
            await self._file.sync()

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        try:
            await self.pass_gate(digest)
        except BaseException:
            await self._file.abort()
            raise
        return await self._file.commit(facts, digest)

    async def pass_gate(self, digest: str | None) -> None:
        """Have what was written looked at. Raises why it may not be stored."""
        if not isinstance(self._file, ShowsPart):
            raise _unchecked(self._path, "this storage lets nobody look at a file before it has its name")
        part = await self._file.opened_part(digest)
        told = {**self._told, "path": self._path, "bytes": self._size, "digest": digest or ""}
        await self._gate.check(self._path, part, told)

    async def abort(self, keep: bool = False) -> None:
        await self._file.abort(keep)


class AddingFile(CheckedFile):
    """One that begins with the file that it will replace, and does so only if nobody else has."""

    def __init__(
        self,
        path: str,
        file: WriteFile,
        gate: Gate,
        told: Mapping[str, object],
        is_unchanged: Callable[[], Awaitable[bool]],
        done: Callable[[], None],
    ) -> None:
        super().__init__(path, file, gate, told)
        self._is_unchanged = is_unchanged
        self._done = done

    async def pass_gate(self, digest: str | None) -> None:
        await super().pass_gate(digest)
        if not await self._is_unchanged():
            raise model.Busy(f"{self._path} has become another file meanwhile, so nothing was added. Try again.")

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        try:
            return await super().commit(facts, digest)
        finally:
            self._done()

    async def abort(self, keep: bool = False) -> None:
        await super().abort()  # a part that begins with a file would be taken for one of an upload
        self._done()
