from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streams import Server

from .conftest import Run, make_large, same


@pytest.fixture(params=["passive", "active"])
def tnftp(program: Callable[[str], Run], server: Server, request: pytest.FixtureRequest) -> Callable[..., str]:
    """A way to type lines at it. Its exit status is 0 whatever happens; the files show what did."""
    run = program("tnftp")
    mode = "-p" if request.param == "passive" else "-A"

    def type(*lines: str) -> str:
        typed = "\n".join([f"open 127.0.0.1 {server.port}", "user anonymous x", *lines, "quit", ""])
        return run(mode, "-n", "-i", "-v", input=typed)

    return type


def test_a_large_file_up_and_down(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    large = make_large(near / "large")
    tnftp("binary", "put large", "get large back")
    assert same(large, served / "large")
    assert same(large, near / "back")


def test_resuming_both_ways(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    content = make_large(near / "large", 10_000_000).read_bytes()
    (served / "large").write_bytes(b"x" * 4_000_000)
    (near / "back").write_bytes(b"y" * 5_000_000)
    tnftp("binary", "restart 4000000", "put large", "reget large back")
    stored = b"x" * 4_000_000 + content[4_000_000:]
    assert (served / "large").read_bytes() == stored
    assert (near / "back").read_bytes() == b"y" * 5_000_000 + stored[5_000_000:]


def test_names_and_an_empty_file(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    names = ["with space", "äöü-é", "quote'and", "a;b&c", "100%", "#hash", "empty"]
    lines = ["binary"]
    for name in names:
        (near / name).write_bytes(b"" if name == "empty" else name.encode())
        lines += [f'put "{name}"', f'get "{name}" "back {name}"']
    tnftp(*lines)
    for name in names:
        assert same(near / name, served / name)
        assert same(near / name, near / f"back {name}")


def test_a_text_both_ways(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    (near / "text").write_bytes(b"one\ntwo\n")
    tnftp("ascii", "put text", "get text back")
    assert (served / "text").read_bytes() == b"one\ntwo\n"
    assert (near / "back").read_bytes() == b"one\ntwo\n"


def test_listings_go_to_the_screen_and_to_files(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    for name in ("one", "two", "with space"):
        (served / name).write_text(name)
    shown = tnftp("dir", "nlist . names", "mlsd")
    assert "rw-" in shown
    assert "size=3;" in shown
    assert sorted((near / "names").read_text().split("\n")) == ["", "./one", "./two", "./with space"]


def test_a_pattern_brings_many(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    for name in ("a.txt", "b.txt", "c.bin"):
        (served / name).write_text(name)
    tnftp("binary", "mget *.txt")
    assert sorted(path.name for path in near.glob("*.*") if not path.name.startswith(".")) == ["a.txt", "b.txt"]
    assert (near / "b.txt").read_text() == "b.txt"


def test_making_renaming_adding_and_deleting(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    (near / "file").write_text("file")
    (served / "old").mkdir()
    (served / "away").touch()
    tnftp("binary", "mkdir new", "rmdir old", "put file", "append file file", "rename file other", "delete away")
    assert sorted(path.name for path in served.iterdir()) == ["new", "other"]
    assert (served / "other").read_text() == "filefile"


def test_a_unique_name(tnftp: Callable[..., str], served: Path, near: Path) -> None:
    (near / "file").write_text("file")
    tnftp("binary", "sunique", "put file", "put file")
    stored = list(served.iterdir())
    assert len(stored) == 2
    assert {path.read_text() for path in stored} == {"file"}
