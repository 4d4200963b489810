"""One record for each transfer and each thing that happens to a session, on its way to whoever listens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import LoggedErrors
from hall import Hall, Kept
from support import Conversation, OneAccount, by_hand, frames, local_disk, make_clock

from ftpsvc.frames import digest_of
from ftpsvc.limits import Limits
from ftpsvc.model import Account, Permission
from ftpsvc.recording import GATHER, MAX_GATHERED, Recorder
from ftpsvc.records import Change, Ending, Happening, Record, SessionEvent, Transfer
from ftpsvc.rules import PathRule


@pytest.fixture
def talk(tmp_path: Path) -> Conversation:
    return Conversation(local_disk(tmp_path))


@pytest.fixture
def kept(talk: Conversation) -> Kept:
    return Kept(talk.factory)


# -- what is recorded


def test_an_upload_has_a_record_with_all_that_is_known_of_it(talk: Conversation, kept: Kept, tmp_path: Path) -> None:
    talk.log_in().ask(b"STOR a b\r\n", frames(b"hello"))
    (record,) = kept.of(Transfer)
    assert record._replace(time=0, seconds=0) == Transfer(
        "STOR", "anonymous", talk.server.peer, "/a b", Ending.COMPLETE, 5, 0, digest_of(b"hello"), mode="inline",
        session=1,
    )  # fmt: skip
    assert record.time == pytest.approx((tmp_path / "a b").stat().st_mtime, abs=60)


def test_each_ending_has_its_record_and_cause(talk: Conversation, kept: Kept) -> None:
    talk.log_in().ask(b"STOR a\r\n", b"DATA 3\r\nabcFAIL no more\r\n", b"RETR a\r\n", b"STOU\r\n", frames(b""))
    talk.ask(b"APPE b\r\n", frames(b"x", digest="0" * 32))
    found = {record.verb: record for record in kept.of(Transfer)}
    assert {verb: record.ending for verb, record in found.items()} == {
        "STOR": Ending.ABORTED,
        "RETR": Ending.REJECTED,
        "STOU": Ending.COMPLETE,
        "APPE": Ending.ABORTED,
    }
    assert (found["STOR"].bytes, found["STOR"].cause) == (3, "The client ended the transfer: no more.")
    assert (found["RETR"].mode, found["RETR"].bytes) == ("", 0)
    assert all(bool(record.cause) is (record.ending is not Ending.COMPLETE) for record in found.values())


@pytest.mark.parametrize(
    ("before", "line", "path"),
    [
        (b"", b"RETR in/a", "/in/a"),
        (b"", b"STOR a", "/a"),
        (b"", b"APPE a", "/a"),
        (b"TYPE A\r\nREST 3\r\n", b"RETR a", "/a"),
        (b"RANG 0 3\r\n", b"APPE in/a", "/in/a"),
        (b"REST 3\r\n", b"APPE in/a", "/in/a"),
        (b"", b"RETR " + b"n" * 256, "n" * 256),
    ],
)
def test_what_is_refused_before_anything_is_looked_at_has_a_record_too(
    tmp_path: Path, before: bytes, line: bytes, path: str
) -> None:
    account = Account("ann", Permission.READ, rules=(PathRule("/in", Permission.APPEND | Permission.WRITE),))
    talk = Conversation(None, accounts=OneAccount(account, local_disk(tmp_path)))
    kept = Kept(talk.factory)
    talk.log_in(inline=False, user="ann").ask(b"TYPE I\r\n" + before + line + b"\r\n")
    (record,) = kept.of(Transfer)
    assert (record.verb, record.path, record.ending) == (line[:4].decode(), path, Ending.REJECTED)
    assert record.cause


def test_what_breaks_off_with_the_connection_has_that_for_its_cause(tmp_path: Path) -> None:
    """Also where it was something else that was waited for."""
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    run = by_hand()
    talk = Conversation(local_disk(tmp_path, run), run)
    kept = Kept(talk.factory)
    talk.log_in().send(b"RETR file\r\n")
    talk.link.lose()
    while run.jobs:
        run.fire()
    (record,) = kept.of(Transfer)
    assert record.cause.startswith("The connection was lost: ")


def test_what_was_changed_has_a_record_and_what_was_not_has_none(talk: Conversation, kept: Kept) -> None:
    talk.log_in()
    talk.ask(
        b"MKD d\r\nMKD d\r\nRNFR d\r\nRNTO e\r\nRMD e\r\nRMD e\r\nSTOR f\r\n", frames(b""), b"DELE f\r\nDELE f\r\n"
    )
    assert [(record.verb, record.path, record.target) for record in kept.of(Change)] == [
        ("MKD", "/d", ""),
        ("RNTO", "/d", "/e"),
        ("RMD", "/e", ""),
        ("DELE", "/f", ""),
    ]


def test_a_session_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(delay=0), OneAccount(Account("mia"), local_disk(tmp_path)))
    kept = Kept(hall.factory)
    visitor, other = hall.visit(), hall.visit()
    visitor.log_in("mia", "wrong")
    hall.clock.advance(1)
    visitor.log_in("mia", "secret")
    hall.clock.advance(5)
    visitor.ask(b"QUIT\r\n")
    visitor.leave()
    mine = [event for event in kept.of(SessionEvent) if event.session == 1]
    assert [event.happening for event in mine] == [
        Happening.CONNECTED,
        Happening.LOGIN_FAILED,
        Happening.LOGGED_IN,
        Happening.ENDED,
    ]
    assert [event.account for event in mine] == ["", "mia", "mia", "mia"]
    assert mine[-1].seconds == 6
    assert "wrong" not in str(kept) and "secret" not in str(kept)
    other.leave()


@pytest.mark.parametrize(("log_in", "limit", "time"), [(False, "login-time", 60), (True, "idle-time", 300)])
def test_the_record_of_an_end_tells_the_limit_behind_it(
    talk: Conversation, kept: Kept, log_in: bool, limit: str, time: int
) -> None:
    if log_in:
        talk.log_in()
    talk.clock.pump([10] * (time // 10 + 2))
    talk.link.close()
    (end,) = [event for event in kept.of(SessionEvent) if event.happening is Happening.ENDED]
    assert (end.limit, end.is_quiet) == (limit, False)
    assert f"for {time} seconds" in end.cause


def test_who_breaks_the_rules_is_ended_for_that(talk: Conversation, kept: Kept) -> None:
    talk.ask(b"GET / HTTP/1.1\r\n")
    talk.link.close()
    assert kept.of(SessionEvent)[-1].cause == "This is an FTP server."


def test_a_ban_has_a_record(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(delay=0, ban_after=2), OneAccount(Account("mia"), local_disk(tmp_path)))
    kept = Kept(hall.factory)
    visitor = hall.visit()
    for _ in range(2):
        visitor.log_in("mia", "wrong")
        hall.clock.advance(1)
    assert kept.happenings().count(Happening.BANNED) == 1
    (ban,) = [event for event in kept if isinstance(event, SessionEvent) and event.happening is Happening.BANNED]
    assert "2 logins from 192.0.2.1 have failed" in ban.cause
    visitor.leave()


def test_who_is_turned_away_is_counted_each_time_and_recorded_once_in_a_while(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(per_address=1))
    kept = Kept(hall.factory)
    visitors = [hall.visit() for _ in range(4)]
    assert kept.happenings().count(Happening.REFUSED) == 1
    assert hall.factory.counts.refusals == {"max-per-address": 3}
    for visitor in visitors:
        visitor.leave()


# -- on their way


def test_records_of_one_moment_go_together_and_in_order() -> None:
    clock, batches = make_clock(), list[list[Record]]()
    recorder = Recorder(clock, lambda records: batches.append(list(records)))
    records = [Change("DELE", "a", "p", f"/{n}") for n in range(MAX_GATHERED + 2)]
    for record in records:
        recorder.add(record)
    assert [len(batch) for batch in batches] == [MAX_GATHERED]
    clock.advance(GATHER)
    assert [record for batch in batches for record in batch] == records
    recorder.flush()
    assert len(batches) == 2


def test_a_listener_that_fails_keeps_nobody_else_from_the_records(logged_errors: LoggedErrors) -> None:
    heard: list[Record] = []

    def fail(_: Sequence[Record]) -> None:
        raise ZeroDivisionError

    recorder = Recorder(make_clock(), fail, heard.extend)
    recorder.add(Change("DELE", "a", "p", "/x"))
    recorder.flush()
    assert [type(error) for error in logged_errors.take()] == [ZeroDivisionError]
    assert len(heard) == 1
