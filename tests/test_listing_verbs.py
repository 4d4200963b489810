"""LIST, NLST and STAT of what clients ask them for: options, patterns, single files, odd names."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
import support
from support import Conversation, Sequence


@pytest.fixture
def talk(tmp_path: Path) -> Conversation:
    for name in ("a.txt", "b.txt", "c.jpg", ".hidden"):
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "e.txt").touch()
    return Conversation(support.local_disk(tmp_path)).log_in()


def lines(talk: Conversation, line: bytes) -> list[bytes]:
    answers = talk.ask(line + b"\r\n")
    assert [str(a)[:3] for a in answers if isinstance(a, str)] == ["150", "226"], answers
    return sorted(next(a.data for a in answers if isinstance(a, Sequence)).splitlines())


def names(talk: Conversation, line: bytes) -> list[bytes]:
    return [found.rpartition(b" ")[2] for found in lines(talk, line)]


EVERYTHING = [b".hidden", b"a.txt", b"b.txt", b"c.jpg", b"d"]


@pytest.mark.parametrize(
    "options", [b"", b" -a", b" -l", b" -la", b" -al", b" -1", b" -R", b" -a -l", b" -a ", b" -aF ."]
)
def test_the_options_of_ls_change_nothing(talk: Conversation, options: bytes) -> None:
    assert sorted(names(talk, b"LIST" + options)) == EVERYTHING


@pytest.mark.parametrize("argument", [b"-al d", b"-a ./d", b"-l  d", b"d", b"/d/", b"-R d"])
def test_options_go_before_a_folder(talk: Conversation, argument: bytes) -> None:
    assert names(talk, b"LIST " + argument) == [b"e.txt"]


def test_something_with_the_name_of_an_option_is_that(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "-l").touch()
    (tmp_path / "-a d").touch()
    assert lines(talk, b"NLST -l") == [b"-l"]
    assert lines(talk, b"NLST -a d") == [b"-a d"]
    assert lines(talk, b"NLST -a -l") == [b"-l"]


def test_a_name_behind_an_option_may_begin_with_spaces(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / " a.txt").touch()
    (tmp_path / "  d").touch()
    assert lines(talk, b"NLST -l  a.txt") == [b" a.txt"]
    assert lines(talk, b"NLST -l   d") == [b"  d"]
    assert lines(talk, b"NLST -l  d") == [b"d/e.txt"]
    assert lines(talk, b"NLST -l  -a  b.*") == [b"b.txt"]


def test_a_single_dash_is_a_name(talk: Conversation) -> None:
    assert talk.codes(b"LIST -\r\n") == [550]


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        (b"*", [b"a.txt", b"b.txt", b"c.jpg", b"d"]),
        (b"*.txt", [b"a.txt", b"b.txt"]),
        (b"-1 [ab].*", [b"a.txt", b"b.txt"]),
        (b"?.jpg", [b"c.jpg"]),
        (b".h*", [b".hidden"]),
        (b"d/*", [b"d/e.txt"]),
        (b"/d/*.txt", [b"/d/e.txt"]),
        (b"/*.jpg", [b"/c.jpg"]),
        (b"*.none", []),
        (b"*/../*.jpg", [b"*/../c.jpg"]),
    ],
)
def test_a_pattern_stands_for_names_that_retr_takes(talk: Conversation, argument: bytes, found: list[bytes]) -> None:
    assert lines(talk, b"NLST " + argument) == found
    for name in found:
        assert talk.codes(b"MDTM " + name + b"\r\n") == [213]


def test_a_folder_that_a_pattern_finds_is_shown_and_not_opened(talk: Conversation) -> None:
    assert names(talk, b"LIST d*") == [b"d"]


def test_a_file_with_exactly_that_name_wins_over_the_pattern(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "*.txt").touch()
    assert lines(talk, b"NLST *.txt") == [b"*.txt"]


@pytest.mark.parametrize("argument", [b"*/e.txt", b"*/*", b"{a,b}.txt", b"~root", b"|id", b"$(x)", b"%n%s", b"a.txt/*"])
def test_patterns_are_for_the_last_component_and_nothing_is_a_shell(talk: Conversation, argument: bytes) -> None:
    assert talk.codes(b"NLST " + argument + b"\r\n") == [550]


@pytest.mark.parametrize("verb", [b"RETR", b"DELE", b"CWD", b"MLSD", b"RNFR", b"HASH"])
def test_nothing_else_takes_a_pattern(talk: Conversation, verb: bytes) -> None:
    assert talk.codes(verb + b" *\r\n") == [550]


@pytest.mark.parametrize("argument", [b"d/e.txt", b"/d/e.txt", b"a.txt"])
def test_a_single_file_is_named_as_it_was_asked_for(talk: Conversation, argument: bytes) -> None:
    assert lines(talk, b"NLST " + argument) == [argument]
    assert names(talk, b"LIST " + argument) == [argument.rpartition(b"/")[2]]


@pytest.mark.parametrize("argument", [b"d/e.txt/", b"d/e.txt/.", b"/d//e.txt/", b"d/e.txt/x/.."])
def test_a_single_file_is_named_as_retr_takes_it_however_it_was_asked_for(talk: Conversation, argument: bytes) -> None:
    assert lines(talk, b"NLST " + argument) == [b"/d/e.txt"]


@pytest.mark.parametrize("verb", [b"LIST -la ", b"NLST -1 -a ", b"LIST -l "])
def test_the_longest_name_may_have_options_before_it(talk: Conversation, tmp_path: Path, verb: bytes) -> None:
    name = b"n" * 255
    (tmp_path / name.decode()).touch()
    assert names(talk, verb + name) == [name]
    assert talk.codes(verb + name + b"n\r\n") == [553]


def test_an_empty_folder_is_no_error(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert lines(talk, b"LIST empty") == lines(talk, b"NLST empty") == []


_LINE = re.compile(
    rb"[-dlp](?:[r-][w-][x-]){3} +\d+ \S+ +\S+ +\d+ "
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 123]\d (?:\d\d:\d\d| \d{4}) (.+)"
)


def test_each_line_has_the_one_form_that_every_parser_reads(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "  leading").touch()
    os.utime(tmp_path / "a.txt", (1_000_000_000, 1_000_000_000))
    os.utime(tmp_path / "b.txt", (time.time() + 400 * 86400,) * 2)
    os.mkfifo(tmp_path / "fifo")
    found = {}
    for line in lines(talk, b"LIST"):
        match = _LINE.fullmatch(line)
        assert match, line
        found[match[1]] = line
    assert b" Sep  9  2001 a.txt" in found[b"a.txt"]
    assert found[b"d"].startswith(b"d") and found[b"fifo"].startswith(b"p")
    assert b"  leading" in found


# -- STAT of a path


def test_status_of_a_path_is_its_listing_on_the_control_connection(talk: Conversation) -> None:
    (answer,) = talk.ask(b"STAT -la d\r\n")
    first, line, last = str(answer).split("\n")
    assert first.startswith("213-") and last.startswith("213 ")
    assert line.startswith(" -rw") and line.endswith(" e.txt")
    assert "a.txt" in str(talk.ask(b"STAT a.txt\r\n")[0])
    assert str(talk.ask(b"STAT *.txt\r\n")[0]).count("\n") == 3
    assert talk.codes(b"STAT missing\r\n") == [550]


@pytest.mark.parametrize("name", ["x\r\n226 forged", "y\nz", "213 forged\r"])
@pytest.mark.parametrize("command", [b"LIST", b"NLST", b"MLSD", b"NLST *", b"STAT ."])
def test_a_name_with_a_line_end_forges_nothing(talk: Conversation, tmp_path: Path, name: str, command: bytes) -> None:
    (tmp_path / name).touch()
    answers = talk.ask(command + b"\r\n")
    assert "forged" not in str(answers)
    assert len(answers) == (1 if command.startswith(b"STAT") else 3)


def test_a_link_is_told_by_mlst_as_by_mlsd(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "to folder").symlink_to("d")
    (tmp_path / "to file").symlink_to("a.txt")
    listed = {line.partition(b"; ")[2]: line.partition(b"; ")[0] for line in lines(talk, b"MLSD")}
    for name in (b"to folder", b"to file", b"d", b"a.txt"):
        (answer,) = talk.ask(b"MLST " + name + b"\r\n")
        assert f"\n {listed[name].decode()}; /{name.decode()}\n" in str(answer)
        assert ("X.link=1" in str(answer)) == name.startswith(b"to ")


def test_the_perm_fact_of_a_link_that_leads_nowhere_promises_what_can_be_done(
    talk: Conversation, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    (line,) = [line for line in lines(talk, b"MLSD") if line.endswith(b" link")]
    assert b"perm=d;" in line
    assert talk.codes(b"RNFR link\r\nDELE link\r\n") == [550, 250]
