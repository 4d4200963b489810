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
from ports import free_port
from streams import eventually
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ftpsvc import certificates, model
from ftpsvc.clienttls import ClientTLS, Protection
from ftpsvc.copying import copy
from ftpsvc.knownservers import KnownServers
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import Kind
from ftpsvc.remote import Remote
from ftpsvc.threads import pool_of

from .conftest import LARGE, NAMES, make_large, same

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
{tls}
"""

PYFTPDLIB = """\
import logging, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer
logging.basicConfig(level=logging.ERROR)
root, port, certificate = sys.argv[1:]
FTPHandler.auth_failed_timeout = 0
handler = TLS_FTPHandler if certificate else FTPHandler
if certificate:
    handler.certfile, handler.tls_control_required, handler.tls_data_required = certificate, True, True
handler.authorizer = DummyAuthorizer()
handler.authorizer.add_anonymous(root, perm="elradfmwMT")
handler.authorizer.add_user("mia", "s\xe9cret pw", root, perm="elradfmwMT")
FTPServer(("127.0.0.1", int(port)), handler).serve_forever()
"""

#: For a login with a name.
USER, SECRET = "mia", "sécret pw"


def missing(what: str) -> None:
    """A missing program is a skip; where CI runs, it has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not there")
    pytest.skip(f"{what} is not there")


def answers(port: int, is_implicit: bool) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return is_implicit or connection.recv(3) == b"220"
    except OSError:
        return False


class PeerCase:
    """What is asked of every peer. In `/up` anonymous may write."""

    #: How much TLS the client wants, and the peer has.
    protection = Protection.NONE

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
        self.known = KnownServers(self.folder / "known_servers")
        self.pair = self.folder / "pair.pem"
        certificate, key = certificates.ensure(self.folder / "state")
        self.pair.write_bytes(certificate.read_bytes() + key.read_bytes())
        self.fingerprint = certificates.read(self.pair, self.pair).fingerprint
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
        is_implicit = self.protection is Protection.IMPLICIT
        eventually(lambda: answers(self.port, is_implicit) or process.poll() is not None)
        return process if process.poll() is None else None

    async def connect(self: Any, user: str = "anonymous", password: str = "x") -> Remote:
        has_tls = self.protection is not Protection.NONE
        expected = self.fingerprint if has_tls else ""
        tls = ClientTLS("127.0.0.1", self.port, self.known, self.protection, expected)
        remote = await Remote.connect(reactor, "127.0.0.1", self.port, tls=tls)
        assert remote.is_protected == has_tls
        await remote.login(user, password)
        return remote

    async def test_files_go_up_and_down_and_are_listed(self: Any) -> None:
        remote = await self.connect()
        assert not remote.is_inline
        for number, name in enumerate((*NAMES, ".hidden", "empty")):
            data = b"" if name == "empty" else os.urandom(1000 + number)
            (self.near / name).write_bytes(data)
            await copy(self.disk, f"/{name}", remote, f"/up/{name}")
            assert (self.root / "up" / name).read_bytes() == data
            await copy(remote, f"/up/{name}", self.disk, "/back")
            assert (self.near / "back").read_bytes() == data
            assert (await remote.stat(f"/up/{name}")).size == len(data)
        assert remote.checked == "size"
        listed = {entry.name: entry async for entry in remote.list("/up")}
        assert listed.keys() == {*NAMES, ".hidden", "empty"}
        assert all(entry.is_file and entry.size == (self.near / n).stat().st_size for n, entry in listed.items())
        assert [(entry.name, entry.kind) async for entry in remote.list("/")] == [("up", Kind.DIRECTORY)]
        assert (await remote.stat("/up")).is_directory
        await remote.quit()

    async def test_a_large_file(self: Any) -> None:
        remote = await self.connect()
        make_large(self.near / "large", LARGE)
        await copy(self.disk, "/large", remote, "/up/large")
        assert same(self.near / "large", self.root / "up" / "large")
        await copy(remote, "/up/large", self.disk, "/back")
        assert same(self.near / "large", self.near / "back")
        broken_off = await remote.open_read("/up/large")
        await broken_off.read(10)
        await broken_off.close()
        assert (await remote.stat("/up/large")).size == LARGE
        await remote.quit()

    async def test_what_broke_off_is_resumed(self: Any) -> None:
        remote = await self.connect()
        data = os.urandom(300_000)
        for start, end in ((0, 100_000), (100_000, 300_000)):
            writing = await remote.open_write("/up/file", start)
            await writing.write(data[start:end])
            await writing.commit()
        assert (self.root / "up" / "file").read_bytes() == data
        reading = await remote.open_read("/up/file", 299_990)
        assert bytes(await reading.read(100)) == data[-10:]
        assert await reading.read(100) == b""
        await reading.close()
        appending = await remote.open_append("/up/file")
        await appending.write(b"more")
        await appending.commit()
        assert (self.root / "up" / "file").read_bytes() == data + b"more"
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


class Vsftpd(PeerCase):
    """Without MLST: what LIST, SIZE and MDTM tell."""

    #: What its configuration says of TLS.
    tls = ""

    def command(self: Any, port: int) -> list[str]:
        if shutil.which("vsftpd") is None:
            missing("vsftpd")
        if os.getuid() != 0:
            missing("the right to start vsftpd, which is root's,")
        configuration = self.folder / "vsftpd.conf"
        tls = self.tls.format(pair=self.pair)
        configuration.write_text(VSFTPD.format(port=port, root=self.root, empty=self.folder / "empty", tls=tls))
        return ["vsftpd", str(configuration)]


class Pyftpdlib(PeerCase):
    """With MLSD."""

    def command(self: Any, port: int) -> list[str]:
        if importlib.util.find_spec("pyftpdlib") is None:
            missing("pyftpdlib")
        pair = "" if self.protection is Protection.NONE else str(self.pair)
        return [sys.executable, "-W", "ignore", "-c", PYFTPDLIB, str(self.root), str(port), pair]

    async def test_a_login_with_a_name(self: Any) -> None:
        with pytest.raises(model.NotLoggedIn):
            await self.connect(USER, "wrong")
        remote = await self.connect(USER, SECRET)
        await remote.put("/up/file", model.Whole(b"x"))
        assert (await remote.fetch("/up/file")).data == b"x"
        await remote.quit()


class TestVsftpd(Vsftpd, TestCase):
    """In clear."""


class TestPyftpdlib(Pyftpdlib, TestCase):
    """In clear."""
