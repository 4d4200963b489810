"""Records on their way to whoever makes something of them: the log, the counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from ftpsvc.records import Transfer

#: How long, in seconds, a record may wait for others before it is handed on. An event for each of ten thousand small
#: files would cost the server more than sending them.
GATHER = 0.1

#: How many records are handed on together at the most, so that a burst neither fills the memory nor makes a giant event
#: for the log.
MAX_GATHERED = 500

Listener = Callable[[Sequence[Transfer]], None]


class Recorder:
    """Gathers records, and hands those of the same moment on together."""

    _log = Logger()

    def __init__(self, clock: Any, *listeners: Listener) -> None:
        self._clock = clock
        self._gathered: list[Transfer] = []
        self._call: Any = None
        #: Who hears of all records, in this order. What one of them raises is logged, and keeps nobody else from them.
        self.listeners = list(listeners)

    def add(self, record: Transfer) -> None:
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
        for listener in self.listeners:
            with self._log.failuresHandled("Records were lost on their way to {listener}", listener=listener):
                listener(records)
