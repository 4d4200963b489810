"""A server of two processes, for tests: how it is started, talked to, and given orders."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nursery
from daemon import DEADLINE, ENVIRONMENT, FOREGROUND, LOCAL, Conversation
from streams import eventually


class Gang:
    """A server of two workers, that serves the folder it was started in."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = (*FOREGROUND, "ftpsvc", "--port", LOCAL, "--workers", "2")
        self.process = nursery.Child(
            (*command, "--anonymous", "write", *options),
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = ""
        self._news = threading.Condition()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        self.port = int(self.logged(r"on 127\.0\.0\.1:(\d+); connect with")[1])
        self.pids = {n: int(self.logged(rf"Worker {n} serves, as process (\d+)")[1]) for n in (1, 2)}

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.log += line
                self._news.notify_all()

    def logged(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Wait until the log has this, behind so many characters."""
        with self._news:
            assert self._news.wait_for(lambda: re.search(pattern, self.log[since:]), DEADLINE), self.log
            match = re.search(pattern, self.log[since:])
            assert match is not None
            return match

    @contextlib.contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Who connects now comes to this worker, because the other one stands still.

        By themselves they share as the system lets them run: where the machine is busy one may have had all.
        """
        other = self.pids[3 - worker]
        os.kill(other, signal.SIGSTOP)
        try:
            eventually(lambda: Path(f"/proc/{other}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            yield
        finally:
            os.kill(other, signal.SIGCONT)

    def visit(self, worker: int) -> Conversation:
        """A new connection to this worker, greeted."""
        with self.only(worker):
            talk = Conversation(self.port)
            talk.expect("220")
        return talk

    def talk(self) -> tuple[Conversation, int]:
        """A new session, logged in, and the worker that has it."""
        talk = Conversation(self.port)
        talk.expect("220")
        log_in(talk)
        return talk, self.worker_of(talk)

    def worker_of(self, talk: Conversation) -> int:
        port = talk._connection.getsockname()[1]
        # Records of one moment share an entry, whose other lines are indented.
        return int(self.logged(rf"\[worker (\d) (?:[^\n]|\n\t)*127\.0\.0\.1:{port}: connected")[1])

    def talks(self) -> dict[int, Conversation]:
        """A session at each worker, logged in."""
        talks = {worker: self.visit(worker) for worker in (1, 2)}
        for worker, talk in talks.items():
            log_in(talk)
            assert self.worker_of(talk) == worker
        return talks

    def leave(self, talk: Conversation) -> None:
        """Close it, and wait until that was noticed."""
        port = talk._connection.getsockname()[1]
        close(talk)
        self.logged(rf"127\.0\.0\.1:{port}: The connection was lost")

    def ended(self) -> str:
        """All that was logged, once it has ended."""
        self.process.wait(DEADLINE)
        self._reading.join(DEADLINE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.log


@contextlib.contextmanager
def gangs_in(folder: Path) -> Iterator[Callable[..., Gang]]:
    """Starts them there, with the options that it is called with; all are gone at the end."""
    gangs: list[Gang] = []

    def start(*options: str) -> Gang:
        gangs.append(Gang(folder, *options))
        return gangs[-1]

    try:
        yield start
    finally:
        for gang in gangs:
            gang.process.kill()
            gang.ended()


def log_in(talk: Conversation) -> None:
    talk.say("USER anonymous", "PASS x", "MODE I")
    talk.expect("331", "230", "200")


def close(*talks: Conversation) -> None:
    for talk in talks:
        talk.__exit__()


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        return str(answer.read().decode())


def ctl(state: Path, *words: str) -> list[dict[str, Any]]:
    """What `ftpsvc ctl` says."""
    program = "from ftpsvc.program import main; raise SystemExit(main())"
    command = (sys.executable, "-c", program, "ctl", words[0], "--json", "--state", str(state), *words[1:])
    ended = nursery.run(command, env=ENVIRONMENT, text=True, timeout=DEADLINE)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def moved(state: Path) -> list[dict[str, Any]]:
    """The transfers under way, once there is one."""
    rows: list[dict[str, Any]] = eventually(lambda: [row for row in ctl(state, "who") if row["moved"]])
    return rows
