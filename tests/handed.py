"""A socket that outlives the services that listen on it, handed over as systemd does: LISTEN_FDS (sd_listen_fds(3))."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from daemon import DEADLINE, ENVIRONMENT

#: twistd, with the descriptor in its place. Whoever hands one over has to know the process's number.
_TWISTD = """
import os
os.dup2(int(os.environ.pop("HANDED")), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
from twisted.scripts.twistd import run
run()
"""


class Service:
    """A process that listens on a socket which it was handed. Its log is in a file, where it can't stand still."""

    def __init__(self, words: Sequence[str], folder: Path, handed: int, log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as opened:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _TWISTD, *words],
                cwd=folder,
                env={**ENVIRONMENT, "HANDED": str(handed), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "ftp", **environment},
                pass_fds=(handed,),
                stdout=opened,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, words: str) -> None:
        """Wait until its log has something."""
        end = time.monotonic() + DEADLINE
        while words not in self.log:
            assert time.monotonic() < end and self.process.poll() is None, self.log
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.has_stopped()

    def has_stopped(self) -> None:
        """Wait for the end, which systemd takes for success: it has died of SIGTERM."""
        assert self.process.wait(DEADLINE) == -signal.SIGTERM
        assert "Traceback" not in self.log and "#critical" not in self.log, self.log

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Shared:
    """The socket: of both families, as the unit has it, on a port that the system chooses."""

    def __init__(self, logs: Path) -> None:
        """`logs`: a folder for the services' logs."""
        self._socket = socket.create_server(("::", 0), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
        self.port: int = self._socket.getsockname()[1]
        self._logs = logs
        self._services: list[Service] = []

    def serve(self, folder: Path, *words: str, **environment: str) -> Service:
        """Start a service on it, in a folder; `words` stand behind `twistd`."""
        log = self._logs / f"{len(self._services)}.log"
        service = Service(words, folder, self._socket.fileno(), log, environment)
        self._services.append(service)
        service.wait_for(f" on [::]:{self.port}; connect with")
        return service

    def close(self) -> None:
        self._socket.close()
        for service in self._services:
            service.close()
