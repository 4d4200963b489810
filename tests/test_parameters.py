"""What a client says of itself and how it wants to be served: OPTS LANG CLNT STRU ALLO HOST ACCT REIN AVBL FEAT."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import support
from support import Conversation, Sequence, frames

from ftpsvc import model
from ftpsvc.verbs import VERBS


@pytest.fixture
def stranger(tmp_path: Path) -> Conversation:
    """Connected, and not logged in."""
    conversation = Conversation(support.local_disk(tmp_path))
    conversation.take()
    return conversation


def text(talk: Conversation, line: bytes) -> str:
    (answer,) = talk.ask(line + b"\r\n")
    return str(answer)


# -- OPTS


@pytest.mark.parametrize("line", [b"OPTS UTF8 ON", b"opts utf8 on", b"OPTS UTF-8", b"OPTS UTF8", b"OPTS UTF8 NLST"])
def test_names_are_utf_8_whoever_asks_before_the_login_too(stranger: Conversation, line: bytes) -> None:
    assert stranger.codes(line + b"\r\n") == [200]


@pytest.mark.parametrize("line", [b"OPTS UTF8 OFF", b"OPTS XYZZY", b"OPTS XYZZY 1", b"OPTS ", b"OPTS  MLST size;"])
def test_an_option_that_there_is_not_is_501(talk: Conversation, line: bytes) -> None:
    assert talk.codes(line + b"\r\n") == [501]


def listing_of(talk: Conversation) -> bytes:
    return next(answer.data for answer in talk.ask(b"MLSD\r\n") if isinstance(answer, Sequence))


def test_the_facts_that_were_chosen_are_those_that_are_told(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"12345")
    (tmp_path / "a b").chmod(0o640)
    # What ncftp sends: unknown facts are left out, and the order is the server's.
    asked = b"OPTS MLST unix.MODE;type;UNIX.uid;size;x.y;"
    assert text(talk, asked) == "200 MLST OPTS type;size;UNIX.mode;"
    assert listing_of(talk) == b"type=file;size=5;UNIX.mode=0640; a b\r\n"
    assert text(talk, b"MLST a b").split("\n")[1] == " type=file;size=5;UNIX.mode=0640; /a b"
    assert "\n MLST type*;size*;modify;perm;unique;UNIX.mode*;X.link;\n" in text(talk, b"FEAT")


def test_a_folder_has_no_size_among_the_chosen_facts(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    talk.ask(b"OPTS MLST size;type;\r\n")
    assert listing_of(talk) == b"type=dir; d\r\n"


@pytest.mark.parametrize("line", [b"OPTS MLST", b"OPTS MLST ", b"OPTS MLST ;", b"OPTS MLST nothing;"])
def test_no_facts_is_a_choice_and_a_name_still_follows_a_space(talk: Conversation, tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a").touch()
    assert text(talk, line) == "200 MLST OPTS"
    assert listing_of(talk) == b" a\r\n"
    assert text(talk, b"MLST a").split("\n")[1] == "  /a"


def test_facts_with_a_space_are_refused_and_nothing_changes(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    talk.ask(b"OPTS MLST type;\r\n")
    assert talk.codes(b"OPTS MLST size; modify;\r\n") == [501]
    assert listing_of(talk) == b"type=dir; d\r\n"


# -- small talk


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"LANG", 200),
        (b"LANG en", 200),
        (b"LANG EN-us", 200),
        (b"LANG de", 504),
        (b"LANG english-language", 504),
        (b"LANG e_n", 501),
        (b"LANG 227", 501),
        (b"CLNT NcFTP 3.2.6 linux", 200),
        (b"CLNT", 200),
        (b"STRU F", 200),
        (b"stru f", 200),
        (b"STRU R", 504),
        (b"STRU P", 504),
        (b"STRU X", 501),
        (b"STRU", 501),
    ],
)
def test_what_a_client_says_of_itself_before_or_after_the_login(stranger: Conversation, line: bytes, code: int) -> None:
    assert stranger.codes(line + b"\r\n", b"USER ftp\r\nPASS x\r\n", line + b"\r\n") == [code, 331, 230, code]


def test_nobody_needs_an_account(stranger: Conversation) -> None:
    assert stranger.codes(b"ACCT x\r\nUSER ftp\r\nACCT x\r\nPASS x\r\nACCT x\r\n") == [503, 331, 202, 230, 202]


@pytest.mark.parametrize("name", [b"ftp.example.org", b"127.0.0.1", b"[::1]", b"localhost", b"a.b."])
def test_a_host_goes_before_the_login(stranger: Conversation, name: bytes) -> None:
    assert stranger.codes(b"HOST " + name + b"\r\nUSER ftp\r\nPASS x\r\nHOST " + name + b"\r\n") == [220, 331, 230, 503]


@pytest.mark.parametrize(
    "name", [b"a:21", b"::1", b"[::1]:21", b"[::1", b"[::1]]", b"[x]", b"a b", b"-a", b"a..b", b".", b"x" * 300, b""]
)
def test_what_is_no_host_is_501(stranger: Conversation, name: bytes) -> None:
    assert stranger.codes(b"HOST " + name + b"\r\n") == [501]


@pytest.mark.parametrize("name", [b"a" * 62 + b"!", b"a" * 300, b"a" * 250 + b"!", b"a." * 120 + b"!", b"a-" * 120])
def test_no_host_takes_its_time(stranger: Conversation, name: bytes) -> None:
    began = time.process_time()
    assert stranger.codes(b"HOST " + name + b"\r\n") == [501]
    assert time.process_time() - began < 1  # a name that can be read in many ways would need longer than there is


# -- REIN


def test_reinitialized_is_as_just_connected(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "file").write_bytes(b"12345")
    setting = b"CWD d\r\nTYPE I\r\nOPTS MLST size;\r\nOPTS HASH MD5\r\nALLO 3\r\nREST 2\r\n"
    talk.ask(setting, b"REIN\r\n")
    assert talk.codes(b"PWD\r\nPASS x\r\n") == [530, 503]
    status = text(talk, b"STAT")
    assert "Type A" in status and "mode S" in status
    feat = text(talk, b"FEAT")
    assert "SHA-256*" in feat and "type*;" in feat
    talk.ask(b"USER ftp\r\nPASS x\r\nMODE I\r\n")
    assert text(talk, b"PWD").startswith('257 "/" ')
    assert talk.codes(b"STOR new\r\n" + frames(b"12345")) == [150, 226]


def test_rein_comes_after_what_was_sent_before_it(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"STOR a\r\n", frames(b"data"), b"REIN\r\nPWD\r\n") == [150, 226, 220, 530]
    assert (tmp_path / "a").read_bytes() == b"data"


# -- ALLO and AVBL


def test_an_upload_has_the_size_that_was_declared(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"ALLO 5\r\nNOOP\r\nSTOR a\r\n", frames(b"12345")) == [200, 200, 150, 226]
    assert (tmp_path / "a").read_bytes() == b"12345"


@pytest.mark.parametrize("data", [b"1234", b"123456", b""])
@pytest.mark.parametrize("verb", [b"STOR a", b"APPE a", b"STOU"])
def test_an_upload_of_another_size_is_not_complete(
    talk: Conversation, tmp_path: Path, verb: bytes, data: bytes
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    assert talk.codes(b"ALLO 5\r\n" + verb + b"\r\n", frames(data)) == [200, 150, 426]
    assert (tmp_path / "a").read_bytes() == b"old"
    for part in support.parts_in(tmp_path):
        part.unlink()
    assert os.listdir(tmp_path) == ["a"]


def test_what_arrived_of_a_declared_upload_can_be_gone_on_from(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"ALLO 5\r\nSTOR a\r\n", frames(b"123")) == [200, 150, 426]
    assert talk.codes(b"REST 3\r\nSTOR a\r\n", frames(b"45")) == [350, 150, 226]
    assert (tmp_path / "a").read_bytes() == b"12345"


@pytest.mark.parametrize(("declared", "code"), [(2, 226), (5, 226), (3, 426)])
def test_behind_rest_what_is_sent_or_the_whole_may_be_declared(
    talk: Conversation, tmp_path: Path, declared: int, code: int
) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert talk.codes(b"ALLO %d\r\nREST 3\r\nSTOR a\r\n" % declared, frames(b"45"))[-1] == code
    assert (tmp_path / "a").read_bytes() == (b"12345" if code == 226 else b"123")
    for part in support.parts_in(tmp_path):
        part.unlink()


@pytest.mark.parametrize(("declared", "code"), [(3, 226), (5, 426)])
def test_behind_rest_no_byte_is_whole_only_if_all_that_was_declared_is_here(
    talk: Conversation, tmp_path: Path, declared: int, code: int
) -> None:
    (tmp_path / "a").write_bytes(b"123")
    assert talk.codes(b"ALLO %d\r\nREST 3\r\nSTOR a\r\n" % declared, frames(b""))[-1] == code
    assert (tmp_path / "a").read_bytes() == b"123"
    for part in support.parts_in(tmp_path):
        part.unlink()


def test_a_declared_size_holds_for_one_upload(talk: Conversation) -> None:
    assert talk.codes(b"ALLO 5\r\nSTOR no/where\r\n", frames(b"1")) == [200, 550]
    assert talk.codes(b"STOR a\r\n", frames(b"123")) == [150, 226]


def test_allo_0_declares_nothing(talk: Conversation) -> None:
    assert talk.codes(b"ALLO 5\r\nALLO 0\r\nSTOR a\r\n", frames(b"123")) == [200, 200, 150, 226]


@pytest.mark.parametrize("argument", [b"", b"x", b"-1", b"+1", b"1.5", b"1_0", b"5 X 3", b"5 R", b"9" * 19, b"9" * 40])
def test_a_declaration_that_is_no_number_is_501(talk: Conversation, argument: bytes) -> None:
    assert talk.codes(b"ALLO " + argument + b"\r\n") == [501]


def test_more_than_there_is_is_refused_and_nothing_is_taken(talk: Conversation, tmp_path: Path) -> None:
    assert talk.codes(b"ALLO 9000000000000000000\r\nALLO 3 R 1\r\n") == [452, 200]
    assert os.listdir(tmp_path) == []


def test_the_space_that_is_left_is_told(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for line in (b"AVBL", b"AVBL /d"):
        code, _, space = text(talk, line).partition(" ")
        assert code == "213" and int(space) > 0
    assert talk.codes(b"AVBL missing\r\n") == [550]


class FullDisk:
    """A storage that can't tell its space."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def space(self, path: str) -> int:
        raise model.NotImplementedHere("nobody knows")


