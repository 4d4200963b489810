"""Replies in the order of their commands, though some are known later."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from ftpsvc.outbox import Outbox
from ftpsvc.wire import Reply


class Session:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.counted: list[tuple[str, int]] = []
        self.outbox = Outbox(self.sent.append, self.count)

    def count(self, verb: str, code: int) -> None:
        self.counted.append((verb, code))

    def later(self) -> Deferred[Reply]:
        reply: Deferred[Reply] = Deferred()
        Deferred.fromCoroutine(self.outbox.post_later(reply))
        return reply

    def waiting(self, most: int = 0) -> Deferred[None]:
        return Deferred.fromCoroutine(self.outbox.settled(most))


def test_a_reply_with_nothing_before_it_is_sent_at_once() -> None:
    session = Session()
    session.outbox.post(Reply(200, "x"))
    assert session.sent == [b"200 x\r\n"]


def test_replies_keep_their_order_whichever_is_known_first() -> None:
    session = Session()
    first, second = session.later(), session.later()
    session.outbox.post(Reply(150, "third"))
    second.callback(Reply(226, "second"))
    assert session.sent == []
    first.callback(Reply(226, "first"))
    assert session.sent == [b"226 first\r\n", b"226 second\r\n", b"150 third\r\n"]


def test_everybody_who_waits_for_replies_hears_of_them() -> None:
    session = Session()
    first, second = session.later(), session.later()
    all_known, also_all_known, one_left = session.waiting(), session.waiting(), session.waiting(most=1)
    first.callback(Reply(226, "x"))
    assert one_left.called
    assert not all_known.called
    second.callback(Reply(226, "x"))
    assert all_known.called
    assert also_all_known.called


def test_who_gives_up_waiting_is_forgotten() -> None:
    session = Session()
    reply = session.later()
    gone, stays = session.waiting(), session.waiting()
    gone.addErrback(lambda _: None)
    gone.cancel()
    reply.callback(Reply(226, "x"))
    assert stays.called


def test_a_reply_counts_for_its_own_command_even_if_it_is_known_later() -> None:
    session = Session()
    session.outbox.verb = "STOR"
    session.outbox.post(Reply(150, "x"))
    stored = session.later()
    session.outbox.verb = "NOOP"
    session.outbox.post(Reply(200, "x"))
    stored.callback(Reply(226, "x"))
    assert session.counted == [("STOR", 150), ("NOOP", 200), ("STOR", 226)]


def test_a_reply_that_is_known_without_waiting_goes_in_its_turn() -> None:
    session = Session()
    session.outbox.verb = "STOR"
    assert session.outbox.post_at_once(committed()) is None
    assert session.sent == [b"150 Ready\r\n226 x\r\n"]
    assert session.counted == [("STOR", 150), ("STOR", 226)]
    before = session.later()
    assert session.outbox.post_at_once(committed()) is None
    assert len(session.sent) == 1
    before.callback(Reply(226, "before"))
    assert session.sent[1:] == [b"226 before\r\n", b"150 Ready\r\n226 x\r\n"]


def test_what_has_begun_and_has_to_wait_goes_on_from_there() -> None:
    session = Session()
    waits: list[Deferred[None]] = [Deferred(), Deferred()]
    rest = session.outbox.post_at_once(committed(*waits))
    assert rest is not None
    Deferred.fromCoroutine(session.outbox.post_later(rest))
    for wait in waits:
        assert session.sent == []
        wait.callback(None)
    assert session.sent == [b"150 Ready\r\n226 x\r\n"]


def test_what_has_begun_hears_of_a_failure_and_of_its_being_cancelled() -> None:
    for end in (lambda wait, _: wait.errback(OSError()), lambda _, work: work.cancel()):
        session = Session()
        wait: Deferred[None] = Deferred()
        rest = session.outbox.post_at_once(refused(wait))
        assert rest is not None
        work = Deferred.fromCoroutine(session.outbox.post_later(rest))
        end(wait, work)
        assert session.sent == [b"451 x\r\n"]


async def committed(*waits: Deferred[None]) -> Reply:
    for wait in waits:
        await wait
    return Reply(226, "x", opening="Ready")


async def refused(wait: Deferred[None]) -> Reply:
    try:
        await wait
    except (OSError, CancelledError):
        return Reply(451, "x")
    raise AssertionError
