from __future__ import annotations

import ftplib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from streams import Server

from .conftest import DEADLINE, NAMES, make_large, same


@pytest.fixture(params=["passive", "active"])
def ftp(server: Server, request: pytest.FixtureRequest) -> Iterator[ftplib.FTP]:
    with ftplib.FTP(timeout=DEADLINE) as ftp:
        ftp.connect(server.host, server.port)
        ftp.login()
        ftp.set_pasv(request.param == "passive")
        yield ftp


def test_a_large_file_up_and_down(ftp: ftplib.FTP, served: Path, near: Path) -> None:
    large = make_large(near / "large")
    with open(large, "rb") as file:
        assert ftp.storbinary("STOR large", file, 1 << 16).startswith("226")
    assert same(large, served / "large")
    with open(near / "back", "wb") as file:
        ftp.retrbinary("RETR large", file.write, 1 << 16)
    assert same(large, near / "back")


def test_resuming_both_ways(ftp: ftplib.FTP, served: Path) -> None:
    content = bytes(range(256)) * 10_000
    (served / "file").write_bytes(content[:1_000_000])
    ftp.storbinary("STOR file", io.BytesIO(content[1_000_000:]), rest=1_000_000)
    assert (served / "file").read_bytes() == content
    received: list[bytes] = []
    ftp.retrbinary("RETR file", received.append, rest=2_000_000)
    assert b"".join(received) == content[2_000_000:]


@pytest.mark.parametrize("name", NAMES)
def test_names(ftp: ftplib.FTP, served: Path, name: str) -> None:
    ftp.storbinary(f"STOR {name}", io.BytesIO(name.encode()))
    assert (served / name).read_bytes() == name.encode()
    assert ftp.nlst() == [name]
    assert [entry for entry, _ in ftp.mlsd()] == [name]
    ftp.voidcmd("TYPE I")
    assert ftp.size(name) == len(name.encode())


def test_an_empty_file_and_a_text(ftp: ftplib.FTP, served: Path) -> None:
    ftp.storbinary("STOR empty", io.BytesIO())
    assert (served / "empty").read_bytes() == b""
    ftp.storlines("STOR text", io.BytesIO(b"one\ntwo\n"))
    assert (served / "text").read_bytes() == b"one\ntwo\n"
    lines: list[str] = []
    ftp.retrlines("RETR text", lines.append)
    assert lines == ["one", "two"]


def test_abor_in_the_middle_of_a_download(ftp: ftplib.FTP, served: Path) -> None:
    with open(served / "huge", "wb") as file:
        file.truncate(1 << 32)
    ftp.voidcmd("TYPE I")
    with ftp.transfercmd("RETR huge") as data:
        data.recv(1)
        assert ftp.abort().startswith("426")
    assert ftp.voidresp().startswith("226")
    assert ftp.pwd() == "/"


def test_making_renaming_and_deleting(ftp: ftplib.FTP, served: Path) -> None:
    for name in NAMES:
        assert ftp.mkd(name) == f"/{name}"
        ftp.cwd(name)
        assert ftp.pwd() == f"/{name}"
        ftp.storbinary(f"STOR {name}", io.BytesIO(b"x"))
        ftp.rename(name, "other")
        ftp.delete("other")
        ftp.cwd("..")
        ftp.rmd(name)
    assert list(served.iterdir()) == []


def test_listings(ftp: ftplib.FTP, served: Path) -> None:
    (served / "folder").mkdir()
    for name in (".hidden", "one.txt", "two.txt", "three"):
        (served / "folder" / name).write_text(name)
    lines: list[str] = []
    ftp.dir("-la folder", lines.append)
    names = [".hidden", "one.txt", "three", "two.txt"]
    assert sorted(line.split(" ")[-1] for line in lines) == names
    assert sorted(ftp.nlst("folder/*.txt")) == ["folder/one.txt", "folder/two.txt"]
    found = {name: facts for name, facts in ftp.mlsd("folder", ["type", "size"])}
    assert sorted(found) == names
    assert found["three"] == {"type": "file", "size": "5"}


def test_an_empty_folder_and_a_missing_one(ftp: ftplib.FTP) -> None:
    assert ftp.nlst() == []
    assert list(ftp.mlsd()) == []
    with pytest.raises(ftplib.error_perm, match="550"):
        ftp.nlst("missing")


def test_abor_in_the_middle_of_an_upload(ftp: ftplib.FTP, served: Path) -> None:
    (served / "file").write_bytes(b"old")
    ftp.voidcmd("TYPE I")
    with ftp.transfercmd("STOR file") as data:
        data.sendall(b"new" * 1000)
        assert ftp.abort().startswith("426")
    assert ftp.voidresp().startswith("226")
    assert (served / "file").read_bytes() == b"old"
