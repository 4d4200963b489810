"""What several processes bring: logins a second and bulk throughput with two workers against one.

The clients are processes too, and share the machine's processors with the server: with two of them, two workers can't
be twice as fast as one. No claim: what workers bring depends on the processors that are left for them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bulk import BareClient
from stage import claim_memory, compare, ftpsvc, scratch, timed

RUNS = 3
WORKERS = (1, 2)
CLIENTS = 4
LOGINS = 400  # of each client
SIZE = 256 << 20  # for each client


def log_in_often(port: int) -> None:
    """As few calls as can be, so that it is the server that is measured."""
    for _ in range(LOGINS):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"USER anonymous\r\nPASS x\r\nQUIT\r\n")
            said = b""
            while block := connection.recv(4096):
                said += block
            if b"\r\n230" not in said:
                raise SystemExit(f"a login was refused: {said.decode()}")


def retrieve(port: int) -> None:
    BareClient(port).retrieve(b"large.bin")


def store(port: int) -> None:
    BareClient(port).store(b"new-%d.bin" % os.getpid(), SIZE)


def main() -> None:
    with scratch() as folder, ProcessPoolExecutor(CLIENTS) as clients:
        root = folder / "root"
        root.mkdir()
        with open(root / "large.bin", "wb") as file:
            file.truncate(SIZE)
            file.write(os.urandom(1 << 20))
        names = {count: f"{count} worker{'s' if count > 1 else ''}" for count in WORKERS}
        logins: dict[str, list[float]] = {name: [] for name in names.values()}
        down, up = {name: [] for name in names.values()}, {name: [] for name in names.values()}

        def all_at_once(work: Callable[[int], None], port: int) -> float:
            return timed(lambda: list(clients.map(work, [port] * CLIENTS)))

        for _ in range(RUNS):
            for count, name in names.items():
                with ftpsvc(root, "--workers", str(count)) as (port, _):
                    all_at_once(retrieve, port)  # by then all workers are there
                    logins[name].append(CLIENTS * LOGINS / all_at_once(log_in_often, port))
                    down[name].append(CLIENTS * SIZE / all_at_once(retrieve, port) / 1e9)
                    claim_memory(root, CLIENTS * SIZE)
                    up[name].append(CLIENTS * SIZE / all_at_once(store, port) / 1e9)
                for stored in Path(root).glob("new-*"):
                    stored.unlink()
    compare("logins", logins, "1/s")
    compare(f"retrieving, {CLIENTS} clients, MODE I", down, "GB/s")
    compare(f"storing, {CLIENTS} clients, MODE I", up, "GB/s")


if __name__ == "__main__":
    main()
