"""How many may be connected: in all, from one address, for one account; and who is turned away how."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import support
from hall import Hall
from links import MemoryTransport
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface import directlyProvides

from ftpsvc.connections import GRACE, source_of
from ftpsvc.limits import Limits
from ftpsvc.model import ANONYMOUS, Account
from ftpsvc.refusals import GATHER, MAX_TOLD_BY_TLS


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What is logged at `info` and above, as text."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.info and event.get("log_format"):
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


class Everybody(support.OneAccount):
    """Anybody may log in, and is held to their account's own limit."""

    def __init__(self, storage: Any, most: int | None = None) -> None:
        super().__init__(Account("anybody"), storage)
        self.most = most

    async def login(self, user: str, password: str, visitor: Any) -> tuple[Account, Any]:
        return Account(user, max_sessions=self.most), self.storage


class ByCertificate(Everybody):
    """Nobody needs a password."""

    async def recognise(self, user: str, visitor: Any) -> Any:
        return Account(user, max_sessions=self.most), self.storage


# -- per address


def test_an_address_has_so_many_connections_and_the_next_is_told(tmp_path: Path, logged: list[str]) -> None:
    hall = Hall(tmp_path, Limits(per_address=2))
    first, second = hall.visit(), hall.visit()
    third = hall.visit()
    (refusal,) = third.ask()
    assert str(refusal).startswith("421 There are 2 connections from your address already")
    assert third.is_closed
    assert any("192.0.2.1" in line and "max-per-address" in line for line in logged)
    assert hall.visit("192.0.2.2").log_in() == [220, 331, 230]
    first.leave()
    assert hall.visit().log_in() == [220, 331, 230]
    assert second.log_in() == [220, 331, 230]


def test_the_addresses_of_one_ipv6_network_are_one(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(per_address=1))
    assert hall.visit("2001:db8:0:1::1").codes() == [220]
    assert hall.visit("2001:db8:0:1:ffff::2").codes() == [421]
    assert hall.visit("2001:db8:0:2::1").codes() == [220]


@pytest.mark.parametrize(
    ("address", "source"),
    [
        (IPv4Address("TCP", "192.0.2.1", 1), "192.0.2.1"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 1), "192.0.2.1"),
        (IPv6Address("TCP", "2001:db8::1", 1), "2001:db8::/64"),
        (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::/64"),
        (IPv4Address("TCP", "127.0.0.1", 1), ""),
        (IPv6Address("TCP", "::1", 1), ""),
        (IPv4Address("TCP", "127.0.0.2", 1), "127.0.0.2"),
        (IPv4Address("TCP", "10.1.2.3", 1), ""),
        (UNIXAddress(b"/run/socket"), ""),
        (None, ""),
    ],
)
def test_what_counts_as_one_address(address: object, source: str) -> None:
    limits = Limits(exempt=(*Limits().exempt, ip_network("10.0.0.0/8")))
    assert source_of(address, limits) == source


def test_where_one_address_stands_for_many_clients_it_is_not_counted(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(per_address=1))
    assert [hall.visit("127.0.0.1").codes() for _ in range(5)] == [[220]] * 5


# -- in all


def test_when_all_places_are_taken_by_accounts_the_next_is_told(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(connections=2))
    for number in (1, 2):
        assert hall.visit(f"192.0.2.{number}").log_in() == [220, 331, 230]
    hall.clock.advance(GRACE)
    last = hall.visit("192.0.2.3")
    (refusal,) = last.ask()
    assert str(refusal).startswith("421 There are 2 connections already")
    assert last.is_closed
    assert len(hall.factory.connections) == 2


def test_who_does_not_log_in_makes_room_for_who_comes(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(connections=3, login=1000))
    known = hall.visit("192.0.2.1")
    known.log_in()
    strangers = [hall.visit("192.0.2.2"), hall.visit("192.0.2.3")]
    assert hall.visit("192.0.2.4").codes() == [421], "nobody has been a stranger for long"
    hall.clock.advance(GRACE)
    newcomer = hall.visit("192.0.2.4")
    assert newcomer.log_in() == [220, 331, 230]
    strangers[0].link.pump()
    assert strangers[0].codes()[-1] == 421
    assert [who.is_closed for who in (known, *strangers, newcomer)] == [False, True, False, False]
    assert len(hall.factory.connections) == 3


