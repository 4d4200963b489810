"""The client with TLS against our own server, over real connections, in both modes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import support
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.trial.unittest import TestCase

from ftpsvc import certificates
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.clienttls import ClientTLS, Protection
from ftpsvc.copying import copy
from ftpsvc.factory import ServerFactory
from ftpsvc.knownservers import KnownServers
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import NoTLS
from ftpsvc.remote import Remote
from ftpsvc.threads import pool_of
from ftpsvc.tls import ServerTLS


class TestClientTLS(TestCase):
    """Files both ways, one large and many small."""

    @pytest.fixture(autouse=True)
    def take_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.near, self.far = tmp_path / "near", tmp_path / "far"

    async def start(self, protection: Protection) -> None:
        run = pool_of(reactor)
        disks = []
        for folder in (self.near, self.far):
            folder.mkdir()
            disks.append(LocalDisk(str(folder), run))
            self.addCleanup(disks[-1].close)
        self.disk = disks[0]
        tls = ServerTLS(*certificates.ensure(self.folder / "state"))
        factory = ServerFactory(AnonymousOnly(disks[1]), reactor, run, tls=tls)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        way = wrapServerTLS(tls, endpoint, reactor) if protection is Protection.IMPLICIT else endpoint
        port = await way.listen(factory)
        self.addCleanup(port.stopListening)
        self.addCleanup(support.seen_out, factory)
        self.port = port.getHost().port
        known = KnownServers(self.folder / "known_servers")
        self.tls = ClientTLS("127.0.0.1", self.port, known, protection, tls.fingerprint)

    async def carry(self, protection: Protection, may_be_inline: bool) -> None:
        await self.start(protection)
        remote = await Remote.connect(reactor, "127.0.0.1", self.port, tls=self.tls)
        remote.may_be_inline = may_be_inline
        await remote.login()
        assert remote.is_protected and remote.is_inline == may_be_inline
        for size in (0, 1, 5_000_000):
            data = os.urandom(size)
            (self.near / "file").write_bytes(data)
            await copy(self.disk, "/file", remote, "/file")
            await copy(remote, "/file", self.disk, "/back")
            assert (self.far / "file").read_bytes() == (self.near / "back").read_bytes() == data
        for number in range(30):
            (self.far / f"{number}").write_bytes(b"%d" % number * 1000)
        works = [Deferred.fromCoroutine(copy(remote, f"/{n}", self.disk, f"/{n}")) for n in range(30)]
        await gatherResults(works)
        assert [(self.near / f"{n}").read_bytes() for n in range(30)] == [b"%d" % n * 1000 for n in range(30)]
        reading = await remote.open_read("/file")
        await reading.read(10)
        await reading.close()
        assert len([entry async for entry in remote.list("/")]) == 31
        await remote.quit()

    async def test_mode_i(self) -> None:
        await self.carry(Protection.OFFERED, may_be_inline=True)

    async def test_data_connections(self) -> None:
        await self.carry(Protection.OFFERED, may_be_inline=False)

    async def test_mode_i_with_tls_from_the_first_byte(self) -> None:
        await self.carry(Protection.IMPLICIT, may_be_inline=True)

    async def test_data_connections_with_tls_from_the_first_byte(self) -> None:
        await self.carry(Protection.IMPLICIT, may_be_inline=False)

    async def test_tls_from_the_first_byte_where_it_has_to_be_asked_for(self) -> None:
        await self.start(Protection.OFFERED)
        self.tls.protection = Protection.IMPLICIT
        with pytest.raises(NoTLS, match=r"the answer is in clear\. Without --implicit \(in a URL: ftpes://"):
            await Remote.connect(reactor, "127.0.0.1", self.port, tls=self.tls)
