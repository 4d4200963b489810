"""A twistd of a test's own, in the foreground, with whatever options; and the monitor's pages, as others get them."""

from __future__ import annotations

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
from collections.abc import Callable
from pathlib import Path

import ftpsvc

#: A start takes half a second; whatever takes this long, in seconds, has failed.
DEADLINE = 30

#: The same ftpsvc that the test imports.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ftpsvc.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}

TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")


class Daemon:
    """Serves a folder."""

    def __init__(self, folder: Path, *options: str, twistd: tuple[str, ...] = ()) -> None:
        """`twistd`: options of twistd's own."""
        command = (*TWISTD, *twistd, "ftpsvc", "--port", "tcp:0:interface=127.0.0.1", "--root", str(folder), *options)
        self.process = subprocess.Popen(
            command, cwd=folder.parent, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # If it neither speaks nor ends, it is ended, and whoever reads from it finds the end.
        self._deadline = threading.Timer(DEADLINE, self.process.kill)
        self._deadline.start()
        self.log = ""

    def expect(self, text: str) -> str:
        """Wait for a line with this text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log += line
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}:\n{self.log}")

    def serving(self) -> int:
        """Wait until it serves; the port."""
        match = re.search(r"on 127\.0\.0\.1:(\d+); connect with", self.expect("; connect with: "))
        assert match is not None, self.log
        return int(match[1])

    def ended(self) -> str:
        """End it in order; all that it has logged."""
        self.process.send_signal(signal.SIGTERM)
        self.log += self.process.communicate()[0]
        return self.log

    def close(self) -> None:
        self._deadline.cancel()
        self._deadline.join()
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


#: Starts one with these options, in a folder of the test's.
Start = Callable[..., Daemon]


def log_in(port: int) -> ftplib.FTP:
    """A client that is not ours, logged in as anybody."""
    client = ftplib.FTP(timeout=DEADLINE)
    client.connect("127.0.0.1", port)
    client.login()
    return client


def free_port() -> int:
    """A port that nobody listens on, for what doesn't tell which one the system has given it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def page(port: int, path: str) -> tuple[int, str]:
    """The status and the text of one of the monitor's pages."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
