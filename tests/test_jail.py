"""The jail, with the kernel's walk and the one by hand: whatever is in the tree, nothing outside is ever opened."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftpsvc.jail import MAX_LINKS, Jail

READ = os.O_RDONLY | os.O_NONBLOCK
FOLDER = os.O_RDONLY | os.O_DIRECTORY

INSIDE, OUTSIDE = b"inside", b"secret"

#: How often the tree is walked while another thread changes it.
WALKS = 1500


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file and a folder, and beside it what nobody may reach."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(OUTSIDE)
    (tmp_path / "file").write_bytes(OUTSIDE)
    root = tmp_path / "root"
    (root / "folder" / "deep").mkdir(parents=True)
    (root / "file").write_bytes(INSIDE)
    (root / "folder" / "file").write_bytes(INSIDE)
    return root


@pytest.fixture(params=[True, False], ids=["kernel", "by hand"])
def jail(root: Path, request: pytest.FixtureRequest) -> Iterator[Jail]:
    jail = Jail(str(root), kernel_walk=request.param)
    yield jail
    jail.close()


def content(jail: Jail, path: bytes) -> bytes:
    descriptor = jail.open(path, READ)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def refusal(jail: Jail, path: bytes, flags: int = READ) -> int | None:
    with pytest.raises(OSError) as refused:
        os.close(jail.open(path, flags))
    return refused.value.errno


def identity(jail: Jail, path: bytes) -> tuple[int, int]:
    descriptor = jail.open(path, FOLDER)
    try:
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", [b"file", b"folder/file", b"folder//./file", b"./file", b"folder/deep/../file"])
def test_a_file_inside_is_opened(jail: Jail, path: bytes) -> None:
    assert content(jail, path) == INSIDE


@pytest.mark.parametrize("path", [b"", b".", b"..", b"../..", b"folder/..", b"../../outside/../.."])
def test_the_root_is_its_own_parent(jail: Jail, root: Path, path: bytes) -> None:
    if path == b"../../outside/../..":
        assert refusal(jail, path, FOLDER) == errno.ENOENT
    else:
        status = root.stat()
        assert identity(jail, path) == (status.st_dev, status.st_ino)


@pytest.mark.parametrize("path", [b"../file", b"../../file", b"folder/../../file"])
def test_dots_lead_to_what_is_inside(jail: Jail, path: bytes) -> None:
    assert content(jail, path) == INSIDE


def test_dots_do_not_lead_outside(jail: Jail) -> None:
    assert refusal(jail, b"../outside/file") == errno.ENOENT


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="Linux only")
@pytest.mark.parametrize("target", ["file", "folder", "nowhere", "../outside"])
def test_a_link_itself_can_be_looked_at(jail: Jail, root: Path, target: str) -> None:
    (root / "folder" / "link").symlink_to(target)
    descriptor = jail.open(b"folder/link", os.O_PATH | os.O_NOFOLLOW)
    assert stat.S_ISLNK(os.fstat(descriptor).st_mode)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("file", INSIDE),
        ("folder/file", INSIDE),
        ("/file", INSIDE),
        ("/folder/../file", INSIDE),
        ("folder/../../../../file", INSIDE),
        ("../file", INSIDE),
        ("/../file", INSIDE),
        ("../outside/file", None),
        ("/outside/file", None),
        ("nowhere", None),
        ("/nowhere/file", None),
        ("/etc/passwd", None),
        ("/proc/self/root/etc/passwd", None),
    ],
)
def test_a_link_leads_inside_or_nowhere(jail: Jail, root: Path, target: str, found: bytes | None) -> None:
    (root / "link").symlink_to(target)
    if found is None:
        assert refusal(jail, b"link") == errno.ENOENT
    else:
        assert content(jail, b"link") == found


def test_a_link_to_where_the_outside_really_is_leads_nowhere(jail: Jail, root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside" / "file")
    (root / "folder" / "up").symlink_to(root.parent / "outside")
    assert refusal(jail, b"link") == errno.ENOENT
    assert refusal(jail, b"folder/up/file") == errno.ENOENT
    assert refusal(jail, b"folder/up", FOLDER) == errno.ENOENT


def test_links_are_followed_in_the_middle_of_a_path(jail: Jail, root: Path) -> None:
    (root / "a").symlink_to("folder")
    (root / "folder" / "b").symlink_to("/a/deep/..")
    assert content(jail, b"a/b/b/file") == INSIDE


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "/b/x", "b": "/a"}])
def test_links_in_a_circle_end(jail: Jail, root: Path, links: dict[str, str]) -> None:
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert refusal(jail, b"a") == errno.ELOOP


def test_as_many_links_are_followed_as_linux_follows(jail: Jail, root: Path) -> None:
    (root / "link0").symlink_to("file")
    for number in range(1, MAX_LINKS + 1):
        (root / f"link{number}").symlink_to(f"link{number - 1}")
    assert content(jail, b"link%d" % (MAX_LINKS - 1)) == INSIDE
    assert refusal(jail, b"link%d" % MAX_LINKS) == errno.ELOOP


def test_what_is_missing_or_no_folder_is_told_apart(jail: Jail) -> None:
    assert refusal(jail, b"nothing") == errno.ENOENT
    assert refusal(jail, b"nothing/file") == errno.ENOENT
    assert refusal(jail, b"file/x") == errno.ENOTDIR
    assert refusal(jail, b"file", FOLDER) == errno.ENOTDIR


def test_a_nul_in_a_name_opens_nothing(jail: Jail) -> None:
    with pytest.raises((OSError, ValueError)):
        os.close(jail.open(b"file\0x", READ))


def test_the_longest_name_works_and_a_longer_one_is_refused(jail: Jail, root: Path) -> None:
    (root / ("x" * 255)).write_bytes(INSIDE)
    assert content(jail, b"x" * 255) == INSIDE
    assert refusal(jail, b"x" * 256) == errno.ENAMETOOLONG


def test_names_that_are_not_utf_8_are_opened(jail: Jail, root: Path) -> None:
    (root / os.fsdecode(b"\xe4\xff")).write_bytes(INSIDE)
    assert content(jail, b"\xe4\xff") == INSIDE


def test_a_fifo_and_a_socket_hold_nobody_up(jail: Jail, root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        descriptor = jail.open(b"fifo", READ)
        assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        assert refusal(jail, b"socket") == errno.ENXIO
        assert refusal(jail, b"fifo", os.O_WRONLY | os.O_NONBLOCK) == errno.ENXIO


def test_a_deep_tree_is_walked(jail: Jail, root: Path) -> None:
    depth, here = 300, os.open(root, FOLDER)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", FOLDER, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    assert content(jail, b"d/" * depth + b"file") == b""
    assert refusal(jail, b"d/" * depth + b"nothing") == errno.ENOENT


def test_a_path_too_deep_is_refused_and_leaves_nothing_open(jail: Jail) -> None:
    assert refusal(jail, b"folder/../" * 900 + b"folder/file/x") in (errno.ENOTDIR, errno.ENAMETOOLONG)


def test_one_of_many_files_is_opened_as_any_other(jail: Jail, root: Path) -> None:
    (root / "link").symlink_to("/folder/file")
    for path in (b"folder/file", b"link"):
        descriptor = jail.open_file(path, READ)
        assert os.read(descriptor, 100) == INSIDE
        os.close(descriptor)


@pytest.mark.parametrize("path", [b"..", b"folder/..", b"../outside/file", b"", b"out", b"nothing", b"file\0x"])
def test_no_file_outside_is_opened_as_one_of_many(jail: Jail, root: Path, path: bytes) -> None:
    (root / "out").symlink_to("../outside/file")
    with pytest.raises(OSError):
        os.close(jail.open_file(path, READ))


def test_the_parent_of_a_missing_name_is_opened(jail: Jail, root: Path) -> None:
    directory, name = jail.open_parent(b"folder/new")
    status = os.fstat(directory)
    os.fsync(directory)
    os.close(directory)
    assert (name, status.st_ino) == (b"new", (root / "folder").stat().st_ino)


def test_the_root_is_nobodys_entry(jail: Jail) -> None:
    with pytest.raises(OSError, match="busy") as refused:
        jail.open_parent(b"")
    assert refused.value.errno == errno.EBUSY


def test_the_parent_is_found_through_links_that_stay_inside(jail: Jail, root: Path) -> None:
    (root / "out").symlink_to(root.parent / "outside")
    (root / "in").symlink_to("/folder")
    assert refusal_of_parent(jail, b"out/new") == errno.ENOENT
    directory, _ = jail.open_parent(b"in/new")
    assert os.fstat(directory).st_ino == (root / "folder").stat().st_ino
    os.close(directory)


def refusal_of_parent(jail: Jail, path: bytes) -> int | None:
    with pytest.raises(OSError) as refused:
        jail.open_parent(path)
    return refused.value.errno


def test_a_root_that_is_no_folder_is_refused(root: Path) -> None:
    for wrong in (root / "file", root / "nothing"):
        with pytest.raises(OSError):
            Jail(str(wrong))


def test_a_root_that_is_moved_stays_the_root(jail: Jail, root: Path) -> None:
    root.rename(root.parent / "moved")
    assert content(jail, b"folder/file") == INSIDE
    assert content(jail, b"../../file") == INSIDE


# -- the tree changes during the walk


class Meddler:
    """A second thread that changes the tree over and over until it is told to stop."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self.rounds = 0

    def _go_on(self) -> None:
        while not self._stop.is_set() or not self.rounds:
            self._step()
            self.rounds += 1

    def __enter__(self) -> Meddler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.rounds


