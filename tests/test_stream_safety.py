"""What 226 means in stream mode: each row of docs/architecture.md's table, with the fault really injected.

In clear and in TLS, because what the end of the data means is another question in each. test_promises.py says which
test is for which row.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import secured
import support
from streams import WAYS, Client, Server, eventually, reset

from ftpsvc.limits import MAX_WAITING

OLD = b"old" * 50_000
NEW = os.urandom(300_000)


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    server = Server(root, connecting=30, idle=30)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def impatient(root: Path) -> Iterator[Server]:
    """Another server over the same folder, for those who never connect: who does would need the processor in time."""
    server = Server(root, connecting=0.3, idle=30)
    yield server
    server.kill()


@pytest.fixture
def folder(root: Path) -> Iterator[Path]:
    """What the server serves, with one old file in it; nothing of an upload may stay there."""
    for path in root.iterdir():
        path.unlink()
    (root / "file").write_bytes(OLD)
    yield root
    assert not support.parts_in(root)


@pytest.fixture(params=[False, True], ids=["in clear", "in TLS"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def client(server: Server, tls: bool) -> Iterator[Client]:
    client = Client(server, tls)
    yield client
    client.close()


def half_an_upload(client: Client, folder: Path, way: str = "EPSV", command: str = "STOR file") -> socket.socket:
    """An upload of which all that was sent has arrived."""
    data = client.begin(way, command)
    send_half(data, folder)
    return data


def send_half(data: socket.socket, folder: Path) -> None:
    data.sendall(NEW)
    eventually(lambda: [part.stat().st_size for part in support.parts_in(folder)] == [len(NEW)])


#: Somewhat more than may wait, so that all of it comes before reading stops.
MANY = b"NOOP\r\n" * (MAX_WAITING // 6 + 2000)

#: As much of what is answered at once during a transfer.
QUESTIONS = b"STAT\r\n" * (MAX_WAITING // 6 + 2000)


def is_as_before(folder: Path) -> bool:
    return (folder / "file").read_bytes() == OLD and not support.parts_in(folder)


# -- ends that are none


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
    data = client.protected(data)
    data.sendall(b"the rest")
    client.finish(data)
    assert client.codes(1) == [226]
    assert (folder / "file").read_bytes() == NEW + b"the rest"


def test_a_reset_of_what_is_added_in_place_cuts_the_file_back(client: Client, folder: Path) -> None:
    data = client.begin("EPSV", "APPE file")
    data.sendall(NEW)
    eventually(lambda: (folder / "file").stat().st_size == len(OLD + NEW))
    reset(data)
    assert client.codes(1) == [426]
    assert is_as_before(folder)


def test_a_lost_control_connection_keeps_the_old_file_and_the_part(server: Server, folder: Path, tls: bool) -> None:
    client = Client(server, tls)
    data = half_an_upload(client, folder)
    client.reset()
    with pytest.raises(OSError):  # a reset; in TLS, an end that isn't TLS's own
        data.recv(1)
    data.close()
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW


def test_a_client_that_is_killed_has_not_finished(server: Server, folder: Path, tls: bool) -> None:
    """Its data ends in order, as a whole file's does; that its control connection ends too shows what it was."""
    client = Client(server, tls)
    data = half_an_upload(client, folder)
    client.close()
    data.close()
    eventually(lambda: Client(server).close() is None)
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW


def test_the_end_of_the_connection_without_the_end_of_tls_is_a_cut(server: Server, folder: Path) -> None:
    client = Client(server, tls=True)
    half_an_upload(client, folder).close()
    assert client.codes(1) == [426]
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW
    client.close()


@pytest.mark.parametrize("declared", [len(NEW) - 1, len(NEW) + 1, len(NEW)])
def test_an_upload_that_ends_in_order_has_the_size_that_was_declared(
    client: Client, folder: Path, declared: int
) -> None:
    """What tells the end of a killed client's data from that of one which has finished, also in clear."""
    assert client.ask(f"ALLO {declared}").startswith("200")
    client.finish(half_an_upload(client, folder))
    if declared == len(NEW):
        assert client.codes(1) == [226]
        assert (folder / "file").read_bytes() == NEW
    else:
        assert client.codes(1) == [426]
        assert (folder / "file").read_bytes() == OLD
        assert support.take_part(folder) == NEW


# -- data connections that don't come about


