"""The client in stream mode against our own server, over real data connections; and a connection that is closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import support
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from ftpsvc.accounts import AnonymousOnly
from ftpsvc.client import ClientProtocol
from ftpsvc.copying import copy
from ftpsvc.factory import ServerFactory
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import ConnectionFailed
from ftpsvc.remote import Remote
from ftpsvc.threads import pool_of


class TestStreamMode(TestCase):
    """MODE I is there, and the client is told not to use it."""

    @pytest.fixture(autouse=True)
    def take_folder(self, tmp_path: Path) -> None:
        self.near, self.far = tmp_path / "near", tmp_path / "far"

    def setUp(self) -> None:
        self.run_in_pool = pool_of(reactor)
        disks = []
        for folder in (self.near, self.far):
            folder.mkdir()
            disks.append(LocalDisk(str(folder), self.run_in_pool))
            self.addCleanup(disks[-1].close)
        self.disk = disks[0]
        factory = ServerFactory(AnonymousOnly(disks[1]), reactor, self.run_in_pool)
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)
        self.addCleanup(support.seen_out, factory)

    async def connect(self) -> Remote:
        remote = await Remote.connect(reactor, "127.0.0.1", self.port.getHost().port)
        remote.may_be_inline = False
        await remote.login()
        self.assertFalse(remote.is_inline)
        return remote

    async def test_files_with_their_times_go_both_ways(self) -> None:
        remote = await self.connect()
        for size in (0, 1, 5_000_000):
            data = os.urandom(size)
            (self.near / "file").write_bytes(data)
            os.utime(self.near / "file", (1_000_000_000, 1_000_000_000))
            await copy(self.disk, "/file", remote, "/file")
            await copy(remote, "/file", self.disk, "/copy")
            for path in (self.far / "file", self.near / "copy"):
                self.assertEqual(path.read_bytes(), data)
                self.assertEqual(path.stat().st_mtime, 1_000_000_000)
        await remote.quit()

    async def test_many_at_once_take_turns(self) -> None:
        remote = await self.connect()
        for number in range(10):
            (self.far / str(number)).write_bytes(b"%d" % number * 100_000)
        works = [Deferred.fromCoroutine(copy(remote, f"/{n}", self.disk, f"/{n}")) for n in range(10)]
        works.append(Deferred.fromCoroutine(remote.make_dir("/folder")))
        await gatherResults(works)
        for number in range(10):
            self.assertEqual((self.near / str(number)).read_bytes(), b"%d" % number * 100_000)
        self.assertEqual(len([entry async for entry in remote.list("/")]), 11)
        await remote.quit()

    async def test_what_breaks_off_leaves_a_connection_that_works(self) -> None:
        remote = await self.connect()
        (self.far / "file").write_bytes(b"old")
        for keep in (True, False):
            writing = await remote.open_write("/file")
            await writing.write(b"new")
            await writing.abort(keep)
        self.assertEqual((await remote.fetch("/file")).data, b"old")
        appending = await remote.open_append("/file")
        await appending.write(b" and new")
        await appending.commit()
        reading = await remote.open_read("/file", 4)
        self.assertEqual(bytes(await reading.read(100)), b"and new")
        await reading.close()
        async for _ in remote.list("/"):
            break
        await remote.quit()
        for part in support.parts_in(self.far):
            part.unlink()  # the far end can't tell a client that gives up from one that is lost, and keeps what came


class Slow(Protocol):
    """Who reads nothing at first."""

    def __init__(self) -> None:
        self.size = 0
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class TestTheEnd(TestCase):
    async def test_what_is_closed_in_the_middle_of_an_upload_ends(self) -> None:
        slow, client = Slow(), ClientProtocol(reactor)
        port = reactor.listenTCP(0, Factory.forProtocol(lambda: slow), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), client)
        client.greeting.finished.addErrback(lambda _: None)
        remote = Remote(client)
        file = await remote.open_write("/file")

        async def write() -> None:
            for _ in range(64):
                await file.write(bytes(1 << 20))

        writing = Deferred.fromCoroutine(write())
        while not client.is_clogged:
            await deferLater(reactor, 0.01)
        remote.close()
        slow.transport.resumeProducing()  # type: ignore[union-attr]
        await self.assertFailure(writing, ConnectionFailed)
        await file.abort()
        await slow.gone
        self.assertLess(slow.size, 32 << 20)
