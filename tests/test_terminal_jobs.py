"""The shell in a real terminal while something is in the background: toolbar, keys, questions, colours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from screens import PROMPT, Screen, Server, environment, screen, server

__all__ = ["environment", "screen", "server"]  # fixtures, which pytest finds by their names


@pytest.fixture
def paced(screen: Screen, tmp_path: Path) -> Screen:
    """Connected, with a file that takes two seconds."""
    (tmp_path / "there" / "big").write_bytes(os.urandom(2_000_000))
    screen.press("set limit-rate 1M\r")
    screen.until(r"1\.0 MB/s")
    screen.until(PROMPT)
    return screen


def test_a_job_shows_in_the_toolbar_while_one_types_and_announces_its_end(paced: Screen, tmp_path: Path) -> None:
    paced.press("get big &\r")
    paced.until(r"\[1\] get big\r\n")
    paced.until(r"\[1\] big: .* of 2\.0 MB, \d+ %, ")
    paced.press("pw")
    paced.until(r"retrieved big: 2\.0 MB in .*\r\n(?s:.)*\[1\] done: get big")
    paced.press("d\r")
    paced.until("\r\n/\r\n")  # what was typed has stayed
    assert (tmp_path / "here" / "big").stat().st_size == 2_000_000


def test_ctrl_z_lets_a_transfer_go_on_behind_the_prompt(paced: Screen, tmp_path: Path) -> None:
    os.truncate(tmp_path / "there" / "big", 100_000_000)
    paced.press("get big\r")
    paced.until(r"big \[#*\.+\] +\d+ %  .*B/s")
    paced.press("\x1a")
    paced.until(r"\[1\] get big\r\n")
    paced.until(PROMPT)
    paced.press("\x1a")  # with nothing in the foreground it does nothing
    paced.press("ls\r")
    paced.until(r"1 file, 100\.0 MB\r\n")
    paced.until(PROMPT)
    paced.press("\x04")
    paced.until("There is a job in the background")
    paced.press("kill 1\r")
    paced.until(r"\[1\] get: stopped at")
    paced.until(PROMPT)
    assert support.take_part(tmp_path / "here")
    paced.press("\x04")
    assert paced.ends() == 0


def test_a_job_that_ends_behind_another_transfer_has_a_line_of_its_own(paced: Screen, tmp_path: Path) -> None:
    (tmp_path / "there" / "small").write_bytes(b"x" * 1_200_000)
    paced.press("get small &\rget big\r")  # both at once: the first is over in a second
    paced.until(r"\rbig \[[^\n]*left *\rretrieved small: ")
    paced.until(r"\[1\] done: get small\r\n")
    paced.until("retrieved big: 2.0 MB")


def test_a_question_is_asked_before_more_than_half_is_removed(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "there" / "pub").mkdir()
    (tmp_path / "there" / "pub" / "a").touch()
    (tmp_path / "here" / "pub").mkdir()
    for name in ("b", "c", "d"):
        (tmp_path / "here" / "pub" / name).touch()
    for answer, left in (("n", {"a", "b", "c", "d"}), ("\x03", {"a", "b", "c", "d"}), ("y", {"a"})):
        screen.press("mirror --delete pub\r")
        screen.until(r"Remove 3 of [34] names \(\d+ %\) in [^?]*\?\s+\[")  # in any part the line may end
        screen.press(answer)
        screen.until(r"copied \d file")
        screen.until(PROMPT)
        assert set(os.listdir(tmp_path / "here" / "pub")) == left


def test_a_question_is_answered_with_a_key(screen: Screen, tmp_path: Path) -> None:
    for end in ("here", "there"):
        (tmp_path / end / "a").write_bytes(end.encode())
    screen.press("get a\r")
    screen.until(r"is there already:\r\n  here    4 B  .*\r\n  server  5 B  ")
    screen.press("x\r\x1b\r\x0fs")  # what else ends a line is no answer
    screen.until("skipped a: kept the one that is there")
    screen.until(PROMPT)
    screen.press("get a\r")
    screen.until("Ctrl-C for none of it")
    screen.press("\x03")
    screen.until("get: stopped")
    screen.until(PROMPT)
    assert (tmp_path / "here" / "a").read_bytes() == b"here"
    screen.press("get a\r")
    screen.until("Ctrl-C for none of it")
    screen.press("o")
    screen.until("retrieved a: 5 B .* replaced the old one")
    screen.press("pwd\r")
    screen.until("\r\n/\r\n")


def test_candidates_are_shown_with_size_and_date(screen: Screen, tmp_path: Path) -> None:
    for name in ("part1", "part2"):
        (tmp_path / "there" / name).write_bytes(b"x" * 1200)
    screen.press("get pa\t")
    screen.until(r"part1 +1\.2 kB  20\d\d-(?s:.)*part2 +1\.2 kB  20")


def test_another_program_gets_the_terminal(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "there" / "a").write_bytes(b"one\n")
    screen.press("!read -p 'name: ' x; echo got $x\r")
    screen.until("\nname: ")
    screen.press("me\r")
    screen.until("got me")
    screen.until(PROMPT)
    screen.press("edit a\r")
    screen.until("stored /a")
    assert (tmp_path / "there" / "a").read_bytes() == b"ONE\n"


def test_a_program_that_has_the_terminal_has_ctrl_c_to_itself(screen: Screen) -> None:
    # It takes a moment, in which it would be ended if Ctrl-C were anybody else's.
    screen.press("!trap 'sleep 0.2; echo caught' INT; echo ready; read x; read x; echo got $x\r")
    screen.until("\nready")
    screen.press("\x03")
    screen.until("caught")
    screen.press("me\rand me\r")
    screen.until("\ngot .*me")
    screen.until(PROMPT)
    screen.press("!echo ready; read x\r")
    screen.until("\nready")
    screen.press("\x03")
    screen.until(r"local: stopped\.")
    screen.until(PROMPT)


@pytest.fixture
def plain(tmp_path: Path, environment: dict[str, str], server: Server) -> Iterator[Screen]:
    screen = Screen(
        tmp_path / "here", {**environment, "NO_COLOR": "1"}, "127.0.0.1", str(server.port), keeps_codes=True
    )
    try:
        yield screen
    finally:
        screen.close()


def test_no_color_means_none(plain: Screen, tmp_path: Path) -> None:
    (tmp_path / "there" / "folder").mkdir()
    plain.until(PROMPT)
    plain.press("ls\r")
    assert "\x1b[34" not in plain.until("1 folder")
    plain.press("nonsense\r")
    assert "\x1b[31" not in plain.until("no such command")
