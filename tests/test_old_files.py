"""Uploads that break off, at servers that tell no digests and keep no parts: what is there may be an old file still."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import result_of
from twisted.internet.task import Clock

from ftpsvc import model
from ftpsvc.healing import Lasting
from ftpsvc.journal import Job, Journal
from ftpsvc.model import NO_FACTS, ConnectionFailed, Entry, Facts, Kind, Stored, TransferError
from ftpsvc.resuming import NOT_VERIFIED, STILL_THERE, Brought, Known, bring

PIECE = 100_000
NEW = b"".join(bytes([65 + number]) * PIECE for number in range(9))
ENTRY = Entry("f", Kind.FILE, len(NEW), 10**18)
KNOWN = Known(ENTRY.size, ENTRY.modified)

#: Of old files.
SIZES = [None, 0, 150_000, 300_000, 500_000, ENTRY.size, ENTRY.size + 1]

#: After how many bytes uploads break off, one behind the other.
BREAKS = [[300_000], [500_001], [50_000, 300_000], [300_001, 100_000, 299_999, 1]]


def old(size: int) -> bytes:
    return b"-" * size


class Reading:
    entry = ENTRY
    facts = NO_FACTS

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, size: int) -> bytes:
        chunk, self._data = self._data[:PIECE], self._data[PIECE:]
        return chunk

    async def close(self) -> None:
        pass


class Source:
    async def open_read(self, path: str, offset: int = 0) -> Reading:
        return Reading(NEW[offset:])


class Manner(enum.Enum):
    """What a server does with an old file when an upload begins."""

    APART = enum.auto()  #: it stays until the new one is whole
    CUT = enum.auto()  #: it is cut to nothing
    OVER = enum.auto()  #: it is written over


@dataclass
class Server:
    """A server without HASH and SITE PART. Each upload breaks off after so many bytes, until there are no more."""

    manner: Manner
    breaks: list[int]
    file: bytes | None = None
    modified: int = 5 * 10**17  #: 0: the server tells no times
    refusal: TransferError | None = None  #: what it says to who asks for a size
    ignores_marker: bool = False
    offsets: list[int] = field(default_factory=list)  #: of each STOR
    looks: int = 0

    algorithms = ()

    async def kept(self, path: str) -> int:
        raise model.NotImplementedHere("no SITE PART")

    async def digest(self, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
        raise model.NotImplementedHere("no HASH")

    async def stat(self, path: str) -> Entry:
        self.looks += 1
        if self.refusal is not None:
            raise self.refusal
        if self.file is None:
            raise model.NotFound("no such file")
        return Entry("f", Kind.FILE, len(self.file), self.modified)

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> Writing:
        self.offsets.append(offset)
        return Writing(self, 0 if self.ignores_marker else offset, self.breaks.pop(0) if self.breaks else None)


class Writing:
    def __init__(self, server: Server, offset: int, left: int | None) -> None:
        self._server = server
        self._left = left
        there = server.file or b""
        self._data = there[:offset]
        self._tail = there if server.manner is Manner.OVER else b""
        self._show()

    def _show(self) -> None:
        if self._server.manner is not Manner.APART:
            self._server.modified += bool(self._server.modified) * 10**9
            self._server.file = self._data + self._tail[len(self._data) :]

    async def write(self, chunk: bytes) -> None:
        taken = chunk if self._left is None else chunk[: self._left]
        self._data += taken
        self._show()
        if self._left is not None:
            self._left -= len(taken)
            if taken != chunk:
                raise ConnectionFailed("426 the data connection was lost")

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        self._server.file = self._data
        return Stored(len(self._data), "")

    async def abort(self, keep: bool = False) -> None:
        pass


class Mended(Lasting):
    async def healed(self, error: TransferError) -> None:
        pass


class Ended(Lasting):
    """Nobody mends it: the client's end."""

    async def healed(self, error: TransferError) -> None:
        raise error


def store(server: Server, line: type[Lasting] = Mended, known: Known | None = None, **more: Any) -> Brought:
    """Store the file, and see that it is there, with no byte of another."""
    source: Any = Source()
    brought = result_of(bring(source, "/f", ENTRY, server, "/f", known=known, line=line(Clock()), **more))
    assert server.file == NEW
    assert isinstance(brought, Brought)
    return brought


