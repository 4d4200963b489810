"""Paths that try to leave the folder, through every command that takes one, with both ways of walking."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import support
from support import Conversation, Sequence, as_ann, frames

from ftpsvc.jail import Jail
from ftpsvc.model import EVERYTHING, Account, TransferError
from ftpsvc.session import Visitor

#: Every command that takes a path, with what stands before it.
COMMANDS = [
    *(b"RETR ", b"SIZE ", b"MDTM ", b"MLST ", b"MLSD ", b"LIST ", b"NLST ", b"STAT ", b"CWD ", b"XCWD "),
    *(b"MKD ", b"RMD ", b"DELE ", b"RNFR ", b"HASH ", b"XMD5 ", b"XCRC ", b"AVBL ", b"RANG 0 9\r\nHASH "),
    *(b"MFMT 20010101000000 ", b"MFF UNIX.mode=0600; ", b"MDTM 20010101000000 ", b"RNFR inside\r\nRNTO "),
    *(b"SITE CHMOD 600 ", b"SITE UTIME 20010101000000 ", b"STOR ", b"APPE ", b"STOU "),
]
UPLOADS = (b"STOR ", b"APPE ", b"STOU ")


class World:
    """A served folder, and beside it what nobody may reach."""

    def __init__(self, tmp_path: Path, kernel_walk: bool) -> None:
        self.outside = tmp_path / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(b"secret")
        (self.outside / "empty").mkdir()
        for path in (self.outside / "secret", self.outside / "empty", self.outside):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        self.root = tmp_path / "root"
        self.root.mkdir()
        (self.root / "inside").write_bytes(b"inside")
        disk = support.local_disk(self.root)
        disk._jail.close()
        disk._jail = Jail(str(self.root), kernel_walk)
        self.talk = Conversation(disk).log_in()
        self.before = self.look()

    def look(self) -> list[object]:
        found: list[object] = []
        for at, folders, files in os.walk(self.outside):
            for name in (".", *folders, *files):
                path = Path(at, name)
                status = path.lstat()
                found.append((str(path), status.st_mode, status.st_mtime_ns, status.st_size))
        return sorted(found, key=str)

    def ask(self, command: bytes, path: bytes) -> list[str | Sequence]:
        # What was made inside by mistake of ours would be found outside: it is compared behind every command.
        sequence = frames(b"new") if command in UPLOADS else b""
        answers = self.talk.ask(command + path + b"\r\n", sequence)
        assert self.look() == self.before, f"{command!r} of {path!r} has reached outside"
        assert not self.talk.is_closed
        assert not any("secret" in a.data.decode() for a in answers if isinstance(a, Sequence))
        return answers


@pytest.fixture(params=[True, False], ids=["kernel walk", "own walk"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, request.param)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_path_leads_outside(world: World, command: bytes) -> None:
    absolute = os.fsencode(world.outside)
    for folder in (b"../outside", b"/../outside", b"no/../../outside", b"../" * 24 + absolute, absolute):
        for name in (b"secret", b"empty", b"new"):
            answer = world.ask(command, folder + b"/" + name)[-1]
            # Inside the root there is no such folder; AVBL and the like say so.
            assert str(answer)[0] == "5", (command, folder, name, answer)


@pytest.mark.parametrize("name", [b"a\0.jpg", b"../\0", b"a\rb", b"x" * 256, b".ftpsvc-x", b"d/" * 3500 + b"x"])
def test_a_name_that_can_not_be_is_refused(world: World, name: bytes) -> None:
    for command in COMMANDS:
        assert str(world.ask(command, name)[-1])[:3] in ("550", "553"), command
    assert sorted(os.listdir(world.root)) == ["inside"]


#: What a shell, a pattern or a format would make something of.
TRICKS = [b"*", b"{a,b}", b"$(id)", b"`id`", b"%n%s%x", b"a;id", b"&", b"\\x", b"'", b'"', b".forward", b".ftpaccess"]


@pytest.mark.parametrize(
    "name", [b"..%2f", b"%2e%2e", b"..\\", b"....", b"\xc0\xae", b"..;", b"|id", b"~root", b"-l", *TRICKS]
)
def test_what_only_looks_like_a_trick_is_a_name(world: World, name: bytes) -> None:
    assert str(world.ask(b"STOR ", name)[-1]).startswith("226")
    assert sorted(os.listdir(os.fsencode(world.root))) == sorted([name, b"inside"])
    assert str(world.ask(b"DELE ", name)[-1]).startswith("250")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_link_leads_outside(world: World, command: bytes) -> None:
    links = {"absolute": world.outside / "secret", "relative": Path("../outside/secret"), "nowhere": Path("none")}
    for name, target in (*links.items(), ("folder", world.outside), ("up", Path("../outside"))):
        (world.root / name).symlink_to(target)
    for path in (b"absolute", b"relative", b"nowhere", b"folder/secret", b"folder/new", b"up/empty", b"up/new"):
        answer = str(world.ask(command, path)[-1])
        is_link_itself = b"/" not in path and command in (b"DELE ", b"RNFR inside\r\nRNTO ")
        assert answer.startswith("25") if is_link_itself else answer[0] == "5" or command == b"STOU ", (path, answer)
        (world.root / "inside").write_bytes(b"inside")


def test_a_link_to_a_folder_outside_is_neither_entered_nor_listed_nor_removed(world: World) -> None:
    (world.root / "folder").symlink_to(world.outside)
    for command in (b"CWD ", b"LIST ", b"NLST ", b"MLSD ", b"STAT ", b"RMD "):
        answer = str(world.ask(command, b"folder")[-1])
        assert answer[:3] in ("550", "501"), (command, answer)
    assert str(world.ask(b"DELE ", b"folder")[-1]).startswith("250")


@pytest.mark.parametrize("command", [b"RETR ", b"STOR ", b"APPE ", b"HASH ", b"XMD5 ", b"SIZE "])
def test_what_is_no_plain_file_is_refused_at_once(world: World, command: bytes) -> None:
    os.mkfifo(world.root / "fifo")
    os.chdir(world.root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in (b"fifo", b"socket"):
            assert str(world.ask(command, name)[-1])[:3] == "550"
    os.chdir("/")


def test_a_tree_of_many_levels_costs_no_recursion(world: World) -> None:
    deep = world.root
    for _ in range(500):
        deep = deep / "d"
        deep.mkdir()
    for command in (b"CWD ", b"LIST ", b"MLST ", b"RNFR "):
        assert str(world.ask(command, b"/d" * 500)[-1])[0] in "23"
    for command in COMMANDS:
        assert str(world.ask(command, b"/d" * 1900)[-1])[0] in "45"


def test_a_hidden_line_in_a_name_is_not_a_command(world: World) -> None:
    # CR NUL is CR; the LF behind it ends the line, and what follows is a line of its own that is no command.
    answers = world.talk.ask(b"MKD a\r\0\n230 x\r\n")
    assert [str(answer)[:3] for answer in answers] == ["553", "500"]
    assert os.listdir(world.root) == ["inside"]


def test_before_the_login_nothing_of_this_is_told_apart(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path))
    talk.take()
    for command in COMMANDS:
        answers = talk.codes(command + b"x\r\n")
        assert set(answers) == {530}, (command, answers)


class Recognised(support.OneAccount):
    """Whoever comes has the account's certificate."""

    async def recognise(self, user: str, visitor: Visitor) -> Any:
        return self.account, self.storage


class Prepared:
    """A data connection that has come, or is waited for."""

    is_closed = False

    def close(self, why: TransferError | None = None) -> None:
        self.is_closed = True


def test_a_login_by_certificate_takes_no_data_connection_from_the_one_before(tmp_path: Path) -> None:
    disk = support.local_disk(tmp_path)
    talk = Conversation(disk, accounts=Recognised(Account("ann"), disk))
    assert talk.codes(b"USER ann\r\n") == [220, 232]
    talk.server.data._way = prepared = Prepared()
    assert talk.codes(b"USER ann\r\nLIST\r\n") == [232, 425]
    assert prepared.is_closed


def test_two_logins_in_one_session_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "file").write_bytes(b"12345")
    talk = as_ann(tmp_path, EVERYTHING)
    talk.ask(b"CWD d\r\nALLO 3\r\nRNFR /file\r\nUSER ann\r\nPASS secret\r\n")
    assert talk.codes(b"RNTO /other\r\n") == [503]
    assert '"/"' in str(talk.ask(b"PWD\r\n")[0])
    assert talk.codes(b"STOR new\r\n", frames(b"12345")) == [150, 226]
