"""Uploads to a disk that is full, or takes nothing for another reason."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from streams import Client, Server
from support import result_of
from test_diskfiles import BIG, LITTLE, begin

from ftpsvc import model
from ftpsvc.localdisk import LocalDisk
from ftpsvc.parts import write_all


@pytest.fixture
def disk(tmp_path: Path) -> LocalDisk:
    return support.local_disk(tmp_path)


async def store(disk: LocalDisk, *chunks: bytes) -> None:
    """Into `file`, in order, whatever it comes to."""
    file = await disk.open_write("/file")
    try:
        for chunk in chunks:
            await file.write(chunk)
        await file.commit()
    finally:
        await file.abort()


@pytest.fixture
def small_disk() -> Iterator[int]:
    """No file can be larger than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        yield 300_000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_is_too_large_for_the_disk_changes_nothing(
    disk: LocalDisk, tmp_path: Path, small_disk: int
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(model.OverQuota):
        result_of(store(disk, *[BIG[:100_000]] * 10))
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


class FullDisk:
    """Lets so many bytes be written, and then there is no space."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        self._write = os.write
        monkeypatch.setattr(os, "write", self._on_write)

    def _on_write(self, descriptor: int, data: Any) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(descriptor, memoryview(data)[: min(self.left, 1000)])
        self.left -= count
        return count


@pytest.mark.parametrize("left", [0, 3, 100_000])
@pytest.mark.parametrize("data", [LITTLE, BIG], ids=["little", "big"])
def test_a_full_disk_gives_its_space_back(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, data: bytes
) -> None:
    if left >= len(data):
        left = len(data) - 1
    (tmp_path / "file").write_bytes(b"old")
    FullDisk(monkeypatch, left)

    with pytest.raises(model.NoSpace):
        result_of(store(disk, data))
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_disk_that_takes_a_little_at_a_time_gets_all_of_it(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, 10 * len(BIG))
    result_of(begin(disk, "/file", b"x", BIG, b"y").commit())
    assert (tmp_path / "file").read_bytes() == b"x" + BIG + b"y"


def test_a_disk_that_takes_nothing_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = iter(range(10))
    monkeypatch.setattr(os, "write", lambda *_: 0 * next(tries))
    with pytest.raises(OSError):
        write_all(0, LITTLE)


def test_adding_to_a_file_on_a_full_disk_cuts_it_back(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    FullDisk(monkeypatch, 1000)

    async def add() -> None:
        file = await disk.open_append("/file")
        await file.write(BIG)
        await file.commit()

    with pytest.raises(model.NoSpace):
        result_of(add())
    assert (tmp_path / "file").read_bytes() == b"before"


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]).returncode:
        pytest.skip("needs root, and the right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("tls", [False, True], ids=["in clear", "in TLS"])
@pytest.mark.parametrize("command", ["STOR file", "APPE file", "STOU"])
def test_a_full_disk_keeps_the_old_file_and_gives_the_space_back(small_tmpfs: Path, tls: bool, command: str) -> None:
    (small_tmpfs / "file").write_bytes(BIG[:150_000])
    before = os.statvfs(small_tmpfs).f_bfree
    server = Server(small_tmpfs)
    client = Client(server, tls)
    data = client.begin("EPSV", command)
    with pytest.raises(OSError):  # of the connection, or of TLS
        while True:
            data.sendall(BIG)
    data.close()
    assert client.codes(1) == [452]
    assert (small_tmpfs / "file").read_bytes() == BIG[:150_000]
    assert os.listdir(small_tmpfs) == ["file"]
    assert os.statvfs(small_tmpfs).f_bfree == before
    client.close()
    server.kill()
