"""One file of 1 GiB over MODE I, retrieved and stored by a bare socket, beside nginx serving the same file to curl.

Claims: retrieve at 2.5 GB/s and store at 0.9 GB/s, or 0.9 of nginx in the same run, whichever is lower; the server's
memory grows by less than 16 MiB.
"""

from __future__ import annotations

import socket
import subprocess

from stage import GIB, claim_memory, ftpsvc, head, nginx, resident, row, scratch, speed, write_random

RUNS = 5
BLOCK = 1 << 20


class BareClient:
    """As little of a client as can be: it measures the server, not itself."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._buffer = memoryview(bytearray(BLOCK))
        self._socket.sendall(b"USER anonymous\r\nPASS x\r\nMODE I\r\n")
        self._until(b"200 Mode I")

    def _until(self, text: bytes) -> None:
        tail = b""
        while text not in tail or not tail.endswith(b"\n"):
            count = self._socket.recv_into(self._buffer)
            if not count:
                raise SystemExit("the server has closed the connection")
            tail = (tail + bytes(self._buffer[max(0, count - 300) : count]))[-300:]

    def retrieve(self, name: bytes) -> None:
        self._socket.sendall(b"RETR %s\r\n" % name)
        self._until(b"\r\n226 Sent")

    def store(self, name: bytes, size: int, block: int = BLOCK) -> None:
        self._socket.sendall(b"STOR %s\r\n" % name)
        for at in range(0, size, block):
            count = min(block, size - at)
            self._socket.sendall(b"DATA %d\r\n" % count)
            self._socket.sendall(self._buffer[:count])
        self._socket.sendall(b"DONE\r\n")
        self._until(b"226 Stored")


def curl(url: str) -> None:
    subprocess.run(["curl", "-sfo", "/dev/null", url], check=True)


def main() -> None:
    with scratch() as folder:
        root = folder / "root"
        root.mkdir()
        write_random(root / "1g.bin", GIB)
        with ftpsvc(root) as (port, pid), nginx(root) as web:
            client = BareClient(port)
            client.store(b"small", BLOCK)  # so that the first measured transfer finds everything imported
            before = resident(pid)
            retrieve, store, by_nginx = [], [], []
            for _ in range(RUNS):
                by_nginx.append(speed(GIB, lambda: curl(f"http://127.0.0.1:{web}/1g.bin")))
                retrieve.append(speed(GIB, lambda: client.retrieve(b"1g.bin")))
                claim_memory(root, GIB)
                store.append(speed(GIB, lambda: client.store(b"new.bin", GIB)))
                (root / "new.bin").unlink()
            grown = resident(pid) - before
    head("1 GiB on loopback and tmpfs")
    row("nginx (sendfile) to curl", by_nginx, "GB/s")
    row("ftpsvc RETR, MODE I, digested", retrieve, "GB/s")
    row("ftpsvc STOR, MODE I, digested and synced", store, "GB/s")
    print(f"the server's memory grew by {grown / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
