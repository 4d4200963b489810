"""The log of the workers, which their parent writes: there is one log, with the worker's number in each line."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsJSON,
    eventFromJSON,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import implementer

from ftpsvc.jsonlog import RECORDS
from ftpsvc.records import Record, packed, unpacked
from ftpsvc.workerlink import WorkerLink

#: How many events wait while the parent doesn't take them. What comes then is counted, and not kept.
MAX_WAITING = 1000

#: For how many seconds an event may wait for others. One at a time would wake the parent twice for each login.
GATHER = 0.05

#: How many are sent together.
TOGETHER = 100


# What records come from, in the log of one process.
_RECORDS_FROM = "ftpsvc.factory.ServerFactory"


@implementer(ILogObserver)
class ToParent:
    """Sends every event to the parent: as the text that it comes to, but for those with a failure, which go whole."""

    _log = Logger()

    def __init__(self, link: WorkerLink, clock: Any) -> None:
        self._link = link
        self._clock = clock
        self._call: Any = None
        link.unclogged = self.flush
        self._waiting: deque[object] = deque()  #: as they are sent
        self._lost = 0

    def __call__(self, event: LogEvent) -> None:
        if threading.current_thread() is not threading.main_thread():
            self._clock.callFromThread(self, event)  # a line in the middle of another would end the link
            return
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append(_sendable(event))
        if event.get("log_level", LogLevel.info) >= LogLevel.warn or len(self._waiting) >= TOGETHER:
            self.flush()  # it may be the last that this process says
        elif self._call is None:
            self._call = self._clock.callLater(GATHER, self.flush)

    def flush(self, is_last: bool = False) -> None:
        """Send what waits, as far as the parent takes it; all of it, if nobody will be there to send the rest."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        while self._waiting and (is_last or not self._link.is_clogged):
            some = min(len(self._waiting), TOGETHER)
            self._link.tell("log", events=[self._waiting.popleft() for _ in range(some)])
        if self._lost and not self._waiting:
            lost, self._lost = self._lost, 0
            self._log.error("{lost} lines of this log were lost: they came faster than they were written", lost=lost)
            if is_last:
                self.flush(is_last)


def _sendable(event: LogEvent) -> object:
    """The text that an event comes to, with time, level and origin; one with a failure as Twisted has it in JSON, which
    has no place for what the error says."""
    if "log_failure" in event:
        return [eventAsJSON(event), event["log_failure"].getErrorMessage()]
    if RECORDS in event:
        return [event["log_time"], event["log_level"].name, [packed(record) for record in event[RECORDS]]]
    level = event.get("log_level", LogLevel.info).name
    return [event["log_time"], level, _system(event, level), formatEvent(event)]


def _system(event: LogEvent, level: str) -> str:
    return event.get("log_system") or f"{event.get('log_namespace', '-')}#{level}"


def from_worker(number: int, events: list[Any], hear: Callable[[Sequence[Record]], None]) -> None:
    """Log events of a worker's as our own; `hear` gets the records among them."""
    for sent in events:
        if len(sent) == 2:
            whole, said = sent
            event = eventFromJSON(whole)
            failure = event["log_failure"]
            failure.value = type(failure.type.__name__, (Exception,), {})(said)
            system = _system(event, event["log_level"].name)
        elif len(sent) == 3:
            time, level, found = sent
            records = [unpacked(one) for one in found]
            event = {"log_time": time, "log_level": LogLevel.levelWithName(level), "log_format": "{lines}"}
            event |= {"lines": "\n".join(map(str, records)), RECORDS: records}
            system = f"{_RECORDS_FROM}#{level}"
            hear(records)
        else:
            time, level, system, text = sent
            event = {"log_time": time, "log_level": LogLevel.levelWithName(level), "log_format": "{text}", "text": text}
        globalLogPublisher({**event, "log_system": f"worker {number} {system}", "worker": number})
