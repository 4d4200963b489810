"""A twistd of a test's own, in the foreground, with whatever options; and who talks to it, or looks at its pages."""

from __future__ import annotations

import contextlib
import ftplib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import nursery
import pytest

import ftpsvc

#: A start takes half a second; whatever one waits for as long as this, in seconds, has failed.
DEADLINE = 30

#: The same ftpsvc that the test imports.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ftpsvc.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
FOREGROUND = (*TWISTD, "-n", "--pidfile=")

LOCAL = "tcp:0:interface=127.0.0.1"


class Process:
    """A server under way, which logs to its output."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """`folder`: where it is started. `environment`: what it has besides ours."""
        self.process = nursery.Child(
            command,
            cwd=folder,
            env={**ENVIRONMENT, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = ""
        self.port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """If it neither speaks nor ends, it is ended, and whoever reads from it finds the end."""
        deadline = threading.Timer(DEADLINE, self.process.kill)
        deadline.start()
        try:
            yield
        finally:
            deadline.cancel()
            deadline.join()

    def expect(self, text: str) -> str:
        """Wait for a line with this text."""
        assert self.process.stdout is not None
        with self._in_time():
            for line in self.process.stdout:
                self.log += line
                if text in line:
                    return line
        raise AssertionError(f"it ended without {text!r}:\n{self.log}")

    def serving(self) -> int:
        """Wait until it serves; the port."""
        match = re.search(r"on 127\.0\.0\.1:(\d+); connect with", self.expect("; connect with: "))
        assert match is not None, self.log
        self.port = int(match[1])
        return self.port

    def died_of(self, number: signal.Signals) -> str:
        """Wait for the end that a signal has brought; all that it has logged."""
        with self._in_time():
            self.log += self.process.communicate()[0]
        assert self.process.returncode == -number  # as twistd does: it cleans up, and then lets the signal have its way
        return self.log

    def ended(self) -> str:
        """End it in order; all that it has logged."""
        self.process.send_signal(signal.SIGTERM)
        return self.died_of(signal.SIGTERM)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @contextlib.contextmanager
    def session(self) -> Iterator[Conversation]:
        with Conversation(self.port) as talk:
            talk.expect("220")
            talk.say("USER anonymous", "PASS x", "MODE I")
            talk.expect("331", "230", "200")
            yield talk


class Daemon(Process):
    """A twistd that serves a folder."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        twistd: tuple[str, ...] = (),
        endpoint: str = LOCAL,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`twistd`: options of twistd's own."""
        command = (*FOREGROUND, *twistd, "ftpsvc", "--port", endpoint, "--root", str(folder), *options)
        super().__init__(command, folder.parent, environment)


#: Starts one with these options, in a folder of the test's.
Start = Callable[..., Daemon]


@contextlib.contextmanager
def daemons_in(folder: Path, *always: str) -> Iterator[Start]:
    """Starts them over this folder, with these options and those that it is called with; all are gone at the end."""
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as started:

        def start(*options: str, **settings: Any) -> Daemon:
            return started.enter_context(Daemon(folder, *always, *options, **settings))

        yield start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with daemons_in(tmp_path / "root") as start:
        yield start


class Conversation:
    """A client of lines and bytes, blocking."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._lines = self._connection.makefile("rb")

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._connection.close()

    def say(self, *lines: str) -> None:
        self._connection.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def expect(self, *words: str) -> None:
        """The next lines, by the first word of each."""
        for word in words:
            assert (line := self._lines.readline().decode()).split()[:1] == [word], line

    def expect_end(self) -> None:
        """Nothing more comes: not a byte, and then the end or a reset."""
        try:
            assert self._lines.readline() == b""
        except ConnectionResetError:
            pass


def log_in(port: int) -> ftplib.FTP:
    """A client that is not ours, logged in as anybody."""
    client = ftplib.FTP(timeout=DEADLINE)
    client.connect("127.0.0.1", port)
    client.login()
    return client


def page(port: int, path: str) -> tuple[int, str]:
    """The status and the text of one of the monitor's pages."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
