"""What becomes of sessions and transfers: one record for each. All that is told of them is made of these."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple


class Ending(enum.StrEnum):
    """How a transfer can end."""

    COMPLETE = "complete"
    ABORTED = "aborted"  #: it had begun: a lost connection, ABOR, FAIL, a wrong digest, a full disk
    REJECTED = "rejected"  #: it never began


class Transfer(NamedTuple):
    """Exactly one of these is made for every RETR, STOR, APPE and STOU that was admitted."""

    verb: str
    account: str
    peer: str
    path: str
    ending: Ending
    bytes: int
    seconds: float
    digest: str = ""
    cause: str = ""
    mode: str = ""  #: inline, passive or active; empty if it never began
    tls: bool = False  #: whether the data was protected
    ascii: bool = False  #: whether lines were converted
    session: int = 0
    time: float = 0.0  #: of day, in seconds since 1970 UTC, when it ended

    @property
    def event(self) -> str:
        return "transfer"

    @property
    def is_quiet(self) -> bool:
        return False

    @property
    def rate(self) -> float:
        """Bytes a second; 0 where no time has passed."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        said = f"{self.verb} {printable(self.path)} {self.ending}, {self.bytes} bytes in {self.seconds:.3f} s"
        who = f"{printable(self.account)}@{self.peer}"
        return f"{who}: {said}" + (f": {printable(self.cause)}" if self.cause else "")


class Change(NamedTuple):
    """A change in the tree that was made: DELE, MKD, RMD, RNTO."""

    verb: str
    account: str
    peer: str
    path: str
    target: str = ""  #: the new name
    session: int = 0
    time: float = 0.0

    @property
    def event(self) -> str:
        return "change"

    @property
    def is_quiet(self) -> bool:
        return False

    def __str__(self) -> str:
        target = f" to {printable(self.target)}" if self.target else ""
        return f"{printable(self.account)}@{self.peer}: {self.verb} {printable(self.path)}{target}"


class Happening(enum.Enum):
    """What can happen to a session."""

    CONNECTED = "connected"
    REFUSED = "refused"
    LOGGED_IN = "logged in"
    LOGIN_FAILED = "login failed"
    BANNED = "banned"  #: the address
    ENDED = "ended"


class SessionEvent(NamedTuple):
    """Something that has happened to a session."""

    happening: Happening
    peer: str
    session: int = 0  #: 0 where there was to be none
    account: str = ""
    cause: str = ""
    limit: str = ""  #: the option that it was held to
    tls: bool = False
    seconds: float = 0.0  #: how long the session has lasted
    time: float = 0.0

    @property
    def event(self) -> str:
        return self.happening.value

    @property
    def is_quiet(self) -> bool:
        """Whether it is the usual, of which the log tells only who looks closely."""
        return not self.limit and self.happening in (Happening.CONNECTED, Happening.ENDED)

    def __str__(self) -> str:
        account, cause = printable(self.account), printable(self.cause)
        if self.happening is Happening.LOGGED_IN:
            return f"{account}@{self.peer}: logged in{' with TLS' if self.tls else ''}"
        if self.happening is Happening.LOGIN_FAILED:
            return f"{self.peer}: the login as {account} has failed"
        who = f"{account}@{self.peer}" if account else self.peer
        if self.happening is Happening.ENDED:
            return f"{who}: ended by {self.limit}: {cause}" if self.limit else f"{who}: {cause}"
        by = f" by {self.limit}" if self.limit else ""
        return f"{who}: {self.happening.value}{by}" + (f": {cause}" if cause else "")


Record = Transfer | Change | SessionEvent


_KINDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (Transfer, Change, SessionEvent)}


def packed(record: Record) -> list[object]:
    """A record as JSON has it, for another process of this server."""
    return [type(record).__name__, *(value.value if isinstance(value, enum.Enum) else value for value in record)]


def unpacked(found: Sequence[Any]) -> Record:
    """The record that was packed."""
    record = _KINDS[found[0]](*found[1:])
    if isinstance(record, Transfer):
        return record._replace(ending=Ending(record.ending))
    return record._replace(happening=Happening(record.happening)) if isinstance(record, SessionEvent) else record


def fields_of(record: Record) -> dict[str, object]:
    """A record's values by their names, those that are not known left out."""
    found: dict[str, object] = {"event": record.event}
    for name, value in record._asdict().items():
        if isinstance(value, Ending):
            found[name] = value.value
        elif not isinstance(value, Happening) and value != "":
            found[name] = round(value, 6) if isinstance(value, float) else value
    if isinstance(record, Transfer):
        found["rate"] = round(record.rate)
    return found


def printable(text: str) -> str:
    """Text from outside, fit for a log: a control character in a name must not forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
