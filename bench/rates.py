"""How exact rates are: each way of moving data, ten seconds' worth of it, with and without sendfile and TLS.

Claim: within 5 % of the rate over 10 seconds, for a session and for all sessions of an account together.
"""

from __future__ import annotations

import ftplib
import io
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bulk import BareClient
from stage import ftpsvc, scratch, timed

SECONDS = 10
TOLERANCE = 0.05
BLOCK = 1 << 16


class Zeros(io.RawIOBase):
    """So many bytes to be sent."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


def stream(port: int, tls: bool) -> ftplib.FTP:
    if not tls:
        client = ftplib.FTP()
        client.connect("127.0.0.1", port)
        client.login()
        return client
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    secure = ftplib.FTP_TLS(context=context)
    secure.connect("127.0.0.1", port)
    secure.login()
    secure.prot_p()
    return secure


def stream_retrieve(port: int, size: int, name: str, tls: bool = False) -> None:
    moved = 0

    def count(data: bytes) -> None:
        nonlocal moved
        moved += len(data)

    stream(port, tls).retrbinary("RETR zeros", count, BLOCK)
    assert moved == size


def stream_store(port: int, size: int, name: str, tls: bool = False) -> None:
    file: Any = Zeros(size)
    stream(port, tls).storbinary(f"STOR {name}", file, BLOCK)


def inline_retrieve(port: int, size: int, name: str) -> None:
    BareClient(port).retrieve(b"zeros")


def inline_store(port: int, size: int, name: str) -> None:
    BareClient(port).store(name.encode(), size, BLOCK)


Way = Callable[[int, int, str], None]
WAYS: dict[str, Way] = {
    "RETR, stream mode, sendfile": stream_retrieve,
    "RETR, MODE I, sendfile": inline_retrieve,
    "RETR, stream mode, TLS": lambda port, size, name: stream_retrieve(port, size, name, tls=True),
    "STOR, stream mode": stream_store,
    "STOR, MODE I": inline_store,
    "STOR, stream mode, TLS": lambda port, size, name: stream_store(port, size, name, tls=True),
}


def at_once(root: Path, rate: int, option: str, ways: list[str], shared: int = 1) -> None:
    """Each way in a session of its own, all at the same time, and what each of them reached."""
    size = rate * SECONDS // shared
    with open(root / "zeros", "wb") as file:
        file.truncate(size)
    seconds: dict[int, float] = {}
    with ftpsvc(root, f"--{option}-rate-up", str(rate), f"--{option}-rate-down", str(rate)) as (port, _):

        def run(number: int, way: str) -> None:
            seconds[number] = timed(lambda: WAYS[way](port, size, f"stored-{number}"))

        threads = [threading.Thread(target=run, args=each) for each in enumerate(ways)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, way in enumerate(ways):
        reached = size * shared / seconds[number]
        verdict = "" if abs(reached / rate - 1) <= TOLERANCE else "  MISSED"
        of_how_many = f" ({shared} sessions of one account)" if shared > 1 else ""
        print(f"{way + of_how_many:62} {rate / 1e6:7.2f} {reached / 1e6:9.3f} MB/s {reached / rate - 1:+7.1%}{verdict}")
    for stored in root.glob("stored-*"):
        stored.unlink()


def main() -> None:
    print(f"{'ten seconds each':62} {'limit':>7} {'reached':>9}")
    with scratch() as folder:
        root = folder / "root"
        root.mkdir()
        for rate in (50_000, 5_000_000):
            at_once(root, rate, "session", list(WAYS))
        for way in list(WAYS)[:2]:
            at_once(root, 200_000_000, "session", [way])
        for way in ("RETR, stream mode, sendfile", "STOR, MODE I"):
            at_once(root, 5_000_000, "account", [way] * 4, shared=4)


if __name__ == "__main__":
    main()
