from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from storage_contract import BIG, StorageContract
from storage_place import Place
from support import ByHand, collected, result_of, start
from tree_contract import TreeContract

from ftpsvc import model
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import Kind


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(support.local_disk(tmp_path), tmp_path, result_of)


class TestLocalDisk(StorageContract, TreeContract):
    """The contract, on a folder of this machine."""


# -- links


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A root inside of this folder; beside it what is out of reach."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.fixture
def inside(outside: Path) -> Place:
    return Place(support.local_disk(outside / "root"), outside / "root", result_of)


@pytest.mark.parametrize("target", ["../secret", "/../secret", "nowhere", "../folder/new", "self"])
def test_a_link_to_the_outside_is_neither_read_nor_written(inside: Place, outside: Path, target: str) -> None:
    (inside.folder / "self").symlink_to(target)
    real = outside / "root" / "real"
    real.symlink_to(outside / "secret")
    for path in ("/self", "/real"):
        with pytest.raises(model.TransferError):
            inside.read(path)
        with pytest.raises(model.TransferError):
            inside.write(path, b"new")
        with pytest.raises(model.TransferError):
            result_of(inside.storage.open_append(path))
        with pytest.raises(model.TransferError):
            result_of(inside.storage.set_facts(path, model.Facts(0, 0)))
    assert (outside / "secret").read_bytes() == b"secret"
    assert os.listdir(outside / "folder") == []
    assert (outside / "secret").stat().st_mode & 0o777


def test_nothing_is_made_or_moved_through_a_link_to_the_outside(inside: Place, outside: Path) -> None:
    (inside.folder / "link").symlink_to(outside / "folder")
    (inside.folder / "up").symlink_to("../folder")
    (inside.folder / "file").touch()
    for link in ("/link", "/up"):
        for work in (
            inside.storage.make_dir(link + "/new"),
            inside.storage.rename("/file", link + "/new"),
            inside.storage.open_write(link + "/new"),
        ):
            with pytest.raises(model.Unavailable):
                result_of(work)
        with pytest.raises(model.Unavailable):
            inside.names(link)
    assert os.listdir(outside / "folder") == []


def test_a_link_inside_is_written_through(inside: Place) -> None:
    (inside.folder / "real").mkdir()
    (inside.folder / "real" / "file").write_bytes(b"old")
    for name, target in {"absolute": "/real/file", "relative": "real/file", "twice": "absolute", "dir": "real"}.items():
        (inside.folder / name).symlink_to(target)
    for path in ("/absolute", "/relative", "/twice", "/dir/file"):
        inside.write(path, path.encode())
        assert (inside.folder / "real" / "file").read_bytes() == path.encode()
        assert (inside.folder / path[1:].partition("/")[0]).is_symlink()


def test_a_file_with_two_names_has_one_when_it_is_renamed_to_the_other(inside: Place) -> None:
    (inside.folder / "sub").mkdir()
    (inside.folder / "again").symlink_to("sub")
    (inside.folder / "a").write_bytes(b"content")
    os.link(inside.folder / "a", inside.folder / "sub" / "b")
    result_of(inside.storage.rename("/sub/b", "/again/b"))
    assert inside.names("/sub") == {"b"}, "this is one name, written in two ways"
    result_of(inside.storage.rename("/a", "/sub/b"))
    assert inside.names() == {"sub", "again"}
    assert inside.read("/sub/b") == b"content"


@pytest.mark.parametrize("has_renameat2", [True, False])
def test_a_rename_that_may_not_replace_does_not(
    inside: Place, monkeypatch: pytest.MonkeyPatch, has_renameat2: bool
) -> None:
    if not has_renameat2:
        monkeypatch.setattr("ftpsvc.parts._renameat2", None)
    for name in ("empty", "folder"):
        (inside.folder / name).mkdir()
    (inside.folder / "file").write_bytes(b"file")
    (inside.folder / "there").write_bytes(b"there")
    (inside.folder / "link").symlink_to("nowhere")
    for target in ("/there", "/link", "/empty"):
        for source in ("/file", "/folder"):
            with pytest.raises(model.AlreadyExists):
                result_of(inside.storage.rename(source, target, replace=False))
    assert inside.read("/there") == b"there"
    result_of(inside.storage.rename("/file", "/empty/file", replace=False))
    result_of(inside.storage.rename("/folder", "/empty/folder", replace=False))
    assert inside.names("/empty") == {"file", "folder"}


def test_a_listing_shows_where_links_lead_and_never_fails_for_one(inside: Place, outside: Path) -> None:
    (inside.folder / "file").write_bytes(b"12345")
    (inside.folder / "good").symlink_to("/file")
    (inside.folder / "dangling").symlink_to("nowhere")
    (inside.folder / "circle").symlink_to("circle")
    (inside.folder / "out").symlink_to(outside / "secret")
    os.mkfifo(inside.folder / "fifo")
    entries = {entry.name: entry for entry in result_of(collected(inside.storage.list("/")))}
    kinds = {name: entry.kind for name, entry in entries.items()}
    assert kinds == {
        "file": Kind.FILE,
        "good": Kind.FILE,
        "dangling": Kind.LINK,
        "circle": Kind.LINK,
        "out": Kind.LINK,
        "fifo": Kind.OTHER,
    }
    assert entries["good"].size == 5
    assert entries["out"].size != len(b"secret") or not entries["out"].is_file


