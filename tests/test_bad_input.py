"""What no client should send, and what goes wrong at the server: each has its answer, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import support
from conftest import LoggedErrors
from support import Conversation, Sequence, frames

from ftpsvc import model
from ftpsvc.frames import MAX_LINE
from ftpsvc.model import Entry, Kind
from ftpsvc.verbs.browse import BLOCK

# -- lines


@pytest.mark.parametrize(
    "line", [b"", b" ", b"XYZZY", b"XYZZY x", b"NOOP\t", b" NOOP", b"1", b"\0", b"\x80\xff", b"A" * 50]
)
def test_what_is_no_command_is_answered_500_and_the_session_lives(talk: Conversation, line: bytes) -> None:
    assert talk.codes(line + b"\r\nNOOP\r\n") == [500, 200]


@pytest.mark.parametrize("verb", [b"MIC", b"LPRT", b"SMNT"])
def test_a_known_command_that_is_not_carried_out_is_answered_502(talk: Conversation, verb: bytes) -> None:
    assert talk.codes(verb + b" x\r\nNOOP\r\n") == [502, 200]


@pytest.mark.parametrize(
    "line", [b"XYZZY 227 Entering Passive Mode (1,2,3,4,5,6)", b"CWD a\rb", b"227 Entering", b"TYPE 227"]
)
def test_no_refusal_repeats_what_the_client_sent(talk: Conversation, line: bytes) -> None:
    (answer,) = talk.ask(line + b"\r\n")
    assert "227" not in str(answer)
    assert "a\rb" not in str(answer)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_lone_line_feed_ends_a_line_too(talk: Conversation, end: bytes) -> None:
    assert talk.codes(b"NOOP" + end + b"MLST" + end + b"STOR x" + end + b"DATA 1\nxDONE\nNOOP" + end) == [
        200,
        250,
        150,
        226,
        200,
    ]


@pytest.mark.parametrize("name", [b"a\0b", b"\0", b"a\rb", b"a\r\0b", b"a\0.jpg", b"..\0/"])
@pytest.mark.parametrize("verb", [b"RETR", b"SIZE", b"MDTM", b"MLST", b"CWD", b"LIST", b"STAT", b"NLST", b"MLSD"])
def test_a_name_with_nul_or_cr_is_refused(talk: Conversation, tmp_path: Path, verb: bytes, name: bytes) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "ab").touch()
    first, second = talk.codes(verb + b" " + name + b"\r\nNOOP\r\n")
    assert first in (501, 550, 553)
    assert second == 200


def test_telnet_is_taken_out_of_lines_and_not_out_of_data(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"\xff\xf4\xff\xf2NOOP\r\nNO\xff\xfc\x01OP\r\n") == [200, 200]
    data = b"\xff\xff\xff\xf4\r\n\xff\xf2"
    assert talk.codes(b"STOR \xff\xff\r\n", frames(data)) == [150, 226]
    assert Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff"))).read_bytes() == data
    assert talk.codes(b"NOOP" + b"\xff" * 3 + b"\r\n", b"\xff" * 5000 + b"\r\nNOOP\r\n")[-1] == 200


def test_a_telnet_option_that_is_asked_for_is_refused_in_its_turn(talk: Conversation) -> None:
    for asked, answer in (
        (b"\xfd\x06", b"\xfc\x06"),
        (b"\xfb\x01", b"\xfe\x01"),
        (b"\xfc\x01", b""),
        (b"\xfe\x01", b""),
    ):
        talk.send(b"NOOP\r\nNO\xff" + asked + b"OP\r\n")
        first, second, _ = bytes(talk.peer.received).split(b"\r\n")
        assert first.startswith(b"200 ")
        assert second.startswith((b"\xff" + answer if answer else b"") + b"200 ")
        talk.peer.received.clear()
    # What is doubled is a byte of a name, and what stands behind it no option.
    assert talk.codes(b"CWD \xff\xff\xfd\x06\r\n") == [550]


def test_a_byte_255_in_a_reply_is_doubled(talk: Conversation, tmp_path: Path) -> None:
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"\xff"))
    talk.send(b"CWD \xff\xff\r\n")
    talk.peer.received.clear()
    talk.send(b"PWD\r\n")
    assert b'"/\xff\xff"' in talk.peer.received
    talk.peer.received.clear()


# -- lines too long


@pytest.mark.parametrize("inline", [True, False])
def test_a_line_that_is_too_long_is_answered_500_and_closes(tmp_path: Path, inline: bool) -> None:
    (tmp_path / "x").touch()
    talk = Conversation(support.local_disk(tmp_path)).log_in(inline)
    assert talk.codes(b"NOOP " + b"y" * (MAX_LINE - 7) + b"\r\n") == [200]
    assert talk.codes(b"NOOP " + b"y" * (MAX_LINE - 6) + b"\r\nSTOR x\r\nDATA 1\r\nxDONE\r\n") == [500]
    assert talk.is_closed
    assert (tmp_path / "x").read_bytes() == b""


def test_a_line_that_never_ends_is_answered_500_and_closes(talk: Conversation) -> None:
    for _ in range(8):
        talk.send(b"z" * 1024)
    assert talk.codes() == [500]
    assert talk.is_closed


def test_what_arrives_after_the_end_is_thrown_away(talk: Conversation, tmp_path: Path) -> None:
    talk.link.client_end.is_reading = False
    talk.send(b"DATA 5\r\n")
    for _ in range(50):
        talk.send(b"STOR x\r\nDATA 1\r\nxDONE\r\n" * 100)
    talk.link.client_end.is_reading = True
    assert talk.codes() == [500]
    assert not os.listdir(tmp_path)


# -- frames out of place


@pytest.mark.parametrize("line", [b"DATA 5", b"DATA", b"DATA -5", b"DONE", b"FAIL", b"done 00", b"FAIL x"])
@pytest.mark.parametrize("inline", [True, False])
def test_a_frame_where_none_is_due_is_answered_500_and_closes(tmp_path: Path, line: bytes, inline: bool) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in(inline)
    assert talk.codes(line + b"\r\nNOOP\r\nSTOR x\r\n") == [500]
    assert talk.is_closed


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"NOOP",
        b"ABOR",
        b"QUIT",
        b"MODE S",
        b"DATA 0",
        b"DATA 007",
        b"DATA 16777217",
        b"DATA 5 5",
        b"DATA",
        b"226 x",
    ],
)
@pytest.mark.parametrize("command", [b"STOR file", b"APPE file", b"STOU", b"STOR missing/file", b"STOR"])
def test_anything_but_a_frame_inside_a_sequence_is_answered_500_and_closes(
    talk: Conversation, tmp_path: Path, command: bytes, line: bytes
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    codes = talk.codes(command + b"\r\nDATA 3\r\nnew" + line + b"\r\nNOOP\r\n")
    assert codes[-1] == 500
    assert len(codes) == 2
    assert talk.is_closed
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"EHLO x", b"OPTIONS * HTTP/1.0"])
def test_another_protocols_request_ends_the_session_at_its_first_line(tmp_path: Path, request_: bytes) -> None:
    talk = Conversation(support.local_disk(tmp_path))
    talk.take()
    body = b"\r\nUSER anonymous\r\nPASS x\r\nMODE I\r\nSTOR x\r\nDATA 1\r\nxDONE\r\n"
    assert talk.codes(request_ + body) == [500]
    assert talk.is_closed
    assert not os.listdir(tmp_path)


# -- files that change, and faults of our own


class Faulty:
    """A storage in which one thing goes wrong, in whichever way the test says."""

    def __init__(self, real: Any, error: Exception, at: str) -> None:
        self._real, self._error, self._at = real, error, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def fetch(self, path: str) -> Any:
        raise model.TooLarge(f"{path}: it is to be streamed.")

    async def stat(self, path: str) -> Entry:
        if self._at == "stat":
            raise self._error
        return await self._real.stat(path)

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        for number in range(0 if self._at == "list at once" else BLOCK):
            yield Entry(str(number), Kind.FILE)
        raise self._error

    async def open_read(self, path: str, offset: int = 0) -> Any:
        return FaultyFile(await self._real.open_read(path, offset), self)

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> Any:
        return FaultyFile(await self._real.open_write(path, offset), self)

    def check(self, at: str) -> None:
        if at == self._at:
            raise self._error


class FaultyFile:
    def __init__(self, real: Any, storage: Faulty) -> None:
        self._real, self._storage = real, storage
        self._is_second = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def fileno(self) -> None:
        return None

    async def read(self, size: int) -> Any:
        if self._is_second:
            self._storage.check("read")
        self._is_second = True
        return await self._real.read(1000)

    async def write(self, chunk: Any) -> None:
        self._storage.check("write")
        await self._real.write(chunk)

    async def commit(self, *args: Any) -> Any:
        try:
            self._storage.check("commit")
        except Exception:
            await self._real.abort()
            raise
        return await self._real.commit(*args)


def faulty(tmp_path: Path, error: Exception, at: str) -> Conversation:
    (tmp_path / "file").write_bytes(bytes(5000))
    return Conversation(Faulty(support.local_disk(tmp_path), error, at)).log_in()


def test_a_file_that_shrinks_during_a_download_ends_in_fail_and_451(tmp_path: Path) -> None:
    talk = faulty(tmp_path, model.LocalFault("The file became shorter."), "read")
    begun, sequence, ended, after = talk.ask(b"RETR file\r\nNOOP\r\n")
    assert isinstance(sequence, Sequence)
    assert (sequence.data, sequence.end) == (bytes(1000), "FAIL The file became shorter.")
    assert [str(a)[:3] for a in (begun, ended, after)] == ["150", "451", "200"]


@pytest.mark.parametrize("command", [b"RETR file", b"LIST", b"MLSD", b"NLST"])
def test_an_internal_error_in_the_middle_of_a_download_ends_in_fail_and_451(
    tmp_path: Path, logged_errors: LoggedErrors, command: bytes
) -> None:
    talk = faulty(tmp_path, RuntimeError("the secret of the house"), "read")
    answers = talk.ask(command + b"\r\nNOOP\r\n")
    assert [a.end[:4] if isinstance(a, Sequence) else a[:3] for a in answers] == ["150", "FAIL", "451", "200"]
    assert "secret" not in str(answers)
    (error,) = logged_errors.take()
    assert isinstance(error, RuntimeError)


def test_a_folder_that_can_not_be_read_to_its_end_is_451_behind_its_fail(tmp_path: Path) -> None:
    talk = faulty(tmp_path, model.NotFound("/: it has vanished."), "list")
    begun, end, code, after = talk.codes(b"LIST\r\nNOOP\r\n")
    assert (begun, end, after) == (150, "FAIL", 200)
    assert code in (426, 451)


@pytest.mark.parametrize("command", [b"LIST", b"NLST", b"MLSD"])
def test_a_folder_that_can_not_be_read_at_all_is_refused_with_the_code_that_says_why(
    tmp_path: Path, command: bytes
) -> None:
    talk = faulty(tmp_path, model.Denied("/: permission denied."), "list at once")
    assert talk.codes(command + b"\r\nNOOP\r\n") == [550, 200]
    talk.send(b"MODE S\r\n")
    talk.take()
    assert talk.codes(command + b"\r\nNOOP\r\n") == [425, 200]


class Prepared:
    """A data connection that has come, or is waited for."""

    is_closed = False

    def close(self, why: model.TransferError | None = None) -> None:
        self.is_closed = True


@pytest.mark.parametrize("command", [b"LIST", b"NLST", b"MLSD"])
def test_the_data_connection_of_a_folder_that_can_not_be_read_is_given_back(tmp_path: Path, command: bytes) -> None:
    talk = faulty(tmp_path, model.Denied("/: permission denied."), "list at once")
    talk.send(b"MODE S\r\n")
    talk.take()
    talk.server.data._way = prepared = Prepared()
    assert talk.codes(command + b"\r\n") == [550]
    assert prepared.is_closed


def test_the_data_connection_of_who_leaves_before_a_folder_is_read_is_given_back(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in(inline=False)
    talk.server.data._way = prepared = Prepared()
    talk.send(b"LIST\r\n")
    talk.link.lose()
    run.fire()
    assert prepared.is_closed


@pytest.mark.parametrize("at", ["write", "commit", "stat"])
def test_an_internal_error_is_logged_and_answered_in_general_words(
    tmp_path: Path, logged_errors: LoggedErrors, at: str
) -> None:
    talk = faulty(tmp_path, RuntimeError("the secret of the house"), at)
    command = b"MDTM file\r\n" if at == "stat" else b"STOR new\r\n" + frames(bytes(100_000), 999)
    answers = talk.ask(command + b"NOOP\r\n")
    assert [str(a)[:3] for a in answers] == ["451", "200"] if at == "stat" else ["150", "451", "200"]
    assert "secret" not in str(answers)
    (error,) = logged_errors.take()
    assert isinstance(error, RuntimeError)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("error", "code"), [(model.NoSpace("full"), 452), (model.OverQuota("quota"), 552), (model.LocalFault("disk"), 451)]
)
@pytest.mark.parametrize("at", ["write", "commit"])
def test_a_disk_that_fails_an_upload_keeps_both_ends_in_step(
    tmp_path: Path, error: Exception, code: int, at: str
) -> None:
    talk = faulty(tmp_path, error, at)
    assert talk.codes(b"STOR file\r\n", frames(bytes(100_000), 999), b"NOOP\r\n") == [150, code, 200]
    assert (tmp_path / "file").read_bytes() == bytes(5000)
    assert os.listdir(tmp_path) == ["file"]


def test_a_reply_tells_nothing_of_where_the_root_really_is(talk: Conversation, tmp_path: Path) -> None:
    sent = (
        b"RETR missing\r\nCWD missing\r\nPWD\r\nSTOR missing/x\r\nFAIL\r\nMLST /\r\nLIST missing\r\nSTAT\r\nSTAT /\r\n"
    )
    assert str(tmp_path) not in str(talk.ask(sent))
