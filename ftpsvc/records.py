"""What became of a transfer: one record, from which the log line is made."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple


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


#: How long, in seconds, a record may wait for others before it is logged. An event for each of ten thousand small files
#: would cost the server more than sending them.
GATHER = 0.1

#: How many records are logged together at the most, so that a burst neither fills the memory nor makes a giant event.
MAX_GATHERED = 500


class TransferLog:
    """Logs records, a line each. Those of the same moment share one event."""

    def __init__(self, emit: Callable[[str], None], clock: Any) -> None:
        self._emit = emit
        self._clock = clock
        self._lines: list[str] = []
        self._call: Any = None

    def add(self, transfer: Transfer) -> None:
        self._lines.append(str(transfer))
        if len(self._lines) >= MAX_GATHERED:
            self.flush()
        elif self._call is None:
            self._call = self._clock.callLater(GATHER, self.flush)

    def flush(self) -> None:
        """Log what has been gathered. To be called once more at the end."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        if self._lines:
            lines, self._lines = self._lines, []
            self._emit("\n".join(lines))
