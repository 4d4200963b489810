"""A sparse file of 200 GB: listed, sized, and its last gigabyte retrieved by REST. Nothing here may count in 32 bits.

Needs a file system that knows holes and such sizes; the current folder's is used.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from stage import ftpsvc, on_the_reactor

SIZE = 200_000_000_000
OFFSET = 199_000_000_000


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        root = Path(folder).resolve() / "root"
        root.mkdir()
        with open(root / "sparse.bin", "wb") as file:
            file.truncate(SIZE)
            os.pwrite(file.fileno(), b"here", OFFSET)
            os.pwrite(file.fileno(), b"end!", SIZE - 4)
        with ftpsvc(root) as (port, _):
            _session(port)


def _session(port: int) -> None:
    from twisted.internet import reactor

    from ftpsvc.remote import Remote

    async def session() -> None:
        remote = await Remote.connect(reactor, "127.0.0.1", port)
        await remote.login()
        listed = [entry async for entry in remote.list("/")]
        assert [(entry.name, entry.size) for entry in listed] == [("sparse.bin", SIZE)]
        assert (await remote.stat("/sparse.bin")).size == SIZE
        start = time.perf_counter()
        file = await remote.open_read("/sparse.bin", OFFSET)
        first, last, count = b"", b"", 0
        while chunk := await file.read(1 << 20):
            first = first or bytes(chunk[:4])
            last, count = bytes(chunk[-4:]), count + len(chunk)
        await file.close()
        assert (first, last, count) == (b"here", b"end!", SIZE - OFFSET), (first, last, count)
        seconds = time.perf_counter() - start
        print(f"listed, sized, and {count} bytes from {OFFSET} on in {seconds:.2f} s, digest checked")
        await remote.quit()

    on_the_reactor(session())


if __name__ == "__main__":
    main()
