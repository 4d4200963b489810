"""The client's memory for a tree of 1,000,000 entries, with storages that make up their entries.

Claim: less than 200 MiB, whether all of it is to be copied, removed, or left as it is.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

from stage import head, on_the_reactor, row

ENTRIES = 1_000_000


def main() -> None:
    head(f"{ENTRIES} entries, resident memory at most")
    for shape in ("many", "one"):
        for work in ("nothing", "copy", "remove"):
            command = [sys.executable, __file__, shape, work]
            used = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            folders = "1,000 folders" if shape == "many" else "one folder"
            row(f"{folders}, {work} to do" if work == "nothing" else f"{folders}, all to {work}", [used], "MiB")


def client(shape: str, work: str) -> None:
    """One mirror; prints the most memory that it took, in MiB."""
    from ftpsvc.mirroring import Mirror
    from ftpsvc.model import Entry, Facts, Kind, NotFound, Stored, Whole
    from ftpsvc.steps import Rules, Side

    folders, files = (1000, ENTRIES // 1000) if shape == "many" else (1, ENTRIES)

    class MadeUp:
        """A tree of two levels, and what is done to it, which is nothing."""

        def __init__(self, is_there: bool) -> None:
            self.is_there = is_there

        async def stat(self, path: str) -> Entry:
            return Entry("", Kind.DIRECTORY)

        async def list(self, path: str) -> AsyncGenerator[Entry, None]:
            if path == "/":
                for number in range(folders):
                    if self.is_there:
                        yield Entry(f"folder {number:04d}", Kind.DIRECTORY, 0, 1795327140_000_000_000, 0o755)
                return
            if not self.is_there:
                raise NotFound(path)
            for number in range(files):
                modified = 1795327140_000_000_000 + number * 1_000_003
                yield Entry(
                    f"IMG_{number:08d}.jpeg", Kind.FILE, 4096 + number, modified, 0o644, unique=f"{number:x}g1f"
                )

        async def fetch(self, path: str) -> Whole:
            return Whole(b"", Facts(1, 0o644))

        async def put(self, path: str, whole: Whole) -> Stored:
            return Stored(0, "")

        async def open_read(self, path: str, offset: int = 0) -> Any:
            raise NotFound(path)

        async def make_dir(self, path: str) -> None:
            pass

        async def set_facts(self, path: str, facts: Facts) -> None:
            pass

        async def remove(self, path: str) -> None:
            pass

        remove_dir = remove

    async def mirror() -> None:
        async def yes(removals: int, present: int) -> bool:
            return True

        source: Any = MadeUp(work != "remove")
        target: Any = MadeUp(work != "copy")
        await Mirror(Side(source, "/"), Side(target, "/"), Rules(delete=True), may_remove=yes).run()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    on_the_reactor(mirror())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        client(sys.argv[1], sys.argv[2])
    else:
        main()
