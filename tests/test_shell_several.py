"""The shell's commands with several words, or folders, of which one fails: that keeps none of the others."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from desk import Desk
from test_shell_folders import tree

from ftpsvc import model
from ftpsvc.console import Stopped
from ftpsvc.model import Entry


@pytest.mark.parametrize("line", ["rm *.jpg", "chmod 600 *.jpg", "hash *.jpg"])
def test_one_that_fails_keeps_none_of_the_others(desk: Desk, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    names = [f"{number:03}.jpg" for number in range(100)]
    for name in names:
        (desk.there / name).touch()

    def but_the_first(work: Any) -> Any:
        async def wrapped(path: str, *more: Any) -> Any:
            if path == "/000.jpg":
                raise model.Denied("550 No.")
            return await work(path, *more)

        return wrapped

    for work in ("remove", "set_facts", "hash"):
        monkeypatch.setattr(desk.remote, work, but_the_first(getattr(desk.remote, work)))
    said = desk.type(line)
    assert f"{line.split()[0]}: /000.jpg: 550 No.\n" in said and desk.shell.failures == 1
    if "rm" in line:
        assert os.listdir(desk.there) == ["000.jpg"] and "removed 99 files\n" in said
    elif "chmod" in line:
        assert all((desk.there / name).stat().st_mode & 0o777 == 0o600 for name in names[1:])
    else:
        assert said.count("e3b0c44298fc1c14") == 99


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("rm nix pub/c.txt", "removed 1 file"),
        ("hash nix pub/c.txt", "/pub/c.txt"),
        ("cat nix pub/c.txt", "xxxxx"),
        ("cat pub pub/c.txt", "xxxxx"),
        ("stat nix pub/c.txt", "name     /pub/c.txt"),
        ("mkdir nix/a new", "made /new"),
        ("rmdir nix pub/empty", "removed /pub/empty"),
    ],
)
def test_one_that_is_not_there_keeps_none_of_the_others(desk: Desk, line: str, done: str) -> None:
    (tree(desk) / "empty").mkdir()
    said = desk.type(line)
    assert f"{line.split()[0]}: " in said and done in said
    assert desk.shell.failures == 1


def test_of_many_that_are_not_there_each_is_told(desk: Desk) -> None:
    assert desk.type("rm a b") == 'rm: no "a" in / (550).\nrm: no "b" in / (550).\n'
    assert desk.type("chmod 600 a b") == 'chmod: no "a" in / (550).\nchmod: no "b" in / (550).\n'
    assert desk.type("touch a/a b") == "touch: there is no folder /a (550).\n"
    assert (desk.there / "b").exists()


def test_what_is_left_of_several_words_is_named_where_it_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(path: str) -> None:
        raise model.Denied("550 Delete operation failed.")

    (desk.there / "a").touch()
    monkeypatch.setattr(desk.remote, "remove", refused)
    said = 'rm: no "nix" in / (550).\nrm: /a: 550 Delete operation failed.\n'
    assert desk.type("rm nix a").endswith(said)


def test_whatever_is_wrong_with_one_of_several_is_said_with_its_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged(path: str, algorithm: str) -> str:
        raise model.Damaged("12 bytes came, and not 13.")

    for name in "ab":
        (desk.there / name).touch()
    monkeypatch.setattr(desk.remote, "hash", damaged)
    told = "12 bytes came, and not 13.\n"
    assert desk.type("hash a b") == f"hash: /a: {told}hash: /b: {told}"


def test_which_folder_of_a_path_can_not_be_made_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(path: str) -> None:
        raise model.Denied("550 Create directory operation failed.")

    monkeypatch.setattr(desk.remote, "make_dir", refused)
    assert desk.type("mkdir -p a/b") == "mkdir: /a: 550 Create directory operation failed.\n"


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Stopped("by a signal, while nobody takes it.")]
)
def test_where_nothing_can_be_written_nothing_more_is_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tree(desk)

    def fails(text: str) -> int:
        raise error

    monkeypatch.setattr(desk.out, "write", fails)
    assert desk.type("cat pub/c.txt pub/a.jpg").count("\n") == 1
    assert desk.shell.failures == 1


def test_a_command_in_the_background_goes_on_where_another_one_was_stopped(desk: Desk) -> None:
    tree(desk)
    desk.link.server_end.is_reading = False
    desk.start("cat pub pub/c.txt &")
    desk.start("wait")
    desk.shell.interrupt()
    desk.link.server_end.is_reading = True
    desk.pump()
    assert "xxxxx" in desk.said()


@pytest.mark.parametrize("command", ["du pub", "find pub *"])
def test_a_folder_of_which_nothing_can_be_listed_is_not_said_to_be_empty(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    tree(desk)

    async def refused(path: str) -> AsyncGenerator[Entry, None]:
        raise model.Denied("550 Failed to open directory.")
        yield

    monkeypatch.setattr(desk.remote, "list", refused)
    assert desk.type(command) == f"{command.split()[0]}: /pub: 550 Failed to open directory.\n"


def test_there_is_nothing_to_be_found_in_a_file(desk: Desk) -> None:
    tree(desk)
    assert desk.type("find pub/c.txt *") == "find: /pub/c.txt is a file. Use: stat /pub/c.txt\n"


@pytest.mark.parametrize(
    "words", ["550 Failed to change directory.", "The server could not list the folder: 226 Failed to open directory."]
)
def test_a_folder_that_can_not_be_listed_keeps_none_of_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    tree(desk)
    (desk.there / "pub" / "shut").mkdir()
    listing = desk.remote.list

    async def but_one(path: str) -> AsyncGenerator[Entry, None]:
        if path.endswith("shut"):
            raise model.Denied(words)
        async for entry in listing(path):
            yield entry

    monkeypatch.setattr(desk.remote, "list", but_one)
    why = f"/pub/shut: {words}\n"
    said = desk.type("du")
    assert said == f"2.3 kB  /\n2.3 kB  /pub\n4 files in all\ndu: {why}"
    said = desk.type("find *.jpg")
    assert f"find: {why}" in said and "/pub/deep/d.jpg\n" in said
    assert desk.type("rm -r pub") == f"rm: {why}" and (desk.there / "pub" / "a.jpg").exists()


def test_why_a_folder_can_not_be_listed_is_told_and_not_why_it_has_no_size(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.there / "shut").mkdir()
    listing = desk.remote.list

    async def but_one(path: str) -> AsyncGenerator[Entry, None]:
        if path == "/shut":
            raise model.Denied("550 Failed to change directory.")
        async for entry in listing(path):
            yield entry

    async def stat(path: str) -> Entry:
        raise model.Unavailable("550 Could not get file size.")

    async def change_directory(path: str) -> None:
        raise model.Unavailable("550 Failed to change directory.")

    monkeypatch.setattr(desk.remote, "list", but_one)
    monkeypatch.setattr(desk.remote, "stat", stat)
    monkeypatch.setattr(desk.remote, "change_directory", change_directory)
    assert desk.type("cd shut") == "cd: /shut: 550 Failed to change directory.\n"
    assert desk.type("cd nix") == 'cd: no "nix" in / (550).\n'
    assert desk.type("ls shut") == "ls: /shut: 550 Failed to change directory.\n"
    assert desk.type("ls nix") == 'ls: no "nix" in / (550).\n'
    assert desk.type("rm shut/a") == "rm: /shut/a: 550 Could not get file size.\n"
    assert desk.type("rm nix/a") == "rm: there is no folder /nix (550).\n"


@pytest.mark.parametrize("line", ["stat shut/* a", "get shut/* a .", "lls shut", "put shut/* a ."])
def test_a_folder_that_can_not_be_listed_for_a_pattern_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    is_local = line.startswith(("lls", "put"))
    folder, storage = (desk.here, desk.shell._here.storage) if is_local else (desk.there, desk.remote)
    (folder / "shut").mkdir()

    async def refused(path: str) -> AsyncGenerator[Entry, None]:
        if not is_local:
            raise model.Denied("550 Permission denied.")
        raise model.Denied(f"{path}: the server's system does not permit it.") from OSError(errno.EACCES, "")
        yield

    monkeypatch.setattr(storage, "list", refused)
    shut = f"{folder}/shut on this machine: Permission denied." if is_local else "/shut: 550 Permission denied."
    assert f"{line.split()[0]}: {shut}\n" in desk.type(line)


def test_behind_two_dashes_all_words_are_names(desk: Desk) -> None:
    for name in ("-r", "--", "-x"):
        (desk.there / name).write_bytes(b"x")
    assert desk.completed("get -- -") == ["get -- --", "get -- -r", "get -- -x"]
    assert desk.type("get -- -r -x ./").count("retrieved -") == 2
    assert desk.type("get -- --").startswith("retrieved --: ")
    assert desk.type("put -- -r new").startswith("stored -r as /new")
    assert desk.type("get --").startswith("get: a word is missing.")
    assert sorted(os.listdir(desk.here)) == ["--", "-r", "-x"]
