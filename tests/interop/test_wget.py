from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from streams import Server

from .conftest import NAMES, Run, make_large, same


@pytest.fixture(params=["passive", "active"])
def wget(program: Callable[[str], Run], request: pytest.FixtureRequest) -> Run:
    run = program("wget")
    mode = ["--no-passive-ftp"] if request.param == "active" else []
    return lambda *arguments: run("-nv", "--tries=1", "--timeout=20", *mode, *arguments)


@pytest.fixture
def url(server: Server) -> str:
    return f"ftp://127.0.0.1:{server.port}/"


def test_a_large_file_comes_down(wget: Run, url: str, served: Path, near: Path) -> None:
    large = make_large(served / "large")
    wget(url + "large")
    assert same(large, near / "large")


def test_a_download_goes_on_from_where_it_was(wget: Run, url: str, served: Path, near: Path) -> None:
    content = make_large(served / "large", 10_000_000).read_bytes()
    # What is there already is taken as it is: that it stays shows that only the rest came.
    (near / "large").write_bytes(b"x" * 4_000_000)
    wget("-c", url + "large")
    assert (near / "large").read_bytes() == b"x" * 4_000_000 + content[4_000_000:]


@pytest.mark.parametrize("name", NAMES)
def test_names(wget: Run, url: str, served: Path, near: Path, name: str) -> None:
    (served / name).write_bytes(name.encode())
    wget("-O", "file", url + quote(name, safe=""))
    assert (near / "file").read_bytes() == name.encode()


def test_an_empty_file(wget: Run, url: str, served: Path, near: Path) -> None:
    (served / "empty").touch()
    wget(url + "empty")
    assert (near / "empty").read_bytes() == b""


def test_a_tree_comes_down_by_its_listings(wget: Run, url: str, served: Path, near: Path) -> None:
    names = ["one", ".hidden", "with space", "äöü", "sub/two", "sub/deep/three"]
    for name in names:
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        (served / name).write_text(name)
    wget("-r", "-nH", "--restrict-file-names=nocontrol", url)
    assert {name: (near / name).read_text() for name in names} == {name: name for name in names}


def test_a_pattern_chooses_from_a_listing(wget: Run, url: str, served: Path, near: Path) -> None:
    for name in ("a.txt", "b.txt", "c.bin"):
        (served / name).write_text(name)
    wget(url + "*.txt")
    assert sorted(path.name for path in near.glob("*.*") if not path.name.startswith(".")) == ["a.txt", "b.txt"]


def test_a_file_is_fetched_again_only_when_it_is_newer(wget: Run, url: str, served: Path, near: Path) -> None:
    (served / "file").write_text("old")
    wget("-N", url + "file")
    (near / "file").write_text("new")  # newer than the server's, and as large
    wget("-N", url + "file")
    assert (near / "file").read_text() == "new"
