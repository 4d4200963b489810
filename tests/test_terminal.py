"""The program itself: in a real terminal, and with its input from a pipe, with a server in another process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import nursery
import pytest
import support
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from screens import DEADLINE, PROMPT, WHERE, Drawing, Screen, Server, environment, screen, server
from streams import eventually
from twisted.internet.defer import CancelledError, Deferred

from ftpsvc import model
from ftpsvc.terminal import MAX_HISTORY, LineHistory, Terminal

__all__ = ["environment", "screen", "server"]  # fixtures, which pytest finds by their names

IN_PIPE = (
    "import sys; from ftpsvc.program import main; code = main(); "
    "sys.exit('prompt_toolkit was imported' if 'prompt_toolkit' in sys.modules else code)"
)


def test_list_retrieve_store_and_quit(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "there" / "my notes.txt").write_bytes(b"x" * 1234)
    screen.press("list\r")
    screen.until(r"1\.2 kB .* my notes\.txt\r\n1 file, 1\.2 kB\r\n")
    screen.until(PROMPT)
    screen.press("retrieve my\t")
    screen.until(r"\\ notes\.txt")
    screen.press("\r")
    screen.until(r"retrieved my\\ notes\.txt: 1\.2 kB in .*, digest checked\r\n")
    screen.until(PROMPT)
    screen.press('store "my\t')
    screen.until(r'notes\.txt"')
    screen.press("copy.txt\r")
    screen.until(r"stored my\\ notes\.txt as /copy\.txt: 1\.2 kB in .*, digest checked\r\n")
    screen.press("quit\r")
    assert screen.ends() == 0
    assert (tmp_path / "here" / "my notes.txt").read_bytes() == b"x" * 1234
    assert (tmp_path / "there" / "copy.txt").read_bytes() == b"x" * 1234
    history = tmp_path / "state" / "ftpsvc" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert history.read_text().splitlines()[0] == "list"


def test_ctrl_c_stops_a_transfer_and_not_the_shell(screen: Screen, server: Server, tmp_path: Path) -> None:
    with open(tmp_path / "there" / "big", "wb") as big:
        big.truncate(4 * 10**9)
    screen.press("retrieve big\r")
    eventually(lambda: support.parts_in(tmp_path / "here"))
    with server.held():  # in its first moments, so that little of it comes
        screen.until(r"big \[#*\.+\] +\d+ %  .*B/s")
        screen.press("\x03")
        screen.until(r"retrieve: stopped at .* of 4\.0 GB \(\d+ %\)\. Nothing was written locally\.")
        screen.until(PROMPT)
    assert support.take_part(tmp_path / "here")
    screen.press("pwd\r")
    screen.until("\r\n/\r\n")
    screen.until(PROMPT)
    screen.press("\x04")
    assert screen.ends() == 0


def test_ctrl_c_at_the_prompt_clears_the_line(screen: Screen) -> None:
    screen.press("nonsense\x03")
    screen.until("nonsense(?s:.)*/>")
    screen.press("pwd\r")
    assert "no such command" not in screen.until("\r\n/\r\n")


@pytest.mark.parametrize(("line", "shown"), [("rm -r one", r"\[n\]o"), ("!echo ready; exec sleep 60", "\nready")])
def test_ctrl_c_stops_the_lines_that_were_pasted_behind_it_too(
    screen: Screen, tmp_path: Path, line: str, shown: str
) -> None:
    screen.press(f"\x1b[200~mkdir one\r{line}\rmkdir two\x1b[201~\r")
    screen.until(shown)
    screen.press("\x03")
    screen.until("stopped")
    screen.press("mkdir three\r")
    screen.until("made /three\r\n")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["one", "three"]


def test_what_is_pasted_at_a_question_does_not_look_like_its_answer(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "there" / "one").mkdir()
    screen.press("rm -r one\r")
    screen.until(r"\[n\]o")
    screen.press("\x1b[200~yes\x1b[201~n")
    assert "yes" not in screen.until("nothing was removed")


def test_lines_that_are_pasted_together_are_commands_of_their_own(screen: Screen, tmp_path: Path) -> None:
    screen.press("\x1b[200~mkdir one\rmkdir two\x1b[201~\r")
    screen.until(r"made /one\r\n(?s:.)*made /two\r\n")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["one", "two"]


def test_a_line_that_was_pasted_below_another_is_completed_by_itself(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "there" / "summer").mkdir()
    screen.press("\x1b[200~pwd\rls su\x1b[201~\t")
    screen.until("mmer/")
    screen.press("\r")
    screen.until("The folder is empty")


def test_typing_goes_on_while_a_completion_waits_for_the_server(screen: Screen, server: Server) -> None:
    with server.held():
        screen.press("help \x08\x08\x08\x08\x08list x\t")
        screen.until("x")  # no more of it: what was drawn before, the space as well, is not drawn again
        screen.press("yz")
        screen.until("yz")
    screen.press("\r")
    screen.until(r'list: no "xyz" in /')


def test_a_server_that_went_away_is_noticed(screen: Screen, server: Server) -> None:
    server.process.kill()
    server.process.wait()
    screen.press("list\r")
    screen.until(rf"list: .* Use: connect 127\.0\.0\.1 {server.port}")
    screen.until("ftpsvc>")
    screen.press(f"connect 127.0.0.1 {server.port}\r")
    screen.until(r"nothing listens")


def test_a_signal_to_end_leaves_the_terminal_in_order(screen: Screen) -> None:
    screen.process.terminate()
    assert screen.ends() == 128 + signal.SIGTERM
    assert "Traceback" not in screen._drawing.text


@pytest.mark.parametrize(
    "ask", [lambda terminal: terminal.ask("Replace?", "yn"), lambda terminal: terminal.secret("?")]
)
def test_a_question_is_stopped_as_anything_else_is(
    tmp_path: Path, ask: Callable[[Terminal], Coroutine[Any, Any, str]]
) -> None:
    loop = asyncio.new_event_loop()
    terminal = Terminal(loop, tmp_path / "history")

    async def stopped() -> None:
        asking = Deferred.fromCoroutine(ask(terminal))
        await asyncio.sleep(0)
        asking.cancel()
        await asking.asFuture(loop)

    with create_pipe_input() as typed, create_app_session(typed, DummyOutput()), pytest.raises(CancelledError):
        loop.run_until_complete(stopped())
    loop.close()


@pytest.mark.parametrize("size", range(1, 8))
def test_what_is_drawn_is_the_same_wherever_it_is_cut(size: int) -> None:
    drawn = f"\x1b[?25l\x1b[1;34mcafé\x1b[0m{WHERE}/\x1b[12D>{WHERE} €".encode()
    drawing = Drawing()
    for at in range(0, len(drawn), size):
        drawing.add(drawn[at : at + size])
    assert (drawing.text, drawing.asked) == ("café/> €", 2)


# -- without a terminal --------------------------------------------------------------------------------------


def piped(environment: dict[str, str], folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-c", IN_PIPE, *arguments)
    return nursery.run(command, input=script, text=True, env=environment, cwd=folder, timeout=DEADLINE)


def test_a_script_goes_on_after_a_failure_and_ends_with_1(
    server: Server, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "there" / "a").write_bytes(b"x")
    script = f"connect 127.0.0.1 {server.port}\nretrieve nosuch\nretrieve a"
    ended = piped(environment, tmp_path / "here", script)
    assert ended.returncode == 1
    assert ended.stderr == 'retrieve: no "nosuch" in / (550).\n'
    assert "retrieved a: 1 B" in ended.stdout
    assert "\x1b" not in ended.stdout and "> " not in re.sub(r"<\w+> ", "", ended.stdout)
    assert (tmp_path / "here" / "a").read_bytes() == b"x"


def test_a_script_without_failures_ends_with_0(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    ended = piped(environment, tmp_path, "pwd\nquit\nnonsense\n", "127.0.0.1", str(server.port))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("/\n")


def test_letters_that_the_locale_does_not_have_are_shown_in_some_way(
    server: Server, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "there" / "é").touch()
    variables = {**environment, "PYTHONIOENCODING": "ascii"}
    command = (sys.executable, "-c", IN_PIPE, "127.0.0.1", str(server.port))
    ended = subprocess.run(command, input=b"list\n", capture_output=True, env=variables, timeout=DEADLINE)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.endswith(b"  \\xe9\n1 file, 0 B\n")


def test_a_startup_that_quits_is_the_end(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "ftpsvc").mkdir()
    (tmp_path / "ftpsvc" / "startup").write_text("help pwd\nquit\nhelp lpwd\n")
    ended = piped(environment, tmp_path, "help lpwd\n", "192.0.2.1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "folder of the server." in ended.stdout and "Example: lpwd" not in ended.stdout


def test_a_script_in_a_file(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "script").write_text("help pwd\n")
    with open(tmp_path / "script") as script:
        command = (sys.executable, "-c", IN_PIPE)
        ended = subprocess.run(command, stdin=script, capture_output=True, env=environment, timeout=DEADLINE)
    assert ended.returncode == 0
    assert b"Show the current folder of the server." in ended.stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_from_the_beginning(environment: dict[str, str], closed: str) -> None:
    command = ("/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, IN_PIPE)
    ended = subprocess.run(command, input=b"help pwd\n", capture_output=True, env=environment, timeout=DEADLINE)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("is_full", [False, True])
def test_an_output_that_takes_not_even_the_welcome(environment: dict[str, str], tmp_path: Path, is_full: bool) -> None:
    full, (reading, writing) = os.open("/dev/full", os.O_WRONLY), os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            (sys.executable, "-c", IN_PIPE),
            input=b"!touch carried-out\n",
            stdout=full if is_full else writing,
            stderr=subprocess.PIPE,
            env={**environment, "PYTHONUNBUFFERED": ""},
            cwd=tmp_path,
            timeout=DEADLINE,
        )
    finally:
        os.close(full)
        os.close(writing)
    said = b"what is to be said can't be written: No space left on device.\n"
    assert (ended.returncode, ended.stderr) == (1, said * is_full)
    assert (tmp_path / "carried-out").exists() == is_full


def test_a_folder_that_is_gone(environment: dict[str, str], tmp_path: Path, server: Server) -> None:
    (tmp_path / "gone").mkdir()
    script = 'rmdir ../gone; exec "$0" -c "$1" 127.0.0.1 "$2"'
    command = ("/bin/sh", "-c", script, sys.executable, IN_PIPE, str(server.port))
    variables = {**environment, "HOME": str(tmp_path)}
    ended = subprocess.run(
        command, input=b"lpwd", capture_output=True, env=variables, cwd=tmp_path / "gone", timeout=DEADLINE
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.endswith(b"\n%s\n" % bytes(tmp_path))


def test_ctrl_c_ends_a_script(environment: dict[str, str], tmp_path: Path) -> None:
    command = (sys.executable, "-c", IN_PIPE)
    with nursery.Child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"help pwd\n")
        process.stdin.flush()
        while b"Example: pwd" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 128 + signal.SIGINT


@pytest.mark.parametrize(("option", "text"), [("--version", "ftpsvc "), ("--help", "usage: ftpsvc")])
def test_options(environment: dict[str, str], tmp_path: Path, option: str, text: str) -> None:
    ended = piped(environment, tmp_path, "", option)
    assert ended.returncode == 0
    assert ended.stdout.startswith(text)


# -- the history ---------------------------------------------------------------------------------------------


def test_the_history_is_kept_the_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "a" / "history"
    history = LineHistory(path)
    for line in ("list", "get caf\udce9", " secret", "two\nlines", "pasted\n"):
        history.append_string(line)
    assert list(LineHistory(path).load_history_strings()) == ["pasted", "get caf\udce9", "list"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nobody_is_asked_in_the_middle_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    terminal = Terminal(loop, tmp_path / "history")
    monkeypatch.setattr(terminal, "_session", object())
    for asked in (terminal.answer("Trust it?"), terminal.secret("Password: ")):
        with pytest.raises(model.NotLoggedIn):
            support.result_of(asked)
    loop.close()


def test_the_history_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("".join(f"{number}\n" for number in range(MAX_HISTORY + 5)))
    assert len(list(LineHistory(path).load_history_strings())) == MAX_HISTORY // 2
    assert path.read_text().splitlines()[-1] == str(MAX_HISTORY + 4)
    assert len(path.read_text().splitlines()) == MAX_HISTORY // 2


def test_a_history_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = LineHistory(tmp_path / "file" / "history")
    history.append_string("list")
    assert list(history.load_history_strings()) == []
