"""One-shot commands and their standard input and output: what is poured, what is said, and when nobody takes it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shlex
import signal
import socket
import subprocess
import sys
import termios
import threading
from io import StringIO
from pathlib import Path
from typing import Any, cast

import nursery
import pytest
import serverprocess
import support
from daemon import DEADLINE
from scripts import RUN, Run, run, served

from ftpsvc import model
from ftpsvc.oneshot import kind_for
from ftpsvc.places import Here, There
from ftpsvc.targets import Target

__all__ = ["run", "served"]  # fixtures, which pytest finds by their names


class Full:
    """A server without MODE I, and without room."""

    is_inline = False

    async def open_write(self, path: str, offset: int = 0) -> Any:
        raise model.NoSpace("451 Failure writing to local file.")


def test_where_a_part_of_the_input_may_be_left_is_said(tmp_path: Path) -> None:
    stderr = StringIO()
    here = Here(support.local_disk(tmp_path), "/", "/")
    shell = kind_for("put")(support.make_clock(), cast(Any, None), here, StringIO(), stderr)
    shell._there = There(cast(Any, Full()), Target("h"))
    support.start(shell.store_input("/x", support.at_once)).result()
    assert stderr.getvalue().startswith("put: 451 Failure writing to local file. Look what /x is now: such a server")
    assert shell.failures == 1


def test_standard_input_and_output(served: tuple[Path, str], run: Run) -> None:
    folder, url = served
    data = bytes(range(256)) * 1000
    assert run("put", "-", f"{url}/piped", input=data).returncode == 0
    assert (folder / "piped").read_bytes() == data
    assert run("get", f"{url}/piped", "-").stdout == run("cat", f"{url}/piped").stdout == data


@pytest.mark.parametrize("words", [("ls",), ("ls", "--json"), ("cat",)])
def test_where_nobody_takes_what_is_said_it_ends_all_the_same(served: tuple[Path, str], words: tuple[str, ...]) -> None:
    _, url = served
    with serverprocess.python_path() as path, open("/dev/full", "wb") as full:
        command = (sys.executable, "-c", RUN, *words, f"{url}/nosuch")
        ended = subprocess.run(command, stdout=full, stderr=full, env=path, timeout=DEADLINE)
    assert ended.returncode == 7


def test_an_output_without_room_is_a_failure(served: tuple[Path, str]) -> None:
    folder, url = served
    (folder / "room").write_bytes(b"x" * 5000)
    with serverprocess.python_path() as path, open("/dev/full", "wb") as full:
        for unbuffered in ("", "1"):
            command = (sys.executable, "-c", RUN, "get", f"{url}/room", "-")
            variables = {**path, "PYTHONUNBUFFERED": unbuffered}
            ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=variables, timeout=DEADLINE)
            said = b"cat: what is to be said can't be written: No space left on device.\n"
            assert (ended.returncode, ended.stderr) == (9, said)


def test_an_input_that_cannot_be_read_is_a_failure_and_nothing_is_stored(served: tuple[Path, str], run: Run) -> None:
    folder, url = served
    script = "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 0); " + RUN
    with serverprocess.python_path() as path:
        command = (sys.executable, "-c", script, "put", "-", f"{url}/from-nowhere")
        ended = nursery.run(command, env=path, timeout=DEADLINE)
    assert (ended.returncode, ended.stderr) == (1, b"put: standard input can't be read: Bad file descriptor.\n")
    assert not (folder / "from-nowhere").exists()


#: A library that keeps a file of its own open, as libffi does: by the lowest number that is free.
KEEPING = "import os; from ftpsvc import program; imported = program.import_module; "
KEEPING += "program.import_module = lambda name: (os.open(os.__file__, os.O_RDONLY), imported(name))[1]; "


@pytest.mark.parametrize("before", ["", KEEPING])
def test_an_input_that_was_closed_is_no_file(served: tuple[Path, str], tmp_path: Path, before: str) -> None:
    folder, url = served
    (folder / "backup").write_text("the last one")
    with serverprocess.python_path() as path:
        line = f"exec {sys.executable} -c {shlex.quote(before + RUN)} put - {url}/backup <&-"
        ended = subprocess.run(line, shell=True, capture_output=True, env=path, cwd=tmp_path, timeout=DEADLINE)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.startswith(b"put: standard input can't be read: Bad file descriptor.")
    assert (folder / "backup").read_text() == "the last one"


@pytest.mark.parametrize("words", [("cat", "{}/nosuch", "{}/poured"), ("get", "{}/nosuch", "{}/poured", "-")])
def test_events_are_never_among_the_bytes_of_a_file(served: tuple[Path, str], run: Run, words: tuple[str, ...]) -> None:
    folder, url = served
    (folder / "poured").write_bytes(b"the bytes, and nothing else\n")
    ended = run(words[0], "--json", *(word.format(url) for word in words[1:]))
    assert (ended.returncode, ended.stdout) == (7, b"the bytes, and nothing else\n")
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == ["failed", "start", "done"]


def begun(tmp_path: Path, *words: str) -> nursery.Child:
    with serverprocess.python_path() as path:
        command = (sys.executable, "-c", RUN, *words)
        environment = {**path, "XDG_STATE_HOME": str(tmp_path / "state")}
        pipe = subprocess.PIPE
        return nursery.Child(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_waits_for_a_reader_who_takes_nothing(
    served: tuple[Path, str], tmp_path: Path, number: int
) -> None:
    folder, url = served
    (folder / "endless").write_bytes(bytes(8 << 20))
    with begun(tmp_path, "cat", f"{url}/endless") as process:
        assert process.stdout is not None and process.stderr is not None
        waiting = bytearray(4)
        while int.from_bytes(waiting, sys.byteorder) < 1 << 15:  # then it is in a write that has no end
            assert process.poll() is None
            fcntl.ioctl(process.stdout, termios.FIONREAD, waiting)
        process.send_signal(number)
        assert process.wait(DEADLINE) == 128 + number
        assert process.stderr.read() == b"cat: stopped.\n"


def test_a_signal_ends_what_waits_for_an_input_that_says_nothing(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    with begun(tmp_path, "put", "-", f"{url}/never") as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(bytes(1 << 20))  # more than a pipe holds: it is being read
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 143
        assert b"Traceback" not in process.stderr.read()
    assert not (folder / "never").exists()


@pytest.mark.parametrize("kind", ["pipe", "file", "nothing"])
def test_every_kind_of_input_is_read_to_its_end(served: tuple[Path, str], run: Run, tmp_path: Path, kind: str) -> None:
    folder, url = served
    data = b"" if kind == "nothing" else bytes(range(256)) * 8192
    (tmp_path / "file").write_bytes(data)
    if kind == "pipe":
        assert run("put", "-", f"{url}/read", input=data).returncode == 0
    else:
        with open(tmp_path / "file" if kind == "file" else "/dev/null", "rb") as given:
            assert run("put", "-", f"{url}/read", stdin=given).returncode == 0
    assert (folder / "read").read_bytes() == data


def test_what_comes_behind_a_connection_that_was_given_up_has_another(run: Run) -> None:
    accepted = 0

    def serve() -> None:
        nonlocal accepted
        for _ in range(2):
            connection, _ = listening.accept()
            accepted += 1
            with connection, connection.makefile("rb") as lines, contextlib.suppress(ConnectionError):
                connection.sendall(b"220 x\r\n")
                for line in lines:
                    connection.sendall(b"zzz\r\n" if line.startswith((b"SIZE", b"EPSV")) else b"230 x\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ftp://127.0.0.1:{listening.getsockname()[1]}"
        threading.Thread(target=serve, daemon=True).start()
        done = run("get", f"{url}/a", f"{url}/b", "-")
    assert (done.returncode, accepted, b"Not connected" in done.stderr) == (1, 2, False)
