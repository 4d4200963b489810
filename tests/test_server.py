"""The server, command by command."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import support
from support import Conversation, Sequence, as_ann

from ftpsvc import __version__
from ftpsvc.model import EVERYTHING, Account, Permission
from ftpsvc.verbs import VERBS


@pytest.fixture
def stranger(tmp_path: Path) -> Conversation:
    """Connected, and not logged in."""
    return Conversation(support.local_disk(tmp_path))


# -- coming and going


def test_the_greeting_comes_at_once_and_tells_no_version(stranger: Conversation) -> None:
    (greeting,) = stranger.take()
    assert isinstance(greeting, str)
    assert greeting.startswith("220 ")
    assert __version__ not in greeting


def test_user_then_password_is_a_login(stranger: Conversation) -> None:
    assert stranger.codes(b"USER anonymous\r\nPASS x\r\nPWD\r\n") == [220, 331, 230, 257]


@pytest.mark.parametrize("password", [b"PASS", b"PASS ", b"PASS a b %s", b"PASS -wget@", b"PASS \xff\xff", b"pass x"])
def test_any_password_will_do_for_nobody_in_particular(stranger: Conversation, password: bytes) -> None:
    assert stranger.codes(b"USER ftp\r\n" + password + b"\r\n") == [220, 331, 230]


def test_a_wrong_name_is_asked_for_its_password_and_then_refused(tmp_path: Path) -> None:
    disk = support.local_disk(tmp_path)
    talk = Conversation(disk, accounts=support.OneAccount(Account("ann"), disk))
    talk.take()
    known = talk.ask(b"USER ann\r\nPASS wrong\r\n")
    unknown = talk.ask(b"USER bob\r\nPASS wrong\r\n")
    assert known == unknown
    assert [str(answer)[:3] for answer in known] == ["331", "530"]


def test_a_password_without_a_name_is_out_of_order(stranger: Conversation) -> None:
    assert stranger.codes(b"PASS x\r\n") == [220, 503]


def test_a_password_after_the_login_is_out_of_order(talk: Conversation) -> None:
    assert talk.codes(b"PASS x\r\n") == [503]


def test_a_password_counts_for_one_name(stranger: Conversation) -> None:
    assert stranger.codes(b"USER nobody\r\nPASS x\r\nPASS x\r\nUSER ftp\r\nPASS x\r\n") == [
        220,
        331,
        530,
        503,
        331,
        230,
    ]


def test_a_new_name_ends_the_old_login_at_once(talk: Conversation) -> None:
    assert talk.codes(b"USER nobody\r\nPWD\r\nPASS x\r\nPWD\r\n") == [331, 530, 530, 530]


def test_nothing_of_an_old_login_is_left_in_the_new_one(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"12345")
    talk.send(b"CWD folder\r\nREST 3\r\nUSER ftp\r\nPASS x\r\n")
    talk.take()
    assert '"/"' in str(talk.ask(b"PWD\r\n")[0])
    assert talk.ask(b"RETR file\r\n")[1] == Sequence(b"12345", talk_end(b"12345", tmp_path / "file"))


def talk_end(data: bytes, path: Path) -> str:
    from ftpsvc.frames import digest_of, format_time

    status = path.stat()
    return f"DONE {digest_of(data)} modify={format_time(status.st_mtime_ns)};unix.mode={status.st_mode & 0o777:04o};"


@pytest.mark.parametrize("name", sorted(name for name, verb in VERBS.items() if not verb.before_login))
def test_before_the_login_a_command_is_refused_whatever_its_argument(stranger: Conversation, name: str) -> None:
    stranger.take()
    assert stranger.codes(name.encode() + b" x\r\n" + name.encode() + b"\r\n") == [530, 530]


def test_before_the_login_the_servers_ways_may_be_asked_for(stranger: Conversation) -> None:
    sent = b"FEAT\r\nHELP\r\nSYST\r\nNOOP\r\nSTAT\r\nTYPE I\r\nMODE I\r\nQUIT\r\n"
    assert stranger.codes(sent) == [220, 211, 214, 215, 200, 211, 200, 200, 221]


def test_status_of_a_path_needs_a_login(stranger: Conversation) -> None:
    assert stranger.codes(b"STAT /\r\n") == [220, 530]


def test_quit_says_goodbye_and_closes(talk: Conversation) -> None:
    assert talk.codes(b"QUIT\r\nNOOP\r\n") == [221]
    assert talk.is_closed


# -- what the server tells of itself


def test_features_are_listed_one_in_a_line(talk: Conversation) -> None:
    (features,) = talk.ask(b"FEAT\r\n")
    first, *lines, last = str(features).split("\n")
    assert (first[:4], last[:4]) == ("211-", "211 ")
    assert all(line.startswith(" ") and not line.startswith("  ") for line in lines)
    assert {"UTF8", "MODE I", "REST STREAM", "SIZE", "MDTM", "TVFS"} <= {line[1:] for line in lines}
    assert [line for line in lines if line.startswith(" MLST ")] == [
        " MLST type*;size*;modify*;perm*;unique*;UNIX.mode*;X.link*;"
    ]


def test_help_lists_every_command_and_tells_how_each_is_used(talk: Conversation) -> None:
    (overview,) = talk.ask(b"HELP\r\n")
    assert set(VERBS) <= set(str(overview).split())
    for name, verb in VERBS.items():
        (answer,) = talk.ask(b"HELP " + name.lower().encode() + b"\r\n")
        assert answer == f"214 Syntax: {verb.usage}"
    assert talk.codes(b"HELP XYZZY\r\n") == [502]


def test_the_system_is_named_as_clients_look_for_it(talk: Conversation) -> None:
    assert talk.ask(b"SYST\r\n") == ["215 UNIX Type: L8"]


def test_status_tells_who_where_and_how(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (status,) = talk.ask(b"CWD folder\r\nTYPE I\r\nSTAT\r\n")[2:]
    assert "anonymous" in str(status)
    assert "/folder" in str(status)
    assert "mode I" in str(status)


def test_status_of_a_folder_is_its_listing(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (status,) = talk.ask(b"STAT folder\r\n")
    assert [line.split()[-1] for line in str(status).split("\n")[1:-1]] == ["file"]
    assert talk.codes(b"STAT missing\r\n") == [550]


# -- parameters


@pytest.mark.parametrize("argument", [b"A", b"I", b"a n", b"A N", b"L 8", b"L8", b"i"])
def test_types_that_are_known(talk: Conversation, argument: bytes) -> None:
    assert talk.codes(b"TYPE " + argument + b"\r\n") == [200]


@pytest.mark.parametrize("argument", [b"E", b"A T", b"L 7", b"IX", b" I"])
def test_types_that_are_not(talk: Conversation, argument: bytes) -> None:
    assert talk.codes(b"TYPE " + argument + b"\r\nTYPE\r\n") == [504, 501]


def test_modes_are_i_and_s_and_a_refused_one_changes_nothing(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert talk.codes(b"MODE B\r\nMODE\r\nMODE II\r\nRETR file\r\n") == [504, 501, 504, 150, "DONE", 226]
    assert talk.codes(b"mode s\r\nRETR file\r\nmode i\r\nRETR file\r\n") == [200, 425, 200, 150, "DONE", 226]


@pytest.mark.parametrize(
    "offset", [b"", b"-1", b"+3", b"0x10", b"1e3", b"1_0", b" 1", b"1 ", b"9" * 30, b"9223372036854775808"]
)
def test_a_restart_marker_that_is_no_number_of_bytes(talk: Conversation, offset: bytes) -> None:
    assert talk.codes(b"REST " + offset + b"\r\n") == [501]


@pytest.mark.parametrize("offset", [b"0", b"5", b"007", b"9223372036854775807"])
def test_a_restart_marker_is_taken(talk: Conversation, offset: bytes) -> None:
    assert talk.codes(b"REST " + offset + b"\r\n") == [350]


# -- folders


def test_folders_are_entered_and_left_within_the_root(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a" / 'q"q').mkdir(parents=True)
    assert talk.codes(b'CWD a\r\nCWD q"q\r\n') == [250, 250]
    assert str(talk.ask(b"PWD\r\n")[0]).startswith('257 "/a/q""q" ')
    assert talk.codes(b"CDUP\r\nCWD ..\r\nCWD ../../..\r\nCDUP\r\n") == [250] * 4
    assert str(talk.ask(b"PWD\r\n")[0]).startswith('257 "/" ')


def test_a_folder_that_is_none_is_not_entered(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "out").symlink_to("/etc")
    assert talk.codes(b"CWD missing\r\nCWD file\r\nCWD out\r\nCWD\r\nCWD ../etc\r\n") == [550, 550, 550, 501, 550]


# -- listings


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in").write_bytes(b"123")
    (tmp_path / "file").write_bytes(b"12345")
    os.utime(tmp_path / "file", (1795327140, 1795327140))
    return tmp_path


def listing(talk: Conversation, command: bytes) -> list[bytes]:
    begun, sequence, ended = talk.ask(command + b"\r\n")
    assert isinstance(sequence, Sequence)
    assert (str(begun)[:3], sequence.end[:4], str(ended)[:3]) == ("150", "DONE", "226")
    assert not sequence.data or sequence.data.endswith(b"\r\n")
    return sorted(sequence.data.split(b"\r\n")[:-1])


def test_names_can_be_given_to_retr_as_they_are(talk: Conversation, tree: Path) -> None:
    assert listing(talk, b"NLST") == [b"file", b"folder"]
    assert listing(talk, b"NLST folder") == [b"folder/in"]
    assert listing(talk, b"NLST -1 folder/") == [b"folder/in"]


def test_a_long_listing_has_the_form_of_ls(talk: Conversation, tree: Path) -> None:
    for command in (b"LIST", b"LIST -la", b"LIST -a -l /", b"LIST -al ."):
        file, folder = listing(talk, command)
        assert file.split()[:5] == [b"-rw-r--r--", b"1", b"ftp", b"ftp", b"5"]
        assert folder.startswith(b"drwx")
    assert len(listing(talk, b"LIST file")) == 1


def test_a_machine_listing_has_facts(talk: Conversation, tree: Path) -> None:
    file, folder = sorted(listing(talk, b"MLSD"), reverse=True)[::-1]
    facts = {line.partition(b" ")[2]: line.partition(b" ")[0] for line in (file, folder)}
    assert facts[b"file"].startswith(b"type=file;size=5;modify=20261122055900;perm=adfrw;unique=")
    assert facts[b"file"].endswith(b";UNIX.mode=0644;")
    assert facts[b"folder"].startswith(b"type=dir;")
    assert talk.codes(b"MLSD file\r\nMLSD missing\r\n") == [501, 550]


def test_a_single_entry_is_told_on_the_control_connection(talk: Conversation, tree: Path) -> None:
    (answer,) = talk.ask(b"MLST folder/in\r\n")
    first, entry, last = str(answer).split("\n")
    assert (first[:4], last[:4]) == ("250-", "250 ")
    assert entry.startswith(" type=file;size=3;")
    assert entry.endswith("; /folder/in")
    assert talk.codes(b"MLST\r\nMLST missing\r\n") == [250, 550]


@pytest.mark.parametrize("command", [b"LIST", b"NLST", b"MLSD"])
def test_a_folder_that_is_empty_or_missing(talk: Conversation, tmp_path: Path, command: bytes) -> None:
    assert listing(talk, command) == []
    assert talk.codes(command + b" missing\r\n") == [550]


@pytest.mark.parametrize("command", [b"LIST", b"NLST", b"MLSD"])
def test_names_of_any_bytes_are_listed_but_for_those_that_forge_lines(
    talk: Conversation, tmp_path: Path, command: bytes
) -> None:
    for name in (b"\xe4\xff", b"a\r\n226 forged", b"b\nc", "ü".encode(), b".ftpsvc-part"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).touch()
    names = [line if command == b"NLST" else line.rpartition(b" ")[2] for line in listing(talk, command)]
    (tmp_path / ".ftpsvc-part").unlink()
    assert sorted(names) == sorted([b"\xe4\xff", "ü".encode()])


def test_a_time_that_no_year_of_four_digits_holds_spoils_no_listing(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (2**61, 2**61))
    assert len(listing(talk, b"MLSD")) == len(listing(talk, b"LIST")) == 1


def test_sizes_and_times_of_files(talk: Conversation, tree: Path) -> None:
    assert talk.ask(b"SIZE file\r\nMDTM file\r\n") == ["213 5", "213 20261122055900"]
    assert talk.codes(b"SIZE folder\r\nSIZE missing\r\nMDTM missing\r\nSIZE\r\n") == [550, 550, 550, 501]


def test_in_stream_mode_size_needs_type_i(talk: Conversation, tree: Path) -> None:
    assert talk.codes(b"MODE S\r\nTYPE A\r\nSIZE file\r\nTYPE I\r\nSIZE file\r\n") == [200, 200, 550, 200, 213]


# -- permissions


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        (Permission.LIST, b"LIST"),
        (Permission.LIST, b"MLSD"),
        (Permission.LIST, b"STAT /"),
        (Permission.READ, b"RETR file"),
        (Permission.OVERWRITE, b"STOR file\r\nFAIL"),
        (Permission.WRITE, b"STOR new\r\nFAIL"),
        (Permission.WRITE, b"STOU\r\nFAIL"),
        (Permission.APPEND, b"APPE file\r\nFAIL"),
    ],
)
def test_what_an_account_may_not_do_is_refused(tree: Path, missing: Permission, command: bytes) -> None:
    talk = as_ann(tree, EVERYTHING & ~missing)
    assert talk.codes(command + b"\r\nNOOP\r\n") == [550, 200]


def test_an_account_that_may_only_write_new_files_may_do_that(tree: Path) -> None:
    talk = as_ann(tree, Permission.WRITE)
    assert talk.codes(b"STOR new\r\n" + support.frames(b"x", facts="modify=20000101000000;")) == [150, 226]
    # Its facts are left alone: it may not set them.
    assert abs((tree / "new").stat().st_mtime - time.time()) < 3600
