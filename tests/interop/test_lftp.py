from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streams import Server

from .conftest import Run, make_large, same

Lftp = Callable[..., str]

#: Nothing is retried, so that what fails once is seen.
SETTINGS = "set net:max-retries 1; set net:timeout 20; set ssl:verify-certificate no; set cmd:fail-exit yes;"


@pytest.fixture(params=["passive", "active"])
def lftp(program: Callable[[str], Run], server: Server, request: pytest.FixtureRequest) -> Lftp:
    run = program("lftp")
    mode = f"set ftp:passive-mode {'yes' if request.param == 'passive' else 'no'};"
    return lambda commands: run("-c", f"{SETTINGS}{mode} open ftp://ftp:x@127.0.0.1:{server.port}/; {commands}")


def test_a_large_file_up_and_down(lftp: Lftp, served: Path, near: Path) -> None:
    large = make_large(near / "large")
    lftp("put large; get large -o back")
    assert same(large, served / "large")
    assert same(large, near / "back")


def test_resuming_both_ways(lftp: Lftp, served: Path, near: Path) -> None:
    large = make_large(near / "large", 10_000_000)
    content = large.read_bytes()
    (served / "large").write_bytes(content[:4_000_000])
    (near / "back").write_bytes(content[:4_000_000])
    lftp("put -c large; get -c large -o back")
    assert same(large, served / "large")
    assert same(large, near / "back")


def test_names_and_an_empty_file(lftp: Lftp, served: Path, near: Path) -> None:
    names = ["with space", "äöü-é", "quote'and", "empty"]
    for name in names:
        (near / name).write_bytes(b"" if name == "empty" else name.encode())
        lftp(f'put "{name}"; get "{name}" -o back')
        assert same(near / name, served / name)
        assert same(near / name, near / "back")
        (near / "back").unlink()
    assert sorted(lftp("cls -1").splitlines()) == sorted(names)
    assert lftp("ls").count("\n") == len(names)


def test_a_tree_comes_down_as_it_is(lftp: Lftp, served: Path, near: Path) -> None:
    for name in ("one", "sub/two", "sub/deep/three"):
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        (served / name).write_text(name)
    lftp("mirror / copy")
    assert (near / "copy/sub/deep/three").read_text() == "sub/deep/three"
    assert (near / "copy/one").read_text() == "one"
