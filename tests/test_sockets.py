"""What only real sockets show: sendfile, back-pressure of the kernel, resets, and a server that is killed.

Where the server must die, or its memory is measured, it is a process of its own and the test a plain function with
blocking sockets. The client, and what both ends share a reactor for, are tested in trial's `TestCase`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import streams
import support
from streams import DEADLINE, eventually
from support import frames
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import TestCase

from ftpsvc.accounts import AnonymousOnly
from ftpsvc.copying import copy
from ftpsvc.factory import ServerFactory
from ftpsvc.frames import digest_of
from ftpsvc.healing import HealingRemote
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import TransferError
from ftpsvc.remote import Remote
from ftpsvc.resuming import bring
from ftpsvc.threads import pool_of

# -- a server process


class Process(streams.Server):
    """A server of its own over a folder, spoken to in MODE I."""

    @property
    def memory(self) -> int:
        """Bytes of it that are in memory now."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def connect(self) -> Client:
        return Client(self.port)


class Client:
    """A blocking socket that is logged in, in MODE I."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.file = self.socket.makefile("rb")
        self.send(b"USER ftp\r\nPASS x\r\nMODE I\r\n")
        assert [self.code() for _ in range(4)] == [220, 331, 230, 200]

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def code(self) -> int:
        return int(self.file.readline()[:3])

    def sequence(self) -> bytes:
        data = bytearray()
        while (line := self.file.readline()).startswith(b"DATA "):
            data += self.file.read(int(line[5:]))
        assert line.startswith(b"DONE " + digest_of(bytes(data)).encode()), line
        return bytes(data)

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def reset(self) -> None:
        self.file.close()
        streams.reset(self.socket)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    server = Process(tmp_path)
    yield server
    server.kill()


def half_an_upload(client: Client, folder: Path, size: int = 5_000_000) -> bytes:
    """Begin to store `file`, and wait until most of what was sent is in its part."""
    sent = os.urandom(size)
    client.send(b"STOR file\r\nDATA %d\r\n" % (2 * size), sent)
    assert client.code() == 150
    eventually(lambda: any(part.stat().st_size > size // 2 for part in support.parts_in(folder)))
    return sent


def is_given_up(folder: Path) -> bool:
    """Whether no upload holds the part any more."""
    (part,) = support.parts_in(folder)
    with open(part, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def test_a_reset_in_the_middle_of_an_upload_keeps_the_old_file_and_the_part(server: Process, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    client = server.connect()
    sent = half_an_upload(client, tmp_path)
    client.reset()
    eventually(lambda: is_given_up(tmp_path))
    assert (tmp_path / "file").read_bytes() == b"old"
    (part,) = support.parts_in(tmp_path)
    kept = part.stat().st_size
    assert sent.startswith(part.read_bytes())
    again = server.connect()
    again.send(b"REST %d\r\nSTOR file\r\n" % kept, frames(sent[kept:]))
    assert [again.code() for _ in range(3)] == [350, 150, 226]
    assert (tmp_path / "file").read_bytes() == sent
    again.close()


def test_a_server_killed_in_the_middle_of_an_upload_has_the_old_file_and_a_free_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    first = Process(tmp_path)
    client = first.connect()
    sent = half_an_upload(client, tmp_path)
    first.kill()
    client.close()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sent.startswith(support.parts_in(tmp_path)[0].read_bytes())
    second = Process(tmp_path)
    client = second.connect()
    client.send(b"RETR file\r\n")
    assert (client.code(), client.sequence(), client.code()) == (150, b"old", 226)
    client.send(b"STOR file\r\n", frames(b"new" * 100_000), b"NLST\r\n")
    assert [client.code(), client.code(), client.code()] == [150, 226, 150]
    assert client.sequence() == b"file\r\n"
    assert (tmp_path / "file").read_bytes() == b"new" * 100_000
    client.close()
    second.kill()


def test_a_client_that_does_not_read_holds_up_itself_and_costs_no_memory(server: Process, tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 33)
    (tmp_path / "small").write_bytes(b"x" * 200_000)
    before = server.memory
    lazy = [server.connect() for _ in range(5)]
    for client in lazy[:3]:
        client.send(b"RETR huge\r\n")
    for client in lazy[3:]:
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:  # until the server takes no more commands, because its answers don't leave
                client.socket.send(b"RETR small\r\n" * 1000)
    other = server.connect()
    for _ in range(50):
        other.send(b"RETR small\r\n")
        assert (other.code(), len(other.sequence()), other.code()) == (150, 200_000, 226)
    assert server.memory - before < 48 * 1024 * 1024
    for client in (*lazy, other):
        client.reset()


def test_a_large_upload_costs_no_memory(server: Process, tmp_path: Path) -> None:
    client = server.connect()
    client.send(b"STOR warm\r\n", frames(bytes(10_000_000), 16777216))
    assert (client.code(), client.code()) == (150, 226)
    before = server.memory
    frame = bytes(16777216)
    client.send(b"STOR file\r\n")
    for _ in range(8):
        client.send(b"DATA 16777216\r\n", frame)
    client.send(b"DONE " + digest_of(frame * 8).encode() + b"\r\n")
    assert (client.code(), client.code()) == (150, 226)
    assert (tmp_path / "file").stat().st_size == 8 * len(frame)
    assert server.memory - before < 16 * 1024 * 1024
    client.close()


def test_commands_and_data_arrive_byte_by_byte(server: Process, tmp_path: Path) -> None:
    client = server.connect()
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"STOR file\r\n" + frames(b"\r\nDONE\r\n") + b"RETR file\r\n":
        client.send(bytes([byte]))
    assert [client.code() for _ in range(3)] == [150, 226, 150]
    assert client.sequence() == b"\r\nDONE\r\n"
    assert client.code() == 226
    client.close()


def test_the_last_reply_arrives_though_more_was_sent_behind_it(server: Process) -> None:
    """To close with bytes unread would reset the connection, and the reply with the reason be lost."""
    client = server.connect()
    client.send(b"DATA 5\r\n" + b"NOOP\r\n" * 10_000)
    assert client.file.readline().startswith(b"500 ")
    assert client.file.read() == b""
    client.close()


# -- both ends on one reactor


class OnTheReactor(TestCase):
    """A server and clients in this process, with threads and sockets."""

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path, logged_errors: Any) -> None:
        self.folder = tmp_path
        self.logged_errors = logged_errors

    def setUp(self) -> None:
        self.far, self.near = self.folder / "far", self.folder / "near"
        self.far.mkdir()
        self.near.mkdir()
        self.run_in_pool = pool_of(reactor)

    def serve(self, clock: Any = reactor) -> int:
        """Serve the far folder; the port."""
        disk = LocalDisk(str(self.far), self.run_in_pool)
        self.addCleanup(disk.close)
        self.factory = factory = ServerFactory(AnonymousOnly(disk), clock, self.run_in_pool)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.addCleanup(support.seen_out, factory)
        return int(port.getHost().port)

    async def connect(self, port: int) -> Remote:
        remote = await Remote.connect(reactor, "127.0.0.1", port)
        await remote.login()
        return remote

    def disk(self) -> LocalDisk:
        disk = LocalDisk(str(self.near), self.run_in_pool)
        self.addCleanup(disk.close)
        return disk

    async def test_files_of_whole_turns_and_frames_arrive_whole(self) -> None:
        """Where a turn of the sending, a frame and the file end together."""
        remote = await self.connect(self.serve())
        for size in (1 << 20, 4 << 20, 8 << 20, (8 << 20) + 1, (1 << 18) - 1, 1 << 18):
            data = os.urandom(size)
            (self.far / "file").write_bytes(data)
            await copy(remote, "/file", self.disk(), "/copy")
            self.assertEqual((self.near / "copy").read_bytes(), data)
        await remote.quit()

    async def test_a_file_that_is_known_is_digested_anew_when_it_has_changed(self) -> None:
        remote = await self.connect(self.serve())
        first, second = os.urandom(1 << 20), os.urandom(1 << 20)
        for data in (first, first, second, second):
            if not (self.far / "file").exists() or (self.far / "file").read_bytes() != data:
                (self.far / "file").write_bytes(data)
            os.utime(self.far / "file", (1, 1))
            await copy(remote, "/file", self.disk(), "/copy")
            self.assertEqual((self.near / "copy").read_bytes(), data)
        await remote.quit()

    async def test_a_file_is_gone_on_with_whichever_way_it_goes_when_the_connection_breaks(self) -> None:
        data = os.urandom(20_000_000)
        port, disk = self.serve(), self.disk()
        (self.near / "f").write_bytes(data)
        (self.far / "g").write_bytes(data)
        remote = HealingRemote(await self.connect(port), lambda: self.connect(port), reactor)
        moved: list[int] = []

        def advance(count: int, has_moved: bool) -> None:
            moved.append(count)
            if sum(moved) > len(data) // 2 and len(broken) < len(moved_each):
                broken.append(sum(moved))
                remote.remote._protocol.transport.abortConnection()

        moved_each: list[int] = []
        broken: list[int] = []
        for source, target, name in ((disk, remote, "/f"), (remote, disk, "/g")):
            moved.clear()
            moved_each.append(0)
            entry = await source.stat(name)
            brought = await bring(source, name, entry, target, name, advance, line=remote)
            self.assertEqual(brought.stored.size, len(data))
        self.assertEqual(len(broken), 2)
        self.assertEqual((self.far / "f").read_bytes(), data)
        self.assertEqual((self.near / "g").read_bytes(), data)
        remote.remote.leave()

    async def test_a_large_file_leaves_by_sendfile_and_arrives_whole(self) -> None:
        data = os.urandom(5_000_000)
        (self.far / "file").write_bytes(data)
        remote = await self.connect(self.serve())
        with mock.patch("os.sendfile", wraps=os.sendfile) as sendfile:
            await copy(remote, "/file", self.disk(), "/file")
        self.assertGreater(sum(1 for _ in sendfile.mock_calls), 0)
        self.assertEqual((self.near / "file").read_bytes(), data)
        self.assertEqual((self.near / "file").stat().st_mtime_ns, (self.far / "file").stat().st_mtime_ns)
        self.assertEqual(await support.read_all(await remote.open_read("/file", 4_321_000)), data[4_321_000:])
        await remote.quit()

    async def test_large_files_are_stored_through_threads_several_at_once(self) -> None:
        port, disk = self.serve(), self.disk()
        files = {f"/{number}": os.urandom(20_000_000 if number == 0 else 3_000_000) for number in range(4)}
        for name, data in files.items():
            (self.near / name[1:]).write_bytes(data)
        remotes = [await self.connect(port) for _ in files]
        from twisted.internet.defer import Deferred

        works = [Deferred.fromCoroutine(copy(disk, n, r, n)) for n, r in zip(files, remotes, strict=True)]
        await gatherResults(works)
        for name, data in files.items():
            self.assertEqual((self.far / name[1:]).read_bytes(), data)
        self.assertEqual(support.parts_in(self.far), [])
        for remote in remotes:
            await remote.quit()

    async def test_a_file_that_shrinks_while_the_kernel_sends_it_fails_and_the_session_lives(self) -> None:
        with open(self.far / "file", "wb") as file:
            file.truncate(200_000_000)
        remote = await self.connect(self.serve())
        reading = await remote.open_read("/file")
        await reading.read(1000)
        os.truncate(self.far / "file", 1000)
        with pytest.raises(TransferError, match="shorter"):
            await support.read_all(reading)
        self.assertEqual((await remote.stat("/file")).size, 1000)
        await remote.quit()

    async def test_a_file_that_can_not_be_read_while_the_kernel_sends_it_fails_and_the_session_lives(self) -> None:
        (self.far / "file").write_bytes(bytes(5_000_000))
        remote = await self.connect(self.serve())
        really, calls = os.sendfile, []

        def sendfile(*args: int) -> int:
            calls.append(args)
            if len(calls) > 20:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return really(*args)

        with mock.patch("os.sendfile", sendfile), pytest.raises(TransferError, match="Input/output error"):
            await support.read_all(await remote.open_read("/file"))
        self.assertEqual(await remote.working_directory(), "/")
        await remote.quit()

    async def test_a_server_without_descriptors_fails_a_download_and_minds_what_the_client_takes(self) -> None:
        (self.far / "file").write_bytes(bytes(5_000_000))
        remote = await self.connect(self.serve())
        full = mock.patch("socket.socket.dup", side_effect=OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        with full, pytest.raises(TransferError, match="Too many open files"):
            await support.read_all(await remote.open_read("/file"))
        (session,) = self.factory.sessions
        self.assertIsNotNone(session.transport.producer)
        self.assertEqual(await support.read_all(await remote.open_read("/file")), bytes(5_000_000))
        await remote.quit()

    async def test_a_long_download_is_no_idle_session(self) -> None:
        clock = Clock()
        ticking = LoopingCall(clock.advance, 0)
        ticking.start(0.001).addErrback(self.fail)
        self.addCleanup(clock.advance, 1000)
        self.addCleanup(ticking.stop)
        with open(self.far / "file", "wb") as file:
            file.truncate(80_000_000)
        remote = await self.connect(self.serve(clock))
        reading = await remote.open_read("/file")
        got = last = 0
        while chunk := await reading.read(1 << 20):
            got += len(chunk)
            if got - last > 8_000_000:  # the kernel's buffers hold less: the server is still sending
                last = got
                clock.advance(100)
        self.assertEqual(got, 80_000_000)
        await remote.quit()

    async def test_nobody_listens_and_the_error_says_what_to_do(self) -> None:
        from ftpsvc.model import ConnectionFailed

        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionFailed, match="nothing listens on port"):
                await Remote.connect(reactor, "127.0.0.1", unused.getsockname()[1])
