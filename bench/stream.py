"""What curl gets out of us over data connections, beside vsftpd, Pure-FTPd and pyftpdlib, each in its turn.

Claims: one file of 1 GiB is retrieved, and 100 of 10 MiB are retrieved at once, at least as fast as from the fastest of
the others; 1 GiB is stored, synced, as fast as by the fastest of them, who sync nothing; and 1.2 times as fast with
`--sync off`. `stream.py tls` is the same with TLS: retrieving at 1.2 and storing at 1.0 of the faster of Pure-FTPd and
pyftpdlib.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from bareclient import Session, retrieve_at_once
from peers import Peer, all_over
from stage import GIB, claim_memory, compare, ftpsvc, scratch, speed, write_random

RUNS = 5

#: So many at once, of so many bytes.
MANY, PIECE = 100, 10 << 20


def main(tls: bool) -> None:
    with scratch() as folder:
        root = folder / "root"
        (root / "up").mkdir(parents=True)
        (root / "up").chmod(0o777)
        write_random(root / "1g.bin", GIB)
        write_random(root / "piece.bin", PIECE)
        with all_over(root, tls=tls) as peers, ftpsvc(root, "--sync", "off") as (port, pid):
            _measure(root, peers, Peer("ftpsvc --sync off", port, pid), tls)


def _measure(root: Path, peers: list[Peer], unsynced: Peer, tls: bool) -> None:
    down: dict[str, list[float]] = {}
    many: dict[str, list[float]] = {}
    up: dict[str, list[float]] = {}
    for _ in range(RUNS):
        for peer in peers:
            down.setdefault(peer.name, []).append(speed(GIB, partial(_retrieve, peer, tls)))
        for peer in [] if tls else peers:
            sessions = [Session(peer) for _ in range(MANY)]
            work = partial(retrieve_at_once, sessions, ["RETR piece.bin"] * MANY)
            many.setdefault(peer.name, []).append(speed(MANY * PIECE, work))
            for session in sessions:
                session.quit()
        for peer in [*peers, unsynced]:
            claim_memory(root, GIB)
            up.setdefault(peer.name, []).append(speed(GIB, partial(_store, root, peer, tls)))
            (root / "up" / "new.bin").unlink()
    suffix = ", TLS" if tls else ""
    compare(f"RETR of 1 GiB{suffix}", down, "GB/s")
    if many:
        compare(f"RETR of {MANY} x 10 MiB at once", many, "GB/s")
    compare(f"STOR of 1 GiB{suffix}", up, "GB/s")


def _retrieve(peer: Peer, tls: bool) -> None:
    _curl(tls, "-o", "/dev/null", peer.url("1g.bin"))


def _store(root: Path, peer: Peer, tls: bool) -> None:
    _curl(tls, "-T", root / "1g.bin", peer.url("up/new.bin"))


def _curl(tls: bool, *arguments: str | Path) -> None:
    subprocess.run(["curl", "-sfk", *(["--ssl-reqd"] if tls else []), *arguments], check=True)


if __name__ == "__main__":
    main("tls" in sys.argv[1:])
