"""Failed logins: how they are counted, delayed and ended, and what they can't be used for."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import support
from hall import Hall, Visitor
from twisted.internet.defer import Deferred

from ftpsvc import commons, logins
from ftpsvc.bans import Bans
from ftpsvc.limits import Limits
from ftpsvc.model import Account, NoHome, NotLoggedIn, OverLimit


class Doorman(support.OneAccount):
    """Ann's password is right. Where `slow`, each answer waits until the test lets it go."""

    def __init__(self, storage: Any, slow: bool = False) -> None:
        super().__init__(Account("ann"), storage)
        self.slow = slow
        self.examined: list[str] = []
        self.waiting: list[Deferred[None]] = []

    async def login(self, user: str, password: str, visitor: Any) -> tuple[Account, Any]:
        self.examined.append(user)
        if self.slow:
            self.waiting.append(Deferred(lambda _: None))
            await self.waiting[-1]
        if (user, password) != ("ann", "secret"):
            raise NotLoggedIn("Login failed: wrong name or password.")
        return Account("ann"), self.storage

    def answer(self, hall: Hall) -> None:
        self.waiting.pop(0).callback(None)
        hall.clock.advance(0)


@pytest.fixture
def doorman(tmp_path: Path) -> Doorman:
    return Doorman(support.local_disk(tmp_path))


def a_hall(tmp_path: Path, doorman: Doorman, **limits: Any) -> Hall:
    return Hall(tmp_path, Limits(**limits), doorman)


def answer_after(hall: Hall, visitor: Visitor, name: str) -> tuple[float, list[int | str]]:
    """Fail to log in; after how many seconds what was said."""
    asked = hall.clock.seconds()
    assert visitor.codes(f"USER {name}\r\nPASS wrong\r\n".encode())[-1] == 331
    while not (codes := visitor.codes()):
        hall.clock.advance(0.5)
        assert hall.clock.seconds() - asked < 60
    return hall.clock.seconds() - asked, codes


# -- one connection


def test_each_failure_takes_longer_to_answer_and_the_third_ends_the_connection(
    tmp_path: Path, doorman: Doorman
) -> None:
    hall = a_hall(tmp_path, doorman)
    visitor = hall.visit()
    assert [answer_after(hall, visitor, "ann") for _ in range(3)] == [(1, [530]), (2, [530]), (4, [421])]
    assert visitor.is_closed


def test_a_name_that_exists_is_answered_as_one_that_does_not(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman)
    known, unknown = hall.visit("192.0.2.1"), hall.visit("192.0.2.2")
    for _ in range(3):
        assert answer_after(hall, known, "ann") == answer_after(hall, unknown, "bob")


def test_the_right_password_is_not_delayed(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman)
    visitor = hall.visit()
    answer_after(hall, visitor, "ann")
    answer_after(hall, visitor, "ann")
    assert visitor.log_in("ann", "secret") == [331, 230]


def test_nobody_is_banned_for_a_home_that_can_not_be_opened(tmp_path: Path, doorman: Doorman) -> None:
    """A disk that isn't there, or no descriptors: clients come again and again, with the right password."""
    hall = a_hall(tmp_path, doorman, ban_after=4)
    with mock.patch.object(doorman, "login", side_effect=NoHome("This account's files can't be opened.")):
        visitor = hall.visit()
        for _ in range(10):
            assert visitor.log_in("ann", "secret")[-1] == 530
    assert visitor.log_in("ann", "secret") == [331, 230]
    assert hall.factory.bans.count("192.0.2.1") == 0


def test_commands_behind_a_failed_login_wait_for_its_answer(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman)
    visitor = hall.visit()
    assert visitor.codes(b"USER ann\r\nPASS a\r\nUSER ann\r\nPASS b\r\nUSER ann\r\nPASS secret\r\n") == [220, 331]
    hall.clock.advance(1)
    assert visitor.codes() == [530, 331]
    hall.clock.advance(2)
    assert visitor.codes() == [530, 331, 230]


def test_who_goes_during_the_delay_leaves_nothing_behind(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman)
    visitor = hall.visit()
    visitor.log_in("ann", "wrong")
    visitor.leave()
    hall.factory.records.flush()
    assert not hall.clock.getDelayedCalls()
    assert len(hall.factory.connections) == 0


def test_the_time_to_log_in_goes_on_during_delays(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman, delay=10, attempts=100, ban_after=0)
    visitor = hall.visit()
    visitor.ask(b"USER ann\r\nPASS wrong\r\n" * 100)
    for _ in range(6):
        assert not visitor.is_closed
        hall.clock.advance(10)
        visitor.link.pump()
    assert visitor.codes()[-1] == 421
    assert visitor.is_closed


# -- one address


def test_delays_grow_for_the_address_too_up_to_a_bound(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman)
    delays = [answer_after(hall, hall.visit(), "ann")[0] for _ in range(7)]
    assert delays == [1, 2, 4, 8, logins.MAX_DELAY, logins.MAX_DELAY, logins.MAX_DELAY]
    assert answer_after(hall, hall.visit("192.0.2.2"), "ann")[0] == 1


