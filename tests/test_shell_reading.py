"""The shell's commands that show what is in files, and change it."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

from ftpsvc import model
from ftpsvc.commands.reading import FOLLOW_EVERY, Reading
from ftpsvc.storage import CHUNK


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
