"""What parent and workers say to each other; and who replaces a worker that dies."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import support
from support import start
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent
from twisted.python.failure import Failure

from ftpsvc.records import Happening, SessionEvent
from ftpsvc.sharing import Sharing
from ftpsvc.workerlink import ANSWER_LIMIT, Unanswered, WorkerLink
from ftpsvc.workers import DELAYS, LONG_ENOUGH, STILL, UNHEARD, Opened, Workers


class Ends:
    """Both ends of a link, in memory."""

    def __init__(self, **handlers: Any) -> None:
        self.clock = support.make_clock()
        self.asking, self.answering = WorkerLink(self.clock, {}), WorkerLink(self.clock, handlers)
        for end in (self.asking, self.answering):
            end.makeConnection(StringTransport())

    def pump(self) -> None:
        for source, target in ((self.asking, self.answering), (self.answering, self.asking)):
            data = source.transport.value()
            source.transport.clear()
            target.dataReceived(data)


def test_an_answer_comes_to_its_question() -> None:
    ends = Ends(double=lambda number: number * 2, name=lambda: "é\udcff\n")
    first, second = start(ends.asking.ask("double", number=21)), start(ends.asking.ask("name"))
    ends.pump()
    assert (first.result(), second.result()) == (42, "é\udcff\n")


def test_an_answer_may_take_its_time(logged_errors: Any) -> None:
    later = support.Deferred()
    ends = Ends(later=lambda: later)
    asked = start(ends.asking.ask("later"))
    ends.pump()
    later.callback([1, 2])
    ends.pump()
    assert asked.result() == [1, 2]


def test_what_fails_there_is_said_here(logged_errors: Any) -> None:
    ends = Ends(fail=lambda: 1 / 0)
    asked = start(ends.asking.ask("fail"))
    ends.pump()
    with pytest.raises(Unanswered, match="division by zero"):
        asked.result()
    assert len(logged_errors.take()) == 1


def test_who_does_not_answer_is_not_waited_for() -> None:
    ends = Ends()
    asked = start(ends.asking.ask("anything"))
    ends.clock.advance(ANSWER_LIMIT)
    with pytest.raises(Unanswered, match="within 5 seconds"):
        asked.result()


def test_who_ends_owes_no_answer() -> None:
    ends = Ends()
    asked = start(ends.asking.ask("anything"))
    ends.asking.connectionLost()
    with pytest.raises(Unanswered, match="ended"):
        asked.result()
    with pytest.raises(Unanswered, match="nobody"):
        start(ends.asking.ask("anything")).result()
    ends.asking.tell("anything")


@pytest.mark.parametrize("line", [b"{}", b"[]", b"nonsense", b'{"tell": "unknown", "with": {}}', b"\xff"])
def test_nonsense_ends_the_link(line: bytes, logged_errors: Any) -> None:
    ends = Ends()
    ends.answering.dataReceived(line + b"\n")
    assert ends.answering.transport.disconnected or ends.answering.transport.disconnecting
    assert len(logged_errors.take()) == 1


# -- places among the workers


class Process:
    pid = 4711

    def __init__(self) -> None:
        self.signals: list[int] = []

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)


class FakeReactor(Clock):
    """Starts no process, and remembers that it was to."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[Any, float]] = []

    def spawnProcess(self, protocol: Any, *_: Any, **__: Any) -> Process:
        self.spawned.append((protocol, self.seconds()))
        return Process()

    def adoptStreamConnection(self, fileno: int, family: int, factory: Factory) -> None:
        link = factory.buildProtocol(None)
        assert link is not None
        link.makeConnection(StringTransport())


def gone(signal: int | None = None) -> Failure:
    return Failure(ProcessTerminated(None if signal else 1, signal))


@pytest.fixture
def place() -> Iterator[tuple[Workers, FakeReactor]]:
    reactor = FakeReactor()
    support.CLOCKS.append(reactor)
    workers = Workers(reactor, Sharing.create(1, 10), [Opened("tcp:0", lambda: 0)], lambda: ["--root=/srv"], "/")
    workers.start()
    yield workers, reactor
    for worker in workers._workers:
        worker._link_lost(worker._link)
        if worker._process is not None:
            worker._over = support.Deferred()
            worker.processExited(gone(15))
    workers.sharing.close()


