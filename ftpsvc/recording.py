"""Records on their way to whoever makes something of them: the log, the counts, hooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from ftpsvc.records import Happening, Record, SessionEvent

#: How long, in seconds, a record may wait for others before it is handed on. An event for each of ten thousand small
#: files would cost the server more than sending them.
GATHER = 0.1

#: How many records are handed on together at the most, so that a burst neither fills the memory nor makes a giant event
#: for the log.
MAX_GATHERED = 500

Listener = Callable[[Sequence[Record]], None]


class Recorder:
    """Gathers records, and hands those of the same moment on together."""

    _log = Logger()

    def __init__(self, clock: Any, *listeners: Listener) -> None:
        self._clock = clock
        self._gathered: list[Record] = []
        self._call: Any = None
        #: Who hears of all records, in this order. What one of them raises is logged, and keeps nobody else from them.
        self.listeners = list(listeners)

    def add(self, record: Record) -> None:
        self._gathered.append(record)
        if len(self._gathered) >= MAX_GATHERED:
            self.flush()
        elif self._call is None:
            self._call = self._clock.callLater(GATHER, self.flush)

    def flush(self) -> None:
        """Hand on what has been gathered. To be called once more at the end."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        if not self._gathered:
            return
        records, self._gathered = self._gathered, []
        self.hand_on(records)

    def hand_on(self, records: Sequence[Record], but: Listener | None = None) -> None:
        """Hand on records to all who listen, but for one perhaps who has them already."""
        for listener in self.listeners:
            if listener != but:
                with self._log.failuresHandled("Records were lost on their way to {listener}", listener=listener):
                    listener(records)


class Visit:
    """What happens to one session, made into records."""

    __slots__ = ("_clock", "_records", "account", "cause", "is_secure", "limit", "number", "peer", "since")

    def __init__(self, records: Recorder, clock: Any, peer: str, number: int) -> None:
        self._records = records
        self._clock = clock
        self.since: float = clock.seconds()
        self.peer = peer
        self.number = number
        self.is_secure = False  #: whether the connection speaks TLS
        self.account = ""  #: who was logged in last
        self.cause = self.limit = ""  #: why it ends, once that is known

    def tell(self, happening: Happening, account: str = "", cause: str = "", limit: str = "") -> None:
        seconds, now = self._clock.seconds() - self.since, time.time()
        self._records.add(
            SessionEvent(happening, self.peer, self.number, account, cause, limit, self.is_secure, seconds, now)
        )

    def connected(self, is_secure: bool) -> None:
        self.is_secure = is_secure
        self.tell(Happening.CONNECTED)

    def logged_in(self, account: str) -> None:
        self.account = account
        self.tell(Happening.LOGGED_IN, account)

    def ends(self, cause: str, limit: str = "") -> None:
        """It is going to end for this reason, or has one more to. The first is what counts."""
        if not self.cause:
            self.cause, self.limit = cause, limit

    def ended(self, cause: str) -> None:
        """The connection is over; `cause` is what is known if nothing else is."""
        self.tell(Happening.ENDED, self.account, self.cause or cause, self.limit)
