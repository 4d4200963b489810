"""The log as JSON lines: an object for each record, and for everything else that is logged."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any, Protocol

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.records import Record, fields_of, printable

#: Under which key of a log event its records are, if it has any.
RECORDS = "ftpsvc_records"


class Output(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


@implementer(ILogObserver)
class JsonLines:
    """Writes log events. No text in them has a control character, whatever it was made from."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self, event: LogEvent) -> None:
        self._output.write("".join(json.dumps(line) + "\n" for line in lines_of(event)))
        self._output.flush()


def lines_of(event: LogEvent) -> Iterator[dict[str, object]]:
    """What is to be told of an event, an object for each line."""
    records: list[Record] | None = event.get(RECORDS)
    if records is not None:
        for record in records:
            fields = {name: _safe(value) for name, value in fields_of(record).items() if name != "time"}
            level = (LogLevel.debug if record.is_quiet else LogLevel.info).name
            yield {"time": iso(record.time), "level": level, **fields, "message": str(record)}
        return
    level = event.get("log_level", LogLevel.info).name
    line: dict[str, object] = {"time": iso(event["log_time"]), "level": level, "event": "log"}
    line["system"] = printable(str(event.get("log_system") or event.get("log_namespace") or "-"))
    line["message"] = printable(formatEvent(event))
    failure: Any = event.get("log_failure")
    if isinstance(failure, Failure):
        line["error"] = printable(f"{type(failure.value).__name__}: {failure.getErrorMessage()}")
        line["traceback"] = [printable(text) for text in failure.getTraceback().splitlines()]
    yield line


def iso(seconds: float) -> str:
    """A time of day in UTC, as `2026-11-22T14:00:00.123456Z` (RFC 3339)."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _safe(value: object) -> object:
    return printable(value) if isinstance(value, str) else value
