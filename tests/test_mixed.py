"""Hundreds of commands on their way at once, over real sockets: every reply and every byte in its place.

Small answers are sent at once, what the system doesn't take waits in the transport, and large files leave by another
descriptor of the socket. None of the three may overtake another, however slowly the client reads.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path

import pytest
import streams
from support import frames

from ftpsvc.frames import digest_of
from ftpsvc.pump import SENDFILE_FROM, STEP

#: Around each size from which on something is done differently.
SIZES = (0, 1, 1000, 65536, 65537, SENDFILE_FROM - 1, SENDFILE_FROM, 300_000, STEP, STEP + 1, 2 * STEP)

#: How much the client sends at a time.
SEGMENTS = (3, 1400, 20_000, 200_000, 400_000)

COMMANDS = 150

#: What has to come: a code; a file's bytes; the files of a listing and their sizes.
Expected = list[int | bytes | dict[str, int]]


class Talk:
    """Commands by chance, and what has to be answered."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.files: dict[str, bytes] = {}
        self.sent: list[bytes] = []
        self.expected: Expected = []
        for _ in range(COMMANDS):
            chance.choices((self.store, self.append, self.retrieve, self.go_on, self.list, self.refused), TIMES)[0]()

    def add(self, line: str, *expected: int | bytes | dict[str, int], data: bytes | None = None) -> None:
        sequence = b"" if data is None else frames(data, self.chance.choice((100_000, 4096, 70_000)))
        self.sent.append(line.encode() + b"\r\n" + sequence)
        self.expected += expected

    def some_bytes(self) -> bytes:
        return self.chance.randbytes(self.chance.choice(SIZES))

    def store(self) -> None:
        name, data = f"f{self.chance.randrange(8)}", self.some_bytes()
        self.files[name] = data
        self.add(f"STOR {name}", 150, 226, data=data)

    def append(self) -> None:
        name, data = f"f{self.chance.randrange(8)}", self.chance.randbytes(1000)
        self.files[name] = self.files.get(name, b"") + data
        self.add(f"APPE {name}", 150, 226, data=data)

    def retrieve(self) -> None:
        if self.files:
            name = self.chance.choice(sorted(self.files))
            for _ in range(self.chance.choice((1, 1, 12))):
                self.add(f"RETR {name}", 150, self.files[name], 226)

    def go_on(self) -> None:
        if self.files:
            name = self.chance.choice(sorted(self.files))
            offset = self.chance.randrange(len(self.files[name]) + 1)
            self.add(f"REST {offset}\r\nRETR {name}", 350, 150, self.files[name][offset:], 226)

    def list(self) -> None:
        self.add("MLSD", 150, {name: len(data) for name, data in self.files.items()}, 226)

    def refused(self) -> None:
        self.add("RETR nothing", 550)


#: How often each of the commands is chosen.
TIMES = (20, 8, 50, 7, 10, 5)


def sequence(client: streams.Client, chance: random.Random) -> bytes:
    """The data of a transfer, read slowly now and then."""
    data = bytearray()
    while (line := client.file.readline()).startswith(b"DATA "):
        if chance.random() < 0.05:
            time.sleep(0.002)
        data += client.file.read(int(line[5:]))
    assert line.startswith(b"DONE " + digest_of(bytes(data)).encode()), line
    return bytes(data)


def sizes_in(listing: bytes) -> dict[str, int]:
    """The files of a listing by MLSD."""
    lines = [line.partition(" ") for line in listing.decode().splitlines()]
    return {name: int(dict(fact.split("=") for fact in facts.split(";") if fact)["size"]) for facts, _, name in lines}


def wait_until_it_stands(gone: list[int]) -> None:
    """Read nothing until the server takes no more commands, because its answers don't leave."""
    before = -1
    while before != len(gone):
        before = len(gone)
        time.sleep(0.05)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_on_its_way_together_arrives_in_its_place(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    talk = Talk(chance)
    server = streams.Server(tmp_path)
    client = streams.Client(server)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)  # or the system would hold it all
    assert client.ask("MODE I").startswith("200 ")
    sent, pieces = b"".join(talk.sent), random.Random(seed)

    gone: list[int] = []  # as the client sends, for each time how much by then

    def send() -> None:
        at = 0
        while at < len(sent):
            size = pieces.choice(SEGMENTS)
            client.send(sent[at : at + size])
            at += size
            gone.append(at)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    for expected in talk.expected:
        if chance.random() < 0.03:
            wait_until_it_stands(gone)
        if isinstance(expected, int):
            assert client.codes(1) == [expected]
        elif isinstance(expected, bytes):
            assert sequence(client, chance) == expected
        else:
            assert sizes_in(sequence(client, chance)) == expected
    sending.join()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == talk.files
    client.close()
    server.kill()
