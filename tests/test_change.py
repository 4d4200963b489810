"""What changes the tree: MKD RMD DELE RNFR RNTO MFMT MFF MDTM SITE, each row of what clients expect."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import support
from support import Conversation, as_ann

from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import EVERYTHING, Entry, Permission

#: 22 November 2026, 05:59:57 UTC.
MOMENT = 1795327197


def text(talk: Conversation, line: bytes) -> str:
    (answer,) = talk.ask(line + b"\r\n")
    return str(answer)


# -- folders


@pytest.mark.parametrize("verb", [b"MKD", b"XMKD"])
def test_a_folder_is_made_and_told_by_its_whole_path(talk: Conversation, tmp_path: Path, verb: bytes) -> None:
    (tmp_path / "a").mkdir()
    talk.ask(b"CWD a\r\n")
    assert text(talk, verb + b' say "hi"') == '257 "/a/say ""hi""" created.'
    assert (tmp_path / "a" / 'say "hi"').is_dir()


@pytest.mark.parametrize("path", [b"there", b"file", b"no/parent", b"/", b".", b"file/x"])
def test_a_folder_that_can_not_be_made_is_550(talk: Conversation, tmp_path: Path, path: bytes) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    assert talk.codes(b"MKD " + path + b"\r\n") == [550]
    assert sorted(os.listdir(tmp_path)) == ["file", "there"]


@pytest.mark.parametrize("path", [b"x" * 256, b".ftpsvc-x", b"a\0b", b"a\rb"])
def test_a_name_that_can_not_be_is_553(talk: Conversation, tmp_path: Path, path: bytes) -> None:
    assert talk.codes(b"MKD " + path + b"\r\n") == [553]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("verb", [b"RMD", b"XRMD"])
def test_an_empty_folder_is_removed(talk: Conversation, tmp_path: Path, verb: bytes) -> None:
    (tmp_path / "a").mkdir()
    assert talk.codes(verb + b" a\r\n") == [250]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", [b"full", b"file", b"missing", b"/", b"..", b".", b"link"])
def test_what_is_no_empty_folder_is_not_removed(talk: Conversation, tmp_path: Path, path: bytes) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("empty")
    assert talk.codes(b"CWD empty\r\nRMD ../" + path + b"\r\n")[1] == 550
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "full", "link"]


