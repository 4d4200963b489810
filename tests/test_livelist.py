"""The live list: what it reads from the sessions, and how an operator ends one."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import support
from hall import Hall
from support import Conversation, frames

from ftpsvc.blocklist import MAX_BLOCKED, Blocklist
from ftpsvc.control import ORDERS
from ftpsvc.limits import Limits
from ftpsvc.livelist import MAX_PATH, LiveList, Row, dismiss
from ftpsvc.overview import Overview
from ftpsvc.throughput import LOOK_EVERY, LOOKS, REMEMBERED, Moved, Throughput


def live(at: Conversation | Hall) -> LiveList:
    return LiveList(at.factory.connections, at.clock)


def rows(talk: Conversation) -> list[Row]:
    return list(live(talk).rows(lambda moving: 1.0))


def row(talk: Conversation) -> Row:
    (one,) = rows(talk)
    return one


def pass_time(talk: Conversation, seconds: float) -> None:
    """In steps that are short enough for the pieces of a rate."""
    for _ in range(round(seconds * 20)):
        talk.clock.advance(0.05)
        talk.link.pump()


@pytest.fixture
def talk(tmp_path: Path) -> Conversation:
    """At a server that moves ten thousand bytes a second, in pieces of a thousand."""
    return Conversation(support.local_disk(tmp_path), limits=Limits(session_up=10_000, session_down=10_000))


def test_a_session_is_listed_from_its_connection_to_its_end(talk: Conversation) -> None:
    talk.clock.advance(5)
    assert row(talk) == Row(1, "", "somebody", 5.0, False, "login", "")
    talk.log_in()
    assert row(talk)[:7] == (1, "anonymous", "somebody", 5.0, False, "idle", "")
    talk.send(b"QUIT\r\n")
    assert rows(talk) == []


def test_a_download_is_listed_with_its_progress(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    talk.log_in().send(b"RETR file\r\n")
    pass_time(talk, 3)
    listed = row(talk)
    assert (listed.state, listed.verb, listed.path, listed.total) == ("sending", "RETR", "/file", 100_000)
    assert listed.moved is not None and 25_000 <= listed.moved <= 35_000
    assert listed.took == pytest.approx(3.0)
    end(talk)


def test_an_upload_is_listed_with_the_size_that_was_declared(talk: Conversation, tmp_path: Path) -> None:
    talk.log_in().send(b"ALLO 4000\r\n", b"STOR file\r\nDATA 4000\r\n", bytes(1500))
    listed = row(talk)
    assert (listed.state, listed.verb, listed.path, listed.total) == ("receiving", "STOR", "/file", 4000)
    talk.send(bytes(2500), b"DONE\r\n")
    pass_time(talk, 1)
    assert row(talk)[5:] == ("idle", "", None, None, None, None, None)


def test_of_a_long_path_the_end_is_shown(talk: Conversation, tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["f" * 200] * 4)
    folder.mkdir(parents=True)
    path = f"{folder.relative_to(tmp_path)}/file"
    talk.log_in().send(f"STOR {path}\r\nDATA 4000\r\n".encode(), bytes(1500))
    assert row(talk).path == f"…{path[-MAX_PATH:]}"
    talk.send(bytes(2500), b"DONE\r\n")
    pass_time(talk, 1)
    assert row(talk).path is None


def test_an_upload_is_committing_when_all_its_data_is_there(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(b"STOR file\r\n", frames(b"x" * 200_000))
    for _ in range(20):
        if rows(talk)[0].state == "committing":
            break
        run.fire()
        talk.link.pump()
    assert row(talk)[5:9] == ("committing", "STOR", "/file", 200_000)
    run.close()
    talk.link.pump()
    assert row(talk).state == "idle"


def test_a_command_that_takes_its_time_is_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(b"HASH file\r\n")
    assert row(talk)[5:9] == ("busy", "HASH", None, None)
    run.close()
    talk.link.pump()
    assert row(talk).state == "idle"


def test_numbers_are_given_once(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits())
    first, second = hall.visit(), hall.visit()
    sessions = live(hall)
    assert [one.id for one in sessions.rows(lambda _: 0.0)] == [1, 2]
    assert sessions.find(2) is second.protocol
    first.ask(b"QUIT\r\n")
    assert sessions.find(1) is None
    assert [one.id for one in sessions.rows(lambda _: 0.0)] == [2]


# -- an operator ends a session


def end(talk: Conversation) -> None:
    guest = live(talk).find(1)
    assert guest is not None
    dismiss(guest, "An operator has ended this session.", "kick")
    talk.link.pump()


def test_who_is_at_rest_is_told_that_it_is_over(talk: Conversation) -> None:
    talk.log_in()
    end(talk)
    assert talk.take() == ["421 An operator has ended this session."]
    assert talk.is_closed
    assert rows(talk) == []


def test_a_download_between_the_lines_fails_at_the_end_of_a_frame_and_then_it_is_told(
    talk: Conversation, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    talk.log_in().send(b"RETR file\r\n")
    talk.peer.received.clear()
    end(talk)
    pass_time(talk, 1)
    assert talk.peer.received.endswith(
        b"FAIL An operator has ended this session.\r\n421 An operator has ended this session.\r\n"
    )
    assert talk.is_closed
    assert rows(talk) == []


def test_an_upload_between_the_lines_is_told_at_once(talk: Conversation, tmp_path: Path) -> None:
    talk.log_in().send(b"STOR file\r\nDATA 4000\r\nabc")
    pass_time(talk, 1)
    end(talk)
    assert talk.take()[-1] == "421 An operator has ended this session."
    pass_time(talk, 1)
    assert talk.is_closed
    assert support.take_part(tmp_path) == b"abc"


def test_who_is_in_the_middle_of_another_command_is_cut(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(b"HASH file\r\n")
    end(talk)
    assert talk.is_closed
    assert talk.take() == []
    run.close()


# -- bans by an operator


def greeting(hall: Hall, host: str) -> list[Any]:
    return hall.visit(host).ask()


def test_a_banned_network_is_turned_away_until_its_time_is_over(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits())
    hall.factory.blocklist.block(ip_network("192.0.2.0/24"), 60)
    assert greeting(hall, "192.0.2.7") == ["421 The operator of this server has banned your address."]
    assert greeting(hall, "192.0.3.7") == greeting(hall, "2001:db8::7") == ["220 ftpsvc is ready."]
    hall.clock.advance(60)
    assert greeting(hall, "192.0.2.7") == ["220 ftpsvc is ready."]


@pytest.mark.parametrize(
    ("banned", "host"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.7"),
        ("fe80::7", "fe80::7%eth0"),
        ("fe80::7%eth0", "fe80::7%eth0"),
    ],
)
def test_a_ban_holds_for_an_address_in_whatever_spelling(tmp_path: Path, banned: str, host: str) -> None:
    hall = Hall(tmp_path, Limits())
    nobody: Any = None
    overview = Overview(hall.factory, nobody, nobody)
    (answer,) = support.result_of(ORDERS["ban"].run(overview, {"network": banned}))
    assert greeting(hall, host) == ["421 The operator of this server has banned your address."]
    support.result_of(ORDERS["unban"].run(overview, answer))
    assert greeting(hall, host) == ["220 ftpsvc is ready."]


def test_a_ban_holds_for_those_too_whom_the_limits_exempt(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits())
    hall.factory.blocklist.block(ip_network("127.0.0.1"), None)
    assert greeting(hall, "127.0.0.1") == ["421 The operator of this server has banned your address."]
    assert hall.factory.blocklist.unblock(ip_network("127.0.0.1"))
    assert not hall.factory.blocklist.unblock(ip_network("127.0.0.1"))
    assert greeting(hall, "127.0.0.1") == ["220 ftpsvc is ready."]


def test_a_ban_that_is_given_again_has_the_new_time(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits())
    network = ip_network("2001:db8::/32")
    hall.factory.blocklist.block(network, 10)
    hall.factory.blocklist.block(network, None)
    hall.clock.advance(3600)
    assert list(hall.factory.blocklist.listed()) == [(network, None)]
    assert greeting(hall, "2001:db8::7") == ["421 The operator of this server has banned your address."]


def test_there_is_room_for_more_bans_when_some_are_over() -> None:
    clock = support.make_clock()
    blocklist = Blocklist(clock)
    for number in range(MAX_BLOCKED):
        blocklist.block(ip_network(number), 1)
    with pytest.raises(ValueError, match="a firewall takes more"):
        blocklist.block(ip_network("192.0.2.7"), None)
    clock.advance(1)
    blocklist.block(ip_network("192.0.2.7"), None)
    assert len(blocklist) == 1


def test_failed_logins_are_forgiven(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(ban_after=2))
    for source in ("192.0.2.7", "192.0.2.8", "2001:db8:0:1::/64"):
        support.result_of(hall.factory.bans.failed(source))
        support.result_of(hall.factory.bans.failed(source))
    assert [(source, count) for source, _, count in hall.factory.bans.listed()] == [
        ("192.0.2.7", 2),
        ("192.0.2.8", 2),
        ("2001:db8:0:1::/64", 2),
    ]
    assert hall.factory.bans.forgive(ip_network("2001:db8:0:1::99")) == 1
    assert hall.factory.bans.forgive(ip_network("192.0.2.0/24")) == 2
    assert list(hall.factory.bans.listed()) == []


# -- throughput


class Load:
    """Transfers, as a test sets them."""

    def __init__(self, verb: str = "RETR", began: float = 0.0) -> None:
        self.verb, self.path, self.began, self.total, self.moved = verb, "/file", began, None, 0


def test_a_rate_is_that_of_the_last_looks_and_not_of_the_whole_transfer() -> None:
    clock, load = support.make_clock(), Load()
    throughput = Throughput(clock, lambda: [load], lambda: Moved(0, 0))
    throughput.start()
    clock.advance(1)
    load.moved = 1000
    assert throughput.rate(load) == 1000
    for _ in range(10):
        load.moved += 5000
        clock.advance(LOOK_EVERY)
    assert throughput.rate(load) == pytest.approx(2500)
    for _ in range(REMEMBERED):
        clock.advance(LOOK_EVERY)
    assert throughput.rate(load) == 0
    throughput.stop()


def test_samples_have_what_moved_in_both_directions_and_never_less_than_nothing() -> None:
    clock, up, down = support.make_clock(), Load("STOR"), Load("RETR")
    under_way, finished = [up, down], [Moved(0, 0)]
    throughput = Throughput(clock, lambda: under_way, lambda: finished[0])
    throughput.start()
    seconds = LOOK_EVERY * LOOKS
    up.moved, down.moved = 10_000, 50_000
    for _ in range(LOOKS):
        clock.advance(LOOK_EVERY)
    assert throughput.samples[-1] == (10_000 / seconds, 50_000 / seconds)
    under_way.clear()  # over, and not counted yet
    for _ in range(LOOKS):
        clock.advance(LOOK_EVERY)
    assert throughput.samples[-1] == (0, 0)
    finished[0] = Moved(10_000, 60_000)
    for _ in range(LOOKS):
        clock.advance(LOOK_EVERY)
    assert throughput.samples[-1] == (0, 10_000 / seconds)
    throughput.stop()
