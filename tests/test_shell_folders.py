"""The shell's commands that look at the server's folders and change them."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import support
from desk import Desk

from ftpsvc import model
from ftpsvc.model import Entry, Kind


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


def test_a_link_that_leads_nowhere_is_removed_by_its_name(desk: Desk) -> None:
    (desk.there / "link").symlink_to("nowhere")
    (desk.there / "other").symlink_to("/nowhere")
    assert desk.type("rm -r other") == "removed 1 file\n"
    assert desk.type("rm link none") == 'removed 1 file\nrm: no "none" in / (550).\n'
    assert not list(desk.there.iterdir())


def test_what_is_no_folder_has_nothing_in_it_to_be_removed(desk: Desk) -> None:
    (desk.there / "file").touch()
    assert desk.type("rm file/x none/x") == (
        "rm: there is no folder /file (550).\nrm: there is no folder /none (550).\n"
    )


def test_what_a_server_hides_to_be_links_leads_nobody_round_in_a_circle(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pub, listing = tree(desk), desk._disk.list

    async def hiding(path: str) -> AsyncGenerator[Entry, None]:
        async for entry in listing(path):
            yield entry._replace(is_link=False)

    monkeypatch.setattr(desk._disk, "list", hiding)
    for link, target in (("one", "."), ("two", "."), ("deep/three", "..")):
        (pub / link).symlink_to(target)
    assert "4 files in all" in desk.type("du pub")
    assert desk.type("find pub t*").splitlines() == ["/pub/two/", "/pub/deep/three/"]
    assert desk.type("rm -r pub") == "removed 9 names\n"


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
    assert desk.type("mv a 'nix: 404 x/b'") == r"mv: there is no folder /nix:\ 404\ x (550)." + "\n"


def test_a_number_in_a_name_is_no_code(desk: Desk) -> None:
    assert desk.type("rm 'to do: 404 page'") == 'rm: no "to do: 404 page" in / (550).\n'


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


@pytest.mark.parametrize(
    "line", ["rm -r ''", "mv a.jpg ''", "put -r ''", "mirror -R --delete '' .", "get a.jpg ''", "touch ''", "lcd ''"]
)
def test_an_empty_word_does_not_stand_for_the_current_folder(desk: Desk, line: str) -> None:
    pub = tree(desk)
    desk.type("cd pub")
    assert f"{line.split()[0]}: an empty word is no name.\n" in desk.type(line)
    assert len(os.listdir(pub)) == 4 and os.listdir(desk.here) == []


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
