"""The shell's commands that look at the server's folders and change them."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import support
from desk import Desk

from ftpsvc import model
from ftpsvc.commands.reading import FOLLOW_EVERY, Reading
from ftpsvc.model import Entry, Kind
from ftpsvc.storage import CHUNK


def tree(desk: Desk) -> Path:
    (desk.there / "pub" / "deep").mkdir(parents=True)
    for name, size in (("pub/a.jpg", 10), ("pub/b.jpg", 2000), ("pub/c.txt", 5), ("pub/deep/d.jpg", 300)):
        (desk.there / name).write_bytes(b"x" * size)
    return desk.there / "pub"


def test_list_takes_patterns_and_orders(desk: Desk) -> None:
    tree(desk)
    assert [line.split("  ")[-1] for line in desk.type("ls -s pub/*.jpg").splitlines()[:-1]] == ["b.jpg", "a.jpg"]
    assert [line.split("  ")[-1] for line in desk.type("ls -r pub").splitlines()[:-1]] == [
        "deep/",
        "c.txt",
        "b.jpg",
        "a.jpg",
    ]
    assert desk.type("ls pub/*.png") == "ls: nothing in /pub matches *.png.\n"
    assert "there is no option -z" in desk.type("ls -z")


def test_folders_are_made_and_removed(desk: Desk) -> None:
    assert desk.type("mkdir a") == "made /a\n"
    assert desk.type("mkdir a/b/c") == "mkdir: there is no folder /a/b (550).\n"
    assert desk.type("mkdir a") == "mkdir: 550 /a: it is there already.\n"
    (desk.there / "file").touch()
    assert desk.type("mkdir -p file") == "mkdir: /file is there already, and is a file.\n"
    assert desk.type("mkdir -p file/b") == "mkdir: /file is there already, and is a file.\n"
    assert desk.type("stat file/b") == "stat: there is no folder /file (550).\n"
    (desk.there / "file").unlink()
    desk.type("mkdir -p a/b/c 'x y'")
    assert (desk.there / "a/b/c").is_dir() and (desk.there / "x y").is_dir()
    assert desk.type("mkdir -p a/b/c") == "made /a/b/c\n"
    assert desk.type("rmdir a/b/c a/b").splitlines() == ["removed /a/b/c", "removed /a/b"]
    assert desk.type("rmdir aa") == 'rmdir: no "aa" in / (550). Close: a.\n'
    assert desk.type("mkdir") == "mkdir: a word is missing. Use: mkdir [-p] <folder>...\n"


def test_a_folder_that_may_not_be_made_is_not_said_to_be_missing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(path: str) -> None:
        raise model.Denied(f"{path}: the server's system does not permit it.")

    monkeypatch.setattr(desk._disk, "make_dir", refusing)
    assert desk.type("mkdir x") == "mkdir: 550 /x: the server's system does not permit it.\n"


def test_files_are_removed_by_patterns(desk: Desk) -> None:
    pub = tree(desk)
    assert desk.type("rm pub/*.jpg") == "removed 2 files\n"
    assert sorted(os.listdir(pub)) == ["c.txt", "deep"]
    assert desk.type("rm pub/d.txt") == 'rm: no "d.txt" in /pub (550). Close: c.txt.\n'


def test_folders_are_removed_though_a_file_can_not_be(desk: Desk) -> None:
    tree(desk)
    (desk.there / "x").write_bytes(b"x")
    remove = desk.remote.remove

    async def refuse(path: str) -> None:
        if path == "/x":
            raise model.Denied("550 Not that one.")
        await remove(path)

    desk.remote.remove = refuse  # type: ignore[method-assign]
    assert desk.type("rm -r x pub") == "removed 6 names\nrm: /x: 550 Not that one.\n"
    assert desk.type("rm x") == "rm: 550 Not that one.\n"


def test_what_a_link_leads_to_is_not_removed_with_it(desk: Desk) -> None:
    for name in ("keep/a", "pub/b"):
        (desk.there / name).parent.mkdir()
        (desk.there / name).touch()
    (desk.there / "pub" / "link").symlink_to("../keep")
    assert desk.type("find pub *") == "/pub/b\n/pub/link/\n"
    assert desk.type("rm -r pub") == "removed 3 names\n"
    assert [str(path.relative_to(desk.there)) for path in desk.there.rglob("*")] == ["keep", "keep/a"]


def test_a_folder_is_removed_with_all_that_is_in_it_only_when_that_was_said(desk: Desk) -> None:
    tree(desk)
    assert "Use: rmdir, or rm -r" in desk.type("rm pub")
    desk.is_attended("n")
    assert desk.type("rm -r pub") == "rm: nothing was removed.\n"
    assert desk.asked == ["Remove /pub with 4 files in 2 folders? [y]es, [n]o"]
    assert (desk.there / "pub" / "deep" / "d.jpg").exists()
    desk.is_attended("y")
    assert desk.type("rm -r pub") == "removed 6 names\n"
    assert not (desk.there / "pub").exists()
    assert desk.type("rm -r /") == "rm: the top folder is not removed.\n"


def test_a_link_is_removed_as_a_file_is_wherever_it_leads(desk: Desk) -> None:
    (desk.there / "elsewhere").mkdir()
    (desk.there / "elsewhere" / "precious").touch()
    (desk.there / "link").symlink_to("elsewhere")
    assert desk.type("rm link") == "removed 1 file\n"
    assert (desk.there / "elsewhere" / "precious").exists()
    assert not (desk.there / "link").is_symlink()


def test_names_are_changed(desk: Desk) -> None:
    pub = tree(desk)
    assert desk.type("mv pub/a.jpg pub/z.jpg") == "/pub/a.jpg is /pub/z.jpg now\n"
    assert desk.type("mv pub/z.jpg pub/deep") == "/pub/z.jpg is /pub/deep/z.jpg now\n"
    assert desk.type("mv pub/b.jp pub/x") == 'mv: no "b.jp" in /pub (550). Close: b.jpg.\n'
    assert desk.type("mv pub/b.jpg no/x") == "mv: there is no folder /no (550).\n"
    assert desk.type("mv pub/b.jpg pub/b.jpg/x") == "mv: there is no folder /pub/b.jpg (550).\n"
    desk.is_attended("n")
    assert desk.type("mv pub/b.jpg pub/c.txt") == "mv: nothing was renamed.\n"
    assert (pub / "c.txt").read_bytes() == b"x" * 5
    assert desk.type("mv a") == "mv: a word is missing. Use: mv <old> <new>\n"


def test_the_code_of_a_reply_is_told_though_the_path_stands_before_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(old: str, new: str) -> None:
        raise model.Unavailable("550 RNTO command failed.")

    (desk.there / "a").touch()
    monkeypatch.setattr(desk.remote, "rename", refused)
    assert desk.type("mv a nix/b") == "mv: there is no folder /nix (550).\n"


def test_modes_and_times(desk: Desk) -> None:
    pub = tree(desk)
    desk.type("chmod 600 pub/*.jpg")
    assert stat.S_IMODE((pub / "a.jpg").stat().st_mode) == stat.S_IMODE((pub / "b.jpg").stat().st_mode) == 0o600
    assert "is no mode" in desk.type("chmod rwx pub/a.jpg")
    os.utime(pub / "a.jpg", (1, 1))
    desk.type("touch pub/a.jpg pub/new")
    assert (pub / "a.jpg").stat().st_mtime > 1 and (pub / "new").read_bytes() == b""
    said = desk.type("stat pub/b.jpg")
    assert "size     2.0 kB (2000 bytes)" in said and "mode     600" in said


def test_touch_takes_nothing_from_a_file_that_can_not_be_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.there / "a").write_bytes(b"hello\n")
    os.utime(desk.there / "a", (0, 0))

    async def stat(path: str) -> Entry:
        raise model.Unavailable("550 This account may not list there.")

    async def listed(path: str) -> AsyncGenerator[Entry, None]:
        raise model.Unavailable("550 This account may not list there.")
        yield

    monkeypatch.setattr(desk.remote, "stat", stat)
    monkeypatch.setattr(desk.remote, "list", listed)
    assert desk.type("touch a new") == ""
    assert (desk.there / "a").read_bytes() == b"hello\n"
    assert (desk.there / "a").stat().st_mtime > 0
    assert (desk.there / "new").read_bytes() == b""


def test_what_is_in_trees(desk: Desk) -> None:
    tree(desk)
    assert desk.type("du").splitlines() == ["2.3 kB  /", "2.3 kB  /pub", "4 files in all"]
    assert desk.type("du pub").splitlines() == [" 300 B  /pub/deep", "2.3 kB  /pub", "4 files in all"]
    assert desk.type("find *.jpg").splitlines() == ["/pub/a.jpg", "/pub/b.jpg", "/pub/deep/d.jpg"]
    assert desk.type("find pub/deep *.txt") == "find: nothing below /pub/deep matches *.txt.\n"
    assert desk.type("find pub de*") == "/pub/deep/\n"
    assert " free  /\n" in desk.type("df")


def test_digests_are_computed_there(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"hello\n")
    assert desk.type("hash a") == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  /a\n"
    assert desk.type("hash a md5") == "b1946ac92492d2347c6235b4d2611184  /a\n"
    assert desk.type("hash b") == 'hash: no "b" in / (550).\n'


# -- reading -------------------------------------------------------------------------------------------------


def test_files_are_shown_and_command_no_terminal(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"one\n\x1b]0;owned\x07two\n")
    assert desk.type("cat a") == "one\n\\x1b]0;owned\\x07two\n"
    assert desk.type("more a") == desk.type("cat a")
    assert desk.type("cat /") == "cat: / is a folder. Use: list /\n"


def test_the_end_of_a_file_and_what_is_added_to_it(desk: Desk) -> None:
    log = desk.there / "log"
    log.write_bytes(b"".join(b"%d\n" % number for number in range(20)))
    assert desk.type("tail log") == "".join(f"{number}\n" for number in range(10, 20))
    started = desk.start("tail -f log")
    desk.said()
    with log.open("ab") as file:
        file.write(b"20\n")
    desk.clock.advance(FOLLOW_EVERY)
    desk.pump()
    assert desk.said() == "20\n"
    log.write_bytes(b"new\n")
    desk.clock.advance(FOLLOW_EVERY)
    desk.pump()
    assert desk.said() == "new\n/log has become shorter; from its beginning:\n"
    desk.shell.interrupt()
    assert started.result() is False
    assert desk.said() == "tail: stopped.\n"


def test_what_is_followed_outlives_a_lost_connection(desk: Desk) -> None:
    log = desk.there / "log"
    log.write_bytes(b"one\n")
    started = desk.start("tail -f log")
    desk.link.lose()
    log.write_bytes(b"one\ntwo\n")
    for _ in range(4):
        desk.clock.advance(1)
        desk.pump()
    assert desk.said() == "one\ntwo\nTrying again in 1 s: The server has gone, or the network to it.\n"
    desk.shell.interrupt()
    assert started.result() is False


@pytest.mark.parametrize("line", ["ls a*", "find a*", "find a", "stat a*", "rm a*"])
def test_a_name_that_is_listed_twice_is_no_fault_of_ours(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    async def twice(path: str) -> AsyncGenerator[Entry, None]:
        for kind in (Kind.FILE, Kind.LINK, Kind.OTHER):  # as gateways to object storage may show what has one key
            yield Entry("a", kind)

    monkeypatch.setattr(desk.remote, "list", twice)
    assert "Something in ftpsvc itself" not in desk.type(line)
    completing = support.start(desk.shell.completions("get "))
    assert [offer.text for offer in completing.result()[1]] == ["a"] * 3


def edited(desk: Desk, meanwhile: bytes = b"", lost: bool = False) -> None:
    """Whoever has the editor changes the file; somebody else may have been quicker, or the connection been lost."""

    async def spawn(program: str) -> int:
        copied = Path(program.split("'")[1])
        copied.write_bytes(copied.read_bytes().replace(b"two", b"TWO"))
        if meanwhile:
            (desk.there / "a").write_bytes(meanwhile)
        if lost:
            desk.link.lose()
        return 0

    desk.shell._around = replace(desk.shell._around, spawn=spawn, ask=desk._ask)  # type: ignore[arg-type]


def test_a_file_is_edited_in_place(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"one\ntwo\n")
    assert desk.type("edit a") == "edit: an editor needs a terminal.\n"
    edited(desk)
    assert desk.type("edit a") == "stored /a\n"
    assert (desk.there / "a").read_bytes() == b"one\nTWO\n"
    assert desk.type("edit a") == "/a is as it was.\n"


@pytest.mark.parametrize("command", ["more", "edit"])
def test_a_copy_that_is_for_a_program_here_can_be_read_whatever_the_mode_there(desk: Desk, command: str) -> None:
    (desk.there / "a").write_bytes(b"one\n")
    (desk.there / "a").chmod(0o040)
    modes = []

    async def spawn(program: str) -> int:
        modes.append(stat.S_IMODE(Path(program.split("'")[1]).stat().st_mode))
        return 0

    desk.shell._around = replace(desk.shell._around, spawn=spawn, ask=desk._ask)  # type: ignore[arg-type]
    desk.type(f"{command} a")
    assert modes == [0o600]


def test_an_editor_that_leaves_nothing_changes_nothing(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"one\n")

    async def spawn(program: str) -> int:
        Path(program.split("'")[1]).unlink()
        return 0

    desk.shell._around = replace(desk.shell._around, spawn=spawn, ask=desk._ask)  # type: ignore[arg-type]
    assert desk.type("edit a") == "edit: the editor has left no file. /a is as it was.\n"
    assert (desk.there / "a").read_bytes() == b"one\n"


def test_an_edit_never_overwrites_anothers(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"one\ntwo\n")
    edited(desk, meanwhile=b"something else")
    assert "somebody else has changed /a meanwhile. Yours is" in desk.type("edit a")
    assert (desk.there / "a").read_bytes() == b"something else"
    assert (desk.here / "a.edited").read_bytes() == b"one\nTWO\n"


def test_an_edit_is_stored_though_the_connection_was_lost_meanwhile(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"one\ntwo\n")
    edited(desk, lost=True)
    started = desk.start("edit a")
    desk.clock.advance(1)
    desk.pump()
    assert started.is_over and "stored /a\n" in desk.said()
    assert (desk.there / "a").read_bytes() == b"one\nTWO\n"


@pytest.mark.parametrize("is_stopped", [False, True])
def test_an_edit_that_can_not_be_stored_is_kept(desk: Desk, is_stopped: bool) -> None:
    (desk.there / "a").write_bytes(b"one\ntwo\n")
    edited(desk, lost=True)
    started = desk.start("edit a")
    if is_stopped:
        desk.shell.interrupt()
    else:
        desk.refuses = model.NotLoggedIn("530 not any more.")
        desk.clock.advance(1)
    assert started.is_over
    assert ("edit: stopped. Yours is" if is_stopped else "530 not any more. Yours is") in desk.said()
    assert (desk.here / "a.edited").read_bytes() == b"one\nTWO\n"


@pytest.mark.parametrize(
    "line", ["rm -r ''", "mv a.jpg ''", "put -r ''", "mirror -R --delete '' .", "get a.jpg ''", "touch ''", "lcd ''"]
)
def test_an_empty_word_does_not_stand_for_the_current_folder(desk: Desk, line: str) -> None:
    pub = tree(desk)
    desk.type("cd pub")
    assert f"{line.split()[0]}: an empty word is no name.\n" in desk.type(line)
    assert len(os.listdir(pub)) == 4 and os.listdir(desk.here) == []


def test_a_letter_that_comes_in_two_halves_is_shown(desk: Desk) -> None:
    desk.shell._around = replace(desk.shell._around, columns=lambda: 80)
    for size in (CHUNK - 1, CHUNK):
        (desk.there / "a").write_bytes(b"x" * size + "äö\n".encode() + b"\xe4")
        assert desk.type("cat a").endswith("xäö\n\\xe4")
    (desk.there / "log").write_bytes(b"gr\xc3")
    desk.start("tail -f log")
    with open(desk.there / "log", "ab") as log:
        log.write(b"\xbcn\n")
    desk.clock.advance(FOLLOW_EVERY)
    desk.pump()
    assert desk.said() == "grün\n"
    desk.shell.interrupt()
    desk.pump()


def test_what_is_kept_of_an_edit_takes_the_place_of_nothing(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"one\ntwo\n")
    (desk.here / "a.edited").write_bytes(b"an earlier one")
    edited(desk, meanwhile=b"something else")
    said = desk.type("edit a")
    assert (desk.here / "a.edited").read_bytes() == b"an earlier one"
    assert Path(said.split("Yours is ")[1].strip(".\n")).read_bytes() == b"one\nTWO\n"


def test_an_edit_is_kept_at_home_where_nothing_can_be_written_here(desk: Desk) -> None:
    (desk.there / "a").write_bytes(b"one\ntwo\n")
    edited(desk, meanwhile=b"something else")
    desk.type("lcd /proc")
    assert f"Yours is {desk.here.parent}/a.edited" in desk.type("edit a")
    assert (desk.here.parent / "a.edited").read_bytes() == b"one\nTWO\n"


def test_who_changes_a_file_while_it_is_copied_to_be_edited_has_changed_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.there / "a").write_bytes(b"one\ntwo\n")
    edited(desk)

    async def changed(self: Any, *words: Any) -> Path:
        copied = await copied_before(self, *words)
        (desk.there / "a").write_bytes(b"something else")
        return copied

    copied_before = Reading._copied
    monkeypatch.setattr(Reading, "_copied", changed)
    assert "somebody else has changed /a meanwhile" in desk.type("edit a")
    assert (desk.there / "a").read_bytes() == b"something else"


def test_this_machine(desk: Desk) -> None:
    (desk.here / "my file").write_bytes(b"x")
    assert desk.type("lls").endswith("  my file\n1 file, 1 B\n")
    assert desk.type("lls my*").endswith("  my file\n1 file, 1 B\n")
    (desk.here / "papers").mkdir()
    assert desk.type("lls pap*") == "The folder is empty.\n"
    desk.type("!ls -l | head")
    assert desk.ran == [f"cd '{desk.here}' && ls -l | head"]
    assert "local: a word is missing. Use: local <command>" in desk.type("!")
    assert len(desk.ran) == 1
