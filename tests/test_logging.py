"""A real twistd's logs: as JSON, in files that are moved away while it runs, and as the xferlog."""

from __future__ import annotations

import ftplib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import nursery
import pytest
from daemon import DEADLINE, ENVIRONMENT, FOREGROUND, Start, log_in, start
from ports import free_port
from streams import eventually

__all__ = ["start"]  # a fixture, which pytest finds by its name


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def port_in(lines: list[dict[str, Any]]) -> int:
    (found,) = [line["message"] for line in lines if "; connect with: " in line["message"]]
    return int(found.split("on 127.0.0.1:")[1].split(";")[0])


def test_all_that_is_logged_can_be_json_and_each_way_has_its_name(start: Start) -> None:
    server = start("--log-format", "json")
    server.expect("; connect with: ")
    port = port_in(events(server.log))
    with log_in(port) as client:
        client.storbinary("STOR a", io.BytesIO(b"x\n" * 50_000))
        client.set_pasv(False)
        client.retrlines("RETR a", lambda _: None)
        client.delete("a")
        client.quit()
    with ftplib.FTP_TLS(context=None) as client:
        client.connect("127.0.0.1", port, DEADLINE)
        client.login()
        client.prot_p()
        client.storbinary("STOR b", io.BytesIO(b"y"))
        client.quit()
    lines = events(server.ended())
    moved = [line for line in lines if line["event"] == "transfer"]
    assert [(line["verb"], line["mode"], line["tls"], line["ascii"], line["bytes"]) for line in moved] == [
        ("STOR", "passive", False, False, 100_000),
        ("RETR", "active", False, True, 150_000),
        ("STOR", "passive", True, False, 1),
    ]
    assert [line["event"] for line in lines if line.get("session") == 2] == [
        "connected", "logged in", "transfer", "ended"
    ]  # fmt: skip
    assert [line["tls"] for line in lines if line.get("session") == 2] == [False, True, True, True]
    assert [line["path"] for line in lines if line["event"] == "change"] == ["/a"]
    assert any("starting up" in line["message"] for line in lines)  # twistd's own are there too
    assert all(line["time"].endswith("Z") and line["level"] for line in lines)


@pytest.mark.parametrize("where", ["--log", "--logfile"])
def test_a_log_that_was_moved_away_goes_on_in_a_new_file(start: Start, tmp_path: Path, where: str) -> None:
    """As logrotate does it, and twistd's own files don't."""
    log, xferlog = tmp_path / "the.log", tmp_path / "xferlog"
    ours = ("--log", str(log)) if where == "--log" else ()
    server = start(*ours, "--xferlog", str(xferlog), twistd=() if ours else ("--logfile", str(log)))
    text = eventually(lambda: "; connect with: " in log.read_text() and log.read_text() if log.exists() else "")
    port = int(text.split("on 127.0.0.1:")[1].split(";")[0])
    with log_in(port) as client:
        client.storbinary("STOR first", io.BytesIO(b"x"))
        eventually(lambda: "STOR /first complete" in log.read_text() and xferlog.read_text())
        for file in (log, xferlog):
            file.rename(f"{file}.1")
        os.kill(server.process.pid, signal.SIGUSR1)
        eventually(lambda: xferlog.exists() and log.exists() and "was reopened" in log.read_text())
        client.storbinary("STOR second", io.BytesIO(b"x"))
        client.quit()
    server.ended()
    assert "STOR /second complete" in log.read_text()
    assert "/second" not in Path(f"{log}.1").read_text()
    assert [len(Path(file).read_text().splitlines()) for file in (xferlog, f"{xferlog}.1")] == [1, 1]
    assert server.log == ""


def test_a_log_can_be_a_fifo_whose_readers_come_and_go(start: Start, tmp_path: Path) -> None:
    log, port = tmp_path / "log", free_port()
    os.mkfifo(log)
    server = start("--log", str(log), endpoint=f"tcp:{port}:interface=127.0.0.1")
    client = eventually(lambda: connected(port))
    with client:
        for name in ("first", "second"):
            with open(log, "rb", buffering=0) as reader:
                client.storbinary(f"STOR {name}", io.BytesIO(b"x"))
                text = b""
                while b"STOR /%s complete" % name.encode() not in text:
                    text += reader.read(65_536)
            client.voidcmd("NOOP")  # nobody reads what is logged of the end of it
        client.quit()
    server.ended()


def connected(port: int) -> ftplib.FTP | None:
    try:
        return log_in(port)
    except ConnectionRefusedError:
        return None


@pytest.mark.parametrize("form", ["text", "json"])
def test_who_no_longer_reads_the_output_ends_no_server(start: Start, form: str) -> None:
    server = start("--log-format", form)
    with log_in(server.serving()) as client:
        assert server.process.stdout is not None
        server.process.stdout.close()
        for name in ("first", "second"):
            client.storbinary(f"STOR {name}", io.BytesIO(b"x"))
        client.quit()
    os.kill(server.process.pid, signal.SIGTERM)
    assert server.process.wait(DEADLINE) == -signal.SIGTERM


def test_sigusr1_ends_no_server_that_has_no_file(start: Start) -> None:
    server = start()
    with log_in(server.serving()) as client:
        os.kill(server.process.pid, signal.SIGUSR1)
        client.voidcmd("NOOP")
        client.quit()
    assert "Traceback" not in server.ended()


def refusal(*command: str, cwd: Path) -> str:
    ended = nursery.run(command, cwd=cwd, env=ENVIRONMENT, text=True, timeout=DEADLINE)
    assert ended.returncode == 1
    return ended.stderr


def test_a_log_that_can_not_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    port = f"tcp:{free_port()}:interface=127.0.0.1"
    for option in ("--log", "--xferlog"):
        said = refusal(*FOREGROUND, "ftpsvc", "--port", port, option, "nowhere/x", cwd=tmp_path)
        assert said == (
            f"ftpsvc: can't write to {tmp_path}/nowhere/x: No such file or directory."
            f" Choose a file that may be written: {option} FILE\n"
        )
    said = refusal(*FOREGROUND, "--syslog", "ftpsvc", "--port", port, "--log", "x", cwd=tmp_path)
    assert said.startswith("ftpsvc: --log and --log-format don't go with twistd's --logger and --syslog. ")
    twist = (sys.executable, "-c", "from twisted.application.twist._twist import Twist; Twist.main()")
    said = refusal(*twist, "ftpsvc", "--port", port, "--log-format", "json", cwd=tmp_path)
    assert said.startswith("ftpsvc: --log and --log-format are for twistd; ")
