from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from streams import Server

from .conftest import NAMES, Run, make_large, same


@pytest.fixture(params=["epsv", "pasv", "tls"])
def rclone(program: Callable[[str], Run], server: Server, request: pytest.FixtureRequest) -> Run:
    run = program("rclone")
    password = run("obscure", "x").strip()
    options = ["--config=/dev/null", "--retries=1", "--low-level-retries=1", "--contimeout=20s", "--timeout=20s"]
    to = ["--ftp-host=127.0.0.1", f"--ftp-port={server.port}", "--ftp-user=anonymous", f"--ftp-pass={password}"]
    if request.param == "pasv":
        to.append("--ftp-disable-epsv")
    if request.param == "tls":
        to += ["--ftp-explicit-tls", "--ftp-no-check-certificate"]
    return lambda *arguments: run(*options, *to, *arguments)


def test_a_large_file_up_and_down(rclone: Run, served: Path, near: Path) -> None:
    large = make_large(near / "large")
    rclone("copyto", "large", ":ftp:large")
    assert same(large, served / "large")
    rclone("copyto", ":ftp:large", "back")
    assert same(large, near / "back")


def test_names_and_an_empty_file(rclone: Run, served: Path, near: Path) -> None:
    (near / "up").mkdir()
    for name in (*NAMES, "empty"):
        (near / "up" / name).write_bytes(b"" if name == "empty" else name.encode())
    rclone("copy", "up", ":ftp:")
    for name in (*NAMES, "empty"):
        assert same(near / "up" / name, served / name)
    rclone("copy", ":ftp:", "back")
    for name in (*NAMES, "empty"):
        assert same(near / "up" / name, near / "back" / name)
    assert sorted(rclone("lsf", ":ftp:").splitlines()) == sorted((*NAMES, "empty"))


def test_a_tree_is_kept_in_step_both_ways(rclone: Run, served: Path, near: Path) -> None:
    for name in ("tree/one", "tree/sub/two", "tree/sub/deep/three"):
        (near / name).parent.mkdir(parents=True, exist_ok=True)
        (near / name).write_text(name)
        os.utime(near / name, (1_000_000_000, 1_000_000_000))
    rclone("sync", "tree", ":ftp:tree")
    assert (served / "tree/sub/deep/three").read_text() == "tree/sub/deep/three"
    assert (served / "tree/one").stat().st_mtime == 1_000_000_000
    (near / "tree/sub/two").unlink()
    (near / "tree/one").write_text("changed")
    rclone("sync", "tree", ":ftp:tree")
    assert not (served / "tree/sub/two").exists()
    assert (served / "tree/one").read_text() == "changed"
    rclone("sync", ":ftp:tree", "back")
    rclone("check", ":ftp:tree", "back")
    assert (near / "back/sub/deep/three").read_text() == "tree/sub/deep/three"


def test_making_renaming_and_deleting(rclone: Run, served: Path) -> None:
    (served / "old").mkdir()
    (served / "file").write_text("file")
    (served / "away").touch()
    rclone("mkdir", ":ftp:new/deep")
    rclone("rmdir", ":ftp:old")
    rclone("moveto", ":ftp:file", ":ftp:new/other")
    rclone("deletefile", ":ftp:away")
    assert [path.name for path in served.iterdir()] == ["new"]
    assert (served / "new/other").read_text() == "file"
    assert (served / "new/deep").is_dir()
    rclone("purge", ":ftp:new")
    assert list(served.iterdir()) == []


def test_a_part_of_a_file(rclone: Run, served: Path) -> None:
    (served / "digits").write_bytes(b"0123456789" * 1_000_000)
    assert rclone("cat", "--offset=12", "--count=6", ":ftp:digits") == "234567"
    assert rclone("cat", "--tail=3", ":ftp:digits") == "789"
