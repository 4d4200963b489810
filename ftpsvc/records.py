"""What became of a transfer: one record, from which the log line is made."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Ending(enum.Enum):
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

    def __str__(self) -> str:
        said = f"{self.verb} {printable(self.path)} {self.ending.value}, {self.bytes} bytes in {self.seconds:.3f} s"
        return f"{self.account}@{self.peer}: {said}" + (f": {printable(self.cause)}" if self.cause else "")


def printable(text: str) -> str:
    """Text from outside, fit for a log: a control character in a name must not forge a line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
