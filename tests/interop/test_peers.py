"""The client against servers of others, each a process of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from streams import eventually
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ftpsvc import model
from ftpsvc.copying import copy
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import Kind
from ftpsvc.remote import Remote
from ftpsvc.threads import pool_of

from .conftest import NAMES, make_large

#: Enough to fill every buffer on the way many times.
LARGE = 20_000_000

#: How many ports are tried for a server that has to be told one, and finds it taken.
ATTEMPTS = 5

VSFTPD = """\
listen=YES
listen_port={port}
listen_address=127.0.0.1
background=NO
anonymous_enable=YES
anon_root={root}
anon_upload_enable=YES
anon_other_write_enable=YES
anon_mkdir_write_enable=YES
write_enable=YES
anon_world_readable_only=NO
anon_umask=022
seccomp_sandbox=NO
secure_chroot_dir={empty}
"""

PYFTPDLIB = """\
import logging, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
logging.basicConfig(level=logging.ERROR)
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_anonymous(sys.argv[1], perm="elradfmwMT")
FTPServer(("127.0.0.1", int(sys.argv[2])), FTPHandler).serve_forever()
"""


def missing(what: str) -> None:
    """A missing program is a skip; where CI runs, it has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not there")
    pytest.skip(f"{what} is not there")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.recv(3) == b"220"
    except OSError:
        return False


class PeerCase:
    """What is asked of every peer. `up` is where anonymous may write."""

    up: str

    def command(self, port: int) -> list[str]:
        """How to start the peer."""
        raise NotImplementedError

    def setUp(self: Any) -> None:
        # Not the test's own folder of pytest: nobody but its owner may enter that, and servers serve as somebody else.
        self.folder = Path(tempfile.mkdtemp(prefix="ftpsvc-peer-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.folder.chmod(0o755)
        self.root, self.near = self.folder / "root", self.folder / "near"
        for folder in (self.root, self.root / "up", self.near, self.folder / "empty"):
            folder.mkdir(mode=0o755)
        (self.root / "up").chmod(0o777)
        process = next(filter(None, (self.started() for _ in range(ATTEMPTS))))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        run = pool_of(reactor)
        self.disk = LocalDisk(str(self.near), run)
        self.addCleanup(self.disk.close)

    def started(self: Any) -> subprocess.Popen[bytes] | None:
        """The peer, once it answers; None if somebody else took its port meanwhile."""
        self.port = free_port()
        process = subprocess.Popen(self.command(self.port), stdin=subprocess.DEVNULL)
        eventually(lambda: answers(self.port) or process.poll() is not None)
        return process if process.poll() is None else None

    async def connect(self: Any) -> Remote:
        remote = await Remote.connect(reactor, "127.0.0.1", self.port)
        await remote.login()
        return remote

    async def test_files_go_up_and_down_and_are_listed(self: Any) -> None:
        remote = await self.connect()
        assert not remote.is_inline
        for number, name in enumerate((*NAMES, "empty")):
            data = b"" if name == "empty" else os.urandom(1000 + number)
            (self.near / name).write_bytes(data)
            await copy(self.disk, f"/{name}", remote, f"/up/{name}")
            assert (self.root / "up" / name).read_bytes() == data
            await copy(remote, f"/up/{name}", self.disk, "/back")
            assert (self.near / "back").read_bytes() == data
            assert (await remote.stat(f"/up/{name}")).size == len(data)
        assert remote.checked == "size"
        listed = {entry.name: entry async for entry in remote.list("/up")}
        assert listed.keys() == {*NAMES, "empty"}
        assert all(entry.is_file and entry.size == (self.near / n).stat().st_size for n, entry in listed.items())
        assert [(entry.name, entry.kind) async for entry in remote.list("/")] == [("up", Kind.DIRECTORY)]
        assert (await remote.stat("/up")).is_directory
        await remote.quit()

    async def test_a_large_file(self: Any) -> None:
        remote = await self.connect()
        make_large(self.near / "large", LARGE)
        data = (self.near / "large").read_bytes()
        await copy(self.disk, "/large", remote, "/up/large")
        assert (self.root / "up" / "large").read_bytes() == data
        await copy(remote, "/up/large", self.disk, "/back")
        assert (self.near / "back").read_bytes() == data
        reading = await remote.open_read("/up/large", LARGE - 10)
        assert bytes(await reading.read(100)) == data[-10:]
        assert await reading.read(100) == b""
        await reading.close()
        broken_off = await remote.open_read("/up/large")
        await broken_off.read(10)
        await broken_off.close()
        assert (await remote.stat("/up/large")).size == LARGE
        await remote.quit()

    async def test_the_tree_is_changed(self: Any) -> None:
        remote = await self.connect()
        await remote.make_dir("/up/a b")
        await remote.rename("/up/a b", "/up/ä")
        assert [entry.name async for entry in remote.list("/up")] == ["ä"]
        assert [entry.name async for entry in remote.list("/up/ä")] == []
        await remote.remove_dir("/up/ä")
        await remote.put("/up/file", model.Whole(b"small"))
        assert (await remote.fetch("/up/file")).data == b"small"
        await remote.remove("/up/file")
        for work in (remote.stat("/up/file"), remote.open_read("/up/file"), anext(remote.list("/up/nosuch"))):
            with pytest.raises((model.Unavailable, model.BadArgument)):  # pyftpdlib has 501 for no folder
                await work
        assert (await remote.working_directory()) == "/"
        await remote.quit()


class TestVsftpd(PeerCase, TestCase):
    """Without MLST: what LIST, SIZE and MDTM tell."""

    def command(self: Any, port: int) -> list[str]:
        if shutil.which("vsftpd") is None:
            missing("vsftpd")
        if os.getuid() != 0:
            missing("the right to start vsftpd, which is root's,")
        configuration = self.folder / "vsftpd.conf"
        configuration.write_text(VSFTPD.format(port=port, root=self.root, empty=self.folder / "empty"))
        return ["vsftpd", str(configuration)]


class TestPyftpdlib(PeerCase, TestCase):
    """With MLSD."""

    def command(self: Any, port: int) -> list[str]:
        if importlib.util.find_spec("pyftpdlib") is None:
            missing("pyftpdlib")
        return [sys.executable, "-W", "ignore", "-c", PYFTPDLIB, str(self.root), str(port)]