def test_an_old_file_that_is_smaller_and_is_still_there_is_not_gone_on_from() -> None:
    server = Server(Manner.APART, [500_001], old(300_000))
    brought = store(server)
    assert server.offsets == [0, 0]
    assert (brought.resumed, brought.note) == (0, STILL_THERE)


def test_nor_is_it_where_the_server_tells_no_times() -> None:
    server = Server(Manner.APART, [500_001], old(300_000), modified=0)
    assert store(server).note == STILL_THERE


@pytest.mark.parametrize("size", [ENTRY.size, ENTRY.size + 1])
def test_an_old_file_that_is_as_large_or_larger_and_is_still_there_is_not_gone_on_from(size: int) -> None:
    server = Server(Manner.APART, [500_001], old(size))
    brought = store(server)
    assert (server.offsets, brought.note) == ([0, 0], STILL_THERE)


@pytest.mark.parametrize("manner", list(Manner))
@pytest.mark.parametrize("before", SIZES)
def test_it_never_becomes_a_mixture(manner: Manner, before: int | None) -> None:
    for breaks in BREAKS:
        store(Server(manner, list(breaks), None if before is None else old(before)))


@pytest.mark.parametrize("before", [None, 0, 300_000, ENTRY.size, ENTRY.size + 1])
def test_what_is_ours_is_gone_on_from_and_is_so_when_it_has_grown(before: int | None) -> None:
    server = Server(Manner.CUT, [500_001, 200_000], None if before is None else old(before))
    brought = store(server)
    assert server.offsets == [0, 500_001, 700_001]
    assert (brought.resumed, brought.note) == (0, NOT_VERIFIED)


def test_where_nothing_was_there_and_nothing_is_it_begins_anew() -> None:
    server = Server(Manner.APART, [500_001])
    store(server)
    assert server.offsets == [0, 0]


def test_an_old_file_that_was_written_over_in_part_is_not_gone_on_from_though_its_time_is_new() -> None:
    server = Server(Manner.OVER, [200_000], old(300_000))
    assert (store(server).note, server.offsets) == (STILL_THERE, [0, 0])
    server = Server(Manner.OVER, [400_000], old(300_000))
    assert (store(server).note, server.offsets) == (NOT_VERIFIED, [0, 400_000])


def test_more_than_was_sent_is_somebody_elses() -> None:
    server = Server(Manner.APART, [100_001])
    large = Entry("f", Kind.FILE, len(NEW) * 3, ENTRY.modified)
    source: Any = type("Large", (), {"open_read": lambda _, path, offset=0: opened(NEW * 3, offset)})()

    async def opened(data: bytes, offset: int) -> Reading:
        return Reading(data[offset:])

    class Meanwhile(Lasting):
        async def healed(self, error: TransferError) -> None:
            server.file = old(2_000_000)

    brought = result_of(bring(source, "/f", large, server, "/f", line=Meanwhile(Clock())))
    assert server.file == NEW * 3
    assert (server.offsets, brought.note) == ([0, 0], "started over: what is there is not as long as it should be")


def test_less_than_was_there_when_the_last_attempt_went_on_is_not_gone_on_from() -> None:
    server = Server(Manner.CUT, [500_001, 200_000])

    class Forgetful(Lasting):
        async def healed(self, error: TransferError) -> None:
            server.ignores_marker = len(server.offsets) == 1

    brought = store(server, Forgetful)
    assert server.offsets == [0, 500_001, 0]
    assert brought.note == "started over: what is there is not as long as it should be"


@pytest.mark.parametrize("refusal", [model.BadCommand, model.Unavailable, model.NotLoggedIn, model.Busy])
def test_a_server_that_tells_nothing_gets_the_file_all_the_same_and_from_the_beginning(
    refusal: type[TransferError],
) -> None:
    server = Server(Manner.APART, [500_001], old(300_000), refusal=refusal("no"))
    store(server)
    assert server.offsets == [0, 0]


def test_what_nobody_has_looked_at_is_not_gone_on_from() -> None:
    server = Server(Manner.CUT, [500_001], refusal=model.BadCommand("no SIZE"))

    class Telling(Lasting):
        async def healed(self, error: TransferError) -> None:
            server.refusal = None

    brought = store(server, Telling)
    assert (server.offsets, brought.note[:26]) == ([0, 0], "started over: nobody can t")