def test_who_logs_out_is_a_stranger_from_then_on(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(connections=2, login=1000))
    first, second = hall.visit(), hall.visit()
    assert first.log_in() == second.log_in() == [220, 331, 230]
    assert first.codes(b"REIN\r\n") == [220]
    hall.clock.advance(GRACE)
    assert hall.visit().log_in() == [220, 331, 230]
    first.link.pump()
    assert (first.is_closed, second.is_closed) == (True, False)


def test_half_lines_from_everywhere_keep_nobody_out(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(connections=500, login=1000))
    crowd = [hall.visit(f"198.51.{n >> 8}.{n & 255}") for n in range(500)]
    for slow in crowd:
        slow.link.client_end.write(b"U")
        slow.link.pump()
    hall.clock.advance(GRACE)
    for _ in range(10):
        visitor = hall.visit("203.0.113.1")
        assert visitor.log_in() == [220, 331, 230]
        visitor.leave()
    for slow in crowd:
        slow.link.pump()
    assert sum(slow.is_closed for slow in crowd) == 1  # the others of the ten found a place that was free again
    assert len(hall.factory.connections) == 499


def test_the_log_counts_who_is_turned_away_and_names_the_first(tmp_path: Path, logged: list[str]) -> None:
    hall = Hall(tmp_path, Limits(per_address=1))
    hall.visit()
    for _ in range(100):
        assert hall.visit().codes() == [421]
    assert sum("max-per-address" in line for line in logged) == 1
    hall.clock.advance(GATHER)
    assert [line for line in logged if "99 more" in line] == ["max-per-address has turned away 99 more connections"]


def test_over_tls_only_some_are_told_at_a_time(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(per_address=1))
    hall.visit()
    ends = []
    for _ in range(MAX_TOLD_BY_TLS + 5):
        turned_away = hall.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        end = MemoryTransport()
        directlyProvides(end, ISSLTransport)
        end.protocol = turned_away
        turned_away.makeConnection(end)
        ends.append(end)
    assert [end.lost is not None for end in ends] == [False] * MAX_TOLD_BY_TLS + [True] * 5
    assert all(bytes(end.outgoing).startswith(b"421 ") for end in ends[:MAX_TOLD_BY_TLS])
    hall.clock.advance(60)
    assert all(end.lost is not None for end in ends)


# -- per account


def test_an_account_has_so_many_sessions_and_the_next_is_told(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(per_account=2), Everybody(support.local_disk(tmp_path)))
    first, second, third = (hall.visit(f"192.0.2.{n}") for n in range(3))
    assert first.log_in("ann") == second.log_in("ann") == [220, 331, 230]
    refusal = third.ask(b"USER ann\r\nPASS x\r\n")[-1]
    assert str(refusal).startswith("421 There are 2 sessions of this account already")
    assert third.is_closed
    assert hall.visit().log_in("bob") == [220, 331, 230]
    assert first.codes(b"USER bob\r\n") == [331], "who begins another login has left the one before"
    assert hall.visit().log_in("ann") == [220, 331, 230]
    second.leave()
    assert hall.visit().log_in("ann") == [220, 331, 230]


@pytest.mark.parametrize(("own", "allowed"), [(1, 1), (3, 3), (None, 2), (0, 0)])
def test_an_accounts_own_limit_counts_before_the_servers(tmp_path: Path, own: int | None, allowed: int) -> None:
    hall = Hall(tmp_path, Limits(per_account=2), Everybody(support.local_disk(tmp_path), own))
    assert [hall.visit().log_in("ann")[-1] for _ in range(4)] == [230] * allowed + [421] * (4 - allowed)


def test_a_login_by_certificate_counts_like_any_other(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(), ByCertificate(support.local_disk(tmp_path), 1))
    first = hall.visit()
    assert first.codes(b"USER ann\r\n") == [220, 232]
    assert hall.visit().codes(b"USER ann\r\n") == [220, 421]
    assert first.codes(b"USER ann\r\n") == [232], "the login before is over"


def test_guests_do_not_keep_each_other_out(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(per_account=1))
    assert [hall.visit().log_in(ANONYMOUS.name)[-1] for _ in range(3)] == [230] * 3


def test_nothing_is_remembered_of_who_has_gone(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(), Everybody(support.local_disk(tmp_path)))
    for number in range(20):
        visitor = hall.visit(f"192.0.2.{number % 3}")
        visitor.log_in(f"user-{number % 4}")
        if number % 2:
            visitor.ask(b"REIN\r\n")
        visitor.leave()
    connections = hall.factory.connections
    assert len(connections) == 0
    assert not (connections._counts._counts or connections._strangers)