def test_the_current_folder_is_not_removed_from_under_the_session(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert talk.codes(b"CWD a\r\nRMD .\r\nRMD /a\r\n") == [250, 550, 550]
    assert (tmp_path / "a").is_dir()


def test_a_folder_with_nothing_but_a_broken_upload_is_empty(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".ftpsvc-0123").write_bytes(b"left")
    assert talk.codes(b"RMD a\r\n") == [250]
    assert os.listdir(tmp_path) == []


def test_a_broken_upload_stays_where_the_folder_does(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".ftpsvc-0123").write_bytes(b"left")
    (tmp_path / "a" / "file").touch()
    assert talk.codes(b"RMD a\r\n") == [550]
    assert support.take_part(tmp_path) == b"left"


# -- files


def test_a_file_is_deleted_and_a_link_alone(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("file")
    assert talk.codes(b"DELE link\r\n") == [250]
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert talk.codes(b"DELE file\r\nDELE file\r\n") == [250, 550]


def test_a_folder_is_not_deleted_as_a_file(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert talk.codes(b"DELE a\r\nDELE /\r\n") == [550, 550]
    assert (tmp_path / "a").is_dir()


def test_a_name_with_a_space_at_its_end_is_another_name(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "a ").touch()
    assert talk.codes(b"DELE a \r\n") == [250]
    assert os.listdir(tmp_path) == ["a"]


# -- names


def test_a_rename_replaces_a_file(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    assert talk.codes(b"RNFR a\r\nRNTO b\r\n") == [350, 250]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("b", b"a")]


@pytest.mark.parametrize("path", [b"missing", b"/", b"../.."])
def test_a_name_that_is_not_there_or_the_root_is_not_renamed(talk: Conversation, path: bytes) -> None:
    assert talk.codes(b"RNFR " + path + b"\r\nRNTO x\r\n") == [550, 503]


@pytest.mark.parametrize("between", [b"NOOP", b"PWD", b"XYZZY", b"RNFR missing", b"REST 0", b"RANG 1 0", b"USER ftp"])
def test_the_name_to_be_changed_holds_for_the_next_command_only(
    talk: Conversation, tmp_path: Path, between: bytes
) -> None:
    (tmp_path / "a").touch()
    assert talk.codes(b"RNFR a\r\n" + between + b"\r\nRNTO b\r\n")[2] in (503, 530)
    assert os.listdir(tmp_path) == ["a"]


def test_a_new_login_does_not_go_on_with_the_old_rename(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert talk.codes(b"RNFR a\r\nUSER ftp\r\nPASS x\r\nRNTO b\r\n") == [350, 331, 230, 503]


@pytest.mark.parametrize(
    ("target", "code"), [(b"d/e/f", 553), (b"other", 550), (b"file", 550), (b"no/where", 550), (b"/", 550)]
)
def test_a_folder_is_not_renamed_into_itself_or_onto_something(
    talk: Conversation, tmp_path: Path, target: bytes, code: int
) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_bytes(b"kept")
    assert talk.codes(b"RNFR d\r\nRNTO " + target + b"\r\n") == [350, code]
    assert sorted(os.listdir(tmp_path)) == ["d", "file", "other"]
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_name_may_be_changed_to_itself(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    assert talk.codes(b"RNFR d\r\nRNTO d\r\n") == [350, 250]
    assert (tmp_path / "d").is_dir()


# -- times and modes


def modified(path: Path) -> float:
    return path.stat().st_mtime_ns / 1_000_000_000


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"MFMT 20261122055957 a b", "213 Modify=20261122055957; a b"),
        (b"MFF Modify=20261122055957; /./a b", "213 Modify=20261122055957; /./a b"),
        (b"MDTM 20261122055957 a b", "213 20261122055957"),
        (b"SITE UTIME 20261122055957 a b", "200 /a b was modified at 20261122055957."),
        (
            b"SITE UTIME a b 20010101000000 20261122055957 20010101000000 UTC",
            "200 /a b was modified at 20261122055957.",
        ),
    ],
)
def test_every_way_of_setting_a_time_sets_it(talk: Conversation, tmp_path: Path, line: bytes, answer: str) -> None:
    (tmp_path / "a b").touch()
    assert text(talk, line) == answer
    assert modified(tmp_path / "a b") == MOMENT


def test_a_time_keeps_the_fraction_that_was_sent_and_mdtm_tells_seconds(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert text(talk, b"MFMT 20261122055957.25 a") == "213 Modify=20261122055957.25; a"
    assert modified(tmp_path / "a") == MOMENT + 0.25
    assert text(talk, b"MDTM a") == "213 20261122055957"


def test_a_fraction_of_a_second_is_set_by_mdtm_too(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a b").touch()
    assert text(talk, b"MDTM 20261122055957.250 a b") == "213 20261122055957.25"
    assert modified(tmp_path / "a b") == MOMENT + 0.25
    assert talk.codes(b"MDTM 20261122055957. a b\r\nMDTM 20261322055957.5 a b\r\n") == [550, 501]


def test_a_file_with_exactly_that_name_is_asked_for_its_time(talk: Conversation, tmp_path: Path) -> None:
    for name in ("20010101000000 a", "a"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (MOMENT, MOMENT))
    assert text(talk, b"MDTM 20010101000000 a") == "213 20261122055957"
    assert modified(tmp_path / "a") == MOMENT


def test_mdtm_sets_the_time_of_the_longest_name_too(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / ("n" * 255)).touch()
    assert text(talk, b"MDTM 20261122055957 " + b"n" * 255) == "213 20261122055957"
    assert (tmp_path / ("n" * 255)).stat().st_mtime == MOMENT
    assert talk.codes(b"MDTM 20261122055957 " + b"n" * 256 + b"\r\n") == [553]


@pytest.mark.parametrize(
    "line",
    [
        b"MFMT 20010229000000 a",
        b"MFMT 20261322055957 a",
        b"MFMT 20261122055957",
        b"MFMT 20261122055957.",
        b"MFMT a 20261122055957",
        b"MFF Modify=1; a",
        b"MFF Create=20261122055957; a",
        b"MFF Modify=20261122055957;UNIX.mode=999; a",
        b"MFF Modify=20261122055957;",
        b"MFF ; a",
        b"MDTM 20261322055957 a",
        b"SITE UTIME 20261322055957 a",
        b"SITE UTIME a",
        b"SITE UTIME",
        b"SITE CHMOD 4777 a",
        b"SITE CHMOD 7777 a",
        b"SITE CHMOD 99999 a",
        b"SITE CHMOD u+x a",
        b"SITE CHMOD 644",
        b"SITE CHMOD",
        b"SITE FACTS",
        b"SITE PART",
        b"SITE PART ",
    ],
)
def test_what_can_not_be_read_is_501_and_changes_nothing(talk: Conversation, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a").touch()
    before = (tmp_path / "a").stat()
    assert talk.codes(line + b"\r\n") == [501]
    after = (tmp_path / "a").stat()
    assert (after.st_mtime_ns, after.st_mode) == (before.st_mtime_ns, before.st_mode)


@pytest.mark.parametrize("line", [b"MFMT 20261122055957 ", b"MFF UNIX.mode=0700; ", b"SITE CHMOD 700 "])
@pytest.mark.parametrize("path", [b"missing", b"no/where", b"/", b".."])
def test_facts_of_the_root_and_of_nothing_are_not_set(
    talk: Conversation, tmp_path: Path, line: bytes, path: bytes
) -> None:
    before = tmp_path.stat()
    assert talk.codes(line + path + b"\r\n") == [550]
    assert (tmp_path.stat().st_mode, tmp_path.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.parametrize("line", [b"SITE CHMOD 640 a", b"site chmod 0640 a", b"MFF unix.MODE=0640; a"])
def test_a_mode_is_set(talk: Conversation, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a").touch()
    assert talk.codes(line + b"\r\n")[0] in (200, 213)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o640


# -- SITE


def test_site_help_lists_what_there_is(talk: Conversation) -> None:
    answer = text(talk, b"SITE HELP")
    assert answer.startswith("214-")
    assert all(name in answer for name in ("CHMOD", "UTIME", "IDLE"))


@pytest.mark.parametrize("line", [b"SITE EXEC id", b"SITE CPFR a", b"SITE CPTO b", b"SITE SYMLINK a b", b"SITE 227 x"])
def test_what_site_does_not_do_is_500_and_not_repeated(talk: Conversation, line: bytes) -> None:
    answer = text(talk, line)
    assert answer.startswith("500 ")
    assert line.split()[1].decode() not in answer


def test_the_time_of_idleness_is_not_the_clients_to_choose(talk: Conversation) -> None:
    assert text(talk, b"SITE IDLE") == "200 A session may be idle for 300 seconds."
    assert talk.codes(b"SITE IDLE 100000\r\n") == [504]


# -- permissions


@pytest.mark.parametrize(
    ("permission", "line"),
    [
        (Permission.MAKE_DIRECTORY, b"MKD new"),
        (Permission.DELETE, b"RMD d"),
        (Permission.DELETE, b"DELE a"),
        (Permission.RENAME, b"RNFR a"),
        (Permission.RENAME, b"RNTO b"),
        (Permission.SET_FACTS, b"MFMT 20261122055957 a"),
        (Permission.SET_FACTS, b"MFF UNIX.mode=0700; a"),
        (Permission.SET_FACTS, b"MDTM 20261122055957 a"),
        (Permission.SET_FACTS, b"SITE CHMOD 700 a"),
        (Permission.SET_FACTS, b"SITE UTIME 20261122055957 a"),
    ],
)
def test_who_may_not_change_something_does_not(tmp_path: Path, permission: Permission, line: bytes) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "a").touch()
    before = (tmp_path / "a").stat()
    assert as_ann(tmp_path, EVERYTHING & ~permission).codes(line + b"\r\n") == [550]
    after = (tmp_path / "a").stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert sorted(os.listdir(tmp_path)) == ["a", "d"]


def test_a_rename_replaces_only_for_those_who_may(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    talk = as_ann(tmp_path, EVERYTHING & ~Permission.OVERWRITE)
    assert talk.codes(b"RNFR a\r\nRNTO b\r\nRNFR a\r\nRNTO c\r\n") == [350, 550, 350, 250]
    assert (tmp_path / "b").read_bytes() == b"b"


def test_who_may_not_replace_does_not_replace_what_came_behind_the_look_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to("nowhere")
    talk = as_ann(tmp_path, EVERYTHING & ~Permission.OVERWRITE)
    look = LocalDisk.stat

    async def look_too_early(disk: LocalDisk, path: str) -> Entry:
        try:
            return await look(disk, path)
        finally:
            if path == "/b":
                (tmp_path / "b").write_bytes(b"theirs")

    monkeypatch.setattr(LocalDisk, "stat", look_too_early)
    assert talk.codes(b"RNFR a\r\nRNTO b\r\nRNFR a\r\nRNTO link\r\n") == [350, 550, 350, 550]
    assert (tmp_path / "b").read_bytes() == b"theirs"
    assert (tmp_path / "link").is_symlink()
