"""The xferlog, in the format of wu-ftpd's xferlog(5), for the many programs that read it.

A line for each file that has moved, whole or in part:

    Sun Nov 22 14:05:32 2026 3 192.0.2.7 1048576 /pub/disc.iso b _ o r mia ftp 0 * c

That is: when it ended in local time, seconds, the client's address, bytes that have moved, the path, a or b for text or
bytes, `_`, o or i for out or in, a or r for guests or others, the account, `ftp`, `0 *`, and c or i for complete or
incomplete. What is no plain character in a name becomes `_`, a space too: a field has none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from twisted.logger import Logger

from ftpsvc.logfiles import LogFile
from ftpsvc.model import ANONYMOUS
from ftpsvc.records import Ending, Record, Transfer


class Xferlog:
    """Writes the lines. A disk that takes none is told of once, and keeps nobody from anything."""

    _log = Logger()

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._has_failed = False

    def __call__(self, records: Sequence[Record]) -> None:
        lines = [line_of(record) for record in records if isinstance(record, Transfer) and record.mode]
        if not lines:
            return
        try:
            self._file.write("".join(lines))
        except OSError as error:
            if not self._has_failed:
                self._log.error("{path} takes no more lines: {why}", path=self._file.path, why=error.strerror)
            self._has_failed = True
        else:
            self._has_failed = False


def line_of(transfer: Transfer) -> str:
    """A transfer that has begun, as a line."""
    when = time.localtime(transfer.time)
    return " ".join(
        (
            # Never strftime alone, which speaks the language of whoever started the server.
            f"{_DAYS[when.tm_wday]} {_MONTHS[when.tm_mon - 1]} {when.tm_mday:2} {time.strftime('%H:%M:%S %Y', when)}",
            str(max(round(transfer.seconds), 1)),  # as wu-ftpd: some divide by it
            _field(_host(transfer.peer)),
            str(transfer.bytes),
            _field(transfer.path),
            "a" if transfer.ascii else "b",
            "_",
            "o" if transfer.verb == "RETR" else "i",
            "a" if transfer.account == ANONYMOUS.name else "r",
            _field(transfer.account),
            "ftp",
            "0",
            "*",
            "c\n" if transfer.ending is Ending.COMPLETE else "i\n",
        )
    )


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _host(peer: str) -> str:
    """The address without the port; IPv6 addresses without their brackets."""
    host, colon, port = peer.rpartition(":")
    return host.strip("[]") if colon and port.isdecimal() else peer


def _field(text: str) -> str:
    return "".join(c if c.isprintable() and not c.isspace() else "_" for c in text) or "_"
