"""`ftpsvc ctl` and the socket that it uses: at real servers, and what is shown of their answers."""

from __future__ import annotations

import contextlib
import ftplib
import json
import re
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon, Start, daemons_in, log_in
from streams import eventually

from ftpsvc import ctlcommand, ctltables
from ftpsvc.controlsocket import LOCK, SOCKET

Ctl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def start(root: Path, state: Path) -> Iterator[Start]:
    with daemons_in(root, "--state", str(state)) as start:
        yield start


@pytest.fixture
def ctl(state: Path, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Runs a command on the server with this state folder: the exit status, and what was said."""

    def ctl(*words: str, state: Path = state) -> tuple[int, str, str]:
        status = ctlcommand.main(["ctl", words[0], "--state", str(state), *words[1:]])
        return status, *capsys.readouterr()

    return ctl


@pytest.fixture
def port(start: Start) -> int:
    """Of a server that sends 100 kB a second, in pieces of ten."""
    return start("--session-rate-down", "100k", "--session-rate-up", "100k").serving()


@contextlib.contextmanager
def downloading(port: int, root: Path, name: str = "big") -> Iterator[ftplib.FTP]:
    """A client in the middle of a download."""
    (root / name).write_bytes(bytes(10_000_000))
    with log_in(port) as client:
        client.voidcmd("TYPE I")
        with client.transfercmd(f"RETR {name}") as data:
            data.recv(10_000)
            yield client
        client.close()


def greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as raw, raw.makefile("rb") as replies:
        return replies.readline()


def answer(ctl: Ctl, *words: str) -> list[dict[str, Any]]:
    status, said, _ = ctl(*words, "--json")
    assert status == 0
    return [json.loads(line) for line in said.splitlines()]


def test_the_socket_is_its_owners_only(port: int, state: Path) -> None:
    status = (state / SOCKET).stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert status.st_mode & 0o777 == 0o600
    assert (state / LOCK).stat().st_mode & 0o777 == 0o600


def test_who_shows_sessions_and_transfers(port: int, ctl: Ctl, root: Path) -> None:
    with log_in(port), downloading(port, root):
        status, said, _ = ctl("who")
        assert status == 0
        head, *rows, last = said.splitlines()
        assert head.split() == "ID ACCOUNT FROM FOR TLS DOES MOVED RATE FILE".split()
        assert re.search(r" 2  anonymous  127.0.0.1:\d+ .* sending .* of 10\.0 MB \(\d %\) .*/s  /big$", rows[0])
        assert re.search(r" 1  anonymous  127.0.0.1:\d+ .* idle$", rows[1])
        assert re.fullmatch(r"2 sessions, 1 transfer, .*/s", last)
        quiet, busy = answer(ctl, "who")
        assert (quiet["id"], quiet["state"], quiet["path"]) == (1, "idle", None)
        assert (busy["id"], busy["state"], busy["path"], busy["total"]) == (2, "sending", "/big", 10_000_000)
        assert 0 < busy["moved"] < 10_000_000


def test_who_shows_how_far_the_kernel_is_with_a_file(port: int, root: Path, ctl: Ctl) -> None:
    (root / "big").write_bytes(bytes(10_000_000))
    with log_in(port) as client:
        client.voidcmd("MODE I")
        client.putcmd("RETR big")
        eventually(lambda: 0 < answer(ctl, "who")[0]["moved"] < 10_000_000)
        client.close()


def test_kick_ends_a_session_at_rest_with_a_421(port: int, ctl: Ctl) -> None:
    with socket.create_connection(("127.0.0.1", port)) as raw, raw.makefile("rb") as replies:
        assert replies.readline().startswith(b"220 ")
        assert ctl("kick", "1")[0] == 0
        assert replies.readline() == b"421 An operator has ended this session.\r\n"
        assert replies.readline() == b""
    assert ctl("kick", "1")[::2] == (
        1,
        "ftpsvc ctl: there is no session 1. Those there are: ftpsvc ctl who\n",
    )


def test_kick_cuts_a_transfer_on_a_connection_of_its_own_and_says_so(port: int, ctl: Ctl, root: Path) -> None:
    with downloading(port, root) as client:
        assert ctl("kick", "1")[1].endswith("was ended; its transfer of /big was cut.\n")
        with pytest.raises(ftplib.error_temp, match="421 An operator has ended this session"):
            client.voidresp()
        assert answer(ctl, "who") == []


def test_ban_ends_the_sessions_from_there_and_keeps_them_out(port: int, ctl: Ctl) -> None:
    with log_in(port) as client:
        status, said, _ = ctl("ban", "127.0.0.0/8", "--time", "10m")
        assert (status, said) == (
            0,
            "127.0.0.0/8 is banned, for 10 min or the server's end; 1 session ended.\n",
        )
        with pytest.raises(ftplib.error_temp, match="421 The operator"):
            client.voidcmd("NOOP")
    assert greeting(port) == b"421 The operator of this server has banned your address.\r\n"
    (stats,) = answer(ctl, "stats")
    assert [(ban["network"], ban["why"]) for ban in stats["bans"]] == [("127.0.0.0/8", "an operator said so")]
    assert 590 < stats["bans"][0]["left"] <= 600
    assert ctl("unban", "127.0.0.0/8")[:2] == (0, "127.0.0.0/8 may come again.\n")
    log_in(port).close()
    assert ctl("unban", "127.0.0.0/8")[::2] == (
        1,
        "ftpsvc ctl: 127.0.0.0/8 isn't banned. Who is: ftpsvc ctl stats\n",
    )


def test_unban_lets_those_in_whose_logins_have_failed(start: Start, ctl: Ctl, root: Path) -> None:
    accounts = root.parent / "accounts.toml"
    accounts.touch()
    port = start("--accounts", str(accounts), "--exempt", "none", "--ban-after", "1", "--login-delay", "0").serving()
    with socket.create_connection(("127.0.0.1", port)) as raw, raw.makefile("rb") as replies:
        raw.sendall(b"USER mia\r\nPASS wrong\r\n")
        assert [line[:3] for line in (replies.readline(), replies.readline(), replies.readline())] == [
            b"220",
            b"331",
            b"530",
        ]
    assert greeting(port).startswith(b"421 1 logins from your address have failed")
    (stats,) = answer(ctl, "stats")
    assert (stats["failed_logins"], stats["banned"]) == (1, 1)
    assert ctl("unban", "127.0.0.1")[0] == 0
    assert greeting(port).startswith(b"220 ")


def test_stats_count_what_has_happened(port: int, ctl: Ctl, root: Path) -> None:
    with downloading(port, root):
        pass
    (root / "small").write_bytes(b"12345")
    with log_in(port) as client:
        client.retrbinary("RETR small", lambda _: None)
        with pytest.raises(ftplib.error_perm):
            client.retrbinary("RETR nothing", lambda _: None)

    def stats() -> dict[str, Any]:
        (one,) = answer(ctl, "stats")
        return one

    eventually(lambda: (one := stats())["complete"] + one["aborted"] + one["rejected"] == 3)
    one = stats()
    assert (one["complete"], one["aborted"], one["rejected"], one["logins"]) == (1, 1, 1, 2)
    assert one["bytes_out"] > 10_000
    assert one["bytes_in"] == 0
    (disk,) = one["disks"]
    assert disk["folder"] == str(root)
    assert 0 < disk["free"] <= disk["total"]
    status, said, _ = ctl("stats")
    assert status == 0
    assert "transfers  1 complete, 1 aborted, 1 rejected\n" in said
    assert f"free of {ctltables.display.size(disk['total'])}: {root}\n" in said


def test_reload_says_what_has_changed_and_why_nothing_has(start: Start, ctl: Ctl, root: Path) -> None:
    config = root.parent / "config.toml"
    config.write_text("idle-time = 300\n")
    start("--config", str(config)).serving()
    config.write_text("idle-time = 500\n")
    status, said, _ = ctl("reload")
    assert (status, said.splitlines()[0]) == (0, "idle-time is 500; it was 300")
    config.write_text("idle-time = 0\n")
    status, _, said = ctl("reload")
    assert (status, said.splitlines()[0][:50]) == (1, "ftpsvc ctl: nothing was changed: " + str(config)[:17])
    assert "--idle-time takes a number" in said


def test_drain_lets_nobody_in_and_transfers_go_on(port: int, ctl: Ctl, root: Path) -> None:
    with downloading(port, root):
        status, said, _ = ctl("drain")
        assert (status, said) == (
            0,
            "Nobody is let in any more. 1 session, 1 transfer; transfers may go on for 60 s."
            " The process stays until it is stopped: systemctl stop, or SIGTERM.\n",
        )
        eventually(lambda: _is_refused(port))
        (row,) = answer(ctl, "who")
        eventually(lambda: answer(ctl, "who")[0]["moved"] > row["moved"])
    eventually(lambda: answer(ctl, "who") == [])


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


# -- which server


def test_nobody_there_is_said_with_what_to_do(ctl: Ctl, state: Path) -> None:
    status, _, said = ctl("who")
    assert status == 1
    assert said == (
        f"ftpsvc ctl: no server answers at {state}/control (No such file or directory). Is it running with the same"
        " --state? Say which one is meant with --state DIR or --config FILE\n"
    )


def test_the_configuration_says_where_the_server_is(
    start: Start, root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start().serving()
    config = root.parent / "config.toml"
    config.write_text('state = "state"\n')
    assert ctlcommand.main(["ctl", "who", "--config", str(config)]) == 0
    assert capsys.readouterr().out.endswith("\n0 sessions\n")
    assert ctlcommand.main(["ctl", "who", "--config", str(config.with_name("none"))]) == 1
    assert "can't use the configuration" in capsys.readouterr().err


def test_a_killed_servers_socket_is_replaced(start: Start, ctl: Ctl, state: Path) -> None:
    first = start()
    first.serving()
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert (state / SOCKET).is_socket()
    assert "(Connection refused)" in ctl("who")[2]
    start().serving()
    assert ctl("who")[0] == 0


def test_a_second_server_leaves_the_first_ones_socket_alone_and_has_it_after_that(
    start: Start, ctl: Ctl, state: Path
) -> None:
    first = start()
    first.serving()
    with log_in(start().serving()):
        assert answer(ctl, "who") == []  # it is still the first that answers
        assert "Traceback" not in first.ended()
        (one,) = eventually(lambda: ctl("who")[0] == 0 and answer(ctl, "who"))
        assert one["account"] == "anonymous"


def test_a_socket_that_ended_in_order_is_gone(start: Start, state: Path) -> None:
    daemon = start()
    log_in(daemon.serving()).close()  # the reactor runs, and ends in order
    assert "Traceback" not in daemon.ended()
    assert not (state / SOCKET).exists()


def test_a_path_that_is_too_long_for_a_socket_is_no_hindrance(root: Path, ctl: Ctl) -> None:
    folder = root.parent / ("x" * 100) / ("y" * 100)
    with Daemon(root, "--state", str(folder)) as daemon:
        daemon.serving()
        assert (folder / SOCKET).stat().st_mode & 0o777 == 0o600
        eventually(lambda: ctl("who", state=folder)[0] == 0)
        assert "Traceback" not in daemon.ended()
        assert not (folder / SOCKET).exists()


def test_a_folder_that_can_not_be_written_keeps_nobody_from_being_served(root: Path, tmp_path: Path, ctl: Ctl) -> None:
    ours = tmp_path / "state"
    ours.mkdir()
    (ours / LOCK).mkdir()  # so that root can't write it either
    with Daemon(root, "--state", str(ours)) as daemon:
        daemon.expect("ftpsvc ctl can't reach this server")
        log_in(daemon.serving()).close()


def test_an_output_that_takes_nothing_is_one_line(
    port: int, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert ctlcommand.main(["ctl", "who", "--state", str(state)]) == 1
    assert capsys.readouterr().err == "ftpsvc ctl: what is to be said can't be written: No space left on device\n"


def test_watching_needs_a_terminal(port: int, ctl: Ctl) -> None:
    assert "--watch needs a terminal" in ctl("who", "--watch")[2]
    assert "one of them" in ctl("who", "--watch", "--json")[2]
