"""`mirror`, `retrieve -r` and `store -r`, typed at a shell."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from twotrees import content, write

from ftpsvc import model
from ftpsvc.model import Entry, Kind
from ftpsvc.plans import described
from ftpsvc.reports import Reasons
from ftpsvc.steps import Do, Step

DATA = os.urandom(300_000)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Connected, with a journal."""
    return Desk(tmp_path).connected()


def test_a_folder_is_mirrored_here_and_back(desk: Desk) -> None:
    write(desk.there / "pub" / "sub" / "a", b"1")
    write(desk.there / "pub" / "b", DATA)
    assert desk.type("mirror pub") == "copied 2 files (300.0 kB in 0 ms), made 2 folders\n"
    assert content(desk.here / "pub") == content(desk.there / "pub")
    assert desk.type("mirror pub").startswith("copied 0 files (0 B in 0 ms), 2 the same already")
    assert desk.type("mirror -R pub copy") == "copied 2 files (300.0 kB in 0 ms), made 2 folders\n"
    assert content(desk.there / "copy") == content(desk.there / "pub")
    assert desk.unfinished() == [] and desk.shell.failures == 0


def test_folders_are_retrieved_and_stored_into_those_that_are_there(desk: Desk) -> None:
    write(desk.there / "pub" / "a", b"1")
    (desk.here / "papers").mkdir()
    desk.type("retrieve -r pub papers")
    desk.type("get pub new -r")
    assert (desk.here / "papers" / "pub" / "a").exists() and (desk.here / "new" / "a").exists()
    (desk.there / "in").mkdir()
    desk.type("store -r papers in")
    assert (desk.there / "in" / "papers" / "pub" / "a").exists()
    assert "no folder" in desk.type("store -r papers nowhere/")
    assert "only mirror removes" in desk.type("store -r papers --delete")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mirror", "it takes one folder"),
        ("mirror a b c", "it takes one folder"),
        ("mirror --frob a", "there is no option --frob"),
        ("mirror a --exclude", "--exclude needs a value"),
        ("mirror a --exclude ''", "--exclude needs a pattern"),
        ("mirror a --links=keep", "--links is follow"),
        ("mirror a --parallel 0", "--parallel is a number"),
        ("mirror a --parallel 0016999", "--parallel is a number"),
        ("mirror nosuch", 'no "nosuch" in / (550)'),
        ("mirror -R nosuch", 'no "nosuch" in'),
        ("retrieve -r", "it takes one folder"),
        ("retrieve -r a b c", "too many words"),
        ("retrieve -r --delete a", "only mirror removes anything"),
        ("retrieve -r -R pub", "-R turns mirror round."),
        ("retrieve -r nothing.*", "matches"),
        ("resume 7", "there is no job 7."),
        ("retrieve a b c", "too many words"),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, line: str, said: str) -> None:
    assert said in desk.type(line)


def test_what_this_machine_refuses_is_said_in_its_own_words(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk.there / "pub" / "a", b"1")
    write(desk.there / "pub" / "sub" / "b", b"1")
    storage = desk.shell._here.storage

    async def refusing(path: str, *args: Any) -> Any:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise model.NoSpace(f"{path}: no space is left on the server's disk.") from full

    monkeypatch.setattr(storage, "make_dir", refusing)
    assert f"mirror: {desk.here}/pub on this machine: No space left on device.\n" in desk.type("mirror pub")
    (desk.here / "pub").mkdir()
    monkeypatch.setattr(storage, "put", refusing)
    said = desk.type("mirror pub")
    assert "failed a: on this machine: No space left on device.\n" in said
    assert "failed sub: on this machine: No space left on device.\n" in said


@pytest.mark.parametrize("command", ["retrieve", "store"])
def test_folders_and_files_go_in_one_command(desk: Desk, command: str) -> None:
    source, target = (desk.there, desk.here) if command == "retrieve" else (desk.here, desk.there)
    files = {"pub/a": b"1", "pub/sub/b": b"22", "pub/sub.o/c": b"333", "pub/d.o": b"4"}
    for name, data in files.items():
        write(source / name, data)
    (target / "to").mkdir()
    said = desk.type(f"{command} -r --dry-run pub/* to")
    assert "copy a (1 B)\n" in said and content(target / "to") == {}
    assert "2 of 4 failed" not in desk.type(f"{command} -r --exclude=*.o pub/* to")
    assert set(content(target / "to")) == {"a", "sub", "sub/b"}
    desk.type(f"{command} -r pub/a to/alone")
    assert (target / "to" / "alone").read_bytes() == b"1"
    desk.type(f"{command} -r pub/* to")
    assert set(content(target / "to")) == {"a", "alone", "d.o", "sub", "sub/b", "sub.o", "sub.o/c"}
    assert desk.shell.failures == 0


