"""Who may log in: guests without an account, those in the accounts' file, those whom Twisted's checkers know.

Every login that fails has the same answer and costs the same, whatever was wrong; the log has the reason.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from ftpsvc import accountfile, passwords
from ftpsvc.accountfile import ANONYMOUS_NAMES, BadAccounts, Record
from ftpsvc.addresses import Origin
from ftpsvc.checkers import Checkers
from ftpsvc.homes import Homes
from ftpsvc.model import ANONYMOUS, EVERYTHING, NOTHING, Account, NoHome, NotLoggedIn, Permission
from ftpsvc.records import printable
from ftpsvc.session import Visitor
from ftpsvc.storage import Storage
from ftpsvc.threads import Run, few_at_once

T = TypeVar("T")

#: The one answer to a login that failed.
WRONG = "Login failed: a wrong name or password, or an account that can't be used now, from here, or without TLS."

#: How many passwords are compared at once. Each takes 64 MiB and all of a processor, so more would only be slower.
MAX_AT_ONCE = 2

#: What protects a server that nobody has told whom to let in.
PROTECTED = (
    "This server has no accounts yet, so it serves the machine it runs on and no other. Its operator can make an"
    " account (ftpsvc user add) and start it with --accounts FILE, or open it to everybody with --anonymous read."
)


class Anonymous(enum.Enum):
    """What guests may do, if there are to be any."""

    NONE = "none"
    READ = "read"
    DROP = "drop"
    WRITE = "write"


#: What guests may do. Dropping is storing where nothing is yet, without a look at what there is.
GUESTS = {
    Anonymous.NONE: NOTHING,
    Anonymous.READ: Permission.LIST | Permission.READ,
    Anonymous.DROP: Permission.WRITE,
    Anonymous.WRITE: EVERYTHING,
}


@dataclass(frozen=True, slots=True)
class AnonymousOnly:
    """Those without an account: the name anonymous, and any password. They share one storage."""

    storage: Storage
    permissions: Permission = EVERYTHING
    only_from_here: bool = False  #: from this machine

    def refusal(self, origin: Origin) -> str:
        return PROTECTED if self.only_from_here and not origin.is_local else ""

    async def recognise(self, user: str, visitor: Visitor) -> tuple[Account, Storage] | None:
        return None

    async def login(self, user: str, password: str, visitor: Visitor) -> tuple[Account, Storage]:
        if user.lower() not in ANONYMOUS_NAMES or self.refusal(visitor.origin):
            raise NotLoggedIn(WRONG)
        return Account(ANONYMOUS.name, self.permissions), self.storage


class KeptFile:
    """The accounts' file, read again when it has changed. As long as it can't be used, what it said before holds."""

    _log = Logger()

    def __init__(self, file: Path) -> None:
        """Raises `BadAccounts`."""
        self._file = file
        self._seen = self._look()
        self._records = accountfile.read(file)
        self.fault: BadAccounts | None = None  #: why what it says now doesn't hold

    def records(self, by_order: bool = False) -> dict[str, Record]:
        """The accounts, by name. `by_order`: a file that could not be used is read again though it is the same by all
        that shows: what was in the way may have been another thing."""
        if (seen := self._look()) != self._seen or (by_order and self.fault is not None):
            self._seen = seen
            try:
                self._records, self.fault = accountfile.read(self._file), None
            except BadAccounts as error:
                self.fault = error
                for problem in error.problems:
                    self._log.error("The accounts stay as they were: {problem}", problem=printable(problem))
            else:
                self._log.info("The accounts were read again; there are {count}", count=len(self._records))
        return self._records

    def _look(self) -> object:
        """What changes when somebody writes to the file, puts another in its place, or lets us read it (`chown`)."""
        try:
            status = self._file.stat()
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Members:
    """Those who have an account: in a file, or with Twisted's checkers, or with a checker's password and the file's
    everything else."""

    _log = Logger()

    def __init__(
        self,
        file: KeptFile | None,
        checkers: Checkers | None,
        homes: Homes,
        root: str,
        run: Run,
        now: Callable[[], datetime.datetime],
    ) -> None:
        """`root`: the home of accounts that have none of their own."""
        self._file = file
        self._checkers = checkers
        self._homes = homes
        self._root = root
        self._aside = few_at_once(run, MAX_AT_ONCE)
        self._now = now
        self._secret = secrets.token_bytes(16)
        self._decoy = passwords.hashed(secrets.token_hex()) if file is not None else ""

    def records(self) -> dict[str, Record]:
        return self._file.records() if self._file is not None else {}

    @property
    def wants_certificates(self) -> bool:
        """Whether a client's certificate could be as good as a password."""
        return any(record.certificates for record in self.records().values())

    def homes(self) -> list[str]:
        """Where accounts have their files, whether they were ever used or not."""
        return [record.home for record in self.records().values() if record.home]

    async def recognise(self, user: str, visitor: Visitor) -> tuple[Account, Storage] | None:
        record = self.records().get(user)
        if record is None or not visitor.certificate or visitor.certificate not in record.certificates:
            return None
        if why := self._objection(record, visitor):
            self._report(user, visitor, why)
            return None
        return self._open(record, visitor)

    async def login(self, user: str, password: str, visitor: Visitor) -> tuple[Account, Storage]:
        record, why = await self._who(user, password)
        if record is not None and not why:
            why = self._objection(record, visitor)
        if record is None or why:
            self._report(user, visitor, why)
            raise NotLoggedIn(WRONG)
        return self._open(record, visitor)

    async def _who(self, user: str, password: str) -> tuple[Record | None, str]:
        """Whose name and password these are, or why nobody's. It takes the same time for a name that nobody has."""
        records = self.records()
        record = records.get(user)
        is_right = False
        if self._file is not None:
            hash_ = record.password if record is not None and record.password else self._decoy_for(user, records)
            is_right = await self._aside(passwords.matches, hash_, password)
        if record is not None and record.password:
            return record, "" if is_right else "the password is wrong"
        if self._checkers is not None and (name := await self._checkers.name_of(user, password)):
            record = records.get(name) if self._file is not None else Record(Account(name))
            return record, "--auth takes the password, but the file has no such name" if record is None else ""
        return None, "there is no such name" if record is None else "the account has no password"

    def _decoy_for(self, user: str, records: dict[str, Record]) -> str:
        """A hash that costs what those of real accounts cost. That the password is right for it means nothing."""
        hashes = [record.password for record in records.values() if record.password] or [self._decoy]
        chosen = hashlib.blake2b(user.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=8).digest()
        return hashes[int.from_bytes(chosen) % len(hashes)]

    def _objection(self, record: Record, visitor: Visitor) -> str:
        """Why somebody who is who they say they are can't log in all the same."""
        address = visitor.origin.address
        if record.expires is not None and self._now() >= record.expires:
            return f"the account was good until {record.expires}"
        if record.networks and (address is None or not any(address in network for network in record.networks)):
            return "the account isn't for this network"
        if record.account.require_tls and not visitor.is_secure:
            return "the account needs TLS"
        return ""

    def _open(self, record: Record, visitor: Visitor) -> tuple[Account, Storage]:
        name = record.account.name
        try:
            return record.account, self._homes.storage(record.home or self._root, record.account, name)
        except OSError as error:
            self._log.error(
                "{peer}: {name} can't log in, because the home {home} can't be opened: {why}",
                peer=visitor.origin.name,
                name=printable(name),
                home=printable(record.home or self._root),
                why=error.strerror,
            )
            raise NoHome("This account's files can't be opened; its operator finds the reason in the log.") from None

    def _report(self, user: str, visitor: Visitor, why: str) -> None:
        self._log.info("{peer}: login as {user} failed: {why}", peer=visitor.origin.name, user=printable(user), why=why)


@dataclass(frozen=True, slots=True)
class Doors:
    """All who may log in: guests by their name, and the others by theirs."""

    guests: AnonymousOnly | None
    members: Members

    def refusal(self, origin: Origin) -> str:
        return ""

    async def recognise(self, user: str, visitor: Visitor) -> tuple[Account, Storage] | None:
        return await self.members.recognise(user, visitor)

    async def login(self, user: str, password: str, visitor: Visitor) -> tuple[Account, Storage]:
        if self.guests is not None and user.lower() in ANONYMOUS_NAMES:
            return await self.guests.login(user, password, visitor)
        return await self.members.login(user, password, visitor)
