"""Real commands behind a real twistd: hooks that behave and that don't, and a check that keeps files out."""

from __future__ import annotations

import ftplib
import io
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import DEADLINE, Start, log_in, page, start
from ports import free_port
from streams import eventually

__all__ = ["start"]  # a fixture, which pytest finds by its name

DEPLOY = Path(__file__).parents[1] / "deploy"

#: Writes a script with this name and text; its path.
Script = Callable[[str, str], str]

#: What the tests' scanners take for a virus.
VIRUS = b"EVIL"


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def script(name: str, text: str) -> str:
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
        return str(file)

    return script


def test_a_hook_gets_the_record_as_it_is_whatever_the_name(start: Start, script: Script, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    hook = script("hook", f'cat >> {seen}; echo >> {seen}; test -z "$*"')
    server = start("--on-upload", hook, "--on-rename", hook, "--max-hooks", "1")
    name = "$(touch owned) `id`; 'x\" \\ -rf"
    with log_in(server.serving()) as client:
        client.storbinary(f"STOR {name}", io.BytesIO(b"hello"))
        client.rename(name, "b")
        client.quit()
    server.ended()
    told = {record["hook"]: record for record in map(json.loads, seen.read_text().splitlines())}
    stored, renamed = told["upload"], told["rename"]
    assert (stored["path"], stored["file"]) == (f"/{name}", str(tmp_path / "root" / name))
    assert (stored["hook"], stored["bytes"], stored["account"], stored["mode"]) == ("upload", 5, "anonymous", "passive")
    assert (renamed["path"], renamed["target"]) == (f"/{name}", "/b")
    assert not (tmp_path / "owned").exists() and not (tmp_path / "root" / "owned").exists()


def test_hooks_that_hang_fail_shout_and_are_gone_harm_nobody(start: Start, script: Script, tmp_path: Path) -> None:
    monitor = free_port()
    gone = script("gone", "exit 0")
    server = start(
        "--hook-time", "1", "--monitor", str(monitor),
        "--on-login", script("hang", "exec sleep 1000"),
        "--on-upload", script("shout", "head -c 5000000 /dev/zero | tr '\\0' x"),
        "--on-download", script("fail", "echo no such luck >&2; exit 9"),
        "--on-mkdir", gone,
    )  # fmt: skip
    with log_in(server.serving()) as client:
        os.unlink(gone)
        client.storbinary("STOR a", io.BytesIO(b"x"))
        client.retrbinary("RETR a", lambda _: None)
        client.mkd("d")
        for line in (
            "hook for upload has ended with status 0: xxx",
            "hook for download has ended with status 9: no such luck",
            "hook for mkdir could not be run: [Errno 2]",
            "hook for login was not over within 1 seconds, and was ended",
        ):
            if line not in server.log:
                server.expect(line)
            assert line in server.log
        client.voidcmd("NOOP")
        numbers = page(monitor, "/metrics")[1]
        for hook, ending in (("login", "late"), ("upload", "done"), ("download", "failed"), ("mkdir", "failed")):
            assert f'ftpsvc_hooks_total{{ending="{ending}",hook="{hook}"}} 1.0' in numbers
    assert "Traceback" not in server.ended()


def upload(client: ftplib.FTP, command: str, data: bytes) -> str:
    """The last reply."""
    try:
        return client.storbinary(command, io.BytesIO(data))
    except ftplib.Error as error:
        return str(error)


def test_what_a_check_refuses_was_never_there(start: Start, script: Script, tmp_path: Path) -> None:
    check = script("check", f"if grep -q {VIRUS.decode()}; then echo evil is in it; exit 1; fi")
    server = start("--check-upload", check)
    root = tmp_path / "root"
    (root / "old").write_bytes(b"as it was")
    with log_in(server.serving()) as client:
        for size in (10, 1_000_000):
            evil = bytes(size) + VIRUS
            for command in ("STOR old", "STOR new", "STOU", "APPE old", "APPE new"):
                assert upload(client, command, evil).startswith("550 ")
                assert sorted(os.listdir(root)) == ["old"]
                assert (root / "old").read_bytes() == b"as it was"
        assert upload(client, "STOR new", evil) == "550 /new was refused: evil is in it."
        assert upload(client, "STOR new", bytes(1_000_000)).startswith("226 ")
        assert upload(client, "APPE old", b"!").startswith("226 ")
        client.quit()
    assert (root / "old").read_bytes() == b"as it was!"
    assert (root / "new").stat().st_size == 1_000_000
    assert "Traceback" not in server.ended()


def test_a_check_that_hangs_keeps_the_file_out_for_now(start: Start, script: Script, tmp_path: Path) -> None:
    server = start("--hook-time", "1", "--check-upload", script("hang", "exec sleep 1000"))
    with log_in(server.serving()) as client:
        assert upload(client, "STOR a", b"x") == (
            "451 /a was not stored, because the check was not over within 1 seconds. Try again later."
        )
        client.quit()
    assert os.listdir(tmp_path / "root") == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_waits_for_no_command(start: Start, script: Script, tmp_path: Path, workers: str) -> None:
    hang = script("hang", f"echo >> {tmp_path}/begun; exec sleep 1000")
    server = start("--check-upload", hang, "--on-login", hang, "--workers", workers)
    with log_in(server.serving()) as client, client.transfercmd("STOR a") as data:
        data.sendall(b"x")
        data.close()
        eventually(lambda: (tmp_path / "begun").exists() and len((tmp_path / "begun").read_text()) == 2)
        server.process.terminate()
        server.expect("Stopping: ")
        server.process.terminate()
        assert client.getmultiline() == "451 /a was not stored, because the check has failed. Try again later."
    log = server.died_of(signal.SIGTERM)  # in less time than either command, or what is due at the end, would have
    assert "1 hooks were not run to their end" in log and "Traceback" not in log
    assert os.listdir(tmp_path / "root") == []


# -- the example for ClamAV


class Clamd:
    """Plays ClamAV's daemon: takes a descriptor by a Unix socket, and says whether there is a virus behind it."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "clamd.conf"
        self.config.write_text(f"LocalSocket {folder}/clamd.socket\n")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/clamd.socket")
        self._listener.listen()
        self.sizes: list[int] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        said, found = b"", list[int]()
        while not found:
            data, descriptors, _, _ = socket.recv_fds(connection, 1024, 1)
            if not data and not descriptors:
                return
            said, found = said + data, found + descriptors
        assert b"FILDES" in said
        with open(found[0], "rb") as file:
            file.seek(0)
            content = file.read()
        self.sizes.append(len(content))
        said = b"Evil.Test FOUND" if VIRUS in content else b"OK"
        connection.sendall(b"fd[10]: " + said + b"\0")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE)


def test_the_example_for_clamav(start: Start, tmp_path: Path) -> None:
    if shutil.which("clamdscan") is None:
        pytest.skip("needs clamdscan")
    clamd = Clamd(tmp_path)
    server = start("--check-upload", f"{DEPLOY / 'check-upload-clamd'} --config-file={clamd.config}")
    with log_in(server.serving()) as client:
        for size in (10, 300_000):
            assert upload(client, "STOR a", bytes(size) + VIRUS) == "550 /a was refused: Evil.Test was found in it."
            assert upload(client, "STOR b", bytes(size)).startswith("226 ")
        clamd.close()
        assert upload(client, "STOR a", b"x") == (
            "451 /a was not stored, because the virus scanner can't be reached. Try again later."
        )
        client.quit()
    assert sorted(clamd.sizes) == [10, 14, 300_000, 300_004]
    assert os.listdir(tmp_path / "root") == ["b"]