@pytest.mark.parametrize("manner", [Manner.APART, Manner.CUT])
def test_a_file_that_somebody_wants_to_be_gone_on_from_is_so_again(manner: Manner) -> None:
    server = Server(manner, [300_000], NEW[:200_000])
    brought = store(server, goes_on=True)
    assert server.offsets == [200_000, 200_000 if manner is Manner.APART else 500_000]
    assert (brought.resumed, brought.note) == (200_000, NOT_VERIFIED)


@pytest.mark.parametrize("size", [len(NEW) + 1, len(NEW) * 2])
def test_one_that_could_not_be_gone_on_from_is_not_so_later(size: int) -> None:
    server = Server(Manner.OVER, [300_000], old(size))
    store(server, goes_on=True)
    assert server.offsets == [0, 0]


# -- over the end of the client ------------------------------------------------------------------------------


class Client:
    """One that ends, and another one that finds its journal."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder)
        memory = self._journal.begin(Job(False, True, "ftp://host/", "OFFERED", "", "/f", "/f"))
        assert memory is not None
        memory.close()

    def store(self, server: Server, line: type[Lasting] = Ended) -> Brought:
        """Raises what the line does."""
        [memory] = self._journal.unfinished()
        try:
            return store(server, line, memory.known("f"), begun=lambda known: memory.began("f", known))
        finally:
            memory.close()

    def end(self, server: Server) -> None:
        with pytest.raises(ConnectionFailed):
            self.store(server)

    @property
    def known(self) -> Known | None:
        [memory] = self._journal.unfinished()
        memory.close()
        return memory.known("f")


@pytest.mark.parametrize("manner", list(Manner))
@pytest.mark.parametrize("before", SIZES)
def test_it_never_becomes_a_mixture_over_the_end_of_the_client(
    tmp_path: Path, manner: Manner, before: int | None
) -> None:
    for number, breaks in enumerate(BREAKS):
        server = Server(manner, list(breaks), None if before is None else old(before))
        client = Client(tmp_path / str(number))
        for _ in breaks:
            client.end(server)
        client.store(server)


def test_the_journal_knows_what_was_there_before(tmp_path: Path) -> None:
    server, client = Server(Manner.APART, [500_001, 300_001], old(300_000)), Client(tmp_path)
    client.end(server)
    assert client.known == KNOWN._replace(foreign=300_000)
    client.end(server)
    assert client.known == KNOWN._replace(foreign=300_000)
    assert client.store(server).note == STILL_THERE
    assert server.offsets == [0, 0, 0]


def test_what_is_ours_is_so_after_the_end_of_the_client(tmp_path: Path) -> None:
    server, client = Server(Manner.CUT, [500_001, 200_000], old(300_000)), Client(tmp_path)
    client.end(server)
    client.end(server)
    assert client.known == KNOWN._replace(foreign=300_000)
    brought = client.store(server)
    assert (brought.resumed, brought.note) == (700_001, NOT_VERIFIED)
    assert server.offsets == [0, 500_001, 700_001]


def test_what_a_journal_says_without_what_was_there_before_is_not_enough() -> None:
    server = Server(Manner.APART, [], old(300_000))
    brought = store(server, known=KNOWN)
    assert server.offsets == [0]
    assert brought.note.startswith("started over: nobody can tell")


# -- what it costs -------------------------------------------------------------------------------------------


def test_a_server_with_digests_is_not_looked_at_before() -> None:
    class Knowing(Server):
        algorithms = ("XXH3-128",)  # type: ignore[assignment]

    server = Knowing(Manner.CUT, [])
    store(server)
    assert server.looks == 0


def test_a_server_without_any_is_looked_at_once_and_for_a_small_file_not_at_all() -> None:
    server = Server(Manner.CUT, [])
    store(server)
    assert server.looks == 1
    small = Entry("f", Kind.FILE, 64 * 1024, ENTRY.modified)
    source: Any = Source()
    result_of(bring(source, "/f", small, server, "/f"))
    assert server.looks == 1


def test_nothing_is_told_before_the_first_bytes_are_there() -> None:
    told: list[Known] = []
    server = Server(Manner.APART, [1, 500_000], old(300_000))
    store(server, begun=told.append)
    assert told == [KNOWN._replace(foreign=300_000)]
