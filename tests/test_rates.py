"""Rates: the buckets' arithmetic, transfers in memory on a clock, and sendfile on real sockets driven by a clock."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import support
from hall import Hall, Visitor
from support import frames
from test_connections import Everybody
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from ftpsvc import pacing
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.factory import ServerFactory
from ftpsvc.limits import Limits
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import Account
from ftpsvc.rates import BURST, Bucket, Pace, Rates
from ftpsvc.threads import pool_of

#: Bytes a second, where it doesn't matter how many.
RATE = 100_000


def moved_in(seconds: float, bucket: Bucket, clock: Clock, piece: int, late: float = 0.0) -> int:
    """How many bytes one who always has more to move gets through in so much time, if each wait ends too late."""
    moved, end = 0, clock.seconds() + seconds
    while True:
        wait = bucket.take(piece)
        if clock.seconds() + wait > end:
            return moved
        clock.advance(wait + (late if wait else 0))
        moved += piece


@pytest.mark.parametrize("rate", [100, 50_000, 10_000_000, 1_000_000_000])
@pytest.mark.parametrize("late", [0.0, 0.004, 0.1])
def test_over_ten_seconds_a_bucket_is_exact_to_a_twentieth(rate: int, late: float) -> None:
    clock = Clock()
    bucket = Bucket(rate, clock)
    assert moved_in(10, bucket, clock, rate // 10, late) == pytest.approx(10 * rate, rel=0.05)


def test_who_was_idle_has_no_more_than_the_burst_in_advance() -> None:
    clock = Clock()
    bucket = Bucket(1000, clock)
    clock.advance(3600)
    assert bucket.take(int(1000 * BURST)) == 0
    assert bucket.take(100) == pytest.approx(0.1)


def test_a_clock_that_is_set_back_takes_no_tokens() -> None:
    """It is the time of day, which is set by the network's: else nothing would move for as long as it was ahead."""
    clock = Clock()
    clock.advance(7200)
    bucket = Bucket(1000, clock)
    clock.rightNow -= 3600
    assert bucket.take(100) == pytest.approx(0.1)
    clock.advance(0.1)
    assert bucket.take(100) == pytest.approx(0.1)


def test_a_clock_that_is_set_back_holds_up_no_reader_at_a_rate() -> None:
    """The client's side of it."""
    clock = support.make_clock()
    clock.advance(7200)
    pace = pacing.Pace(lambda: 1000, clock)
    for _ in range(2):
        reading = support.start(pace.keep(100))
        clock.advance(0.1)
        assert reading.is_over
        clock.rightNow -= 3600


