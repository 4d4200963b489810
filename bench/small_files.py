"""10,000 files of 4 KiB: retrieved and stored by our client in one session, beside rsync against its daemon.

Claim: retrieving is not slower than `rsync -a`; every digest is checked, and every file is a part first, synced and
renamed. Our figures count from the login on, the listing included; rsync's are those of the whole command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from stage import ftpsvc, head, on_the_reactor, row, rsyncd, scratch, timed

RUNS = 7
FILES = 10_000
SIZE = 4096

#: Files under way at once. What one recv brings is some 250 of them; with several times that neither end waits.
WINDOW = 2000


def main() -> None:
    with scratch() as folder:
        root = folder / "root"
        (root / "small").mkdir(parents=True)
        for number in range(FILES):
            (root / "small" / f"f{number:05d}.bin").write_bytes(os.urandom(SIZE))
        times: dict[str, list[float]] = {"rsync down": [], "ftpsvc down": [], "rsync up": [], "ftpsvc up": []}
        with ftpsvc(root) as (port, _), rsyncd(root) as rsync:
            for _ in range(RUNS):
                times["rsync down"].append(_rsync(f"rsync://127.0.0.1:{rsync}/m/small/", _fresh(folder / "here")))
                times["ftpsvc down"].append(_client(port, "down", _fresh(folder / "here")))
                _fresh(root / "up")
                times["rsync up"].append(_rsync(f"{folder}/here/", f"rsync://127.0.0.1:{rsync}/m/up/"))
                _fresh(root / "up")
                times["ftpsvc up"].append(_client(port, "up", folder / "here"))
                _check(root / "small", root / "up")
    head(f"{FILES} files of {SIZE} bytes")
    for label, seconds in times.items():
        row(label, seconds, "s")


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _rsync(source: str, target: Path | str) -> float:
    return timed(lambda: subprocess.run(["rsync", "-a", source, str(target)], check=True))


def _client(port: int, direction: str, local: Path) -> float:
    command = [sys.executable, __file__, str(port), direction, str(local)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _check(source: Path, copy: Path) -> None:
    """What went down and up again is the same, byte by byte."""
    for file in source.iterdir():
        if file.read_bytes() != (copy / file.name).read_bytes():
            raise SystemExit(f"{file.name} came back damaged")


def client(port: int, direction: str, local: str) -> None:
    """One session; prints how long it took."""
    from twisted.internet import reactor

    from ftpsvc.collector import relax
    from ftpsvc.copying import copy_known
    from ftpsvc.localdisk import LocalDisk
    from ftpsvc.model import Entry
    from ftpsvc.parallel import for_each
    from ftpsvc.remote import Remote
    from ftpsvc.threads import pool_of

    async def session() -> None:
        remote = await Remote.connect(reactor, "127.0.0.1", port)
        await remote.login()
        relax()  # as the shell does
        here = LocalDisk(local, pool_of(reactor))
        ends = (remote, "/small", here, "") if direction == "down" else (here, "", remote, "/up")
        source, path, target, to = ends
        start = time.perf_counter()

        async def one(file: Entry) -> None:
            await copy_known(source, f"{path}/{file.name}", file.size, target, f"{to}/{file.name}")

        await for_each(source.list(path or "/"), one, WINDOW)
        print(time.perf_counter() - start)
        await remote.quit()

    on_the_reactor(session())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        client(int(sys.argv[1]), sys.argv[2], sys.argv[3])
    else:
        main()
