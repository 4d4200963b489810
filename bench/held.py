"""10,000 sessions, logged in and waiting in one process, and what each costs in memory and in time.

Claim: all of them are there, each still answers, and each takes less than 20 KiB. It takes 10,000 descriptors here and
as many in the server, which keeps a third of its own for data and files: `ulimit -Hn` has to be 15,000 at least.
"""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path

from bareclient import Session
from peers import Peer
from stage import ftpsvc, memory, scratch

SESSIONS = 10_000
CLAIM = 20 * 1024

#: As many logins before the count, so that everything is imported and every buffer has its size.
BEFORE = 200


def processor_time(pid: int) -> float:
    """What a process has used of the processors' time, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with scratch() as folder:
        (folder / "root").mkdir()
        with ftpsvc(folder / "root", "--max-connections", str(SESSIONS + BEFORE)) as (port, pid):
            peer = Peer("ftpsvc", port, pid)
            for session in [Session(peer) for _ in range(BEFORE)]:
                session.close()
            time.sleep(2)
            before, begun = memory(pid), time.perf_counter()
            sessions = [Session(peer) for _ in range(SESSIONS)]
            seconds = time.perf_counter() - begun
            time.sleep(2)
            print(f"{SESSIONS} sessions in {seconds:.1f} s: {SESSIONS / seconds:.0f} logins a second")
            full = memory(pid)
            each = (full - before) / SESSIONS
            print(f"memory: {before / 2**20:.0f} MiB before, {full / 2**20:.0f} with them; {each / 1024:.1f} KiB each")
            used = processor_time(pid)
            time.sleep(10)
            print(f"processor, while nobody does anything: {(processor_time(pid) - used) * 10:.1f} % of one")
            times = []
            for session in sessions:
                begun = time.perf_counter()
                session.ask("NOOP")
                times.append(time.perf_counter() - begun)
            high = statistics.quantiles(times, n=100)[98]
            print(f"NOOP, one in each: median {statistics.median(times) * 1e3:.2f} ms, 99th {high * 1e3:.2f}")
            for session in sessions:
                session.close()
    if each >= CLAIM:
        raise SystemExit(f"{each / 1024:.1f} KiB each; less than {CLAIM / 1024:.0f} are claimed")


if __name__ == "__main__":
    main()
