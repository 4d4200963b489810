"""The log of the workers, on its way to the parent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from test_workerlink import Ends
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher

from ftpsvc.jsonlog import lines_of
from ftpsvc.workerlog import GATHER, MAX_WAITING, ToParent, from_worker


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def test_an_event_comes_with_its_level_its_text_and_the_number_of_the_worker(logged: list[dict[str, Any]]) -> None:
    ends = Ends(log=lambda **about: from_worker(2, hear=lambda _: None, **about))
    logger = Logger("ftpsvc.somewhere", observer=ToParent(ends.asking, ends.clock))
    logger.info("{n} more", n=1)
    assert ends.asking.transport.value() == b""
    logger.warn("{peer}: {why}", peer="192.0.2.1", why=ValueError("{bad}"))
    ends.pump()
    first, event = logged
    assert formatEvent(first) == "1 more"
    assert event["log_level"] is LogLevel.warn
    assert event["log_system"] == "worker 2 ftpsvc.somewhere#warn"
    assert (event["worker"], formatEvent(event)) == (2, "192.0.2.1: {bad}")


def test_a_failure_keeps_its_traceback_and_what_it_says(logged_errors: Any) -> None:
    ends = Ends(log=lambda **about: from_worker(1, hear=lambda _: None, **about))
    logger = Logger(observer=ToParent(ends.asking, ends.clock))
    try:
        raise OSError(5, "Input/output error", "/a")
    except OSError:
        logger.failure("something failed")
    ends.pump()
    (event,) = logged_errors.events
    assert event["log_failure"].getTraceback().rstrip().endswith("OSError: [Errno 5] Input/output error: '/a'")
    (line,) = lines_of(event)
    assert line["error"] == "OSError: [Errno 5] Input/output error: '/a'"
    logged_errors.events.clear()


def test_what_a_thread_has_to_say_is_said_by_the_reactor(logged: list[dict[str, Any]]) -> None:
    """As of a file system without locks, which a thread finds out."""
    ends = Ends(log=lambda **about: from_worker(1, hear=lambda _: None, **about))
    later: list[Any] = []
    ends.clock.callFromThread = lambda *call: later.append(call)  # type: ignore[attr-defined]
    logger = Logger(observer=ToParent(ends.asking, ends.clock))
    thread = threading.Thread(target=logger.warn, args=("no locks",))
    thread.start()
    thread.join()
    assert ends.asking.transport.value() == b""
    for call, *arguments in later:
        call(*arguments)
    ends.pump()
    assert [formatEvent(event) for event in logged] == ["no locks"]


def test_what_the_parent_does_not_take_waits_and_then_is_counted(logged_errors: Any) -> None:
    ends = Ends()
    logger = Logger(observer=ToParent(ends.asking, ends.clock))
    ends.asking.pauseProducing()
    for n in range(MAX_WAITING + 5):
        logger.info("{n}", n=n)
    assert ends.asking.transport.value() == b""
    ends.asking.resumeProducing()
    lines = [json.loads(line) for line in ends.asking.transport.value().splitlines()]
    assert sum(len(line["with"]["events"]) for line in lines) == MAX_WAITING
    (lost,) = logged_errors.events
    assert lost["lost"] == 5
    logged_errors.events.clear()


def test_the_last_words_are_said_whether_they_are_taken_or_not() -> None:
    ends = Ends()
    log = ToParent(ends.asking, ends.clock)
    ends.asking.pauseProducing()
    for n in range(MAX_WAITING):
        Logger(observer=log).info("{n}", n=n)
    log.flush()
    assert ends.asking.transport.value() == b""
    log.flush(is_last=True)
    lines = [json.loads(line) for line in ends.asking.transport.value().splitlines()]
    assert sum(len(line["with"]["events"]) for line in lines) == MAX_WAITING


def test_what_is_usual_waits_a_moment_for_more(logged: list[dict[str, Any]]) -> None:
    ends = Ends(log=lambda **about: from_worker(1, hear=lambda _: None, **about))
    logger = Logger(observer=ToParent(ends.asking, ends.clock))
    for n in range(3):
        logger.info("{n}", n=n)
    ends.clock.advance(GATHER)
    assert ends.asking.transport.value().count(b"\n") == 1
    ends.pump()
    assert [formatEvent(event) for event in logged] == ["0", "1", "2"]
