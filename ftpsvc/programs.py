"""Programs that the operator has run: in threads of their own, bounded in number, time and what they say."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ftpsvc.limits import Limits
from ftpsvc.records import printable

#: How many bytes of what a program says are kept: enough for a reason, and for a reply's line.
MAX_KEPT = 1000

#: How much a program may say at all. What says more is stuck in a loop, and would keep a processor busy until its time
#: is over.
MAX_SAID = 64 * 1024 * 1024

#: What systemd has given to this process and to no other.
_OURS = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID")


class Outcome(NamedTuple):
    """How a program has ended."""

    status: int | None  #: as `subprocess` has it: negative for a signal; None if it was ended because of a limit
    text: str  #: the beginning of what it said, on one line and without control characters
    limit: str = ""  #: which limit that was, as what may be said of the program


def split(command: str, folder: str = "") -> list[str]:
    """The words of a command, the first being the program's whole path. Raises `ValueError` with what is wrong.

    `folder`: where a relative path of the program's begins, if not in the current folder.

    No shell ever sees it, nor does anything that a client has sent become a word of it.
    """
    words = shlex.split(command)
    if not words:
        raise ValueError("there is no program")
    program = shutil.which(os.path.join(folder, words[0]) if os.sep in words[0] else words[0])
    if program is None:
        raise ValueError(f"{words[0]} is no program that can be run")
    return [os.path.abspath(program), *words[1:]]


def run(
    command: Sequence[str], given: int, seconds: float, more: Mapping[str, str], running: set[Any] | None = None
) -> Outcome:
    """Run a program to its end, with a descriptor as its standard input. For a thread. Raises `OSError`.

    What it has begun and not ended is ended with it, if it exceeds its limits. `more`: environment variables beside
    our own. `running` has the process in it meanwhile.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OURS} | dict(more)
    process = subprocess.Popen(
        command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0, env=environment
    )
    running = set() if running is None else running
    running.add(process)
    try:
        with process, contextlib.ExitStack() as stack:
            stack.callback(_end, process)
            said, limit = _listen(process, seconds, stack)
            status = None if limit else process.wait()
    finally:
        running.discard(process)
    text = " ".join(printable(line.strip()) for line in _text(said).splitlines() if line.strip())
    return Outcome(status, text, limit)


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")


def _listen(process: subprocess.Popen[bytes], seconds: float, stack: contextlib.ExitStack) -> tuple[bytes, str]:
    """What a program says; and if it doesn't end within its limits, the one that it has come to."""
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    output = process.stdout.fileno()
    os.set_blocking(output, False)
    selector = stack.enter_context(selectors.DefaultSelector())
    selector.register(output, selectors.EVENT_READ)
    if hasattr(os, "pidfd_open"):
        # Its end counts, and not that of what it has left behind, which may hold the pipe for ever.
        pidfd = os.pidfd_open(process.pid)
        stack.callback(os.close, pidfd)
        selector.register(pidfd, selectors.EVENT_READ)
    kept, said = b"", 0
    while (left := deadline - time.monotonic()) > 0 and said <= MAX_SAID:
        ready = {key.fd for key, _ in selector.select(left)}
        data = _read(output)
        kept += data[: MAX_KEPT - len(kept)]
        said += len(data)
        if ready and not data:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0))
                return kept, ""
    if said > MAX_SAID:
        return kept, f"said more than {MAX_SAID >> 20} MiB"
    return kept, f"was not over within {seconds:g} seconds"


def _read(output: int) -> bytes:
    try:
        return os.read(output, 1 << 16)
    except BlockingIOError:
        return b""


def _end(process: subprocess.Popen[bytes]) -> None:
    # Not poll(), which would let the system give its number to another.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


class _Running(set[Any]):
    """The programs that run."""

    is_over = False  #: whether all are to end, also one that is just begun, in a thread, while the others are ended

    def add(self, process: Any) -> None:
        super().add(process)
        if self.is_over:
            _end(process)


class Programs:
    """Runs programs: so many at once, each for so many seconds."""

    def __init__(self, reactor: Any, limits: Callable[[], Limits]) -> None:
        """`limits`: those that hold at the moment."""
        self._reactor = reactor
        self._limits = limits
        self._pool = ThreadPool(0, self.most, "programs")
        self._running = _Running()

    @property
    def most(self) -> int:
        return self._limits().hooks

    @property
    def seconds(self) -> float:
        return self._limits().hook_time

    def start(self) -> None:
        self._pool.start()

    def run(self, command: Sequence[str], given: int, more: Mapping[str, str]) -> Deferred[Outcome]:
        """Run one, in its turn, with this descriptor as its standard input, which is closed. Fails with `OSError`."""
        self._pool.adjustPoolsize(0, self.most)
        outcome: Deferred[Outcome] = deferToThreadPool(self._reactor, self._pool, self._run, command, given, more)
        return outcome

    def _run(self, command: Sequence[str], given: int, more: Mapping[str, str]) -> Outcome:
        try:
            if self._running.is_over:
                return Outcome(None, "", "was not run, because the server stops")
            return run(command, given, self.seconds, more, self._running)
        finally:
            os.close(given)

    def hurry(self) -> None:
        """End what still runs, and let nothing else begin."""
        self._running.is_over = True
        for process in list(self._running):
            _end(process)

    def stop(self) -> None:
        """The same, and wait until it has ended."""
        self.hurry()
        self._pool.stop()
