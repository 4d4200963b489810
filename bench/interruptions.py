"""A tree, or one large file, carried while either end is killed (kill -9) at random moments, and finished by `resume`.

Claim: every file is whole and right in the end, and hardly a byte was sent twice: what was in the sockets' buffers when
an end died, and one frame. Everything goes through a relay that counts.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from stage import ftpsvc, head, row, scratch, write_random

ROUNDS = 20
LARGE, LARGE_SIZE = 6, 60_000_000
SMALL, SMALL_SIZE = 2000, 4096
SINGLE_SIZE = 300_000_000

#: Bytes that have passed when a transfer has begun: what was not begun can't be interrupted.
BEGUN = 100_000

#: Within this many seconds of that, one end is killed.
MOMENTS = 2.0

#: How fast the relay is, in bytes a second, so that there is something to interrupt.
RATE = 150_000_000


class Relay:
    """Joins each client to the server, wherever that is by then, and counts what passes."""

    def __init__(self) -> None:
        self.passed = 0
        self.server_port = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port))
            except OSError:
                client.close()
                continue
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 18):
                target.sendall(data)
                self.passed += len(data)
                time.sleep(len(data) / RATE)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".ftpsvc-")
    }


def shell(folder: Path, port: int, line: str) -> subprocess.Popen[bytes]:
    """A shell in a folder that carries out one line."""
    program = "import sys; from ftpsvc.shell import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "127.0.0.1", str(port)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL if not os.environ.get("VERBOSE") else None,
        env={**os.environ, "XDG_STATE_HOME": str(folder.parent / "xdg")},
    )
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.close()
    return process


def one_round(
    folder: Path, relay: Relay, is_tree: bool, is_upload: bool, kills_server: bool, moment: float
) -> tuple[float, bool]:
    """How many bytes passed beyond those of the files, and whether the kill came before the end."""
    here, root = folder / "here", folder / "root"
    copy = root / "copy" if is_upload else here / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    source = "tree" if is_tree else "single"
    tree = (here if is_upload else root) / source
    relay.passed = 0
    if is_tree:
        line = f"mirror {'-R ' if is_upload else ''}tree copy"
    else:
        copy.mkdir()
        line = f"{'store' if is_upload else 'retrieve'} single/file copy/file"
    with ftpsvc(root) as (port, pid):
        relay.server_port = port
        client = shell(here, relay.port, line)
        while relay.passed < BEGUN:
            time.sleep(0.001)
        time.sleep(moment)
        interrupted = client.poll() is None
        if kills_server:
            os.kill(pid, 9)
        else:
            client.kill()
            client.wait()
            shell(here, relay.port, "resume all").wait()
    if kills_server:
        with ftpsvc(root) as (port, _):
            relay.server_port = port
            client.wait()  # it has healed, or ended before
            shell(here, relay.port, "resume all").wait()
    wanted, found = digests(tree), digests(copy)
    if wanted != found:
        wrong = [name for name in {*wanted, *found} if wanted.get(name) != found.get(name)]
        raise SystemExit(f"{line}: {len(wrong)} files are not right: {wrong[:5]}")
    return relay.passed - sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()), interrupted


def main() -> None:
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    print(f"SEED={seed}")
    chance = random.Random(seed)
    relay = Relay()
    with scratch() as folder:
        (folder / "here").mkdir()
        (folder / "root" / "tree" / "small").mkdir(parents=True)
        for number in range(LARGE):
            (folder / "root" / "tree" / f"large{number}").write_bytes(os.urandom(LARGE_SIZE))
        for number in range(SMALL):
            (folder / "root" / "tree" / "small" / f"f{number:05d}").write_bytes(os.urandom(SMALL_SIZE))
        (folder / "root" / "single").mkdir()
        write_random(folder / "root" / "single" / "file", SINGLE_SIZE)
        for name in ("tree", "single"):
            shutil.copytree(folder / "root" / name, folder / "here" / name)
        beyond: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            is_upload, kills_server, is_tree = bool(number % 2), bool(number // 2 % 2), not number // 4 % 2
            moment = chance.uniform(0, MOMENTS)
            excess, interrupted = one_round(folder, relay, is_tree, is_upload, kills_server, moment)
            what = "a tree" if is_tree else "a file"
            label = f"{what} {'up' if is_upload else 'down'}, {'server' if kills_server else 'client'} killed"
            beyond.setdefault(label, []).append(excess / 1e6)
            print(f"  {label} after {moment:.2f} s{'' if interrupted else ' (it was over)'}: {excess / 1e6:.1f} MB")
    head("all files whole and right; bytes beyond them")
    for label, values in beyond.items():
        row(label, values, "MB")


if __name__ == "__main__":
    main()
