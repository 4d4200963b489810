"""The stage for the benchmarks: a folder in memory, our server, and the programs that it is measured against.

Every script here runs from a checkout in which ftpsvc is installed: `python bench/SCRIPT.py`. Everything happens on
loopback, and everything that was started is ended again. Run them on a machine that does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

GIB = 1 << 30

#: How long a server may take to listen, in seconds.
START_TIME = 20.0

# An installed program has its modules compiled. Where this is set, one that runs from a checkout compiles them at each
# start, and that is a third of our client's.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, so that no disk is measured."""
    folder = Path(tempfile.mkdtemp(prefix="ftpsvc-bench-", dir="/dev/shm"))
    folder.chmod(0o755)  # nginx's workers are nobody
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(port: int, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from the moment on that it listens."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        give_up = time.monotonic() + START_TIME
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if process.poll() is not None or time.monotonic() > give_up:
                process.kill()
                raise SystemExit(f"{command[0]} does not start: {(process.communicate()[1] or b'').decode()}")
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def ftpsvc(root: Path, *options: str) -> Iterator[tuple[int, int]]:
    """Our own server over a folder: its port, and its process id."""
    port = free_port()
    twistd = Path(sys.executable).with_name("twistd")
    arguments = ["-n", "--pidfile=", f"--logfile={root.parent}/ftpsvc.log", "ftpsvc", *options]
    command = [twistd, *arguments, "--port", f"tcp:{port}:interface=127.0.0.1", "--root", root]
    with running(port, *command) as process:
        yield port, process.pid


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[int]:
    """A web server that sends files by sendfile: what a kernel can do. Its port."""
    port = free_port()
    home = root.parent / "nginx"
    home.mkdir()
    paths = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error;"
        f"events {{}} http {{ access_log off; sendfile on; {paths}"
        f"server {{ listen 127.0.0.1:{port}; root {root}; }} }}"
    )
    with running(port, _installed("nginx"), "-c", home / "nginx.conf"):
        yield port


@contextlib.contextmanager
def rsyncd(root: Path) -> Iterator[int]:
    """An rsync daemon over a folder, as the module `m`. Its port."""
    port = free_port()
    settings = root.parent / "rsyncd.conf"
    owner = f"uid = {os.getuid()}\ngid = {os.getgid()}\n"
    settings.write_text(
        f"use chroot = no\nport = {port}\naddress = 127.0.0.1\n[m]\npath = {root}\nread only = no\n{owner}"
    )
    with running(port, _installed("rsync"), "--daemon", "--no-detach", f"--config={settings}"):
        yield port


def found(program: str) -> str | None:
    """Where a program is, servers' folder included; None if it isn't installed."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def _installed(program: str) -> str:
    path = found(program)
    if path is None:
        raise SystemExit(f"{program} is not installed, and this benchmark measures against it")
    return path


def on_the_reactor(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    def start() -> None:
        done = Deferred.fromCoroutine(work)
        done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
        done.addBoth(lambda _: reactor.stop())  # type: ignore[attr-defined]

    reactor.callWhenRunning(start)  # type: ignore[attr-defined]  # not before: it may be over at once
    reactor.run()  # type: ignore[attr-defined]


def resident(pid: int) -> int:
    """The most memory that a process has had so far, in bytes."""
    return _kept(pid, "VmHWM")


def memory(pid: int) -> int:
    """The memory that a process has now, in bytes."""
    return _kept(pid, "VmRSS")


def _kept(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"process {pid} has ended")


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def speed(size: int, work: Callable[[], object]) -> float:
    """GB/s of what moves so many bytes."""
    return size / timed(work) / 1e9


def claim_memory(folder: Path, size: int) -> None:
    """Have so many bytes free in a folder in memory, and really here.

    A virtual machine's host takes away what was free for a while. Whoever comes first then pays for having it brought
    back, which takes longer than to store anything in it.
    """
    claim = folder / "claim"
    with open(claim, "wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(bytes(1 << 20))
    claim.unlink()


def write_random(path: Path, size: int) -> None:
    with open(path, "wb") as file, open("/dev/urandom", "rb") as source:
        while size:
            size -= file.write(source.read(min(size, 1 << 20)))


def row(label: str, values: list[float], unit: str) -> None:
    """A line of the result: the best, the median and the worst of several runs."""
    print(f"{label:46} {min(values):8.2f} {statistics.median(values):8.2f} {max(values):8.2f} {unit}")


def head(title: str) -> None:
    print(f"\n{title:46} {'min':>8} {'median':>8} {'max':>8}")


def compare(title: str, figures: dict[str, list[float]], unit: str, more_is_better: bool = True) -> None:
    """A table of figures that were taken in turn. `ratio` is ours to the best of the others, by the medians."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    others = [median for name, median in medians.items() if not name.startswith("ftpsvc")]
    head(f"{title} ({unit})")
    for name, values in figures.items():
        ratio = ""
        if others and name.startswith("ftpsvc"):
            ratio = f"{medians[name] / max(others) if more_is_better else min(others) / medians[name]:.2f} of the best"
        row(name, values, ratio)
