"""The program in a real terminal, with a server in another process."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import nursery
import pytest
import serverprocess

#: Whatever takes this many seconds has failed. Where the machine is busy, the program may take several to start.
DEADLINE = 20.0

#: The program, as the console script runs it, with the terminal that it is started on for its own.
IN_TERMINAL = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from ftpsvc.program import main; sys.exit(main())"
)
#: The space behind it is drawn by moving the cursor.
PROMPT = "127.0.0.1:/>"


#: What asks a terminal where its cursor is. Without an answer prompt_toolkit shows no toolbar.
WHERE = "\x1b[6n"

#: Where it is drawn, and in which colour; and the beginning of such a code, whose rest has yet to come.
CODE, BEGUN_CODE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]"), re.compile(r"\x1b(\[[0-9;?]*)?\Z")


class Drawing:
    """What is drawn, as text. It comes in pieces that are cut anywhere, in a letter and in a code too."""

    def __init__(self, keeps_codes: bool = False) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._begun = ""
        self._keeps_codes = keeps_codes
        self.text = ""
        #: How often the terminal was asked where its cursor is.
        self.asked = 0

    def add(self, piece: bytes) -> None:
        drawn = self._begun + self._decode(piece)
        begun = BEGUN_CODE.search(drawn)
        end = begun.start() if begun else len(drawn)
        drawn, self._begun = drawn[:end], drawn[end:]
        self.asked += drawn.count(WHERE)
        self.text += drawn if self._keeps_codes else CODE.sub("", drawn)


class Server:
    """A server process that serves a folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        command = (sys.executable, "-c", serverprocess.RUN, str(folder))
        self.process = nursery.Child(command, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """It neither reads nor answers, and its connections stand."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class Screen:
    """The program in a terminal: keys are pressed, and what is drawn is waited for."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str, keeps_codes: bool = False) -> None:
        self._drawing = Drawing(keeps_codes)
        self._answered = 0
        self._keyboard, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (30, 100))
        command = (sys.executable, "-c", IN_TERMINAL, *arguments)
        self.process = nursery.Child(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env=environment,
            start_new_session=True,
            nursery=nursery.SHELL,
        )
        os.close(terminal)

    def press(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def until(self, pattern: str) -> str:
        """Wait until this has been drawn since the last time; everything up to there."""
        end = time.monotonic() + DEADLINE
        while (match := re.search(pattern, self._drawing.text)) is None:
            ready, _, _ = select.select([self._keyboard], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{pattern!r} was never drawn; this was: {self._drawing.text!r}"
            self._read()
        seen, self._drawing.text = self._drawing.text[: match.end()], self._drawing.text[match.end() :]
        return seen

    def _read(self) -> None:
        """Take what is drawn. Raises `OSError` when nobody has the terminal any more."""
        self._drawing.add(os.read(self._keyboard, 1 << 16))
        while self._answered < self._drawing.asked:
            self._answered += 1
            self.press("\x1b[1;1R")

    def ends(self) -> int:
        """Wait for the end; its exit code."""
        # What is drawn last must be taken, or the process would wait for that.
        with contextlib.suppress(OSError):
            while True:
                self._read()
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._keyboard)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with serverprocess.python_path() as path:
        return {
            **path,
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "XDG_CONFIG_HOME": str(tmp_path),
            "TERM": "xterm",
            "EDITOR": "sed -i s/one/ONE/",
        }


@pytest.fixture
def server(tmp_path: Path, environment: dict[str, str]) -> Iterator[Server]:
    server = Server(tmp_path / "there", environment)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def screen(tmp_path: Path, environment: dict[str, str], server: Server) -> Iterator[Screen]:
    """Connected."""
    screen = Screen(tmp_path / "here", environment, "127.0.0.1", str(server.port))
    try:
        screen.until(r"Now all commands work(?s:.)*127\.0\.0\.1:/>")
        yield screen
    finally:
        screen.close()