def test_where_space_can_not_be_told_a_declaration_is_taken_all_the_same(tmp_path: Path) -> None:
    talk = Conversation(FullDisk(support.local_disk(tmp_path))).log_in()
    assert talk.codes(b"ALLO 5\r\nAVBL\r\n") == [200, 502]


# -- FEAT and HELP


def test_everything_beyond_rfc_959_is_a_feature(talk: Conversation) -> None:
    lines = text(talk, b"FEAT").split("\n")[1:-1]
    names = {line.split()[0] for line in lines}
    assert names >= set("AVBL CLNT HASH HOST LANG MDTM MFF MFMT MLST MODE RANG REST SIZE TVFS UTF8 XCRC XMD5".split())
    assert "MLSD" not in names  # RFC 3659, section 7.8
    assert all(line.startswith(" ") and not line.startswith("  ") for line in lines)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_help_knows_every_command(talk: Conversation, name: str) -> None:
    assert text(talk, b"HELP " + name.lower().encode()).startswith(f"214 Syntax: {name}")


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_command_is_documented(name: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "commands.md").read_text()
    assert f"`{name}`" in page or f"`{name} " in page


@pytest.mark.parametrize(("verb", "same"), [(b"XPWD", b"PWD"), (b"XCUP", b"CDUP"), (b"XCWD /d", b"CWD /d")])
def test_the_old_names_do_what_the_new_ones_do(talk: Conversation, tmp_path: Path, verb: bytes, same: bytes) -> None:
    (tmp_path / "d").mkdir()
    assert talk.ask(b"CWD /d\r\n" + verb + b"\r\nPWD\r\n") == talk.ask(b"CWD /d\r\n" + same + b"\r\nPWD\r\n")
