"""Several nodes that count together: in memory, but for Redis, which is real."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import support
from membership import log
from redisserver import needs_redis
from site_of_nodes import Node, Site, redis, site
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from ftpsvc.connections import ACCOUNT, ADDRESS, ALL
from ftpsvc.everywhere import joining, resp
from ftpsvc.limits import Limits
from ftpsvc.model import Account

__all__ = ["log", "redis", "site"]

pytestmark = needs_redis

NAMES = ("USER ann", "PASS secret")
WRONG = ("USER ann", "PASS wrong")


def accounts_in(folder: Path, most: int | None = None) -> Any:
    return support.OneAccount(Account("ann", max_sessions=most), support.local_disk(folder))


def silent_for_long(site: Site, node: Node) -> None:
    """As if it had not said for a minute that it is there, and another were not new any more."""
    site.server.ask("ZADD", "ftpsvc:runs", 1, node.run)
    for other in site.nodes:
        if other is not node:
            other.joined._since -= joining.EXPIRE
            other.joined._beat()
    site.pump()


# -- sessions


def test_the_last_session_of_an_account_is_let_in_by_one_of_two_nodes(site: Site, tmp_path: Path) -> None:
    one, two = (site.node(Limits(), accounts_in(tmp_path, 1)) for _ in range(2))
    mia, kim = one.hall.visit(), two.hall.visit()
    for visitor in (mia, kim):
        visitor.codes()
        assert visitor.codes(b"USER ann\r\nPASS secret\r\n") == [331]  # Redis is being asked
    site.pump()
    codes = [visitor.codes() for visitor in (mia, kim)]
    assert sorted(codes) == [[230], [421]]
    assert site.kept()[f"{ACCOUNT}ann"] == 1
    (mia if codes[0] == [230] else kim).leave()
    site.pump()
    again = two.hall.visit()
    assert site.ask(again, *NAMES) == [220, 331, 230]


def test_who_leaves_while_redis_is_asked_is_not_counted(site: Site, tmp_path: Path) -> None:
    node = site.node(Limits(), accounts_in(tmp_path, 1))
    gone = node.hall.visit()
    assert gone.codes(b"USER ann\r\nPASS secret\r\n") == [220, 331]
    gone.leave()
    site.pump()
    assert site.kept() == {}
    assert site.ask(node.hall.visit(), *NAMES) == [220, 331, 230]


def test_connections_of_an_address_and_in_all_hold_over_both(site: Site) -> None:
    one, two = (site.node(Limits(connections=3, per_address=2)) for _ in range(2))
    first, _ = one.hall.visit(), two.hall.visit()
    site.pump()
    for node in (one, two):
        assert node.hall.visit().codes() == [421]
    assert two.hall.visit("192.0.2.2").codes() == [220]
    site.pump()
    assert one.hall.visit("192.0.2.3").codes() == [421]
    assert site.kept() == {ALL: 3, f"{ADDRESS}192.0.2.1": 2, f"{ADDRESS}192.0.2.2": 1}
    first.leave()
    site.pump()
    assert two.hall.visit().codes() == [220]


def test_a_node_has_no_more_than_it_has_room_for_whatever_may_be_in_all(site: Site) -> None:
    node = site.node(Limits(connections=0))
    node.joined._counts._room = {ALL: 2}
    for host in ("192.0.2.1", "192.0.2.2"):
        site.ask(node.hall.visit(host), "USER anonymous", "PASS x")
    assert node.hall.visit("192.0.2.3").codes() == [421]


def test_who_comes_later_knows_what_was_counted_before(site: Site) -> None:
    limits = Limits(per_address=1)
    site.node(limits).hall.visit()
    site.pump()
    assert site.node(limits).hall.visit().codes() == [421]


def test_a_node_that_dies_is_forgotten_with_its_counts(site: Site) -> None:
    one, two = (site.node(Limits(per_address=1)) for _ in range(2))
    one.hall.visit()
    site.pump()
    one.cut_off()
    assert two.hall.visit().codes() == [421]
    silent_for_long(site, one)
    assert site.kept() == {} and site.kept(f"ftpsvc:counts:{one.run}") == {}
    assert two.hall.visit().codes() == [220]


def test_a_node_that_was_asleep_tells_all_again(site: Site) -> None:
    one, two = (site.node(Limits(per_address=1)) for _ in range(2))
    one.hall.visit()
    site.pump()
    silent_for_long(site, one)
    site.pump()
    assert site.kept() == {ALL: 1, f"{ADDRESS}192.0.2.1": 1}
    assert two.hall.visit().codes() == [421]


def test_a_node_that_has_just_come_forgets_nobody(site: Site) -> None:
    one = site.node(Limits())
    one.hall.visit()
    site.pump()
    two = site.node(Limits())
    site.server.ask("ZADD", "ftpsvc:runs", 1, one.run)
    two.joined._beat()
    site.pump()
    assert site.kept(f"ftpsvc:counts:{one.run}")[ALL] == 1


def test_who_stops_leaves_nothing(site: Site) -> None:
    one, two = (site.node(Limits(per_address=1)) for _ in range(2))
    one.hall.visit()
    site.pump()
    support.start(one.joined.stop())
    site.pump()
    assert site.kept() == {}
    assert site.server.ask("ZRANGE", "ftpsvc:runs", 0, -1) == [two.run]
    assert two.hall.visit().codes() == [220]
    site.nodes.remove(one)


def test_processes_of_one_node_count_each_other_once(site: Site) -> None:
    from ftpsvc.commons import Common

    common = Common()
    limits = Limits(per_address=2)
    one, two = site.node(limits, name="a"), site.node(limits, name="a", common=Common(counts=common.counts))
    one.joined._counts.here = two.joined._counts.here = common.counts
    one.hall.visit()
    site.pump()
    assert two.hall.visit().codes() == [220]
    site.pump()
    assert one.hall.visit().codes() == [421]
    assert site.kept()[ALL] == 2
    assert (one.joined.others, site.node(limits).joined.others) == (0, 1)


# -- bans


def test_failed_logins_at_both_nodes_are_one_ban(site: Site, tmp_path: Path) -> None:
    limits = Limits(ban_after=3, delay=0)
    one, two = (site.node(limits, accounts_in(tmp_path)) for _ in range(2))
    for node in (one, two):
        assert site.ask(node.hall.visit(), *WRONG) == [220, 331, 530]
    assert len(one.factory.bans) == 0 and one.factory.bans.count("192.0.2.1") == 2
    assert site.ask(one.hall.visit(), *WRONG) == [220, 331, 530]
    assert [len(node.factory.bans) for node in (one, two)] == [1, 1]
    for node in (one, two, site.node(limits)):
        assert node.hall.visit().codes() == [421]
    assert two.unban(ip_network("192.0.2.0/24"))
    site.pump()
    assert one.hall.visit().codes() == [220]
    assert site.kept("ftpsvc:failures") == {}


def test_what_an_operator_bans_at_one_node_ends_sessions_at_the_other(site: Site) -> None:
    one, two = (site.node(Limits()) for _ in range(2))
    there, elsewhere = two.hall.visit(), two.hall.visit("198.51.100.1")
    for visitor in (there, elsewhere):
        assert site.ask(visitor, "USER anonymous", "PASS x") == [220, 331, 230]
    network = ip_network("192.0.2.0/24")
    one.ban(network, 600)
    site.pump()
    assert there.codes() == [421] and elsewhere.codes(b"NOOP\r\n") == [200]
    assert two.hall.visit().codes() == [421]
    assert site.node(Limits()).hall.visit().codes() == [421]
    (_, left), *_ = two.factory.blocklist.listed()
    assert 599 < (left or 0) < 601
    assert two.unban(network)
    site.pump()
    assert one.hall.visit().codes() == [220]


def test_bans_without_an_end_outlive_all_nodes(site: Site) -> None:
    network = ip_network("2001:db8::/32")
    node = site.node(Limits())
    node.ban(network)
    site.pump()
    support.start(node.joined.stop())
    site.pump()
    site.nodes.remove(node)
    assert list(site.node(Limits()).factory.blocklist.listed()) == [(network, None)]


# -- without Redis


def test_without_redis_a_node_goes_on_with_what_it_knows(site: Site, tmp_path: Path, log: list[str]) -> None:
    limits = Limits(per_address=2, per_account=2, ban_after=2, delay=0)
    one, two = (site.node(limits, accounts_in(tmp_path)) for _ in range(2))
    assert site.ask(one.hall.visit(), *NAMES) == [220, 331, 230]
    site.server.kill()
    site.pump()
    assert not one.joined.is_up and not two.joined.is_up
    assert site.ask(two.hall.visit(), *NAMES) == [220, 331, 230]
    assert two.hall.visit().codes() == [421]
    assert site.ask(two.hall.visit("192.0.2.2"), *NAMES) == [220, 331, 421]
    for _ in range(2):
        assert site.ask(two.hall.visit("192.0.2.3"), *WRONG) == [220, 331, 530]
    assert two.hall.visit("192.0.2.3").codes() == [421]
    two.ban(ip_network("203.0.113.0/24"))
    site.until(lambda: sum("can't be asked" in line for line in log) == 2)
    site.clock.advance(1)
    site.pump()
    assert sum("can't be asked" in line for line in log) == 2  # once for each

    site.server.start()  # it has lost all
    site.until(lambda: one.joined.is_up and two.joined.is_up)
    site.pump()
    assert sum("is back" in line for line in log) == 2
    assert (site.kept()[ALL], site.kept()[f"{ACCOUNT}ann"]) == (4, 2)
    assert one.hall.visit("192.0.2.3").codes() == one.hall.visit("203.0.113.7").codes() == [421]
    assert site.ask(one.hall.visit("192.0.2.4"), *NAMES) == [220, 331, 421]


def test_a_redis_that_has_lost_its_bans_is_told_them(site: Site, tmp_path: Path) -> None:
    one, two = (site.node(Limits(ban_after=1, delay=0), accounts_in(tmp_path)) for _ in range(2))
    network = ip_network("203.0.113.0/24")
    one.ban(network)
    assert site.ask(one.hall.visit(), *WRONG) == [220, 331, 530]
    site.pump()
    site.server.kill()
    site.pump()
    site.server.start()
    site.until(lambda: one.joined.is_up and two.joined.is_up)
    site.pump()
    assert site.kept("ftpsvc:blocked") == {str(network): 0}
    assert site.kept("ftpsvc:failures") == {"192.0.2.1": 1}


def test_what_was_taken_back_elsewhere_while_a_node_was_cut_off_is_not_brought_again(site: Site) -> None:
    one, two = (site.node(Limits()) for _ in range(2))
    network = ip_network("192.0.2.0/24")
    one.ban(network)
    site.pump()
    two.lose()
    assert one.unban(network)
    site.until(lambda: two.joined.is_up)
    assert two.hall.visit().codes() == one.hall.visit().codes() == [220]


def test_a_redis_that_does_not_answer_is_given_up(site: Site, tmp_path: Path, log: list[str]) -> None:
    node = site.node(Limits(), accounts_in(tmp_path))
    visitor = node.hall.visit()
    assert visitor.codes(b"USER ann\r\nPASS secret\r\n") == [220, 331]
    site.clock.advance(resp.PATIENCE)
    assert visitor.codes() == [230]
    assert any("no answer within 2 seconds" in line for line in log)
    site.until(lambda: node.joined.is_up)
    assert site.kept()[f"{ACCOUNT}ann"] == 1


def test_a_redis_that_refuses_is_away_and_says_why_once(site: Site, log: list[str]) -> None:
    site.server.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        node = site.node(Limits())
        for _ in range(100):
            site.clock.advance(0.1)
            site.pump()
        assert not node.joined.is_up
        assert [line for line in log if "can't be asked: OOM" in line] == [
            line for line in log if "can't be asked" in line
        ]
        assert sum("can't be asked" in line for line in log) == 1
    finally:
        site.server.ask("CONFIG", "SET", "maxmemory", 0)
    site.clock.advance(10)
    site.until(lambda: node.joined.is_up)


def test_what_others_write_there_ends_nothing(site: Site, log: list[str]) -> None:
    node = site.node(Limits())
    for message in ("hello", "[]", "{}", '{"kind": "blocked", "by": "x", "version": 7, "network": "everybody"}'):
        site.server.ask("PUBLISH", "ftpsvc:0", message)
    site.pump()
    assert node.joined.is_up and sum("can't be understood: another program" in line for line in log) == 4
    site.server.ask("HSET", "ftpsvc:blocked", "everybody", 0)
    other = site.node(Limits())
    assert not other.joined.is_up and "can't be asked: another program" in log[-1]
    site.server.ask("DEL", "ftpsvc:blocked")
    site.until(lambda: other.joined.is_up)


def test_what_is_no_redis_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resp, "MAX_ANSWER", 1000)
    for bytes_of_its in (b"220 ftpsvc is ready.\r\n", b"+OK\r\n", b"$1000000000\r\n" + b"x" * 1000):
        reasons: list[str] = []
        speaker = resp.Speaker(site.clock, lambda _: None, reasons.append)
        transport: Any = type("Transport", (), {})()
        transport.abortConnection = lambda speaker=speaker: speaker.connectionLost(Failure(ConnectionDone()))
        speaker.makeConnection(transport)
        speaker.dataReceived(bytes_of_its)
        assert len(reasons) == 1
