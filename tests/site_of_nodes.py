"""Several nodes in memory that count together in a real Redis, and answers that come when a test lets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import support
from hall import Hall, Visitor
from redisserver import DEADLINE, RedisServer
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ftpsvc.commons import Common
from ftpsvc.everywhere.joining import Joined
from ftpsvc.homes import Homes
from ftpsvc.limits import Limits
from ftpsvc.overview import Overview


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def site(redis: RedisServer, tmp_path: Path) -> Iterator[Site]:
    redis.ask("FLUSHALL")
    site = Site(redis, tmp_path)
    yield site
    site.close()


class Wire:
    """A connection to Redis, as a transport; what comes is delivered when it is pumped, or `at_once`."""

    def __init__(self, server: RedisServer, speaker: Any, at_once: bool) -> None:
        self._link = server.connect()
        self._at_once = at_once
        self.speaker = speaker
        self.is_lost = False

    def write(self, data: bytes) -> None:
        try:
            self._link.sendall(data)
        except OSError:
            return
        if self._at_once:
            self.deliver()

    def deliver(self) -> None:
        """All that was asked is answered, and what Redis had published by then is heard."""
        while self.speaker._asked and not self.is_lost:
            try:
                data = self._link.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                self.abortConnection()
                return
            self.speaker.dataReceived(data)

    def abortConnection(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._link.close()
            self.speaker.connectionLost(Failure(ConnectionDone()))

    loseConnection = abortConnection


class Place:
    """An `Address` in memory."""

    database = 0
    user = password = ""

    def __init__(self, server: RedisServer, at_once: bool = False) -> None:
        self.server = server
        self.at_once = at_once
        self.is_cut_off = False
        self.wires: list[Wire] = []

    def __str__(self) -> str:
        return "redis://a-test:6379/0"

    def endpoint(self, reactor: Any) -> Place:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.is_cut_off:
            return fail(ConnectionRefusedError())
        try:
            wire = Wire(self.server, factory.buildProtocol(None), self.at_once)
        except OSError:
            return fail(ConnectionRefusedError())
        self.wires.append(wire)
        wire.speaker.makeConnection(wire)
        return succeed(wire.speaker)


_numbers = count(1)


class Node:
    """One process that serves."""

    def __init__(self, site: Site, limits: Limits, accounts: Any, name: str, common: Common | None) -> None:
        self.common = common or Common()
        self.place = Place(site.server, site.is_at_once)
        self.run = f"{name or f'node{next(_numbers)}'}.{next(_numbers)}"
        self.joined = Joined(site.clock, self.place, self.run, self.common, None)  # type: ignore[arg-type]
        self.hall = Hall(site.folder, limits, accounts, clock=site.clock, common=self.common)
        self.factory = self.hall.factory
        nobody: Any = None
        self.overview = Overview(self.factory, nobody, nobody)
        self.overview.everywhere = self.joined
        self.joined.holds(self.factory.blocklist, self.overview.send_away)
        self.homes = Homes(
            lambda home, owner: support.local_disk(home, owner=owner),
            support.at_once,
            lambda: 0.0,
            self.common,
            self.joined.usage,
        )
        self.joined.start()

    def ban(self, network: Any, seconds: float | None = None) -> None:
        """As an operator does."""
        support.result_of(self.overview.ban(network, seconds))

    def unban(self, network: Any) -> bool:
        return bool(support.result_of(self.overview.unban(network)))

    def cut_off(self) -> None:
        """For Redis it might have died as well."""
        self.place.is_cut_off = True
        self.lose()

    def lose(self) -> None:
        """It loses the connection."""
        for wire in self.place.wires:
            wire.abortConnection()


class Site:
    """All of them."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.clock: Clock = support.make_clock()
        self.clock.rightNow = 1_000_000.0
        self.nodes: list[Node] = []
        self.is_at_once = False  #: whether Redis answers nodes to come at once

    def node(self, limits: Limits, accounts: Any = None, name: str = "", common: Common | None = None) -> Node:
        self.nodes.append(Node(self, limits, accounts, name, common))
        self.pump()
        return self.nodes[-1]

    def kept(self, key: str = "ftpsvc:sums") -> dict[str, int]:
        """What Redis has under a key: how many there are of each."""
        flat = self.server.ask("HGETALL", key)
        return dict(zip(flat[::2], map(int, flat[1::2]), strict=True))

    def pump(self) -> None:
        """Let all be told and heard that there is: twice, for an answer may lead to something else."""
        for _ in range(3):
            self.clock.advance(0.01)
            wires = [wire for node in self.nodes for wire in node.place.wires if not wire.is_lost]
            for wire in wires:
                wire.deliver()
            for wire in wires:  # behind this comes nothing that was published before it
                if not wire.is_lost:
                    wire.speaker.ask("PING").addErrback(lambda _: None)
                    wire.deliver()

    def result_of(self, work: Any) -> Any:
        started = support.start(work)
        self.until(lambda: started.is_over)
        return started.result()

    def ask(self, visitor: Visitor, *lines: str) -> list[Any]:
        """The codes of what is answered when Redis has been asked."""
        visitor.link.client_end.write("".join(f"{line}\r\n" for line in lines).encode())
        for _ in range(3):
            visitor.link.pump()
            self.pump()
        visitor.link.pump()
        return visitor.codes()

    def until(self, holds: Callable[[], object]) -> None:
        """Let time pass until that is so."""
        for _ in range(1000):
            if holds():
                return
            self.pump()
        raise AssertionError

    def close(self) -> None:
        for node in self.nodes:
            node.hall.close()
            stopped = support.start(node.joined.stop())
            self.pump()
            assert stopped.is_over, DEADLINE
            node.lose()