@pytest.mark.parametrize("command", ["STOR file", "APPE file", "STOR other", "APPE other", "STOU", "RETR file", "LIST"])
def test_a_data_connection_that_never_comes_changes_nothing(
    impatient: Server, folder: Path, tls: bool, command: str
) -> None:
    client = Client(impatient, tls)
    assert client.ask("EPSV").startswith("229")
    assert client.ask(command).startswith("150")
    assert client.codes(1) == [425]
    client.close()
    assert is_as_before(folder)
    assert os.listdir(folder) == ["file"]


def test_a_restart_whose_data_connection_never_comes_keeps_the_part_of_before(
    client: Client, impatient: Server, folder: Path, tls: bool
) -> None:
    reset(half_an_upload(client, folder))
    assert client.codes(1) == [426]
    again = Client(impatient, tls)
    assert again.ask("EPSV").startswith("229")
    assert again.ask("REST 1000").startswith("350")
    assert again.ask("STOR file").startswith("150")
    assert again.codes(1) == [425]
    again.close()
    assert (folder / "file").read_bytes() == OLD
    assert support.take_part(folder) == NEW


@pytest.mark.parametrize("command", ["STOR file", "APPE file", "RETR file", "LIST"])
def test_abor_stops_a_transfer_that_waits_for_its_connection(server: Server, folder: Path, command: str) -> None:
    client = Client(server)
    assert client.ask("EPSV").startswith("229")
    client.send(command.encode() + b"\r\nABOR\r\n")
    assert client.codes(3) == [150, 426, 226]
    assert is_as_before(folder)
    client.close()


@pytest.mark.parametrize("command", ["STOR file", "APPE file", "STOU", "RETR file", "LIST"])
def test_abor_stops_the_handshake_of_a_data_connection(server: Server, folder: Path, command: str) -> None:
    client = Client(server, tls=True)
    for said in (b"", b"\x16\x03\x01"):  # nothing, or the beginning of a handshake
        with client.passive() as data:
            data.sendall(said)
            assert client.ask(command).startswith("150")
            assert client.ask("STAT").startswith("213")  # the transfer waits, and others are served
            Client(server).close()
            client.send(b"ABOR\r\n")
            assert client.codes(2) == [426, 226]
    assert os.listdir(folder) == ["file"]
    assert is_as_before(folder)
    assert client.download("EPSV", "RETR file") == OLD
    client.close()


# -- ABOR


@pytest.mark.parametrize("line", [b"ABOR\r\n", b"\xff\xf4\xff\xf2ABOR\r\n", b"\xff\xf4\xffABOR\r\n"])
@pytest.mark.parametrize("command", ["STOR file", "STOR other"])
def test_abor_stops_an_upload_and_keeps_the_old_file(client: Client, folder: Path, line: bytes, command: str) -> None:
    data = half_an_upload(client, folder, command=command)
    client.send(line)
    assert client.codes(2) == [426, 226]
    data.close()
    assert is_as_before(folder)
    assert os.listdir(folder) == ["file"]


@pytest.mark.parametrize(
    "lines", [MANY + b"STOR file\r\n", b"NOOP\r\n" * 1000 + b"STOR file\r\n" + QUESTIONS], ids=["before", "behind"]
)
def test_abor_is_heard_however_much_has_waited(client: Client, folder: Path, lines: bytes) -> None:
    """As is the end of the control connection, or a killed client's half would be taken for the whole."""
    data = client.passive()
    client.send(lines)
    assert client.codes(lines.count(b"\n"))[-1] in (150, 213)
    data = client.protected(data)
    send_half(data, folder)
    client.send(b"ABOR\r\n")
    assert client.codes(2) == [426, 226]
    data.close()
    assert is_as_before(folder)


@pytest.mark.parametrize("is_first", [True, False], ids=["ABOR first", "the end first"])
def test_abor_and_the_end_of_the_data_at_once_have_one_outcome(client: Client, folder: Path, is_first: bool) -> None:
    """Where ABOR comes first it is an abort. Where the end does, the upload was whole: then the answers say that."""
    data = half_an_upload(client, folder)
    if is_first:
        client.send(b"ABOR\r\n")
        data.close()
        assert client.codes(2) == [426, 226]
        assert is_as_before(folder)
        return
    client.finish(data)
    client.send(b"ABOR\r\n")
    first, second = client.codes(2)
    assert second == 226
    assert (folder / "file").read_bytes() == (NEW if first == 226 else OLD)
    assert first in (226, 426)
    assert not support.parts_in(folder)


