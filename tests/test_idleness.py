"""How long a client may keep the server waiting: without a login, without a command, in a transfer."""

from __future__ import annotations

from pathlib import Path

import pytest
import support
from support import Conversation, frames

from ftpsvc import diskfiles, writing
from ftpsvc.limits import Limits


@pytest.fixture
def stranger(tmp_path: Path) -> Conversation:
    """Connected, and not logged in."""
    return Conversation(support.local_disk(tmp_path))


def test_who_does_not_log_in_is_sent_away(stranger: Conversation) -> None:
    stranger.take()
    stranger.clock.advance(59)
    assert stranger.codes(b"NOOP\r\n") == [200]
    stranger.clock.advance(1)
    assert stranger.codes() == [421]
    assert stranger.is_closed


def test_who_logs_out_has_the_time_of_a_stranger_from_then_on(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(login=60, idle=60)).log_in()
    for _ in range(3):
        talk.clock.advance(40)
        assert talk.codes(b"NOOP\r\n") == [200]
    assert talk.codes(b"USER anonymous\r\n") == [331]
    talk.clock.advance(59)
    assert talk.codes(b"NOOP\r\n") == [200]
    talk.clock.advance(1)
    assert talk.codes() == [421]


def test_a_session_without_a_command_ends_with_421(talk: Conversation) -> None:
    talk.clock.advance(299)
    assert talk.codes(b"NOOP\r\n") == [200]
    talk.clock.advance(299)
    assert talk.codes() == []
    talk.clock.advance(2)
    assert talk.codes() == [421]
    assert talk.is_closed


def test_noop_alone_keeps_a_session_for_an_hour_and_no_longer(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(idle=300)).log_in()
    for minute in range(100):
        if minute == 30:  # whoever does something has an hour again
            assert talk.codes(b"PWD\r\n") == [257]
        assert talk.codes(b"NOOP\r\n") == [200], minute
        talk.clock.advance(60)
        talk.link.pump()
        if talk.peer.received:
            break
    assert minute == 30 + 60 + 5 - 1
    assert talk.codes() == [421]
    assert talk.is_closed


def test_an_upload_that_stalls_is_cut_off_and_its_part_kept(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(idle=10)).log_in()
    assert talk.codes(b"STOR file\r\nDATA 9\r\nhalf") == [150]
    talk.clock.advance(11)
    assert talk.ask() == ["421 No byte of the transfer moved for 10 seconds; closing."]
    assert talk.is_closed
    assert support.take_part(tmp_path) == b"half"
    assert not (tmp_path / "file").exists()


def test_an_upload_that_was_refused_and_stalls_ends_the_session_too(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(idle=10)).log_in()
    assert talk.codes(b"STOR no/file\r\nDATA 9\r\nhalf") == [550]
    talk.clock.advance(11)
    assert talk.codes() == [421]
    assert talk.is_closed


def test_a_download_that_stalls_is_ended_in_order_if_the_client_takes_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(2_000_000))
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(idle=10, closing=5)).log_in()
    talk.server.dataReceived(b"RETR file\r\n")
    held = len(talk.link.server_end.outgoing)
    assert 0 < held < 2_000_000
    talk.clock.advance(11)
    assert len(talk.link.server_end.outgoing) == held
    _, sequence, reply = talk.ask()
    assert isinstance(sequence, support.Sequence)
    assert sequence.end == "FAIL No byte of the transfer moved for 10 seconds; closing."
    assert reply == "421 No byte of the transfer moved for 10 seconds; closing."
    assert talk.is_closed


def test_a_download_that_stalls_for_good_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(2_000_000))
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(idle=10, closing=5)).log_in()
    talk.server.dataReceived(b"RETR file\r\n")
    talk.clock.advance(11)
    assert not talk.is_closed
    talk.clock.advance(5)
    talk.link.pump()
    assert talk.is_closed


@pytest.mark.parametrize(
    ("command", "data"), [(b"STOR new", bytes(1 << 20)), (b"RETR old", b"")], ids=["upload", "download"]
)
def test_nobody_is_idle_while_the_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: bytes, data: bytes
) -> None:
    (tmp_path / "old").write_bytes(bytes(1 << 20))
    monkeypatch.setattr(diskfiles, "read_at_once", lambda *_: None)  # nothing of it is in the page cache
    run = support.by_hand()
    limits = Limits(delay=0, idle=10)
    talk = Conversation(support.local_disk(tmp_path, run), run, limits, cut=lambda: 1 << 18).log_in()
    assert talk.codes(command + b"\r\n", frames(data, 1 << 18) if data else b"") == [150]
    assert run.jobs
    for _ in range(10):
        talk.clock.advance(10)
        talk.link.pump()
    while run.jobs:
        run.fire()
        talk.link.pump()
    assert talk.codes()[-1:] == [226]


@pytest.mark.parametrize(
    ("line", "data"), [(b"HASH old", b""), (b"STOR new", frames(bytes(300_000), 1 << 18))], ids=["command", "upload"]
)
def test_whom_the_disk_has_kept_waiting_has_all_the_time_there_is_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes, data: bytes
) -> None:
    (tmp_path / "old").write_bytes(bytes(100_000))
    monkeypatch.setattr(diskfiles, "read_at_once", lambda *_: None)
    monkeypatch.setattr(writing, "AT_ONCE_IN_MEMORY", 0)
    run = support.by_hand()
    limits = Limits(delay=0, idle=10)
    talk = Conversation(support.local_disk(tmp_path, run), run, limits, cut=lambda: 1 << 18).log_in()
    end = data.rfind(b"DONE")
    talk.send(line + b"\r\n", data[:end])
    talk.clock.advance(9)
    assert run.jobs
    while run.jobs:
        run.fire()
        talk.link.pump()
    talk.clock.advance(9)
    talk.send(data[end:] if data else b"NOOP\r\n")
    while run.jobs:
        run.fire()
        talk.link.pump()
    assert talk.codes()[-1:] == [226 if data else 200]


def test_who_is_sent_a_file_for_which_the_disk_was_waited_has_all_the_time_to_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(diskfiles, "read_at_once", lambda *_: None)
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run, Limits(delay=0, idle=10)).log_in()
    talk.server.dataReceived(b"RETR file\r\n")
    talk.clock.advance(9)
    run.fire()
    assert talk.server.is_clogged
    talk.clock.advance(9)  # the client reads nothing for so long
    talk.link.pump()
    while run.jobs:
        run.fire()
        talk.link.pump()
    assert talk.codes()[-1:] == [226]