def test_those_who_share_a_bucket_have_equal_parts() -> None:
    clock = Clock()
    bucket = Bucket(1000, clock)
    assert [bucket.take(100) for _ in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_a_pace_is_that_of_its_slowest_bucket() -> None:
    clock = Clock()
    pace = Pace(clock, Bucket(1000, clock), Bucket(100, clock))
    assert pace.most == 10
    assert pace.take(10) == pytest.approx(0.1)
    assert [bytes(piece) for piece in pace.cut(b"x" * 25)] == [b"x" * 10, b"x" * 10, b"x" * 5]


def test_where_nothing_is_limited_data_is_not_cut() -> None:
    clock = Clock()
    paces = Rates(Limits(), clock).paces_for(Account("ann"))
    assert paces is Rates(Limits(), clock).free or paces.down.most is None
    data = b"x" * 5_000_000
    assert next(paces.down.cut(data)) is data
    assert paces.up.take(10**12) == 0


def test_an_accounts_own_rates_count_before_the_servers() -> None:
    rates = Rates(Limits(account_up=1000, account_down=1000), Clock())
    paces = rates.paces_for(Account("ann", rate_up=500))
    assert (paces.up.most, paces.down.most) == (50, 100)
    free = rates.paces_for(Account("bob", rate_up=0, rate_down=0))
    assert (free.up.most, free.down.most) == (None, None)


def test_an_accounts_bucket_is_kept_as_long_as_it_has_sessions() -> None:
    rates = Rates(Limits(account_down=1000), Clock())
    first, second, other = (rates.paces_for(Account(name)) for name in ("ann", "ann", "bob"))
    assert [pace.down.take(100) for pace in (first, second, other)] == pytest.approx([0.1, 0.2, 0.1])
    del first, second, other
    assert len(rates._shared) == 0


# -- transfers in memory


def time_of(hall: Hall, visitor: Visitor, ending: int = 226, step: float = 0.05) -> float:
    """How many seconds of the clock it takes until a transfer has ended."""
    begun = hall.clock.seconds()
    while ending not in visitor.codes():
        hall.clock.advance(step)
        assert hall.clock.seconds() - begun < 3600
    return float(hall.clock.seconds() - begun)


def inline(hall: Hall, host: str = "192.0.2.1", name: str = "anonymous") -> Visitor:
    visitor = hall.visit(host)
    assert visitor.log_in(name) == [220, 331, 230]
    assert visitor.codes(b"MODE I\r\n") == [200]
    return visitor


def times_of_downloads(hall: Hall, *visitors: Visitor) -> list[float]:
    """How many seconds of the clock it takes each, counted together, until the 226 has come."""
    begun = hall.clock.seconds()
    times: dict[int, float] = {}
    while len(times) < len(visitors):
        for number, visitor in enumerate(visitors):
            visitor.link.pump()
            if b"\r\n226 " in bytes(visitor.peer.received)[-200:]:
                times.setdefault(number, hall.clock.seconds() - begun)
        hall.clock.advance(0.05)
        assert hall.clock.seconds() - begun < 3600
    return [times[number] for number in range(len(visitors))]


@pytest.mark.parametrize("size", [60_000, 1_000_000])
def test_what_is_retrieved_takes_its_time(tmp_path: Path, size: int) -> None:
    """Small files that leave whole, and larger ones."""
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    hall = Hall(tmp_path, Limits(session_down=size // 10))
    visitor = inline(hall)
    visitor.link.client_end.write(b"RETR file\r\n")
    assert times_of_downloads(hall, visitor) == pytest.approx([10], rel=0.05)
    (_, sequence, _) = visitor.ask()
    assert isinstance(sequence, support.Sequence)
    assert sequence.data == data


def test_what_is_stored_takes_its_time_and_little_of_it_waits_here(tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    hall = Hall(tmp_path, Limits(session_up=100_000, idle=5))
    visitor = inline(hall)
    visitor.link.client_end.write(b"STOR file\r\n" + frames(data))
    visitor.link.pump()
    assert len(visitor.link.client_end.outgoing) > 700_000, "the server has stopped reading"
    assert time_of(hall, visitor) == pytest.approx(10, rel=0.05)
    assert (tmp_path / "file").read_bytes() == data


def test_small_files_are_stored_no_faster(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(session_up=10_000))
    visitor = inline(hall)
    for number in range(20):
        visitor.link.client_end.write(b"STOR %d\r\n" % number + frames(bytes(5_000)))
    visitor.link.client_end.write(b"NOOP\r\n")
    assert time_of(hall, visitor, 200) == pytest.approx(10, rel=0.05)


def test_an_upload_that_is_refused_is_not_taken_in_faster(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(session_up=10_000))
    visitor = inline(hall)
    visitor.link.client_end.write(b"STOR no/file\r\n" + frames(bytes(100_000)) + b"NOOP\r\n")
    assert time_of(hall, visitor, 200) == pytest.approx(10, rel=0.05)


def test_a_listing_has_the_same_rate(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:050}").touch()
    hall = Hall(tmp_path, Limits(session_down=1_040))
    visitor = inline(hall)
    visitor.link.client_end.write(b"NLST\r\n")
    assert times_of_downloads(hall, visitor) == pytest.approx([10], rel=0.05)


def test_the_sessions_of_an_account_share_its_rate(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    hall = Hall(tmp_path, Limits(account_down=20_000), Everybody(support.local_disk(tmp_path)))
    first, second = (inline(hall, name="ann") for _ in range(2))
    other = inline(hall, name="bob")
    for visitor in (first, second, other):
        visitor.link.client_end.write(b"RETR file\r\n")
    assert times_of_downloads(hall, first, second, other) == pytest.approx([10, 10, 5], rel=0.05)


def test_the_wait_for_a_turn_is_not_the_clients_idleness(tmp_path: Path) -> None:
    hall = Hall(tmp_path, Limits(session_up=1_000, session_down=1_000, idle=2))
    visitor = inline(hall)
    visitor.link.client_end.write(b"STOR file\r\n" + frames(bytes(20_000)))
    assert time_of(hall, visitor) == pytest.approx(20, rel=0.05)
    visitor.link.client_end.write(b"RETR file\r\n")
    assert times_of_downloads(hall, visitor) == pytest.approx([20], rel=0.05)
    hall.clock.advance(2)
    visitor.link.pump()
    assert visitor.is_closed, "and afterwards it is"


def test_a_transfer_that_is_held_back_ends_with_its_connection(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    hall = Hall(tmp_path, Limits(session_down=100, session_up=100))
    for command in (b"RETR file\r\n", b"STOR new\r\n" + frames(bytes(1000))):
        visitor = inline(hall)
        visitor.link.client_end.write(command)
        visitor.link.pump()
        visitor.leave()
        assert len(hall.factory.connections) == 0


# -- real sockets


class ReactorOnAClock(Clock):
    """The reactor's sockets, with a clock's time."""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Collecting(Protocol):
    """A client of bare bytes."""

    def __init__(self) -> None:
        self.received = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class OnSockets(TestCase):
    """A server whose time is turned by hand. Real time passes too, and nothing depends on how much."""

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def setUp(self) -> None:
        run = pool_of(reactor)
        self.clock = ReactorOnAClock()
        disk = LocalDisk(str(self.folder), run)
        self.addCleanup(disk.close)
        self.factory = ServerFactory(AnonymousOnly(disk), self.clock, run, Limits(session_down=RATE))
        self.addCleanup(support.seen_out, self.factory)
        port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    async def connect(self, port: int) -> Any:
        client = Collecting()
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), client)
        self.addCleanup(client.transport.abortConnection)  # type: ignore[union-attr]
        return client

    async def hears(self, client: Any, pattern: bytes) -> re.Match[bytes]:
        while (found := re.search(pattern, client.received)) is None:
            self.clock.advance(0)
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]
        return found

    async def retrieve(self, control: Any, side: Any) -> None:
        """Turn the clock when the server waits for nothing else, and see that it never sends ahead of it."""
        (session,) = self.factory._sessions
        side.received.clear()
        control.received.clear()
        begun = self.clock.seconds()
        control.transport.write(b"RETR file\r\n")
        with mock.patch("os.sendfile", wraps=os.sendfile) as sendfile:
            while b"\r\n226 " not in bytes(control.received[-100:]):
                self.clock.advance(0.05 if session._paces.are_resting else 0)
                await deferLater(reactor, 0.001)  # type: ignore[arg-type]
                most = RATE * (self.clock.seconds() - begun)
                self.assertLessEqual(len(side.received), most * 1.01 + RATE * BURST + 1000)
        self.assertGreaterEqual(sendfile.call_count, 100)
        self.assertGreaterEqual(len(side.received), 10 * RATE)
        self.assertLess(abs(self.clock.seconds() - begun - 10), 0.5)

    async def test_sendfile_keeps_to_the_rate(self) -> None:
        (self.folder / "file").write_bytes(os.urandom(10 * RATE))
        control = await self.connect(self.port)
        control.transport.write(b"USER ftp\r\nPASS x\r\nTYPE I\r\nEPSV\r\n")
        found = await self.hears(control, rb"\|\|\|(\d+)\|")
        await self.retrieve(control, await self.connect(int(found[1])))
        control.transport.write(b"MODE I\r\n")
        await self.hears(control, b"200 Mode")
        await self.retrieve(control, control)
        control.transport.write(b"QUIT\r\n")
        await self.hears(control, b"221 ")
        while self.factory._sessions and len(self.factory.connections):
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]
