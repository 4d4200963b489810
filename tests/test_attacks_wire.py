"""Attacks by lines: what a client sends, cuts or leaves out to get past the server, stall it, or forge what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import support
from support import Conversation, frames

from ftpsvc.limits import Limits


def test_a_line_that_grows_byte_by_byte_does_not_put_the_login_off(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(login=60))
    talk.take()
    for _ in range(7):
        talk.send(b"x")
        talk.clock.advance(10)
        talk.link.pump()
    assert [str(answer)[:3] for answer in talk.take()] == ["421"]
    assert talk.is_closed


def test_a_telnet_negotiation_without_an_end_holds_nothing_up(talk: Conversation) -> None:
    assert talk.codes(b"\xff\xfa\x18" + b"A" * 100 + b"\r\nNOOP\r\n") == [500, 200]
    assert talk.codes(b"NOOP\xff\r\nNOOP\r\n")[-1] == 200


def test_a_telnet_command_may_be_cut_anywhere(talk: Conversation) -> None:
    for byte in b"\xff\xf4\xff\xf2NO\xff\xfe\x06OP\r\n":
        talk.send(bytes([byte]))
    assert talk.codes() == [200]


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        (b"NOOP\rNOOP\r\n", [500]),
        (b"NOOP\r\r\n", [500]),
        (b"QUIT\r\0\nNOOP\r\n", [500, 200]),
        (b"NOOP\nNOOP\r\n", [200, 200]),
    ],
)
@pytest.mark.parametrize("cut", [1, 1 << 16])
def test_where_a_line_ends_does_not_depend_on_how_it_arrives(
    tmp_path: Path, line: bytes, codes: list[int], cut: int
) -> None:
    talk = Conversation(support.local_disk(tmp_path), cut=lambda: cut).log_in()
    assert talk.codes(line) == codes
    assert not talk.is_closed


@pytest.mark.parametrize("name", [b"a\x1b[2Jb", b"a\0b", b"\x80\xfe", b"a\r\0b", b"root\r\0 logged in"])
def test_a_name_that_would_write_into_the_log_is_refused_and_not_repeated(tmp_path: Path, name: bytes) -> None:
    talk = Conversation(support.local_disk(tmp_path))
    talk.take()
    answers = talk.ask(b"USER " + name + b"\r\nPASS x\r\n")
    assert str(answers[-1])[:3] in ("503", "530")
    assert not any("\x1b" in str(answer) or "logged in" in str(answer).lower() for answer in answers[:-1])


def test_payload_that_looks_like_an_end_and_a_command_is_payload(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    data = b"\r\nDONE\r\nDELE x\r\n"
    assert talk.codes(b"STOR y\r\n", frames(data), b"NOOP\r\n") == [150, 226, 200]
    assert (tmp_path / "y").read_bytes() == data
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize("digits", [b"-5", b"+5", b"0x5", b"5.0", b"1_0", b"\xd9\xa5", b"9" * 40, b" 5", b"5 "])
def test_a_length_that_only_looks_like_a_number_ends_the_session(
    talk: Conversation, tmp_path: Path, digits: bytes
) -> None:
    assert talk.codes(b"STOR x\r\nDATA " + digits + b"\r\nhello\r\nDONE\r\nNOOP\r\n") == [150, 500]
    assert talk.is_closed
    assert os.listdir(tmp_path) == []


def test_a_reason_without_an_end_ends_the_session(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    assert talk.codes(b"STOR x\r\nFAIL " + b"r" * 1_000_000) == [150, 500]
    assert talk.is_closed
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_connection_that_is_gone_at_once_leaves_nothing_waiting(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path))
    talk.link.close()
    talk.clock.advance(1000)
    assert not talk.clock.getDelayedCalls()


# -- MODE I and what could be mixed with it


def test_a_length_that_no_frame_has_ends_the_session(talk: Conversation, tmp_path: Path) -> None:
    """Neither one frame of a terabyte nor frames of nothing, which would go on for ever without a byte."""
    for length in (2**40, 16 * 1024 * 1024 + 1, 0):
        talk = Conversation(support.local_disk(tmp_path)).log_in()
        assert talk.codes(b"STOR x\r\nDATA %d\r\n" % length + b"NOOP\r\n" * 10) == [150, 500]
        assert talk.is_closed
    assert os.listdir(tmp_path) == []


def test_an_upload_without_an_end_stays_one_upload_and_bounded(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(idle=60)).log_in()
    talk.send(b"STOR x\r\n")
    for _ in range(100):
        talk.send(b"DATA 1\r\nx" * 1000)
        talk.clock.advance(1)
    assert len(talk.server.incoming) < 1000
    assert talk.codes(b"DONE\r\nNOOP\r\n") == [150, 226, 200]
    assert (tmp_path / "x").read_bytes() == b"x" * 100_000
    talk.send(b"STOR x\r\nDATA 1\r\n")
    talk.clock.advance(61)
    talk.link.pump()
    assert talk.is_closed
    talk.peer.received.clear()
    assert (tmp_path / "x").read_bytes() == b"x" * 100_000


@pytest.mark.parametrize("line", [b"MODE S", b"AUTH TLS", b"PASV", b"REIN", b"USER ftp", b"ABOR", b"STOR y"])
def test_inside_a_sequence_no_line_is_a_command(talk: Conversation, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "x").write_bytes(b"old")
    assert talk.codes(b"STOR x\r\nDATA 5\r\nhello" + line + b"\r\nDONE\r\nNOOP\r\n") == [150, 500]
    assert talk.is_closed
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]
