"""Floods, and what somebody at another address notices of them: a login and the retrieval of 1 MiB, over and over.

Claim: under each of the floods all of them succeed. The attackers never give up: who is closed connects again.
"""

from __future__ import annotations

import ftplib
import multiprocessing
import os
import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from stage import free_port, ftpsvc, resident, scratch

#: How long, in seconds, each flood goes on once it stands, and the honest client's pause between two rounds.
SECONDS = 20.0
PAUSE = 0.1
HONEST = "127.9.9.9"
MIB = 1 << 20

#: The beginning of a TLS handshake that never goes on: a record of a ClientHello that is longer than what is sent.
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)


@dataclass(frozen=True)
class Flood:
    """`drip`: what each connection sends, and every how many seconds; `hello`: what it sends at once."""

    name: str
    connections: int
    addresses: list[str]
    hello: bytes = b""
    drip: bytes = b""
    every: float = 10.0
    implicit: bool = False
    reconnect: float = 1.0


@dataclass
class Attack:
    """One process's share of a flood. Everything is done from one loop, as fast as it goes."""

    flood: Flood
    port: int
    refused: int = 0
    opened: int = 0
    selector: Any = field(default_factory=selectors.DefaultSelector)
    due: list[tuple[float, str]] = field(default_factory=list)

    def open(self, address: str) -> None:
        attacker = socket.socket()
        attacker.setblocking(False)
        with suppress(BlockingIOError):
            attacker.bind((address, 0))
            attacker.connect_ex(("127.0.0.1", self.port))
        self.selector.register(attacker, selectors.EVENT_WRITE, [address, b""])

    def connected(self, key: Any) -> None:
        try:
            key.fileobj.send(self.flood.hello)
        except OSError:
            self.close(key)
            return
        self.opened += 1
        self.selector.modify(key.fileobj, selectors.EVENT_READ, key.data)

    def heard(self, key: Any) -> None:
        with suppress(OSError):
            if data := key.fileobj.recv(4096):
                self.refused += data.startswith(b"421")
                return
        self.close(key)

    def close(self, key: Any) -> None:
        self.selector.unregister(key.fileobj)
        key.fileobj.close()
        self.due.append((time.monotonic() + self.flood.reconnect, key.data[0]))

    def drip(self) -> None:
        for key in list(self.selector.get_map().values()):
            with suppress(OSError):
                key.fileobj.send(self.flood.drip)

    def run(self, state: Any) -> None:
        addresses = self.flood.addresses
        self.due = [(0.0, addresses[n % len(addresses)]) for n in range(self.flood.connections)]
        next_drip = time.monotonic() + self.flood.every
        while True:
            now = time.monotonic()
            ready = [address for at, address in self.due[:500] if at <= now]
            del self.due[: len(ready)]
            for address in ready:
                self.open(address)
            for key, _ in self.selector.select(0.05):
                if key.events & selectors.EVENT_WRITE:
                    self.connected(key)
                else:
                    self.heard(key)
            if self.flood.drip and now > next_drip:
                next_drip = now + self.flood.every
                self.drip()
            state[:] = [len(self.selector.get_map()), self.opened, self.refused]


@contextmanager
def attacking(flood: Flood, port: int) -> Iterator[Any]:
    """The flood, from the moment on that all its connections have been tried once; its figures."""
    state = multiprocessing.Array("l", 3)
    process = multiprocessing.Process(target=Attack(flood, port).run, args=(state,), daemon=True)
    process.start()
    try:
        while state[1] < flood.connections:
            time.sleep(0.1)
        yield state
    finally:
        process.kill()
        process.join()


def fetch(port: int) -> float:
    """Log in, retrieve a mebibyte, and leave: in how many seconds."""
    begun = time.perf_counter()
    client = ftplib.FTP(timeout=30, source_address=(HONEST, 0))
    client.connect("127.0.0.1", port)
    client.login()
    size = 0

    def count(data: bytes) -> None:
        nonlocal size
        size += len(data)

    client.retrbinary("RETR mebibyte", count, 1 << 16)
    client.quit()
    assert size == MIB
    return time.perf_counter() - begun


def honest(port: int) -> tuple[list[float], int]:
    """How long each round took, and how many failed."""
    times, failed = [], 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            times.append(fetch(port))
        except (OSError, EOFError, ftplib.Error) as error:
            print("  ", error)
            failed += 1
        time.sleep(PAUSE)
    return times, failed


def addresses(count: int) -> list[str]:
    return [f"127.1.{n >> 8}.{n & 255}" for n in range(1, count + 1)]


GUESS = b"USER root\r\nPASS guess\r\n" * 10
FLOODS = (
    Flood("10,000 slow connections, one address", 10_000, addresses(1), drip=b"U"),
    Flood("10,000 slow connections, 100 addresses", 10_000, addresses(100), drip=b"U"),
    Flood("10,000 slow connections, 127.0.0.1", 10_000, ["127.0.0.1"], drip=b"U"),
    Flood("5,000 half-open TLS handshakes, one address", 5_000, addresses(1), HALF_A_HELLO, implicit=True),
    Flood("5,000 half-open TLS handshakes, 100 addresses", 5_000, addresses(100), HALF_A_HELLO, implicit=True),
    Flood("logins from one address, 200 connections", 200, addresses(1), GUESS, reconnect=0.0),
    Flood("logins from 100 addresses, 1,000 connections", 1_000, addresses(100), GUESS, reconnect=0.0),
)


def main() -> None:
    print(f"{'':48}{'open':>7}{'tried':>8}{'rounds':>8}{'failed':>8}{'median':>8}{'worst':>8}{'memory':>9}")
    with scratch() as folder:
        root = folder / "root"
        root.mkdir()
        (root / "mebibyte").write_bytes(os.urandom(MIB))
        for flood in (None, *FLOODS):
            implicit = free_port()
            with ftpsvc(root, "--port", f"tls:tcp:{implicit}:interface=127.0.0.1") as (port, pid):
                if flood is None:
                    row("nobody else", [0, 0, 0], honest(port), resident(pid))
                    continue
                with attacking(flood, implicit if flood.implicit else port) as state:
                    outcome = honest(port)
                    row(flood.name, list(state), outcome, resident(pid))


def row(name: str, state: list[int], outcome: tuple[list[float], int], memory: int) -> None:
    times, failed = outcome
    print(
        f"{name:48}{state[0]:7}{state[1]:8}{len(times):8}{failed:8}"
        f"{statistics.median(times):7.3f}s{max(times):7.3f}s{memory / 2**20:6.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