# -- errors and what happens meanwhile


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/missing", model.NotFound),
        ("/file/x", model.NotADirectory),
        ("/" + "x" * 300, model.InvalidName),
        ("/a\0b", model.InvalidName),
    ],
)
def test_the_systems_errors_are_told_in_the_domains_terms(place: Place, path: str, error: type[Exception]) -> None:
    (place.folder / "file").touch()
    for work in (place.storage.stat(path), place.storage.open_read(path), collected(place.storage.list(path))):
        with pytest.raises(error):
            result_of(work)
    with pytest.raises(error):
        result_of(place.storage.open_write(path + "/y" if path == "/missing" else path))


def test_an_error_names_the_virtual_path_and_never_the_real_one(place: Place) -> None:
    with pytest.raises(model.NotFound) as refused:
        result_of(place.storage.stat("/folder/file"))
    assert "/folder/file" in str(refused.value)
    assert str(place.folder) not in str(refused.value)


def test_a_file_that_shrinks_is_no_file_that_ended(place: Place) -> None:
    (place.folder / "file").write_bytes(BIG)

    async def read() -> None:
        file = await place.storage.open_read("/file")
        try:
            await file.read(1000)
            os.truncate(place.folder / "file", 500)
            while await file.read(1000):
                pass
        finally:
            await file.close()

    with pytest.raises(model.LocalFault):
        result_of(read())


def test_a_file_that_grows_is_read_as_long_as_it_was(place: Place) -> None:
    (place.folder / "file").write_bytes(b"12345")

    async def read() -> bytes:
        file = await place.storage.open_read("/file")
        with open(place.folder / "file", "ab") as more:
            more.write(b"67890")
        return await support.read_all(file)

    assert result_of(read()) == b"12345"


def test_a_listing_that_is_given_up_in_the_middle_leaves_nothing_open(tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / str(number)).touch()
    run = support.by_hand()
    disk = support.local_disk(tmp_path, run)

    async def first() -> str:
        entries = disk.list("/")
        async for entry in entries:
            await entries.aclose()
            return entry.name
        return ""

    listing = start(first())
    while not listing.is_over:
        run.fire()
    assert (tmp_path / listing.result()).exists()


def test_a_listing_that_is_cancelled_waits_for_its_thread(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = ByHand()
    listing = start(collected(support.local_disk(tmp_path, run).list("/")))
    listing.deferred.cancel()
    assert not listing.is_over, "the thread still reads from the descriptor"
    run.fire()
    assert listing.is_over


def test_a_read_that_is_cancelled_leaves_the_descriptor_until_the_thread_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BIG)
    run = ByHand()
    file = result_of(support.local_disk(tmp_path, run).open_read("/file"))
    reading = start(file.read(1 << 20))
    reading.deferred.cancel()
    assert reading.is_over
    with pytest.raises(Exception):  # noqa: B017  # which error a cancel becomes is Twisted's business
        reading.result()
    closing = start(file.close())
    assert not closing.is_over
    run.fire()
    assert closing.is_over


def test_the_mode_of_a_new_file_minds_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        place = Place(support.local_disk(tmp_path), tmp_path, result_of)
        place.write("/file", b"x")
        place.write("/big", BIG)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "big").stat().st_mode & 0o777 == 0o640


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(OSError):
            support.local_disk(wrong)


@pytest.mark.parametrize("method", [LocalDisk.open_write, LocalDisk.open_append])
def test_an_upload_does_not_begin_where_no_file_can_be_made(tmp_path: Path, method: Callable[..., Any]) -> None:
    """Who is told to send sends all of it, and would learn only then."""
    tmp_path.chmod(0o755)
    for name, mode in (("open", 0o777), ("shut", 0o555)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    disk = support.local_disk(tmp_path)
    before = os.geteuid()
    os.seteuid(before or 65534)  # root may write anywhere
    try:
        with pytest.raises(model.Denied):
            result_of(method(disk, "/shut/new"))
        result_of(result_of(method(disk, "/open/new")).abort())
    finally:
        os.seteuid(before)
    assert os.listdir(tmp_path / "open") == []


@pytest.mark.parametrize("method", [LocalDisk.open_write, LocalDisk.open_append])
def test_what_keeps_an_upload_from_a_folder_is_what_the_system_says_when_a_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Callable[..., Any]
) -> None:
    disk = support.local_disk(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    result_of(result_of(method(disk, "/new")).abort())
    assert os.listdir(tmp_path) == []
    made = os.open

    def read_only(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return made(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(model.Denied, match="the file system is read-only"):
        result_of(method(disk, "/new"))
