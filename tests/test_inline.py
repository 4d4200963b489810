"""MODE I at the server: every sentence of its specification about one transfer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from support import Conversation, Sequence, frames, parts_in

from ftpsvc.frames import digest_of, format_time

HELLO = b"hello\n"
BIG = bytes(range(256)) * 20_000


def end_for(path: Path, data: bytes) -> str:
    status = path.stat()
    return f"DONE {digest_of(data)} modify={format_time(status.st_mtime_ns)};unix.mode={status.st_mode & 0o777:04o};"


@pytest.fixture
def usual_mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_the_example_of_the_specification(usual_mask: None, talk: Conversation, tmp_path: Path) -> None:
    digest = "6bba86c7e069f56d5a10b435f1c8e49c"
    assert talk.ask(
        b"MODE I\r\nSTOR send.txt\r\nDATA 6\r\nhello\nDONE " + digest.encode() + b" modify=20261122055900;\r\n"
        b"RETR send.txt\r\n"
    ) == [
        "200 Mode I: data travels inline.",
        "150 Ready for /send.txt.",
        f"226 Stored 6 bytes, xxh3-128 {digest}.",
        "150 Sending /send.txt (6 bytes)",
        Sequence(HELLO, f"DONE {digest} modify=20261122055900;unix.mode=0644;"),
        "226 Sent 6 bytes.",
    ]


# -- downloads


@pytest.mark.parametrize("data", [b"", b"x", b"\r\nDONE\r\n226 x\r\n", BIG], ids=["empty", "one", "lines", "big"])
@pytest.mark.parametrize("type_", [b"A", b"I"])
def test_a_file_arrives_as_its_own_bytes_whatever_type_says(
    talk: Conversation, tmp_path: Path, data: bytes, type_: bytes
) -> None:
    (tmp_path / "file").write_bytes(data)
    assert talk.ask(b"TYPE " + type_ + b"\r\nRETR file\r\n")[1:] == [
        f"150 Sending /file ({len(data)} bytes)",
        Sequence(data, end_for(tmp_path / "file", data)),
        f"226 Sent {len(data)} bytes.",
    ]


def test_a_restarted_download_has_the_digest_of_its_own_bytes(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234567")
    _, begun, sequence, ended = talk.ask(b"REST 3\r\nRETR file\r\n")
    assert begun == "150 Sending /file (4 bytes)"
    assert sequence == Sequence(b"4567", end_for(tmp_path / "file", b"4567"))
    assert str(ended).startswith("226")
    # The marker holds for one command only.
    assert talk.ask(b"RETR file\r\n")[1] == Sequence(b"1234567", end_for(tmp_path / "file", b"1234567"))
    assert talk.codes(b"REST 3\r\nNOOP\r\nSIZE file\r\n") == [350, 200, 213]


def test_a_download_that_is_refused_has_no_sequence(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"1")
    assert talk.codes(b"RETR missing\r\nRETR folder\r\nRETR fifo\r\nRETR\r\nREST 2\r\nRETR file\r\n") == [
        550,
        550,
        550,
        501,
        350,
        554,
    ]


def test_no_frame_is_longer_than_16_mebibytes(talk: Conversation, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(40_000_000)
    talk.link.client_end.write(b"RETR file\r\n")
    talk.link.pump()
    received = bytes(talk.peer.received)
    talk.peer.received.clear()
    assert b"DONE" in received[-200:]
    _, at = received.split(b"\r\n", 1)[0], received.index(b"\r\n") + 2
    while received[at : at + 5] == b"DATA ":
        line, _, _ = received[at : at + 40].partition(b"\r\n")
        size = int(line[5:])
        assert 1 <= size <= 16777216
        at += len(line) + 2 + size
    assert received[at : at + 5] == b"DONE "


# -- uploads that are complete


@pytest.mark.parametrize("data", [b"", b"x", b"\r\nFAIL\r\nDELE x\r\n", BIG], ids=["empty", "one", "lines", "big"])
@pytest.mark.parametrize("size", [1 << 20, 16777216, 777])
def test_a_complete_sequence_is_committed(talk: Conversation, tmp_path: Path, data: bytes, size: int) -> None:
    (tmp_path / "file").write_bytes(b"old")
    begun, ended = talk.ask(b"STOR file\r\n", frames(data, size))
    assert str(begun).startswith("150 ")
    assert ended == f"226 Stored {len(data)} bytes, xxh3-128 {digest_of(data)}."
    assert (tmp_path / "file").read_bytes() == data
    assert not parts_in(tmp_path)


def test_a_sequence_without_a_digest_is_complete(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"STOR file\r\nDATA 2\r\nokDONE\r\n") == [150, 226]
    assert (tmp_path / "file").read_bytes() == b"ok"


def test_verbs_and_frames_are_taken_in_any_case(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"stor file\r\ndata 2\r\nokdone " + digest_of(b"ok").encode() + b"\r\n") == [150, 226]


def test_facts_are_there_when_the_file_is(talk: Conversation, tmp_path: Path) -> None:
    facts = "Modify=20000101000000.5;UNIX.mode=0600;x.comment=never mind;"
    assert talk.codes(b"STOR file\r\n", frames(b"x", facts=facts)) == [150, 226]
    status = (tmp_path / "file").stat()
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (946684800_500_000_000, 0o600)


@pytest.mark.parametrize("facts", ["modify=20001301000000;", "unix.mode=4755;", "modify=yesterday;"])
def test_facts_that_make_no_sense_refuse_the_upload_and_keep_both_ends_in_step(
    talk: Conversation, tmp_path: Path, facts: str
) -> None:
    begun, refused, in_step = talk.codes(b"STOR file\r\n", frames(b"x", facts=facts), b"NOOP\r\n")
    assert begun == 150
    assert 400 <= int(refused) < 600
    assert in_step == 200
    assert not os.listdir(tmp_path)


def test_an_upload_goes_on_at_a_restart_marker(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    *_, ended = talk.ask(b"REST 5\r\nSTOR file\r\n", frames(b"678"))
    assert ended == f"226 Stored 8 bytes, xxh3-128 {digest_of(b'678')}."
    assert (tmp_path / "file").read_bytes() == b"12345678"


def test_a_part_of_a_lost_connection_is_gone_on_from_in_the_next(tmp_path: Path) -> None:
    disk = support.local_disk(tmp_path)
    talk = Conversation(disk).log_in()
    talk.send(b"STOR file\r\nDATA 100\r\n12345")
    talk.link.lose()
    assert not (tmp_path / "file").exists()
    again = Conversation(disk).log_in()
    assert again.codes(b"REST 5\r\nSTOR file\r\n", frames(b"678")) == [350, 150, 226]
    assert (tmp_path / "file").read_bytes() == b"12345678"


def test_append_adds_and_a_failed_one_takes_it_back(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    assert talk.codes(b"APPE file\r\n", frames(b"2")) == [150, 226]
    assert talk.codes(b"APPE file\r\nDATA 1\r\n3FAIL\r\n") == [150, 426]
    assert talk.codes(b"APPE file\r\n", frames(b"3", digest="0" * 32)) == [150, 451]
    assert talk.codes(b"REST 1\r\nAPPE file\r\n", frames(b"3")) == [350, 503]
    assert (tmp_path / "file").read_bytes() == b"12"


def test_store_unique_tells_the_name_it_made_up(talk: Conversation, tmp_path: Path) -> None:
    begun, ended = talk.ask(b"STOU\r\n", frames(b"1"))
    assert str(begun).startswith("150 FILE: ")
    assert str(ended).startswith("226")
    begun, _ = talk.ask(b"STOU report\r\n", frames(b"2"))
    assert (tmp_path / str(begun)[10:]).read_bytes() == b"2"
    assert "report" in str(begun)
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize(("asked", "told"), [(b"d/x", "d/x-"), (b"/d/", "/d/file-"), (b"../d/x", "../d/x-")])
def test_the_unique_name_in_a_folder_is_told_with_it(
    talk: Conversation, tmp_path: Path, asked: bytes, told: str
) -> None:
    (tmp_path / "d").mkdir()
    begun, _ = talk.ask(b"STOU " + asked + b"\r\n", frames(b"1"))
    name = str(begun).removeprefix("150 FILE: ")
    assert name.startswith(told)
    assert os.listdir(tmp_path / "d") == [name.rpartition("/")[2]]
    assert talk.codes(f"RETR {name}\r\n".encode()) == [150, "DONE", 226]


def test_a_new_file_does_not_begin_in_the_middle(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"REST 3\r\nSTOU\r\n", frames(b"1")) == [350, 450]
    assert os.listdir(tmp_path) == []
    assert talk.codes(b"STOU\r\n", frames(b"1")) == [150, 226]  # the offset was for one command


def test_a_unique_name_that_is_taken_meanwhile_is_not_replaced(
    talk: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftpsvc.verbs.transfer.token_hex", lambda size: "0" * 2 * size)
    sequence = frames(b"mine")
    talk.send(b"STOU\r\n", sequence[:12])
    (tmp_path / ("file-" + "0" * 16)).write_bytes(b"another's")
    assert talk.codes(sequence[12:]) == [150, 550]
    assert talk.codes(b"STOU\r\n", sequence) == [450]
    assert (tmp_path / ("file-" + "0" * 16)).read_bytes() == b"another's"
    assert len(os.listdir(tmp_path)) == 1


# -- uploads that are not


@pytest.mark.parametrize(
    "digest", ["0" * 32, digest_of(HELLO).upper(), digest_of(HELLO)[:31], digest_of(HELLO) + "0", "x", "\u00e4"]
)
def test_a_digest_that_differs_in_value_length_or_form_changes_nothing(
    talk: Conversation, tmp_path: Path, digest: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    assert talk.codes(b"STOR file\r\n", frames(HELLO, digest=digest), b"NOOP\r\n") == [150, 451, 200]
    assert talk.codes(b"STOR new\r\n", frames(HELLO, digest=digest), b"NOOP\r\n") == [150, 451, 200]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "data", [b"", b"DATA 5\r\nhello", b"DATA 300000\r\n" + bytes(300_000)], ids=["", "5", "300000"]
)
@pytest.mark.parametrize("end", [b"FAIL\r\n", b"FAIL no more\r\n", b"fail \xff\r\n"])
def test_fail_changes_nothing(talk: Conversation, tmp_path: Path, data: bytes, end: bytes) -> None:
    (tmp_path / "file").write_bytes(b"old")
    assert talk.codes(b"STOR file\r\n", data, end, b"NOOP\r\n") == [150, 426, 200]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "sent", [b"", b"DA", b"DATA 10\r\n", b"DATA 10\r\nhello", b"DATA 5\r\nhello", b"DATA 5\r\nhelloDONE"]
)
def test_a_connection_that_ends_inside_a_sequence_changes_nothing(tmp_path: Path, sent: bytes) -> None:
    (tmp_path / "file").write_bytes(b"old")
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    talk.send(b"STOR file\r\n", sent)
    talk.link.lose()
    assert (tmp_path / "file").read_bytes() == b"old"
    if b"hello" in sent:
        assert support.take_part(tmp_path) == b"hello"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"STOR", 501),
        (b"STOR ", 501),
        (b"APPE", 501),
        (b"STOR missing/file", 550),
        (b"STOR folder", 550),
        (b"STOR fifo", 550),
        (b"STOR old/file", 550),
        (b"STOR a\0b", 553),
        (b"STOR a\r\0b", 553),
        (b"STOR " + b"x" * 256, 553),
        (b"STOR .ftpsvc-x", 553),
        (b"STOR /", 550),
        (b"STOR out/file", 550),
        (b"APPE missing/file", 550),
        (b"APPE folder", 550),
        (b"STOU missing/file", 550),
        (b"STOU " + b"x" * 250, 553),
        (b"REST 9\r\nSTOR old", 554),
    ],
)
def test_a_refused_upload_takes_exactly_one_sequence_with_it(
    talk: Conversation, tmp_path: Path, command: bytes, code: int
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "out").symlink_to("/tmp")
    os.mkfifo(tmp_path / "fifo")
    before = sorted(os.listdir(tmp_path))
    tricky = b"\r\nDONE\r\nDELE old\r\nQUIT\r\n"
    codes = [c for c in talk.codes(command + b"\r\n", frames(tricky, 7), b"PWD\r\n") if c != 350]
    assert codes == [code, 257]
    codes = [c for c in talk.codes(command + b"\r\nDATA 4\r\nQUITFAIL\r\nPWD\r\n") if c != 350]
    assert codes == [code, 257]
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize("command", [b"STOR file", b"STOR", b"APPE file", b"STOU"])
def test_before_the_login_an_upload_takes_its_sequence_too(tmp_path: Path, command: bytes) -> None:
    talk = Conversation(support.local_disk(tmp_path))
    assert talk.codes(b"MODE I\r\n" + command + b"\r\n", frames(b"USER ftp\r\n"), b"PWD\r\n") == [220, 200, 530, 530]


def test_a_refusal_comes_before_the_end_of_the_sequence_and_is_the_only_reply(talk: Conversation) -> None:
    assert talk.codes(b"STOR missing/file\r\nDATA 100\r\nabc") == [550]
    assert talk.codes(b"d" * 97, b"FAIL refused\r\n") == []
    assert talk.codes(b"NOOP\r\n") == [200]


def test_in_stream_mode_no_sequence_follows(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in(inline=False)
    assert talk.codes(b"STOR file\r\nNOOP\r\nRETR file\r\nLIST\r\n") == [425, 200, 550, 425]
    assert not os.listdir(tmp_path)


# -- ABOR


def test_abor_with_nothing_to_stop_is_answered_226(talk: Conversation) -> None:
    assert talk.codes(b"ABOR\r\n") == [226]


def test_abor_ends_a_download_behind_a_whole_frame(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(50_000_000)
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    talk.link.client_end.is_reading = False
    talk.send(b"RETR file\r\n")
    talk.send(b"NOOP\r\nABOR\r\nNOOP\r\n")
    talk.link.client_end.is_reading = True
    begun, sequence, ended, noop, aborted, after = talk.ask()
    assert isinstance(sequence, Sequence)
    assert sequence.end.startswith("FAIL ")
    assert 0 < len(sequence.data) < 50_000_000
    assert [str(a)[:3] for a in (begun, ended, noop, aborted, after)] == ["150", "426", "200", "226", "200"]


def test_abor_behind_a_download_that_has_ended_changes_nothing(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert talk.codes(b"RETR file\r\n") == [150, "DONE", 226]
    assert talk.codes(b"ABOR\r\n") == [226]


def test_an_abor_in_the_bytes_of_an_upload_stops_no_download(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(5_000_000)
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    assert talk.codes(b"RETR file\r\nSTOR x\r\n", frames(b"ABOR\r\n"), b"NOOP\r\n") == [150, "DONE", 226, 150, 226, 200]
