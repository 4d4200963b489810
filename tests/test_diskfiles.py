"""Uploads on the local disk, before and instead of their commit."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
import support
from support import parts_in, result_of, start, take_part

from ftpsvc import model
from ftpsvc.frames import digest_of
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import Stored, Whole

LITTLE, BIG = b"little", bytes(range(256)) * 4096


@pytest.fixture
def disk(tmp_path: Path) -> LocalDisk:
    return support.local_disk(tmp_path)


def begin(disk: LocalDisk, path: str, *chunks: bytes, offset: int = 0) -> Any:
    async def begin() -> Any:
        file = await disk.open_write(path, offset)
        for chunk in chunks:
            await file.write(chunk)
        return file

    return result_of(begin())


def test_nothing_is_made_before_the_first_byte(disk: LocalDisk, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    for path in ("/old", "/new"):
        result_of(begin(disk, path).abort(keep=True))
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


# -- parts


def test_a_part_lies_beside_its_target_and_nobody_else_may_read_it(disk: LocalDisk, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = begin(disk, "/folder/file", BIG)
    (part,) = parts_in(tmp_path)
    assert part.parent == tmp_path / "folder"
    assert part.stat().st_mode & 0o777 == 0o600
    result_of(file.abort())


@pytest.mark.parametrize("data", [LITTLE, BIG], ids=["little", "big"])
def test_a_part_that_is_kept_is_gone_on_from(disk: LocalDisk, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(b"another")
    result_of(begin(disk, "/file", data).abort(keep=True))
    assert len(parts_in(tmp_path)) == 1
    cut = len(data) - 2
    assert result_of(begin(disk, "/file", b"new end", offset=cut).commit()) == Stored(cut + 7, digest_of(b"new end"))
    assert (tmp_path / "file").read_bytes() == data[:cut] + b"new end"
    assert not parts_in(tmp_path)


def test_a_part_is_not_gone_on_from_behind_its_end_and_stays(disk: LocalDisk, tmp_path: Path) -> None:
    result_of(begin(disk, "/file", LITTLE).abort(keep=True))
    with pytest.raises(model.BadOffset):
        begin(disk, "/file", offset=len(LITTLE) + 1)
    assert take_part(tmp_path) == LITTLE


def test_a_part_that_was_kept_is_not_in_the_way_of_a_new_beginning(disk: LocalDisk, tmp_path: Path) -> None:
    result_of(begin(disk, "/file", BIG).abort(keep=True))
    result_of(begin(disk, "/file", b"x", BIG).commit())
    assert (tmp_path / "file").read_bytes() == b"x" + BIG
    assert not parts_in(tmp_path)


def test_the_part_of_one_owner_is_not_anothers(tmp_path: Path) -> None:
    ann, bob = (support.local_disk(tmp_path, owner=owner) for owner in ("ann", "bob"))
    result_of(begin(ann, "/file", LITTLE).abort(keep=True))
    with pytest.raises(model.BadOffset):
        begin(bob, "/file", offset=3)
    result_of(begin(ann, "/file", offset=3).commit())
    assert (tmp_path / "file").read_bytes() == LITTLE[:3]
    assert not parts_in(tmp_path)


def test_of_two_broken_uploads_of_one_name_one_part_is_kept(disk: LocalDisk, tmp_path: Path) -> None:
    first, second = begin(disk, "/file", BIG), begin(disk, "/file", BIG)
    result_of(second.abort(keep=True))
    result_of(first.abort(keep=True))
    assert take_part(tmp_path) == BIG


@pytest.mark.parametrize("kind", ["folder", "link", "fifo", "dangling"])
def test_what_bears_a_parts_name_and_is_none_is_in_nobodys_way(disk: LocalDisk, tmp_path: Path, kind: str) -> None:
    result_of(begin(disk, "/file", BIG).abort(keep=True))
    (part,) = parts_in(tmp_path)
    part.unlink()
    (tmp_path / "innocent").write_bytes(b"innocent")
    {
        "folder": part.mkdir,
        "link": lambda: part.symlink_to("innocent"),
        "dangling": lambda: part.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(part),
    }[kind]()
    result_of(begin(disk, "/file", BIG).commit())
    assert (tmp_path / "file").read_bytes() == BIG
    assert (tmp_path / "innocent").read_bytes() == b"innocent"
    assert not (tmp_path / "nowhere").exists()
    part.rmdir() if kind == "folder" else part.unlink()


def test_two_writers_of_one_name_both_write_a_whole_file_and_the_last_wins(disk: LocalDisk, tmp_path: Path) -> None:
    first, second = begin(disk, "/file", b"1", BIG), begin(disk, "/file", b"2", BIG)
    assert len(parts_in(tmp_path)) == 2
    result_of(second.write(b"2"))
    result_of(first.write(b"1"))
    result_of(second.commit())
    assert (tmp_path / "file").read_bytes() == b"2" + BIG + b"2"
    result_of(first.commit())
    assert (tmp_path / "file").read_bytes() == b"1" + BIG + b"1"
    assert not parts_in(tmp_path)


@pytest.mark.parametrize("has_rename", [True, False], ids=["one rename", "link and unlink"])
@pytest.mark.parametrize("data", [LITTLE, BIG], ids=["little", "big"])
def test_what_is_to_be_new_gives_way_to_what_came_meanwhile(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, has_rename: bool
) -> None:
    if not has_rename:
        monkeypatch.setattr("ftpsvc.parts._renameat2", None)
    first, second = (result_of(disk.open_write("/file", replace=False)) for _ in range(2))
    for file in (first, second):
        result_of(file.write(data))
    assert result_of(first.commit()).size == len(data)
    with pytest.raises(model.AlreadyExists):
        result_of(second.commit())
    assert (tmp_path / "file").read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_system_that_can_not_rename_so_links(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr("ftpsvc.parts._renameat2", refuses)
    file = result_of(disk.open_write("/file", replace=False))
    result_of(file.write(BIG))
    result_of(file.commit())
    assert os.listdir(tmp_path) == ["file"]


def test_a_part_that_gets_its_name_while_it_is_being_opened_is_left_alone(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the open and the lock of a kept part, another upload may finish: then it is a file, and whole."""
    result_of(begin(disk, "/file", BIG).abort(keep=True))
    lock = fcntl.flock

    def commit_of_another_then_lock(descriptor: int, operation: int) -> None:
        for part in parts_in(tmp_path)[:1]:
            monkeypatch.setattr(fcntl, "flock", lock)
            part.rename(tmp_path / "file")
            part.write_bytes(b"a third one's part")
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", commit_of_another_then_lock)
    second = begin(disk, "/file", b"x", BIG)
    assert (tmp_path / "file").read_bytes() == BIG
    result_of(second.commit())
    assert (tmp_path / "file").read_bytes() == b"x" + BIG
    assert take_part(tmp_path) == b"a third one's part"