@pytest.mark.parametrize("urgent", [b"\xf2", b"ABOR\r\n"], ids=["lftp", "ftplib"])
def test_abor_stops_a_download_that_nobody_reads(server: Server, folder: Path, urgent: bytes) -> None:
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 32)
    client = Client(server)
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
    client.close()


def test_abor_stops_a_download_in_tls_that_nobody_reads(server: Server, folder: Path) -> None:
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 32)
    client = Client(server, tls=True)
    data = client.begin("EPSV", "RETR huge")
    data.recv(1)
    client.send(b"\xff\xf4\xff\xf2ABOR\r\n")
    assert client.codes(2) == [426, 226]
    with pytest.raises(OSError):  # what has come must not be taken for the whole
        while data.recv(1 << 20):
            pass
    data.close()
    assert client.ask("PWD").startswith("257")
    client.close()


# -- others at the same time


def test_two_writers_each_store_a_whole_file(server: Server, folder: Path, tls: bool) -> None:
    first, second = Client(server, tls), Client(server, tls)
    datas = [client.begin("EPSV", "STOR file") for client in (first, second)]
    other = NEW[::-1]
    for at in range(0, len(NEW), 10_000):
        datas[0].sendall(NEW[at : at + 10_000])
        datas[1].sendall(other[at : at + 10_000])
    first.finish(datas[0])
    assert first.codes(1) == [226]
    assert (folder / "file").read_bytes() == NEW
    second.finish(datas[1])
    assert second.codes(1) == [226]
    assert (folder / "file").read_bytes() == other
    first.close()
    second.close()


def test_a_reader_sees_the_old_file_whole_until_the_226(server: Server, client: Client, folder: Path) -> None:
    data = half_an_upload(client, folder)
    other = Client(server)
    assert other.download("EPSV", "RETR file") == OLD
    assert other.ask("SIZE file") == f"213 {len(OLD)}\r\n"
    assert other.download("EPSV", "NLST") == b"file\r\n"
    client.finish(data)
    assert client.codes(1) == [226]
    assert other.download("EPSV", "RETR file") == NEW
    other.close()


# -- the server's own end, and its disk's


def test_a_server_that_is_killed_has_the_old_file_and_goes_on_after_a_restart(folder: Path, tls: bool) -> None:
    first = Server(folder)
    client = Client(first, tls)
    data = half_an_upload(client, folder)
    first.kill()
    data.close()
    client.close()
    assert (folder / "file").read_bytes() == OLD
    second = Server(folder)
    client = Client(second, tls)
    assert client.download("EPSV", "RETR file") == OLD
    data = client.passive()
    assert client.ask(f"REST {len(NEW)}").startswith("350")
    assert client.ask("STOR file").startswith("150")
    client.finish(client.protected(data))
    assert client.codes(1) == [226]
    assert (folder / "file").read_bytes() == NEW
    client.upload("EPSV", "STOR file", NEW[::-1])
    assert (folder / "file").read_bytes() == NEW[::-1]
    client.close()
    second.kill()


def test_a_server_that_is_stopped_keeps_the_old_file_and_the_part(tmp_path: Path, tls: bool) -> None:
    with secured.serving(tmp_path / "root") as server:
        (tmp_path / "root" / "file").write_bytes(OLD)
        client = Client(server, tls)
        data = half_an_upload(client, tmp_path / "root")
        server.process.terminate()
        assert client.codes(1) == [421]
        data.close()
        client.close()
        assert "STOR /file aborted" in server.process.communicate()[0]
    assert (tmp_path / "root" / "file").read_bytes() == OLD
    assert support.take_part(tmp_path / "root") == NEW


@pytest.mark.parametrize("before", [b"", b"NOOP\r\n" * 1000], ids=["begun", "waiting"])
@pytest.mark.parametrize("command", ["RETR huge", "STOR file"])
def test_who_sends_more_behind_a_transfer_than_may_wait_is_told_so(
    server: Server, folder: Path, command: str, before: bytes
) -> None:
    (folder / "file").write_bytes(OLD)
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 32)
    client = Client(server)
    data = client.passive()
    client.send(before + command.encode() + b"\r\n" + MANY)
    assert client.codes(before.count(b"\n") + 2)[-2:] == [150, 421]
    data.close()
    client.close()
    assert (folder / "file").read_bytes() == OLD
