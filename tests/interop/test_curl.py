from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from streams import Server

from .conftest import NAMES, Run, make_large, same


@pytest.fixture
def curl(program: Callable[[str], Run]) -> Run:
    run = program("curl")
    return lambda *arguments: run("-sS", *arguments)


@pytest.fixture
def url(server: Server) -> str:
    return f"ftp://127.0.0.1:{server.port}/"


WAYS = pytest.mark.parametrize("way", [(), ("--disable-epsv",), ("-P", "-"), ("-P", "-", "--disable-eprt")])


@WAYS
def test_a_large_file_up_and_down(curl: Run, url: str, served: Path, near: Path, way: tuple[str, ...]) -> None:
    large = make_large(near / "large")
    curl(*way, "-T", "large", url)
    assert same(large, served / "large")
    curl(*way, "-o", "back", url + "large")
    assert same(large, near / "back")


@pytest.mark.parametrize("name", NAMES)
def test_names(curl: Run, url: str, served: Path, near: Path, name: str) -> None:
    (near / "file").write_bytes(name.encode())
    curl("-T", "file", url + quote(name, safe=""))
    assert (served / name).read_bytes() == name.encode()
    assert curl(url + quote(name, safe="")) == name
    assert curl("-l", url).splitlines() == [name]


def test_an_empty_file(curl: Run, url: str, served: Path, near: Path) -> None:
    (near / "empty").touch()
    curl("-T", "empty", url)
    assert (served / "empty").read_bytes() == b""
    assert curl(url + "empty") == ""


def test_resuming_both_ways(curl: Run, url: str, served: Path, near: Path) -> None:
    large = make_large(near / "large", 10_000_000)
    content = large.read_bytes()
    (served / "large").write_bytes(content[:4_000_000])
    curl("-C", "-", "-T", "large", url)
    assert same(large, served / "large")
    (near / "back").write_bytes(content[:4_000_000])
    curl("-C", "-", "-o", "back", url + "large")
    assert same(large, near / "back")


def test_a_range(curl: Run, url: str, served: Path) -> None:
    (served / "digits").write_bytes(b"0123456789" * 1_000_000)
    assert curl("-r", "12-17", url + "digits") == "234567"


def test_a_listing_and_a_text(curl: Run, url: str, served: Path) -> None:
    (served / "text").write_bytes(b"one\ntwo\n")
    assert curl(url).endswith(" text\n")
    assert curl("-B", url + "text") == "one\ntwo\n"
    assert "Content-Length: 8" in curl("-I", url + "text")


@pytest.mark.parametrize("name", NAMES)
def test_making_renaming_and_deleting(curl: Run, url: str, served: Path, name: str) -> None:
    (served / "old").mkdir()
    for file in ("file", "away"):
        (served / file).write_text(file)
    quotes = [f"MKD {name}", "RMD old", "RNFR file", f"RNTO {name}/file", "DELE away", f"SITE CHMOD 600 {name}/file"]
    curl(*(part for line in quotes for part in ("-Q", line)), "-o", "listing", url)
    assert [path.name for path in served.iterdir()] == [name]
    assert (served / name / "file").read_text() == "file"
    assert (served / name / "file").stat().st_mode & 0o777 == 0o600


@WAYS
def test_folders_on_the_way_are_made(curl: Run, url: str, served: Path, near: Path, way: tuple[str, ...]) -> None:
    (near / "file").write_text("file")
    curl(*way, "--ftp-create-dirs", "-T", "file", url + "new/with%20space/deep/")
    assert (served / "new/with space/deep/file").read_text() == "file"
    for method in ("multicwd", "nocwd", "singlecwd"):
        assert curl(*way, "--ftp-method", method, url + "new/with%20space/deep/file") == "file"


def test_adding(curl: Run, url: str, served: Path, near: Path) -> None:
    (served / "file").write_text("one ")
    (near / "file").write_text("two")
    curl("-a", "-T", "file", url)
    assert (served / "file").read_text() == "one two"


def test_many_files_over_one_connection(curl: Run, url: str, served: Path, near: Path) -> None:
    for number in range(4):
        (served / f"file{number}").write_text(str(number))
    curl("--remote-name-all", url + "file[0-3]")
    assert [(near / f"file{number}").read_text() for number in range(4)] == [str(number) for number in range(4)]
