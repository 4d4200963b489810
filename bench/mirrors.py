"""Trees mirrored by our shell, beside rsync against its daemon and `lftp mirror` against vsftpd.

Wanted: 10,000 files of 4 KiB, down and up, not slower than rsync and 8 times faster than lftp; a second time, with
nothing to do, not slower than rsync. docs/benchmarks.md says how far that is reached. The figures of others are those
of the whole command. Ours are given twice: of the whole command, of which the start of Python is a part, and from the
login on.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from peers import vsftpd
from stage import ftpsvc, head, row, rsyncd, scratch, timed

RUNS = 5
FILES = 10_000
SIZE = 4096

#: lftp takes long, and the same each time.
LFTP_RUNS = 2

PROGRAM = "import sys; from ftpsvc.shell import main; sys.exit(main())"


def main() -> None:
    times: dict[str, list[float]] = {}
    with scratch() as folder:
        root, here = folder / "root", folder / "here"
        (root / "small").mkdir(parents=True)
        (root / "in").mkdir()
        here.mkdir()
        for number in range(FILES):
            (root / "small" / f"f{number:05d}.bin").write_bytes(os.urandom(SIZE))
        (root / "in").chmod(0o777)
        with ftpsvc(root) as (port, _), rsyncd(root) as rsync:
            for _ in range(RUNS):
                _rsync_round(times, root, here, rsync)
                _our_round(times, root, here, port)
        with vsftpd(root, None) as peer:
            if peer is None:
                raise SystemExit("vsftpd is not installed, or can't be started by this user")
            for _ in range(LFTP_RUNS):
                _lftp_round(times, root, here, peer.port)
    head(f"{FILES} files of {SIZE} bytes")
    for label in sorted(times, key=lambda label: (label.split(", ")[-1], label)):
        row(label, times[label], "s")


def _clear(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _rsync_round(times: dict[str, list[float]], root: Path, here: Path, port: int) -> None:
    _clear(here / "r", root / "in" / "r")
    url = f"rsync://127.0.0.1:{port}/m"
    for label in ("down", "down again"):
        _note(times, f"rsync -a, {label}", lambda: _run(["rsync", "-a", f"{url}/small/", f"{here}/r/"]))
    for label in ("up", "up again"):
        _note(times, f"rsync -a, {label}", lambda: _run(["rsync", "-a", f"{here}/r/", f"{url}/in/r/"]))


def _our_round(times: dict[str, list[float]], root: Path, here: Path, port: int) -> None:
    _clear(here / "f", root / "in" / "f")
    for label, line in (
        ("down", "mirror small f"),
        ("down again", "mirror small f"),
        ("up", "mirror -R f in/f"),
        ("up again", "mirror -R f in/f"),
    ):
        times.setdefault(f"ftpsvc, whole command, {label}", []).append(
            timed(functools.partial(_shell, times, here, port, line, label))
        )
    if _names(root / "small") != _names(root / "in" / "f"):
        raise SystemExit("the copy is not right")


def _shell(times: dict[str, list[float]], here: Path, port: int, line: str, label: str) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(here.parent / "xdg")}
    command = [sys.executable, "-c", PROGRAM, "127.0.0.1", str(port)]
    ended = subprocess.run(command, cwd=here, input=line, capture_output=True, text=True, env=environment, check=True)
    match = re.search(r"^copied .* in ([0-9.]+) (m?s)", ended.stdout, re.MULTILINE)
    if match:
        times.setdefault(f"ftpsvc, the mirror alone, {label}", []).append(
            float(match[1]) / (1000 if match[2] == "ms" else 1)
        )


def _lftp_round(times: dict[str, list[float]], root: Path, here: Path, port: int) -> None:
    _clear(here / "l", root / "in" / "l")
    url = f"ftp://127.0.0.1:{port}"
    for label in ("down", "down again"):
        script = f"open {url}; mirror small {here}/l"
        _note(times, f"lftp mirror and vsftpd, {label}", lambda script=script: _run(["lftp", "-c", script]))
    script = f"open {url}; mirror -R {here}/l in/l"
    _note(times, "lftp mirror and vsftpd, up", lambda: _run(["lftp", "-c", script]))


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _note(times: dict[str, list[float]], label: str, work: Callable[[], object]) -> None:
    times.setdefault(label, []).append(timed(work))


def _names(folder: Path) -> set[tuple[str, int]]:
    return {(entry.name, entry.stat().st_size) for entry in os.scandir(folder)}


if __name__ == "__main__":
    main()
