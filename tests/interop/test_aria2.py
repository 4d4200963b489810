from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from streams import Server

from .conftest import NAMES, Run, make_large, same


@pytest.fixture(params=["passive", "active"])
def aria2(program: Callable[[str], Run], request: pytest.FixtureRequest) -> Run:
    run = program("aria2c")
    mode = f"--ftp-pasv={'true' if request.param == 'passive' else 'false'}"
    # aria2 1.36 overlooks a 226 that it reads together with the 150, and has it at its timeout, "-t", only. It may read
    # late, whichever the server: hence so few seconds.
    return lambda *arguments: run("--no-conf", "-q", "-m", "1", "-t", "2", "--file-allocation=none", mode, *arguments)


@pytest.fixture
def url(server: Server) -> str:
    return f"ftp://127.0.0.1:{server.port}/"


@pytest.mark.parametrize("connections", ["1", "5"])
def test_a_large_file_comes_down(aria2: Run, url: str, served: Path, near: Path, connections: str) -> None:
    large = make_large(served / "large")
    aria2("-x", connections, "-s", connections, "-k", "1M", url + "large")
    assert same(large, near / "large")


def test_a_download_goes_on_from_where_it_was(aria2: Run, url: str, served: Path, near: Path) -> None:
    content = make_large(served / "large", 10_000_000).read_bytes()
    # What is there already is taken as it is: that it stays shows that only the rest came.
    (near / "large").write_bytes(b"x" * 4_194_304)
    aria2("-c", url + "large")
    assert (near / "large").read_bytes() == b"x" * 4_194_304 + content[4_194_304:]


def test_names_in_folders(aria2: Run, url: str, served: Path, near: Path) -> None:
    wanted = ""
    for number, name in enumerate(NAMES):
        (served / name).mkdir()
        (served / name / name).write_bytes(name.encode())
        wanted += f"{url}{quote(name, safe='')}/{quote(name, safe='')}\n out=file{number}\n"
    (near / "wanted").write_text(wanted)
    aria2("-j", str(len(NAMES)), "-i", "wanted")  # at once, because each may have to wait for its 226
    assert [(near / f"file{number}").read_bytes().decode() for number in range(len(NAMES))] == list(NAMES)


def test_an_empty_file(aria2: Run, url: str, served: Path, near: Path) -> None:
    (served / "empty").touch()
    aria2(url + "empty")
    assert (near / "empty").read_bytes() == b""