def test_one_of_several_that_fails_keeps_none_of_the_others(desk: Desk) -> None:
    for name in ("pub/a", "pub/b/c", "pub/d"):
        write(desk.there / name, b"1")
    write(desk.here / "a" / "is a folder")
    write(desk.here / "b", b"a file")
    said = desk.type("retrieve -r pub/*")
    assert "/a is a folder" in said and "/b is a file" in said and "retrieve: 1 of 2 failed" in said
    assert (desk.here / "d").read_bytes() == b"1" and (desk.here / "b").read_bytes() == b"a file"
    assert "there is no folder" in desk.type("retrieve -r pub/* nowhere")


def test_files_and_folders_that_are_named_go_into_one_folder(desk: Desk) -> None:
    for name in ("a", "b", "t/c", "u/d", "v/t/e"):
        write(desk.here / name, b"1")
    (desk.there / "to").mkdir()
    said = desk.type("store -r a t nosuch u b to/")
    assert set(content(desk.there / "to")) == {"a", "b", "t", "t/c", "u", "u/d"}
    assert 'store: no "nosuch" in ' in said and "stored 2 of 2 files" in said
    assert "would both become /to/t." in desk.type("store -r t v/t to/")
    assert set(content(desk.there / "to" / "t")) == {"c"}
    assert "there is no folder" in desk.type("store -r a t nowhere/")


def test_a_folder_for_which_there_is_no_folder_is_missing(desk: Desk) -> None:
    (desk.here / "a").mkdir()
    (desk.there / "b").mkdir()
    assert desk.type("mirror -R a nix/deep").endswith("mirror: there is no folder /nix (550).\n")
    assert desk.type("mirror b nix/deep").endswith(f"mirror: there is no folder {desk.here}/nix.\n")


def test_a_name_with_a_dash_goes_behind_two(desk: Desk) -> None:
    write(desk.there / "-r" / "a", b"1")
    desk.type("mirror -- -r")
    assert (desk.here / "-r" / "a").exists()


def test_patterns_and_a_dry_run(desk: Desk) -> None:
    write(desk.there / "pub" / "a.o", b"1")
    write(desk.there / "pub" / "b.c", b"22")
    said = desk.type("mirror --dry-run --exclude='*.o' pub")
    plan = "plan: 1 file to copy, 1 folder to make; 2 B, 0 the same already. Nothing was changed."
    assert said == f"make ./\ncopy b.c (2 B)\n{plan}\n"
    assert not (desk.here / "pub").exists() and desk.unfinished() == []


