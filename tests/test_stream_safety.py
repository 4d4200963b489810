"""What 226 means in stream mode: each row of docs/architecture.md's table, with the fault really injected."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from streams import WAYS, Client, Server, eventually, reset

OLD = b"old" * 50_000
NEW = os.urandom(300_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(OLD)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    server = Server(folder, connecting=0.3, idle=30)
    yield server
    server.kill()


def half_an_upload(client: Client, folder: Path, way: str = "EPSV", command: str = "STOR file") -> socket.socket:
    """An upload of which all that was sent has arrived."""
    data = client.begin(way, command)
    data.sendall(NEW)
    eventually(lambda: [part.stat().st_size for part in support.parts_in(folder)] == [len(NEW)])
    return data


def is_as_before(folder: Path) -> bool:
    return (folder / "file").read_bytes() == OLD and not support.parts_in(folder)


@pytest.mark.parametrize("way", WAYS)
def test_a_reset_keeps_the_old_file_and_the_part(client: Client, folder: Path, way: str) -> None:
    reset(half_an_upload(client, folder, way))
    assert client.codes(1) == [426]
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW


def test_what_a_reset_left_is_gone_on_from(client: Client, folder: Path) -> None:
    reset(half_an_upload(client, folder))
    assert client.codes(1) == [426]
    data = client.passive()
    assert client.ask(f"REST {len(NEW)}").startswith("350")
    assert client.ask("STOR file").startswith("150")
    data.sendall(b"the rest")
    data.close()
    assert client.codes(1) == [226]
    assert (folder / "file").read_bytes() == NEW + b"the rest"


def test_a_lost_control_connection_keeps_the_old_file_and_the_part(server: Server, folder: Path) -> None:
    client = Client(server)
    data = half_an_upload(client, folder)
    client.reset()
    with pytest.raises(ConnectionResetError):
        data.recv(1)
    data.close()
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW


def test_a_client_that_is_killed_has_not_finished(server: Server, folder: Path) -> None:
    """Its data ends in order, as a whole file's does; that its control connection ends too shows what it was."""
    client = Client(server)
    data = half_an_upload(client, folder)
    client.close()
    data.close()
    eventually(lambda: Client(server).close() is None)
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW


@pytest.mark.parametrize("command", ["STOR file", "APPE file", "STOR other", "APPE other", "STOU", "RETR file", "LIST"])
def test_a_data_connection_that_never_comes_changes_nothing(client: Client, folder: Path, command: str) -> None:
    assert client.ask("EPSV").startswith("229")
    assert client.ask(command).startswith("150")
    assert client.codes(1) == [425]
    assert is_as_before(folder)
    assert os.listdir(folder) == ["file"]


def test_a_restart_whose_data_connection_never_comes_keeps_the_part_of_before(client: Client, folder: Path) -> None:
    reset(half_an_upload(client, folder))
    assert client.codes(1) == [426]
    assert client.ask("EPSV").startswith("229")
    assert client.ask("REST 1000").startswith("350")
    assert client.ask("STOR file").startswith("150")
    assert client.codes(1) == [425]
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW


@pytest.mark.parametrize("line", [b"ABOR\r\n", b"\xff\xf4\xff\xf2ABOR\r\n", b"\xff\xf4\xffABOR\r\n"])
def test_abor_stops_an_upload_and_keeps_the_old_file(client: Client, folder: Path, line: bytes) -> None:
    data = half_an_upload(client, folder)
    client.send(line)
    assert client.codes(2) == [426, 226]
    data.close()
    assert is_as_before(folder)


def test_abor_and_the_end_of_the_data_at_once_is_an_abort(client: Client, folder: Path) -> None:
    data = half_an_upload(client, folder)
    client.send(b"ABOR\r\n")
    data.close()
    assert client.codes(2) == [426, 226]
    assert is_as_before(folder)


@pytest.mark.parametrize("urgent", [b"\xf2", b"ABOR\r\n"], ids=["lftp", "ftplib"])
def test_abor_stops_a_download_that_nobody_reads(client: Client, folder: Path, urgent: bytes) -> None:
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 32)
    data = client.begin("EPSV", "RETR huge")
    data.recv(1)
    if len(urgent) == 1:
        client.send(b"\xff\xf4\xff")
        client.socket.send(urgent, socket.MSG_OOB)
        client.send(b"ABOR\r\n")
    else:
        client.socket.send(urgent, socket.MSG_OOB)
    assert client.codes(2) == [426, 226]
    data.close()
    assert client.ask("PWD").startswith("257")


def test_two_writers_each_store_a_whole_file(server: Server, folder: Path) -> None:
    first, second = Client(server), Client(server)
    datas = [client.begin("EPSV", "STOR file") for client in (first, second)]
    other = NEW[::-1]
    for at in range(0, len(NEW), 10_000):
        datas[0].sendall(NEW[at : at + 10_000])
        datas[1].sendall(other[at : at + 10_000])
    datas[0].close()
    assert first.codes(1) == [226]
    assert (folder / "file").read_bytes() == NEW
    datas[1].close()
    assert second.codes(1) == [226]
    assert (folder / "file").read_bytes() == other
    first.close()
    second.close()


def test_a_server_that_is_killed_has_the_old_file_and_goes_on_after_a_restart(folder: Path) -> None:
    first = Server(folder)
    client = Client(first)
    data = half_an_upload(client, folder)
    first.kill()
    data.close()
    client.close()
    assert (folder / "file").read_bytes() == OLD
    second = Server(folder)
    client = Client(second)
    assert client.download("EPSV", "RETR file") == OLD
    client.upload("EPSV", "STOR file", NEW)
    assert (folder / "file").read_bytes() == NEW
    client.close()
    second.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]).returncode:
        pytest.skip("needs root, and the right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_keeps_the_old_file_and_gives_the_space_back(small_disk: Path) -> None:
    (small_disk / "file").write_bytes(OLD)
    before = os.statvfs(small_disk).f_bfree
    server = Server(small_disk)
    client = Client(server)
    data = client.begin("EPSV", "STOR file")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        while True:
            data.sendall(NEW)
    data.close()
    assert client.codes(1) == [452]
    assert is_as_before(small_disk)
    assert os.statvfs(small_disk).f_bfree == before
    client.close()
    server.kill()
