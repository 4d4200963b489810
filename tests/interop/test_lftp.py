from __future__ import annotations

import os
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


def test_a_tree_goes_up_and_is_kept_in_step_both_ways(lftp: Lftp, served: Path, near: Path) -> None:
    for name in ("one", "with space/two", "äöü/deep/three"):
        (near / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (near / "tree" / name).write_text(name)
        os.utime(near / "tree" / name, (1_000_000_000, 1_000_000_000))
    os.chmod(near / "tree/one", 0o600)
    lftp("mirror -R tree far")
    assert (served / "far/äöü/deep/three").read_text() == "äöü/deep/three"
    assert (served / "far/with space/two").stat().st_mtime == 1_000_000_000
    assert (served / "far/one").stat().st_mode & 0o777 == 0o600
    (near / "tree/one").unlink()
    lftp("mirror -R --delete tree far")
    assert not (served / "far/one").exists()
    # What is in step is left alone: a mirror of a mirror has nothing to do.
    assert "two" not in lftp("mirror -R --delete --dry-run tree far")
    (served / "far/äöü/deep/three").unlink()
    lftp("mirror --delete far tree")
    assert not (near / "tree/äöü/deep/three").exists()
    assert (near / "tree/with space/two").read_text() == "with space/two"


def test_making_renaming_and_deleting(lftp: Lftp, served: Path) -> None:
    (served / "old").mkdir()
    (served / "full").mkdir()
    for file in ("file", "away", "full/inside"):
        (served / file).write_text(file)
    lftp("mkdir -p 'with space/äöü'; rmdir old; rm away; rm -r full")
    lftp("mv file 'with space/quote\"'; chmod 600 'with space/quote\"'")
    assert sorted(path.name for path in served.iterdir()) == ["with space"]
    assert (served / "with space/äöü").is_dir()
    assert (served / 'with space/quote"').read_text() == "file"
    assert (served / 'with space/quote"').stat().st_mode & 0o777 == 0o600


def test_a_listing_without_mlsd_is_the_same(lftp: Lftp, served: Path) -> None:
    for name in (" leading", "with  two", "äöü", "-a"):
        (served / name).write_text(name)
    lines = [lftp(f"set ftp:use-mlsd {use}; cls -1 --size").splitlines() for use in ("yes", "no")]
    assert len(lines[0]) == 4
    assert sorted(lines[0]) == sorted(lines[1])


def test_many_pieces_at_once_make_one_file(lftp: Lftp, served: Path, near: Path) -> None:
    large = make_large(served / "large", 20_000_000)
    lftp("pget -n 5 large")
    assert same(large, near / "large")
