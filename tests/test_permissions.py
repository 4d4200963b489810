"""Permissions, in every verb, by path, in the perm fact and in what is said."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support import as_ann, frames

from ftpsvc.commits import PartFile
from ftpsvc.model import EVERYTHING, NOTHING, Permission
from ftpsvc.rules import PathRule
from ftpsvc.verbs import VERBS

LIST, READ, WRITE, OVERWRITE = Permission.LIST, Permission.READ, Permission.WRITE, Permission.OVERWRITE
APPEND, DELETE, RENAME = Permission.APPEND, Permission.DELETE, Permission.RENAME
MAKE_DIRECTORY, SET_FACTS = Permission.MAKE_DIRECTORY, Permission.SET_FACTS


#: What a verb needs of the path that it is given, any one of it; the words in which it is refused; and its line.
NEEDS = {
    "CWD": (EVERYTHING, "do anything", "CWD %s"),
    "XCWD": (EVERYTHING, "do anything", "XCWD %s"),
    "LIST": (LIST, "list folders", "LIST %s"),
    "NLST": (LIST, "list folders", "NLST %s"),
    "MLSD": (LIST, "list folders", "MLSD %s"),
    "MLST": (LIST | READ, "list folders or retrieve files", "MLST %s"),
    "STAT": (LIST, "list folders", "STAT %s"),
    "SIZE": (LIST | READ, "list folders or retrieve files", "SIZE %s"),
    "MDTM": (LIST | READ, "list folders or retrieve files", "MDTM %s"),
    "AVBL": (EVERYTHING, "do anything", "AVBL %s"),
    "HASH": (READ, "retrieve files", "HASH %s"),
    "XCRC": (READ, "retrieve files", "XCRC %s"),
    "XMD5": (READ, "retrieve files", "XMD5 %s"),
    "XSHA": (READ, "retrieve files", "XSHA %s"),
    "XSHA1": (READ, "retrieve files", "XSHA1 %s"),
    "XSHA256": (READ, "retrieve files", "XSHA256 %s"),
    "XSHA512": (READ, "retrieve files", "XSHA512 %s"),
    "RETR": (READ, "retrieve files", "RETR %s"),
    "STOR": (WRITE | OVERWRITE, "store files or replace files", "STOR %s"),
    "APPE": (APPEND, "append to files", "APPE %s"),
    "STOU": (WRITE, "store files", "STOU %s"),
    "MKD": (MAKE_DIRECTORY, "make folders", "MKD %s"),
    "XMKD": (MAKE_DIRECTORY, "make folders", "XMKD %s"),
    "RMD": (DELETE, "delete", "RMD %s"),
    "XRMD": (DELETE, "delete", "XRMD %s"),
    "DELE": (DELETE, "delete", "DELE %s"),
    "RNFR": (RENAME, "rename", "RNFR %s"),
    "RNTO": (RENAME, "rename", "RNFR /free\r\nRNTO %s"),
    "MFMT": (SET_FACTS, "set times and modes", "MFMT 20261122055957 %s"),
    "MFF": (SET_FACTS, "set times and modes", "MFF UNIX.mode=0600; %s"),
    "SITE": (SET_FACTS, "set times and modes", "SITE CHMOD 600 %s"),
    "SITE UTIME": (SET_FACTS, "set times and modes", "SITE UTIME 20261122055957 %s"),
    "MDTM to set": (SET_FACTS, "set times and modes", "MDTM 20261122055957 %s"),
}

#: What is not about a path.
PATHLESS = set(
    "USER PASS ACCT REIN QUIT HOST NOOP FEAT HELP SYST AUTH ADAT PBSZ PROT CCC PASV EPSV PORT EPRT RANG OPTS LANG CLNT"
    " STRU ALLO TYPE MODE REST ABOR PWD XPWD CDUP XCUP".split()
)


def test_every_verb_is_in_the_table_or_has_nothing_to_do_with_paths() -> None:
    assert set(VERBS) == {name.split()[0] for name in NEEDS} | PATHLESS


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("path", ["/in/here", "/in/nowhere", "/in", "/in/folder/../here"])
def test_what_a_rule_forbids_is_refused_whether_it_is_there_or_not(name: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "folder").mkdir(parents=True)
    (tmp_path / "free").touch()
    (tmp_path / "in" / "here").write_bytes(b"secret")
    needed, words, line = NEEDS[name]
    if name == "STOU":
        path = f"{path}/new"  # what it makes is a name that begins so
    talk = as_ann(tmp_path, EVERYTHING, PathRule("/in", EVERYTHING & ~needed))
    sequence = frames(b"x") if name in ("STOR", "APPE", "STOU") else b""
    answer = talk.ask((line % path).encode() + b"\r\n", sequence)[-1]
    assert isinstance(answer, str)
    assert re.fullmatch(rf"550 /in\S*: this account may not {words} there\.", answer), answer
    assert sorted(os.listdir(tmp_path / "in")) == ["folder", "here"]
    assert (tmp_path / "in" / "here").read_bytes() == b"secret"


@pytest.mark.parametrize("name", NEEDS)
def test_what_a_rule_allows_needs_nothing_else(name: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "folder").mkdir(parents=True)
    (tmp_path / "in" / "here").touch()
    (tmp_path / "free").touch()
    needed, _, line = NEEDS[name]
    needed |= RENAME if name == "RNTO" else NOTHING
    on_folder = name in ("CWD", "XCWD", "RMD", "XRMD", "MLSD", "AVBL")
    path = "/in/folder" if on_folder else "/in/new" if name in ("MKD", "XMKD", "RNTO") else "/in/here"
    rules = (PathRule("/in", needed), PathRule("/free", RENAME if name == "RNTO" else NOTHING))
    talk = as_ann(tmp_path, NOTHING, *rules)
    talk.send(b"TYPE I\r\n")
    talk.take()
    sequence = frames(b"x") if name in ("STOR", "APPE", "STOU") else b""
    assert max(code for code in talk.codes((line % path).encode() + b"\r\n", sequence) if isinstance(code, int)) < 400


@pytest.mark.parametrize(
    "line",
    ["LIST -la /in", "NLST -1 /in/here", "STAT -a -l /in", "LIST -l /in/h*", 'XCRC "/in/here"', "XCRC /in/here 0 1"],
)
def test_who_may_nothing_where_they_are_may_still_say_more_than_a_path(line: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "here").write_bytes(b"x")
    talk = as_ann(tmp_path, NOTHING, PathRule("/in", LIST | READ))
    assert max(code for code in talk.codes(line.encode() + b"\r\n") if isinstance(code, int)) < 400
    forbidden = line.replace("/in", "/other").encode()
    assert str(talk.ask(forbidden + b"\r\n")[0]).startswith("550 /other")


def test_a_folder_with_something_forbidden_in_it_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "top" / "secret").mkdir(parents=True)
    talk = as_ann(tmp_path, EVERYTHING, PathRule("/top/secret", NOTHING))
    assert talk.codes(b"RNFR top\r\nRNTO other\r\n") == [350, 550]
    assert (tmp_path / "top" / "secret").is_dir()


def test_what_was_dropped_is_not_read_by_giving_it_another_name(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "x").touch()
    talk = as_ann(tmp_path, EVERYTHING, PathRule("/drop", WRITE | RENAME))
    (_, answer) = talk.ask(b"RNFR drop/x\r\nRNTO x\r\n")
    assert answer == "550 /drop/x: as /x this account might do with it what it may not do now."


def test_what_an_account_may_do_nothing_with_shows_in_no_listing(tmp_path: Path) -> None:
    for name in ("a", "hidden"):
        (tmp_path / name).touch()
    talk = as_ann(tmp_path, EVERYTHING, PathRule("/hidden", NOTHING))
    for line in (b"LIST", b"NLST", b"MLSD", b"LIST *", b"STAT /"):
        talk.send(line + b"\r\n")
        shown = bytes(talk.peer.received)
        talk.peer.received.clear()
        assert b"a\r\n" in shown and b"hidden" not in shown


def test_the_perm_fact_is_that_of_each_path(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "x").touch()
    talk = as_ann(tmp_path, LIST | READ, PathRule("/in", WRITE | LIST))
    _, listing, _ = talk.ask(b"MLSD\r\n")
    perms = dict(re.findall(r"perm=(\w*);.* (\S+)\r\n", listing.data.decode()))
    assert perms == {"cel": "in", "r": "x"}
    (one,) = talk.ask(b"MLST in\r\n")
    assert "perm=cel;" in one


def test_appending_to_nothing_is_storing(tmp_path: Path) -> None:
    talk = as_ann(tmp_path, APPEND)
    assert talk.codes(b"APPE new\r\n", frames(b"x")) == [550]
    (tmp_path / "old").write_bytes(b"a")
    assert talk.codes(b"APPE old\r\n", frames(b"x")) == [150, 226]
    assert (tmp_path / "old").read_bytes() == b"ax"


@pytest.mark.parametrize("size", [3, 200_000])
def test_who_may_not_replace_does_not_by_being_slow(size: int, tmp_path: Path) -> None:
    talk = as_ann(tmp_path, WRITE)
    data = b"x" * size
    sequence = frames(data, size=1 << 20)
    talk.send(b"STOR report\r\n", sequence[:-40])
    (tmp_path / "report").write_bytes(b"a colleague's")
    talk.send(sequence[-40:])
    _ready, refused = talk.take()
    assert isinstance(refused, str) and refused.startswith("550 report: it is there already")
    assert (tmp_path / "report").read_bytes() == b"a colleague's"
    assert os.listdir(tmp_path) == ["report"]


def test_where_there_are_no_hard_links_nothing_is_replaced_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr("ftpsvc.parts._renameat2", None)
    (tmp_path / "part").write_bytes(b"new")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        PartFile(directory, b"name", 0, b"part", 3, replace=False).put_in_place(sync=False)
        assert (tmp_path / "name").read_bytes() == b"new"
        (tmp_path / "part").write_bytes(b"newer")
        with pytest.raises(FileExistsError):
            PartFile(directory, b"name", 0, b"part", 5, replace=False).put_in_place(sync=False)
        assert (tmp_path / "name").read_bytes() == b"new"
    finally:
        os.close(directory)


def test_no_permission_at_all_is_told_before_anything_else(tmp_path: Path) -> None:
    talk = as_ann(tmp_path, READ)
    assert talk.ask(b"DELE ../../etc/passwd\r\n") == ["550 This account may not delete."]
