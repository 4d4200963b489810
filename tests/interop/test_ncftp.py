from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from streams import Server

from .conftest import Run, make_large, same

#: What ncftp's own reading of command lines and patterns leaves alone.
NAMES = ["with space", "äöü-é", "quote'and", "a;b&c", "100%", "empty"]


@pytest.fixture(params=["passive", "active"])
def tool(program: Callable[[str], Run], server: Server, request: pytest.FixtureRequest) -> Callable[..., str]:
    """One of ncftp's programs for a single task."""
    mode = "-F" if request.param == "passive" else "-E"

    def run(name: str, *arguments: str, after: tuple[str, ...]) -> str:
        to = ["-P", str(server.port), mode, "-r", "1", "-t", "20"]
        return program(name)(*to, *arguments, "127.0.0.1", *after)

    return run


def put(tool: Callable[..., str], *files: str, options: tuple[str, ...] = ()) -> None:
    tool("ncftpput", "-V", *options, after=("/", *files))


def get(tool: Callable[..., str], *files: str, options: tuple[str, ...] = ()) -> None:
    tool("ncftpget", "-V", *options, after=("back", *files))


@pytest.fixture(autouse=True)
def back(near: Path) -> Path:
    folder = near / "back"
    folder.mkdir()
    return folder


def test_a_large_file_up_and_down(tool: Callable[..., str], served: Path, near: Path, back: Path) -> None:
    large = make_large(near / "large")
    put(tool, "large")
    assert same(large, served / "large")
    get(tool, "large")
    assert same(large, back / "large")


def test_a_download_goes_on_from_where_it_was(tool: Callable[..., str], served: Path, back: Path) -> None:
    # Not the other way: behind its REST, ncftp 3.2.6 sends the whole file from its beginning all the same.
    content = make_large(served / "large", 10_000_000).read_bytes()
    (back / "large").write_bytes(b"x" * 4_000_000)
    get(tool, "large", options=("-z",))
    assert (back / "large").read_bytes() == b"x" * 4_000_000 + content[4_000_000:]


def test_adding(tool: Callable[..., str], served: Path, near: Path) -> None:
    (served / "file").write_text("one ")
    (near / "file").write_text("two")
    put(tool, "file", options=("-A",))
    assert (served / "file").read_text() == "one two"


def test_names_and_an_empty_file(tool: Callable[..., str], served: Path, near: Path, back: Path) -> None:
    for name in NAMES:
        (near / name).write_bytes(b"" if name == "empty" else name.encode())
    put(tool, *NAMES)
    get(tool, *NAMES)
    for name in NAMES:
        assert same(near / name, served / name)
        assert same(near / name, back / name)


def test_listings(program: Callable[[str], Run], server: Server, served: Path) -> None:
    for name in NAMES:
        (served / name).touch()
    url = f"ftp://127.0.0.1:{server.port}/"
    for mode in ("-E", "-F"):
        assert sorted(program("ncftpls")(mode, "-1", url).splitlines()) == sorted(NAMES)
        assert program("ncftpls")(mode, "-l", url).count("\n") == len(NAMES)


def test_a_time_goes_up_with_its_file(tool: Callable[..., str], served: Path, near: Path) -> None:
    (near / "file").write_text("file")
    os.utime(near / "file", (1_000_000_000, 1_000_000_000))
    put(tool, "file")
    assert (served / "file").stat().st_mtime == 1_000_000_000


def test_a_tree_both_ways(tool: Callable[..., str], served: Path, near: Path, back: Path) -> None:
    for name in ("tree/one", "tree/sub/two", "tree/sub/deep/three"):
        (near / name).parent.mkdir(parents=True, exist_ok=True)
        (near / name).write_text(name)
    put(tool, "tree", options=("-R",))
    assert (served / "tree/sub/deep/three").read_text() == "tree/sub/deep/three"
    get(tool, "tree", options=("-R",))
    assert (back / "tree/sub/deep/three").read_text() == "tree/sub/deep/three"
    assert (back / "tree/one").read_text() == "tree/one"


def test_making_renaming_and_deleting(program: Callable[[str], Run], server: Server, served: Path, near: Path) -> None:
    (near / "file").write_text("file")
    (served / "old").mkdir()
    commands = "mkdir new folder\nrmdir old\nput file\nrename file other\ncd new\nput file\nrm file\nquit\n"
    program("ncftp")("-P", str(server.port), "127.0.0.1", input=commands)
    assert sorted(path.name for path in served.iterdir()) == ["folder", "new", "other"]
    assert (served / "other").read_text() == "file"
    assert list((served / "new").iterdir()) == []