def test_one_that_keeps_dying_is_replaced_ever_more_slowly(place: Any, logged_errors: Any) -> None:
    _, reactor = place
    for delay in (*DELAYS, DELAYS[-1]):
        worker, began = reactor.spawned[-1]
        worker.processExited(gone(9))
        reactor.advance(delay)
        assert reactor.spawned[-1][1] == pytest.approx(began + delay)
    reactor.advance(LONG_ENOUGH)
    reactor.spawned[-1][0].processExited(gone())
    reactor.advance(0)
    assert len(reactor.spawned) == len(DELAYS) + 3
    logged_errors.events.clear()


def test_one_for_which_there_are_no_descriptors_is_started_later(
    place: Any, logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, reactor = place
    with monkeypatch.context() as full:
        full.setattr(socket, "socketpair", out_of_descriptors)
        reactor.spawned[0][0].processExited(gone(9))
        reactor.advance(0)
    assert len(reactor.spawned) == 1
    reactor.advance(DELAYS[1])
    assert len(reactor.spawned) == 2
    logged_errors.events.clear()


def out_of_descriptors() -> NoReturn:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_behind_one_that_dies_it_is_cleared_up(place: Any, logged_errors: Any) -> None:
    workers, reactor = place
    swept: list[str] = []
    workers.sweep = swept.append
    worker, _ = reactor.spawned[0]
    worker._join(worker._link, "abc")
    worker.processExited(gone(9))
    assert swept == ["abc"]
    logged_errors.events.clear()
    reactor.advance(0)


def test_it_has_ended_when_the_process_has_and_all_it_said_was_heard(place: Any) -> None:
    _, reactor = place
    worker, _ = reactor.spawned[0]
    process = worker._process
    over = start(worker.stop())
    assert [int(number) for number in process.signals] == [15]
    worker.processExited(gone(15))
    assert not over.is_over
    worker._link_lost(worker._link)
    assert over.is_over
    assert len(reactor.spawned) == 1


def test_of_one_that_dies_while_it_sees_its_sessions_out_it_is_said_and_cleared_up(
    place: Any, logged_errors: Any
) -> None:
    workers, reactor = place
    swept: list[str] = []
    workers.sweep = swept.append
    worker, _ = reactor.spawned[0]
    worker._join(worker._link, "abc")
    over = start(worker.stop())
    worker.processExited(gone(9))
    worker._link_lost(worker._link)
    assert over.is_over and swept == ["abc"] and len(reactor.spawned) == 1
    (event,) = logged_errors.events
    assert formatEvent(event) == "Worker 1 has ended: by SIGKILL"
    logged_errors.take()


def test_one_that_waits_to_be_started_is_not_started_at_the_end(place: Any, logged_errors: Any) -> None:
    _, reactor = place
    worker, _ = reactor.spawned[0]
    worker.processExited(gone(9))
    worker._link_lost(worker._link)
    over = start(worker.stop())
    reactor.advance(100)
    assert over.is_over and len(reactor.spawned) == 1
    logged_errors.events.clear()


def test_who_can_be_asked_is_asked_and_the_others_are_left_out(place: Any, logged_errors: Any) -> None:
    workers, reactor = place
    assert start(workers.ask_all("anything")).result() == {}  # it has not begun yet
    worker, _ = reactor.spawned[0]
    worker._join(worker._link, "abc")
    asked, alone = start(workers.ask_all("double", number=21)), start(workers.ask(1, "anything"))
    questions = [json.loads(line) for line in worker._link.transport.value().splitlines()]
    assert questions[-2]["ask"] == "double"
    worker._link.dataReceived(json.dumps({"answer": 42, "to": questions[-2]["number"]}).encode() + b"\n")
    assert asked.result() == {1: 42}
    reactor.advance(ANSWER_LIMIT)
    with pytest.raises(Unanswered):
        alone.result()
    with pytest.raises(Unanswered, match="no worker 2"):
        start(workers.ask(2, "anything")).result()


def test_one_that_answers_nothing_for_long_is_killed(place: Any, logged_errors: Any) -> None:
    workers, reactor = place
    worker, _ = reactor.spawned[0]
    worker._join(worker._link, "abc")

    def asked(seconds: float) -> int:
        """Asked all the time, for so long; the last question's number."""
        for _ in range(round(seconds / ANSWER_LIMIT)):
            start(workers.ask_all("now"))
            reactor.advance(ANSWER_LIMIT)
        return int(said(worker)[-1]["number"])

    for _ in range(3):
        hear(worker, {"answer": 1, "to": asked(STILL)})  # too late for who has asked, and yet it lives
    assert worker._process.signals == []
    asked(ANSWER_LIMIT + STILL)
    assert worker._process.signals == [signal.SIGKILL]
    worker.processExited(gone(9))
    reactor.advance(STILL)
    assert len(reactor.spawned) == 2 and reactor.spawned[-1][0]._process.signals == []
    assert "has said nothing for 30 s" in formatEvent(logged_errors.events[0])
    logged_errors.events.clear()


def said(worker: Any) -> list[Any]:
    lines = [json.loads(line) for line in worker._link.transport.value().splitlines()]
    worker._link.transport.clear()
    return lines


def hear(worker: Any, message: object) -> None:
    worker._link.dataReceived(json.dumps(message).encode() + b"\n")


def test_one_is_told_who_is_banned_before_it_lets_anybody_in(place: Any) -> None:
    workers, reactor = place
    worker, _ = reactor.spawned[0]
    workers.banned = lambda: [("192.0.2.0/24", 4.5), ("2001:db8::1", None)]
    assert [message["tell"] for message in said(worker)] == ["start"]
    hear(worker, {"ask": "join", "with": {"run": "abc"}, "number": 1})
    assert said(worker) == [{"answer": [["192.0.2.0/24", 4.5], ["2001:db8::1", None]], "to": 1}]
    later = start(workers.ask_all("ban", network="192.0.2.1", seconds=None))
    assert [message["ask"] for message in said(worker)] == ["ban"]  # behind the answer, so none is missed
    reactor.advance(ANSWER_LIMIT)
    assert later.result() == {}


def test_a_reload_is_over_when_all_have_it_or_have_said_why_not(place: Any, logged_errors: Any) -> None:
    workers, reactor = place
    worker, _ = reactor.spawned[0]
    said(worker)
    assert start(workers.reload()).result() == []
    assert [message["tell"] for message in said(worker)] == ["reload"]  # it has read the old options, and can't answer
    worker._join(worker._link, "abc")
    outcome = start(workers.reload())
    (question,) = said(worker)
    assert not outcome.is_over
    hear(worker, {"answer": [False, ["nothing was changed: no disk"]], "to": question["number"]})
    assert outcome.result() == ["worker 1: nothing was changed: no disk"]
    outcome = start(workers.reload())
    reactor.advance(ANSWER_LIMIT)
    assert outcome.result() == ["worker 1: it has not answered, and goes on as it was until it does"]
    outcome = start(workers.reload())
    worker.processExited(gone(9))
    worker._link.connectionLost()
    reactor.advance(ANSWER_LIMIT)
    assert outcome.result() == []  # the next one begins with what was read
    logged_errors.take()


def test_what_a_dead_one_still_has_to_say_is_nothing_to_the_next(place: Any, logged_errors: Any) -> None:
    workers, reactor = place
    worker, _ = reactor.spawned[0]
    before = worker._link
    worker.processExited(gone(9))
    reactor.advance(0)
    assert worker._link is not before
    worker._link.handlers["join"](run="next")
    before.handlers["join"](run="dead")
    before.connectionLost()
    asked = start(workers.ask_all("rows"))
    (*_, question) = said(worker)
    hear(worker, {"answer": [], "to": question["number"]})
    assert asked.result() == {1: []}
    worker.processExited(gone(9))
    logged_errors.events.clear()
    reactor.advance(10)


def test_no_session_has_the_number_of_one_before_it(place: Any, logged_errors: Any) -> None:
    workers, _ = place
    assert workers.start_for(1).first == 1
    workers._heard([SessionEvent(Happening.CONNECTED, "192.0.2.1", 41)])
    assert workers.start_for(1).first > 41 + UNHEARD // 2
