"""What a session costs: logins, small files over data connections, a long listing, and the memory of those who wait.

Beside vsftpd and pyftpdlib, each in its turn, with the same client; not beside Pure-FTPd, which is slow on purpose when
it looks at a password, and anonymous only in the home of `ftp`. Claims: logins and small files a second
like pyftpdlib's at least, a listing of 10,000 entries at 1.5 of it, and less than 20 KiB of memory for a session that
waits; 5,000 of them are held.
"""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable

from bareclient import Session
from peers import Peer, all_over
from stage import compare, memory, scratch, timed

RUNS = 5
LOGINS = 500
FILES = 500
CONNECTIONS = 1000
SIZE = 4096
ENTRIES = 10_000
FETCHES = 20
WAITING = 5000

#: A server that holds its sessions in processes of their own has no memory that could be compared this way.
IN_ONE_PROCESS = ("ftpsvc", "pyftpdlib")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with scratch() as folder:
        root = folder / "root"
        (root / "small").mkdir(parents=True)
        for number in range(ENTRIES):
            (root / "small" / f"f{number:05d}.bin").write_bytes(b"x" * SIZE)
        with all_over(root) as everybody:
            peers = [peer for peer in everybody if peer.user == "anonymous"]
            _in_turn("logins", peers, "1/s", lambda peer: LOGINS / timed(lambda: _log_in(peer)))
            _in_turn("files of 4 KiB, EPSV and RETR", peers, "1/s", _small_files)
            _in_turn(f"MLSD of {ENTRIES} entries", peers, "1/s", _listings)
            _in_turn("curl fetching one file", peers, "ms", _fetch, more_is_better=False)
            _in_turn(f"{CONNECTIONS} connections, held", peers, "s", _connect, more_is_better=False)
        with all_over(root) as peers:
            _wait([peer for peer in peers if peer.name in IN_ONE_PROCESS])


def _in_turn(
    title: str, peers: list[Peer], unit: str, work: Callable[[Peer], float | None], more_is_better: bool = True
) -> None:
    figures: dict[str, list[float]] = {}
    for _ in range(RUNS):
        for peer in peers:
            if (figure := work(peer)) is not None:
                figures.setdefault(peer.name, []).append(figure)
    compare(title, figures, unit, more_is_better)


def _log_in(peer: Peer) -> None:
    for _ in range(LOGINS):
        Session(peer).quit()


def _small_files(peer: Peer) -> float:
    session = Session(peer)
    start = time.perf_counter()
    for number in range(FILES):
        if session.retrieve(f"RETR small/f{number:05d}.bin") != SIZE:
            raise SystemExit(f"{peer.name} sent too little")
    seconds = time.perf_counter() - start
    session.quit()
    return FILES / seconds


def _listings(peer: Peer) -> float | None:
    if peer.name == "vsftpd":  # it has no MLSD
        return None
    session = Session(peer)
    seconds = timed(lambda: session.retrieve("MLSD small"))
    session.quit()
    return 1 / seconds


def _fetch(peer: Peer) -> float:
    command = ["curl", "-sfo", "/dev/null", peer.url("small/f00000.bin")]
    return timed(lambda: [subprocess.run(command, check=True) for _ in range(FETCHES)]) / FETCHES * 1000


def _connect(peer: Peer) -> float:
    sessions: list[Session] = []
    seconds = timed(lambda: sessions.extend(Session(peer) for _ in range(CONNECTIONS)))
    for session in sessions:
        session.close()
    return seconds


def _wait(peers: list[Peer]) -> None:
    print(f"\n{WAITING} sessions that are logged in and wait")
    for peer in peers:
        for session in [Session(peer) for _ in range(100)]:  # so that everything is imported
            session.close()
        time.sleep(1)
        before = memory(peer.pid)
        sessions = [Session(peer) for _ in range(WAITING)]
        time.sleep(1)
        grown = memory(peer.pid) - before
        print(f"{peer.name:46} {grown / WAITING / 1024:8.1f} KiB each")
        for session in sessions:
            session.ask("NOOP")
        for session in sessions:
            session.close()


if __name__ == "__main__":
    main()
