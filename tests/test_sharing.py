"""Limits, bans, turns, rates and quotas that two workers hold together: two servers on one memory, one clock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import support
from hall import Hall, Visitor
from support import Conversation, frames, result_of, start

from ftpsvc.commons import Common
from ftpsvc.gate import CheckedStorage, Gate
from ftpsvc.homes import Homes
from ftpsvc.limits import Limits
from ftpsvc.model import Account, Busy, NoDataConnection, NotLoggedIn
from ftpsvc.passiveports import GRACE, PassivePorts
from ftpsvc.rates import Rates
from ftpsvc.sharedtable import Memory
from ftpsvc.sharing import TURN_POLL, Sharing

ONE, OTHER = 0, 1


class Pair:
    """What two workers and their parent see of the same memory."""

    def __init__(self, connections: int = 100) -> None:
        self.clock = support.make_clock()
        self.parent = Sharing.create(2, connections)
        self.views = [
            Sharing(Memory(os.dup(self.parent.memory.descriptor)), 2, self.parent.rows, mine) for mine in (ONE, OTHER)
        ]
        self.asked: list[tuple[int, str]] = []
        self.commons: list[Common] = [
            view.common(self.clock, lambda of, n=n: self.asked.append((n, of))) for n, view in enumerate(self.views)
        ]
        support.LEFT_OPEN.append(self)

    def close(self) -> None:
        for view in (self.parent, *self.views):
            view.close()


class Everybody(support.OneAccount):
    """Whoever says `secret` may log in."""

    def __init__(self) -> None:
        super().__init__(Account("anybody"), None)

    async def login(self, user: str, password: str, visitor: Any) -> tuple[Account, Any]:
        if password != "secret":
            raise NotLoggedIn("Wrong.")
        return Account(user), None


@pytest.fixture
def pair() -> Pair:
    return Pair()


def halls(pair: Pair, folder: Path, **limits: Any) -> list[Hall]:
    return [
        Hall(folder, Limits(delay=0, **limits), Everybody(), clock=pair.clock, common=common) for common in pair.commons
    ]


def first_code(visitor: Visitor) -> int | str:
    return visitor.codes()[0]


def test_an_address_has_so_many_connections_wherever_they_are(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path, per_address=2)
    first, second = one.visit(), other.visit()
    assert [first_code(first), first_code(second)] == [220, 220]
    assert [first_code(one.visit()), first_code(other.visit())] == [421, 421]
    first.leave()
    assert first_code(other.visit()) == 220


def test_there_are_so_many_connections_in_all(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path, connections=2)
    here, there = one.visit("192.0.2.1"), other.visit("192.0.2.2")
    assert [first_code(here), first_code(there)] == [220, 220]
    assert first_code(other.visit("192.0.2.3")) == 421
    pair.clock.advance(2)
    assert first_code(other.visit("192.0.2.3")) == 220  # whoever waited longest there without a login gave way
    assert (there.codes(), here.codes()) == ([421], [])


def test_who_has_nobody_to_send_off_has_the_others_do_it(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path, connections=1)
    stranger = one.visit("192.0.2.1")
    pair.clock.advance(2)
    assert first_code(other.visit("192.0.2.2")) == 421
    assert pair.asked == [(OTHER, "connections")]
    assert one.factory.connections.make_room()
    assert stranger.codes() == [220, 421]
    assert first_code(other.visit("192.0.2.2")) == 220


def test_an_account_has_so_many_sessions_wherever_they_are(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path, per_account=1)
    first = one.visit()
    assert first.log_in("mia", "secret") == [220, 331, 230]
    assert other.visit().log_in("mia", "secret") == [220, 331, 421]
    assert other.visit().log_in("tom", "secret") == [220, 331, 230]
    first.leave()
    assert other.visit().log_in("mia", "secret") == [220, 331, 230]


def test_failures_are_counted_together_and_a_ban_is_everywhere(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path, ban_after=2, ban=60)
    for hall in (one, other):
        hall.visit().log_in("mia", "wrong")
        pair.clock.advance(0)
    assert [first_code(one.visit()), first_code(other.visit())] == [421, 421]
    assert first_code(one.visit("192.0.2.2")) == 220
    pair.clock.advance(61)
    assert first_code(other.visit()) == 220


def test_the_delay_grows_with_failures_elsewhere(pair: Pair, tmp_path: Path) -> None:
    limits = Limits(delay=1)
    one, other = (Hall(tmp_path, limits, Everybody(), clock=pair.clock, common=common) for common in pair.commons)
    one.visit().log_in("mia", "wrong")
    visitor = other.visit()
    visitor.log_in("mia", "wrong")
    pair.clock.advance(1.5)
    assert visitor.codes() == []
    pair.clock.advance(1)
    assert visitor.codes() == [530]


def test_an_address_is_examined_once_at_a_time_in_all_workers(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path)
    done = result_of(one.factory.door.turn("192.0.2.1"))
    waiting, free = start(other.factory.door.turn("192.0.2.1")), start(other.factory.door.turn("192.0.2.2"))
    assert (waiting.is_over, free.is_over) == (False, True)
    done()
    pair.clock.advance(TURN_POLL)
    waiting.result()()
    free.result()()
    assert result_of(one.factory.door.turn("192.0.2.1")) is not None


def test_who_no_longer_waits_for_a_turn_leaves_it_to_the_next(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path)
    done = result_of(one.factory.door.turn("192.0.2.1"))
    gone, next_one = start(other.factory.door.turn("192.0.2.1")), start(other.factory.door.turn("192.0.2.1"))
    gone.deferred.cancel()
    done()
    pair.clock.advance(TURN_POLL)
    assert next_one.is_over


def test_an_accounts_rate_is_shared_and_a_sessions_own_is_not(pair: Pair) -> None:
    limits = Limits(account_down=1000)
    one, other = (Rates(limits, pair.clock, common).paces_for(Account("ann")).down for common in pair.commons)
    assert [one.take(100), other.take(100), one.take(100)] == pytest.approx([0.1, 0.2, 0.3])
    pair.clock.advance(10)
    assert [one.take(250), other.take(100)] == pytest.approx([0.0, 0.1])  # a quarter of a second's worth was kept
    assert Rates(limits, pair.clock, pair.commons[0]).paces_for(Account("bob")).down.take(100) == pytest.approx(0.1)


class Port:
    def __init__(self, ports: PassivePorts) -> None:
        self.ports = ports
        ports.demand_room()
        ports.opened(self)

    def close(self, why: Any = None) -> None:
        self.ports.closed(self)


def test_so_many_passive_ports_wait_in_all(pair: Pair) -> None:
    one, other = (PassivePorts(2, pair.clock, common) for common in pair.commons)
    first = Port(one)
    Port(one)
    with pytest.raises(NoDataConnection, match="All 2 ports"):
        Port(other)
    assert pair.asked == [(OTHER, "passive ports")]
    assert not one.make_room()  # they are new
    pair.clock.advance(GRACE)
    assert one.make_room()
    assert first not in one._since
    Port(other)


# -- quotas


def talking(pair: Pair, folder: Path, size: int = 1000) -> list[Conversation]:
    """A session of the same account at each of the two."""
    account, talks = Account("ann", quota_bytes=size), []
    for common in pair.commons:
        homes = Homes(
            lambda home, owner: support.local_disk(home, owner=owner), support.at_once, pair.clock.seconds, common
        )
        storage = homes.storage(str(folder), account, "ann")
        talks.append(Conversation(storage, accounts=support.OneAccount(account, storage)).log_in(user="ann"))
    return talks


def left(talk: Conversation) -> int:
    (answer,) = talk.ask(b"AVBL\r\n")
    return int(str(answer)[4:])


def test_a_quota_is_held_over_both(pair: Pair, tmp_path: Path) -> None:
    one, other = talking(pair, tmp_path)
    assert one.codes(b"STOR a\r\n", frames(b"a" * 600)) == [150, 226]
    assert other.codes(b"STOR b\r\n", frames(b"b" * 401)) == [150, 552]
    assert other.codes(b"STOR b\r\n", frames(b"b" * 400)) == [150, 226]
    assert one.codes(b"APPE b\r\n", frames(b"b")) == [150, 552]
    assert other.codes(b"DELE a\r\n") == [250]
    assert left(one) == left(other) == 600


def test_what_is_replaced_at_the_one_while_it_grows_at_the_other_is_not_given_back_twice(
    pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 200)
    one, other = talking(pair, tmp_path)
    one.send(b"APPE a\r\n", frames(b"y" * 300)[:-40])
    assert other.codes(b"DELE a\r\n") == [250]
    one.link.lose()
    assert 1000 - left(other) >= 0
    assert left(other) <= 1000


def test_who_goes_on_at_the_other_from_what_broke_off_here_does_not_pay_twice(pair: Pair, tmp_path: Path) -> None:
    one, other = talking(pair, tmp_path, 200_000)
    data = os.urandom(150_000)
    sent = frames(data)
    one.send(b"STOR a\r\n", sent[:100_000])
    one.link.lose()
    (part,) = support.parts_in(tmp_path)
    kept = part.stat().st_size
    assert kept > 0
    assert left(other) == 200_000 - kept
    other.ask(b"REST %d\r\n" % kept)
    assert other.codes(b"STOR a\r\n", frames(data[kept:])) == [150, 226]
    assert left(other) == 50_000
    assert (tmp_path / "a").read_bytes() == data


def test_what_a_dead_worker_had_claimed_is_counted_again_at_the_next_login(pair: Pair, tmp_path: Path) -> None:
    one, other = talking(pair, tmp_path, 200_000)
    one.send(b"STOR a\r\n", frames(b"x" * 150_000)[:-50_000])
    assert left(other) < 110_000
    for file in support.parts_in(tmp_path):
        file.unlink()
    pair.parent.forget(ONE)
    assert left(talking(pair, tmp_path, 200_000)[OTHER]) == 200_000
    one.link.lose()
    for file in support.parts_in(tmp_path):
        file.unlink()


def test_two_may_not_add_to_one_checked_file_wherever_they_are(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    disk = support.local_disk(tmp_path)
    no_programs: Any = None
    there, here = (
        CheckedStorage(disk, Gate(["/bin/check"], no_programs, common.counts), {}) for common in pair.commons
    )
    first = result_of(there.open_append("/a"))
    with pytest.raises(Busy, match="somebody else is adding"):
        result_of(here.open_append("/a"))
    result_of(first.abort())
    second = result_of(here.open_append("/a"))
    result_of(first.abort())  # once more, which takes nothing from the other
    with pytest.raises(Busy, match="somebody else is adding"):
        result_of(there.open_append("/a"))
    pair.parent.forget(OTHER)  # its worker is killed, and the file is to be had again
    result_of(result_of(there.open_append("/a")).abort())
    result_of(second.abort())


def test_what_a_dead_worker_had_counted_keeps_nobody_out(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path, per_address=1, per_account=1)
    visitor = one.visit()
    visitor.log_in("mia", "secret")
    assert first_code(other.visit()) == 421
    pair.parent.forget(ONE)
    assert other.visit().log_in("mia", "secret") == [220, 331, 230]


# -- who lets the next in


def test_one_who_has_more_lets_the_other_go_first(pair: Pair, tmp_path: Path) -> None:
    one, other = halls(pair, tmp_path)
    first, second = pair.views
    first.ready()
    one.visit()
    assert not first.is_ahead()  # the other isn't there yet
    second.ready()
    assert (first.is_ahead(), second.is_ahead()) == (True, False)
    other.visit()
    assert (first.is_ahead(), second.is_ahead()) == (False, False)
    other.visit()
    second.unready()
    assert not first.is_ahead()
