"""The program in a real terminal, with a server that has TLS: its questions, and what of the answers is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import secured
from screens import Screen, environment
from test_terminal import piped

__all__ = ["environment"]


@pytest.fixture
def server(tmp_path: Path, environment: dict[str, str]) -> Iterator[secured.Server]:
    with secured.serving(tmp_path / "there") as server:
        yield server


@pytest.fixture
def screen(tmp_path: Path, environment: dict[str, str], server: secured.Server) -> Iterator[Screen]:
    """Asked about the server."""
    screen = Screen(tmp_path / "here", {**environment, "HOME": str(tmp_path)}, "--tls", "127.0.0.1", str(server.port))
    try:
        asked = screen.until(r"Trust it from now on\? \[y/N\]")
        assert re.sub(r"\s", "", asked).count(server.fingerprint) == 1
        yield screen
    finally:
        screen.close()


def test_trust_and_a_password_that_is_not_seen(screen: Screen, server: secured.Server, tmp_path: Path) -> None:
    screen.press("yes\r")
    screen.until(r"as anonymous, with TLS\. Now all commands work(?s:.)*127\.0\.0\.1:/>")
    screen.press("close\r")
    screen.until("ftpsvc>")
    screen.press(f"connect mia@127.0.0.1 {server.port}\r")
    screen.until(r"Password of mia on 127\.0\.0\.1:")
    screen.press("s3cr3t\r")
    assert "s3cr3t" not in screen.until("connect: 530 .*")
    screen.until("ftpsvc>")
    screen.press("quit\r")
    assert screen.ends() == 0
    state = tmp_path / "state" / "ftpsvc"
    assert (state / "history").read_text().splitlines() == ["close", f"connect mia@127.0.0.1 {server.port}", "quit"]
    assert (state / "known_servers").read_text() == f"127.0.0.1 {server.port} {server.fingerprint}\n"


def test_a_password_that_is_pasted_with_the_end_of_its_line(screen: Screen, server: secured.Server) -> None:
    screen.press("yes\r")
    screen.until(r"Now all commands work(?s:.)*127\.0\.0\.1:/>")
    screen.press(f"close\rconnect mia@127.0.0.1 {server.port}\r")
    screen.until(r"Password of mia on 127\.0\.0\.1:")
    screen.press("\x1b[200~s3cr3t\r\x1b[201~\r")
    screen.until("connect: 530 .*")


def test_ctrl_c_is_no_trust(screen: Screen, tmp_path: Path) -> None:
    screen.press("\x03")
    screen.until(r"connect: stopped\. Nobody was logged in\.(?s:.)*ftpsvc>")
    screen.press("quit\r")
    assert screen.ends() == 0
    assert not (tmp_path / "state" / "ftpsvc" / "known_servers").exists()


def test_ctrl_c_at_a_password_stops_the_lines_that_were_pasted_behind_it(
    screen: Screen, server: secured.Server
) -> None:
    screen.press("yes\r")
    screen.until(r"Now all commands work(?s:.)*127\.0\.0\.1:/>")
    screen.press("\x1b[200~user mia\rmkdir meant-to-be-hers\x1b[201~\r")
    screen.until(r"Password of mia on 127\.0\.0\.1:")
    screen.press("\x03")
    screen.until(r"user: stopped\. Nobody was logged in\.")
    screen.press("ls\r")
    assert "meant-to-be-hers" not in screen.until(r"127\.0\.0\.1:/> ls(?s:.)*The folder is empty\.")


def test_a_server_on_this_machine_is_no_question(
    server: secured.Server, environment: dict[str, str], tmp_path: Path
) -> None:
    ended = piped(environment, tmp_path, "pwd\n", "127.0.0.1", str(server.port))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "as anonymous, without TLS." in ended.stdout
    ended = piped(environment, tmp_path, "pwd\n", "mia@127.0.0.1", str(server.port))
    assert ended.returncode == 1
    assert "is not known here" in ended.stderr


def test_a_script_names_the_fingerprint(server: secured.Server, environment: dict[str, str], tmp_path: Path) -> None:
    ended = piped(environment, tmp_path, "pwd\n", "--tls", "127.0.0.1", str(server.port))
    assert ended.returncode == 1
    found = re.search(r"use: connect (--fingerprint \S+ 127\.0\.0\.1 \d+)\n", ended.stderr)
    assert found
    ended = piped(environment, tmp_path, "pwd\n", *found[1].split())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("/\n")


def test_a_one_shot_command_says_what_to_type_for_it_to_be_trusted(
    server: secured.Server, environment: dict[str, str], tmp_path: Path
) -> None:
    command = ("ls", f"ftpes://127.0.0.1:{server.port}/")
    ended = piped(environment, tmp_path, "", *command)
    assert ended.returncode == 5
    found = re.search(r"use: ftpsvc (--fingerprint \S+ 127\.0\.0\.1 \d+)\n", ended.stderr)
    assert found
    assert piped(environment, tmp_path, "", *found[1].split()).returncode == 0
    assert piped(environment, tmp_path, "", *command).returncode == 0