def test_an_address_is_banned_for_a_time_and_nobody_else_is(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman, ban_after=4, ban=600)
    there = hall.visit()
    assert there.log_in("ann", "secret") == [220, 331, 230]
    waiting = hall.visit()
    for _ in range(4):
        answer_after(hall, hall.visit(), "root")
    (refusal,) = hall.visit().ask()
    assert str(refusal).startswith("421 4 logins from your address have failed")
    assert "10 minutes" in str(refusal)
    assert waiting.log_in("ann", "secret") == [220, 331, 421], "it has been there since before the ban"
    assert there.codes(b"NOOP\r\n") == [200], "who is logged in is left alone"
    assert hall.visit("192.0.2.2").log_in("ann", "secret") == [220, 331, 230]
    hall.clock.advance(299)
    assert there.codes(b"NOOP\r\n") == [200]
    hall.clock.advance(301)
    assert hall.visit().log_in("ann", "secret") == [220, 331, 230]


def test_attempts_during_a_ban_do_not_make_it_longer(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman, ban_after=1, ban=100)
    answer_after(hall, hall.visit(), "root")
    for _ in range(9):
        hall.clock.advance(10)
        assert hall.visit().log_in() == [421]
    hall.clock.advance(10)
    assert hall.visit().log_in("ann", "secret") == [220, 331, 230]


def test_failures_are_forgotten_in_time(tmp_path: Path, doorman: Doorman) -> None:
    hall = a_hall(tmp_path, doorman, ban_after=3, ban=100)
    for _ in range(6):
        answer_after(hall, hall.visit(), "ann")
        hall.clock.advance(100)
    assert hall.visit().log_in("ann", "secret") == [220, 331, 230]


def test_where_one_address_stands_for_many_it_is_not_banned_but_each_connection_is_held_to_its_own(
    tmp_path: Path, doorman: Doorman
) -> None:
    hall = a_hall(tmp_path, doorman, ban_after=2)
    for _ in range(5):
        visitor = hall.visit("127.0.0.1")
        assert [answer_after(hall, visitor, "ann") for _ in range(3)] == [(1, [530]), (2, [530]), (4, [421])]


def test_guesses_on_many_connections_at_once_are_counted_one_by_one(tmp_path: Path, doorman: Doorman) -> None:
    doorman.slow = True
    hall = a_hall(tmp_path, doorman, ban_after=5)
    crowd = [hall.visit() for _ in range(200)]
    for visitor in crowd:
        visitor.ask(b"USER ann\r\nPASS wrong\r\n")
    elsewhere = hall.visit("192.0.2.2")
    elsewhere.ask(b"USER ann\r\nPASS secret\r\n")
    assert len(doorman.waiting) == 2, "one of each address is examined"
    for _ in range(5):
        doorman.answer(hall)
    while doorman.waiting:
        doorman.answer(hall)
    assert doorman.examined.count("ann") == 5 + 1
    for _ in range(len(crowd) + 20):
        hall.clock.advance(0)
    elsewhere.link.pump()
    assert elsewhere.codes() == [230]
    assert [visitor.codes() for visitor in crowd[5:]] == [[421]] * 195
    hall.clock.advance(logins.MAX_DELAY)
    assert [visitor.codes() for visitor in crowd[:5]] == [[530]] * 5
    assert not hall.factory.door._locks


def test_who_does_not_wait_for_the_answer_has_had_the_attempt(tmp_path: Path, doorman: Doorman) -> None:
    doorman.slow = True
    hall = a_hall(tmp_path, doorman, ban_after=3)
    for _ in range(10):
        visitor = hall.visit()
        visitor.ask(b"USER ann\r\nPASS wrong\r\n")
        visitor.leave()
        assert len(doorman.waiting) <= 1, "the next of them waits until this one has been examined"
        if doorman.waiting:
            doorman.answer(hall)
    assert len(doorman.examined) == 3
    assert hall.visit().codes() == [421]


def test_who_gives_up_while_waiting_for_a_turn_is_not_examined(tmp_path: Path, doorman: Doorman) -> None:
    doorman.slow = True
    hall = a_hall(tmp_path, doorman)
    first, second, third = (hall.visit() for _ in range(3))
    for visitor in (first, second, third):
        visitor.ask(b"USER ann\r\nPASS secret\r\n")
    second.leave()
    doorman.answer(hall)
    doorman.answer(hall)
    assert doorman.examined == ["ann", "ann"]
    third.link.pump()
    assert (first.codes(), third.codes()) == ([230], [230])


def test_what_is_remembered_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commons, "MAX_KNOWN", 100)
    clock = support.make_clock()
    known = Bans(Limits(ban_after=2), clock)
    for number in range(1000):
        support.result_of(known.failed(f"192.0.2.{number}"))
        support.result_of(known.failed("203.0.113.1"))
    assert len(known._failures.items()) == 100
    with pytest.raises(OverLimit):
        known.demand_none("203.0.113.1")
    known.demand_none("192.0.2.0")
