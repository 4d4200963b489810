"""Programs of ours, each in a process of its own, without the third of a second that Python takes to import them.

A process that has everything imported, the nursery, makes a copy of itself for each. The copy gets its words, its
environment, its folder and its streams, and goes on as the program does: from its `main` to the end of the interpreter.
How programs start by themselves has tests of its own.

    python nursery.py DESCRIPTOR MODULE...

is such a process: it imports the modules, and then takes orders on the descriptor, until that is closed.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, Self

#: The longest order, in bytes: a program, its words, and an environment.
MAX_ORDER = 100_000

#: How many descriptors a nursery may have: four for each child under way.
MAX_DESCRIPTORS = 1024

#: How a child has ended: its exit code; less than 0, the signal that it has died of.
ENDED = struct.Struct("i")

STREAMS = ("stdin", "stdout", "stderr")


class Nursery:
    """Where programs are started that import these modules. Its process begins with the first of them."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules
        self._orders, self._taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        self._orders.close()
        self._taken.close()
        if self._process is not None:
            self._process.wait()

    def order(self, order: Mapping[str, object], descriptors: Sequence[int]) -> int:
        """Have a child born: its three streams, and what its end is told on. The number of its process."""
        if self._process is None:
            ours = str(Path(import_module("ftpsvc").__file__ or "").parents[1])
            self._process = subprocess.Popen(
                (sys.executable, __file__, str(self._taken.fileno()), *self._modules),
                pass_fds=[self._taken.fileno()],
                env={**os.environ, "PYTHONPATH": ours},
            )
        socket.send_fds(self._orders, [json.dumps(order).encode()], descriptors)
        return int(self._orders.recv(MAX_ORDER))


_COMMANDS = ("remote_files", "reading", "transfers", "trees", "unfinished")

#: For servers and one-shot commands. No reactor is among it: each child has one of its own.
PLAIN = Nursery(
    *("ftpsvc.service", "serverprocess", "twisted.scripts.twistd", "twisted.plugin", "twisted.words", "unittest"),
    *("ftpsvc.program", "ftpsvc.oneshot", "ftpsvc.resuming", *(f"ftpsvc.commands.{name}" for name in _COMMANDS)),
    *("twisted.internet.default", "twisted.internet.epollreactor", "twisted.internet.udp", "encodings.idna"),
)

#: For the shell in a terminal. Without one, and for a command, `prompt_toolkit` may not be imported.
SHELL = Nursery("ftpsvc.program", "ftpsvc.shell", "ftpsvc.terminal", "twisted.internet.default", "encodings.idna")


class Child:
    """A program under way: as much of `subprocess.Popen` as tests need, for `(sys.executable, "-c", CODE, ...)`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str = ".",
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        text: bool = False,
        start_new_session: bool = False,
        nursery: Nursery = PLAIN,
    ) -> None:
        interpreter, option, code, *words = command
        assert (interpreter, option) == (sys.executable, "-c")
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self.returncode: int | None = None
        self._text = text
        self._handed: list[int] = []
        streams = [self._stream(stdin, 0), self._stream(stdout, 1)]
        streams.append(streams[1] if stderr == subprocess.STDOUT else self._stream(stderr, 2))
        self._ended, ending = os.pipe()
        self._handed.append(ending)
        order = {"code": code, "words": words, "env": {**env}, "cwd": os.path.abspath(cwd), "leads": start_new_session}
        try:
            self.pid = nursery.order(order, [*streams, ending])
        finally:
            for descriptor in self._handed:
                os.close(descriptor)

    def _stream(self, wanted: Any, number: int) -> int:
        """The child's end of one of its streams. Ours becomes an attribute."""
        if wanted is None:
            return number
        if wanted != subprocess.PIPE:
            return wanted if isinstance(wanted, int) else int(wanted.fileno())
        reading, writing = os.pipe()
        ours, theirs = (reading, writing) if number else (writing, reading)
        mode = "r" if number else "w"
        setattr(self, STREAMS[number], os.fdopen(ours, mode if self._text else f"{mode}b"))
        self._handed.append(theirs)
        return theirs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_streams()
        self.wait()

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            (self.returncode,) = ENDED.unpack(os.read(self._ended, ENDED.size))
            os.close(self._ended)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Feed it, and take all that it says; it is ended if that takes longer than so many seconds."""
        deadline = threading.Timer(timeout or threading.TIMEOUT_MAX, self.kill)
        deadline.start()
        try:
            with ThreadPoolExecutor(2) as readers:
                said = [readers.submit(stream.read) if stream else None for stream in (self.stdout, self.stderr)]
                if self.stdin is not None:
                    self._feed(input)
                return said[0] and said[0].result(), said[1] and said[1].result()
        finally:
            self.wait()
            self._close_streams()
            deadline.cancel()
            deadline.join()

    def _feed(self, input: Any) -> None:
        assert self.stdin is not None
        try:
            with self.stdin:
                self.stdin.write(input or ("" if self._text else b""))
        except BrokenPipeError:
            pass  # it had heard enough

    def _close_streams(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()


def run(command: Sequence[str], *, timeout: float, input: Any = None, **settings: Any) -> Any:
    """As `subprocess.run` with `capture_output`."""
    given = {"stdin": subprocess.PIPE, **settings}
    child = Child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **given)
    out, err = child.communicate(input, timeout)
    return subprocess.CompletedProcess(command, child.wait(), out, err)


# -- the process


def _bring_up() -> tuple[str, list[str]]:
    """Give birth to whoever is ordered. Returns in each child, with what it is to do; and in none at the end."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    for module in sys.argv[2:]:
        import_module(module)
    gc.collect()
    gc.freeze()
    waking, awake = os.pipe()
    os.set_blocking(awake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(awake)
    endings: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([orders, waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _tell_who_ended(endings)
        if orders not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(orders, MAX_ORDER, 4)
        if not message:
            os._exit(0)
        if child := os.fork():
            endings[child] = descriptors.pop()
            for descriptor in descriptors:
                os.close(descriptor)
            orders.send(str(child).encode())
        else:
            return _become(json.loads(message), descriptors)


def _tell_who_ended(endings: dict[int, int]) -> None:
    while endings:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        ending = endings.pop(child)
        os.write(ending, ENDED.pack(os.waitstatus_to_exitcode(status)))
        os.close(ending)


def _become(order: dict[str, Any], descriptors: Sequence[int]) -> tuple[str, list[str]]:
    """Be the one that was ordered, as if it had just been started."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if order["leads"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, MAX_DESCRIPTORS)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    random.seed()
    parts: Any = import_module("ftpsvc.parts")
    parts.RUN = token_hex(8)  # what tells this process's names from those of any other
    # Anew, because what they know of the descriptors is of those of before.
    line_by_line = 1 if os.isatty(1) or os.environ.get("PYTHONUNBUFFERED") else -1
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", line_by_line, "utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)
    return order["code"], ["-c", *order["words"]]


if __name__ == "__main__":
    code, sys.argv = _bring_up()
    sys.path[0] = ""
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