def test_without_anybody_to_ask_too_much_is_removed_only_by_force(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    said = desk.type("mirror --delete pub")
    assert "failed .: 2 of 3 names were to be removed, and none was. For more than half, use --force." in said
    assert desk.shell.failures == 1 and set(content(desk.here / "pub")) == {"a", "b", "c"}
    assert "removed 2" in desk.type("mirror --delete --force pub")
    assert set(content(desk.here / "pub")) == {"a"}


def test_a_person_is_asked(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    desk.is_attended("n", "y")
    assert "none was" in desk.type("mirror --delete pub")
    assert desk.asked == [f"Remove 2 of 3 names (66 %) in {desk.here}/pub? [y]es, [n]o"]
    assert "plan: 2 names to remove" in desk.type("mirror --delete pub")
    assert set(content(desk.here / "pub")) == {"a"}


def test_a_lost_connection_is_healed_and_told(desk: Desk) -> None:
    for number in range(5):
        write(desk.there / "pub" / str(number), DATA)
    started = desk.begun("mirror pub")
    desk.link.lose()
    desk.clock.advance(0)
    desk.clock.advance(1)
    desk.pump()
    assert started.result() is False
    said = desk.said()
    assert "Trying again in 1 s" in said and "copied 5 files" in said
    assert content(desk.here / "pub") == content(desk.there / "pub")
    assert desk.type("pwd") == "/\n"


def test_options_and_folders_are_completed(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    assert desk.completed("mirror --ex") == ["mirror --exclude "]
    assert desk.completed("mirror --delete pu") == ["mirror --delete pub/"]
    write(desk.here / "site" / "a")
    assert desk.completed("mirror pub s") == ["mirror pub site/"]
    assert desk.completed("mirror -R --exclude=*.o s") == ["mirror -R --exclude=*.o site/"]
    assert desk.completed("mirror -R site p") == ["mirror -R site pub/"]
    assert desk.completed("get -r p") == ["get -r pub/"] and desk.completed("get -r pub s") == ["get -r pub site/"]
    assert desk.completed("put -r s") == ["put -r site/"] and desk.completed("put -r site p") == ["put -r site pub/"]
    assert desk.completed("mirror pub site s") == desk.completed("mirror --exclude s") == []


def test_a_rate_holds_for_trees_too(desk: Desk) -> None:
    for number in range(3):
        write(desk.there / "pub" / str(number), DATA)
    desk.type("set limit-rate 100k")
    started = desk.start("mirror pub")
    for _ in range(80):
        assert not started.is_over
        desk.clock.advance(0.1)
        desk.pump()
    for _ in range(20):
        desk.clock.advance(0.1)
        desk.pump()
    assert started.result() is False and content(desk.here / "pub") == content(desk.there / "pub")


def test_a_dry_run_says_that_the_real_run_will_not_remove_so_much_by_itself(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    said = desk.type("mirror --delete --dry-run pub")
    assert said.endswith(
        "2 of 3 names are to be removed. That is more than half: the real run removes none of them without --force.\n"
    )
    assert "more than half" not in desk.type("mirror --delete --dry-run --force pub")
    desk.is_attended()
    assert "the real run asks first, or needs --force." in desk.type("mirror --delete --dry-run pub")
    write(desk.there / "pub" / "b")
    assert "more than half" not in desk.type("mirror --delete --dry-run pub")
    assert desk.shell.failures == 0 and set(content(desk.here / "pub")) == {"a", "b", "c"}


def test_a_mirror_in_the_background_asks_nobody(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    desk.is_attended()
    desk.start("mirror --delete pub &")
    assert "and none was. For more than half, use --force." in desk.said()
    assert not desk.asked and set(content(desk.here / "pub")) == {"a", "b", "c"}


@pytest.mark.parametrize("line", ["retrieve big", "store big", "mirror pub", "mirror -R pub"])
def test_a_rate_holds_for_what_is_under_way(desk: Desk, line: str) -> None:
    for side in (desk.here, desk.there) if "big" in line else (desk.here if "-R" in line else desk.there,):
        write(side / "big", DATA, 1_000_000_000 + (side == desk.here))
        for number in range(20):
            write(side / "pub" / str(number), DATA[:15_000])
    desk.type("set overwrite replace")
    desk.type("set limit-rate 1k")
    desk.start(f"{line} &")
    desk.advance(30)
    desk.type("set limit-rate 100k")
    desk.advance(25)
    assert "done" not in desk.said()
    desk.advance(30)
    assert "[1] done" in desk.said(), "it has gone on at the old rate"
    desk.type("set limit-rate 1k")
    desk.start(f"{line.replace('pub', 'pub again')} &")
    desk.advance(30)
    assert "done" not in desk.said()
    desk.type("set limit-rate off")
    desk.advance(11)
    assert "[1] done" in desk.said(), "it doesn't know that there is no rate any more"


def test_a_folder_whose_name_a_terminal_would_obey_is_shown_as_codes(desk: Desk) -> None:
    write(desk.there / "\x1b]0;owned\x07 a" / "a", DATA)
    started = desk.begun("mirror $'\\x1b]0;owned\\x07 a'")
    label = desk.shell._front.label if desk.shell._front is not None else ""
    desk.shell.interrupt()
    desk.pump()
    assert (label, started.result()) == ("\\x1b]0;owned\\x07 a", False)


def test_what_a_server_says_of_an_entry_commands_no_terminal() -> None:
    why = "550 \x1b]0;owned\x07"
    skipped = Reasons()
    skipped.add("a", why)
    assert list(skipped.told("skipped")) == ["skipped a: 550 \\x1b]0;owned\\x07"]
    step = Step(Do.FAIL, "a", Entry("a", Kind.FILE), why)
    assert described(step) == "fail a: 550 \\x1b]0;owned\\x07"