def walk(jail: Jail, path: bytes) -> dict[bytes | int | None, int]:
    """What came of many walks: contents, and the numbers of errors."""
    outcomes: dict[bytes | int | None, int] = {}
    for _ in range(WALKS):
        try:
            found: bytes | int | None = content(jail, path)
        except OSError as error:
            found = error.errno
        outcomes[found] = outcomes.get(found, 0) + 1
    return outcomes


def exchange(a: Path, b: Path) -> None:
    """Give two entries each other's names, one after the other."""
    third = a.with_name("third")
    a.rename(third)
    b.rename(a)
    third.rename(b)


#: What a walk may meet while names change under it, beside what is inside.
PASSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN}


def test_a_folder_swapped_with_a_link_to_the_outside_lets_nobody_out(jail: Jail, root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    with Meddler(lambda: exchange(root / "folder", root / "link")):
        outcomes = walk(jail, b"folder/file")
    assert OUTSIDE not in outcomes
    assert set(outcomes) <= {INSIDE} | PASSING


def test_a_file_swapped_with_a_link_to_the_outside_lets_nobody_out(jail: Jail, root: Path) -> None:
    (root / "link").symlink_to("../../outside/file")
    (root / "other").symlink_to(root.parent / "file")

    def swap() -> None:
        exchange(root / "file", root / "link")
        exchange(root / "file", root / "other")

    with Meddler(swap):
        outcomes = walk(jail, b"file")
    assert OUTSIDE not in outcomes
    assert set(outcomes) <= {INSIDE} | PASSING


def test_a_folder_moved_outside_during_the_walk_gives_no_way_up(jail: Jail, root: Path) -> None:
    """From a folder that was moved out of the root, `..` would be outside."""
    inside, outside = root / "folder" / "deep", root.parent / "outside" / "deep"

    def move() -> None:
        inside.rename(outside)
        outside.rename(inside)

    with Meddler(move):
        outcomes = walk(jail, b"folder/deep/../file")
    assert OUTSIDE not in outcomes
    assert set(outcomes) <= {INSIDE} | PASSING


def test_the_parent_for_an_upload_is_never_outside(jail: Jail, root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    outside, found = (root.parent / "outside").stat().st_ino, set()
    with Meddler(lambda: exchange(root / "folder", root / "link")):
        for _ in range(WALKS):
            try:
                directory, _ = jail.open_parent(b"folder/new")
            except OSError as error:
                assert error.errno in PASSING
            else:
                found.add(os.fstat(directory).st_ino)
                os.close(directory)
    assert outside not in found