def test_one_writer_may_fail_while_another_of_the_same_name_goes_on(disk: LocalDisk, tmp_path: Path) -> None:
    first, second = begin(disk, "/file", BIG), begin(disk, "/file", BIG)
    result_of(first.abort())
    result_of(second.commit())
    assert (tmp_path / "file").read_bytes() == BIG


# -- digests


@pytest.mark.parametrize("data", [b"", LITTLE, BIG], ids=["empty", "little", "big"])
@pytest.mark.parametrize("digest", ["0" * 32, "", "x", "0" * 31, "0" * 33])
def test_a_wrong_digest_changes_nothing(disk: LocalDisk, tmp_path: Path, data: bytes, digest: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(model.Damaged):
        result_of(begin(disk, "/file", data).commit(digest=digest))
    with pytest.raises(model.Damaged):
        result_of(begin(disk, "/new", data).commit(digest=digest))
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_right_digest_in_capitals_is_a_wrong_one(disk: LocalDisk, tmp_path: Path) -> None:
    with pytest.raises(model.Damaged):
        result_of(begin(disk, "/file", LITTLE).commit(digest=digest_of(LITTLE).upper()))
    assert os.listdir(tmp_path) == []


def test_the_digest_of_a_resumed_upload_is_that_of_its_own_bytes(disk: LocalDisk, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    stored = result_of(begin(disk, "/file", b"67890", offset=5).commit(digest=digest_of(b"67890")))
    assert stored == Stored(10, digest_of(b"67890"))


# -- what others write meanwhile


@pytest.mark.parametrize("is_over", [False, True], ids=["and goes on", "and broke off"])
def test_a_part_that_another_has_since_the_rest_makes_no_mixture(
    disk: LocalDisk, tmp_path: Path, is_over: bool
) -> None:
    (tmp_path / "file").write_bytes(b"the old file" * 10_000)
    result_of(begin(disk, "/file", b"mine" * 25_000).abort(keep=True))
    resumed = begin(disk, "/file", offset=100_000)
    other = begin(disk, "/file", b"theirs" * 25_000)
    if is_over:
        result_of(other.abort(keep=True))
    with pytest.raises(model.Busy, match=r"^file was written to by others meanwhile"):
        result_of(resumed.write(LITTLE))
    result_of(resumed.abort())
    if not is_over:
        result_of(other.abort(keep=True))
    assert (tmp_path / "file").read_bytes() == b"the old file" * 10_000
    assert take_part(tmp_path) == b"theirs" * 25_000


def test_a_file_that_is_another_since_the_rest_makes_no_mixture(disk: LocalDisk, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine" * 25_000)
    resumed = begin(disk, "/file", offset=100_000)
    result_of(disk.put("/file", Whole(b"theirs" * 25_000)))
    with pytest.raises(model.Busy):
        result_of(resumed.write(LITTLE))
    result_of(resumed.abort())
    assert (tmp_path / "file").read_bytes() == b"theirs" * 25_000
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_becomes_another_while_it_is_copied_makes_no_mixture(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine" * 25_000)
    run = support.by_hand()
    resumed = begin(support.local_disk(tmp_path, run), "/file", offset=100_000)
    writing = start(resumed.write(LITTLE))
    result_of(support.local_disk(tmp_path).put("/file", Whole(b"theirs" * 25_000)))
    run.fire()
    with pytest.raises(model.Busy):
        writing.result()
    result_of(resumed.abort())
    assert (tmp_path / "file").read_bytes() == b"theirs" * 25_000
    assert os.listdir(tmp_path) == ["file"]


# -- threads that are still at work


def test_an_abort_waits_for_the_write_under_way(tmp_path: Path) -> None:
    run = support.by_hand()
    file = begin(support.local_disk(tmp_path, run), "/file", BIG)
    aborting = start(file.abort())
    assert not aborting.is_over
    run.fire()
    assert aborting.is_over
    assert os.listdir(tmp_path) == []


def test_a_part_is_nobodys_any_more_behind_an_abort_in_the_middle_of_its_sync(tmp_path: Path) -> None:
    run = support.by_hand()
    disk = support.local_disk(tmp_path, run)
    file = begin(disk, "/file", BIG)
    run.fire()
    syncing = start(file.sync())
    syncing.deferred.cancel()
    aborting = start(file.abort(keep=True))
    while not aborting.is_over:
        run.fire()
    part = result_of(disk.open_part("/file"))  # else a quota would not count it, and nobody could go on from it
    assert part.entry.size == len(BIG)
    result_of(part.close())
    take_part(tmp_path)


def test_an_abort_waits_for_the_copy_that_a_resume_begins_with(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BIG)
    run = support.by_hand()
    file = begin(support.local_disk(tmp_path, run), "/file", offset=len(BIG))
    writing = start(file.write(LITTLE))
    writing.deferred.cancel()
    aborting = start(file.abort())
    assert not aborting.is_over, "the thread would copy into whatever has the descriptor's number by then"
    run.fire()
    assert aborting.is_over
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_waits_for_the_one_before_it(tmp_path: Path) -> None:
    run = support.by_hand()
    file = begin(support.local_disk(tmp_path, run), "/file", BIG)
    second = start(file.write(b"second" * 100_000))
    assert not second.is_over
    committing = []
    while not committing or not committing[0].is_over:
        run.fire()
        if second.is_over and not committing:
            committing.append(start(file.commit()))
    assert (tmp_path / "file").read_bytes() == BIG + b"second" * 100_000


# -- adding


def test_adding_is_digested_and_a_wrong_digest_takes_it_back(disk: LocalDisk, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")

    async def add(digest: str) -> Stored:
        file = await disk.open_append("/file")
        await file.write(b" after")
        return await file.commit(digest=digest)

    with pytest.raises(model.Damaged):
        result_of(add(digest_of(b"before after")))
    assert (tmp_path / "file").read_bytes() == b"before"
    assert result_of(add(digest_of(b" after"))) == Stored(12, digest_of(b" after"))


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_two_can_not_add_to_one_file_at_once(disk: LocalDisk, tmp_path: Path, ending: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    first = result_of(disk.open_append("/file"))
    with pytest.raises(model.Busy):
        result_of(disk.open_append("/file"))
    result_of(first.write(b"1"))
    result_of(first.commit() if ending == "commit" else first.abort())
    second = result_of(disk.open_append("/file"))
    result_of(second.write(b"2"))
    result_of(second.commit())
    assert (tmp_path / "file").read_bytes() == (b"old12" if ending == "commit" else b"old2")


@pytest.mark.parametrize("by", ["replaced", "removed", "renamed"])
def test_nothing_is_said_to_be_added_to_a_file_that_another_has_meanwhile(
    disk: LocalDisk, tmp_path: Path, by: str
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    adding = result_of(disk.open_append("/file"))
    result_of(adding.write(b" after"))
    if by == "replaced":
        result_of(disk.put("/file", Whole(b"new")))
    elif by == "removed":
        result_of(disk.remove("/file"))
    else:
        result_of(disk.rename("/file", "/elsewhere"))
    with pytest.raises(model.Busy, match=r"^file was replaced or removed meanwhile, so nothing was added"):
        result_of(adding.commit())
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == {"replaced": {"file": b"new"}, "removed": {}, "renamed": {"elsewhere": b"before"}}[by]


def test_a_file_that_others_empty_while_it_is_added_to_is_not_filled_with_zeros(
    disk: LocalDisk, tmp_path: Path
) -> None:
    (tmp_path / "log").write_bytes(b"x" * 1000)
    adding = result_of(disk.open_append("/log"))
    result_of(adding.write(b"new"))
    os.truncate(tmp_path / "log", 0)  # as logrotate does, with copytruncate
    result_of(adding.abort())
    assert (tmp_path / "log").read_bytes() == b""
