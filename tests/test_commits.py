"""What 226 rests on: in which order a commit goes to the disk, and that many of them share their trips there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from support import ByHand, Started, result_of, start

from ftpsvc import model, unnamed
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import PART_PREFIX, Facts, Stored, Whole

LITTLE, BIG = b"little", bytes(6 * 1024 * 1024)


class Calls:
    """What was asked of the disk, in order: fsync of what, rename of what to what. A call can be made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.broken: dict[str, int] = {}
        self._fsync, self._rename = os.fsync, os.rename
        monkeypatch.setattr(os, "fsync", self._on_fsync)
        monkeypatch.setattr(os, "rename", self._on_rename)
        self._link = unnamed._link
        monkeypatch.setattr(unnamed, "_link", self._on_link)

    def _on_fsync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        name = os.path.basename(path)
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "part"
        assert kind == "directory" or name.startswith((PART_PREFIX, "#")) or "append" in name
        self._make(f"fsync {kind} {name}" if kind == "directory" else "fsync part")
        self._fsync(descriptor)

    def _on_rename(self, source: bytes, target: bytes, **more: Any) -> None:
        assert os.fsencode(source).startswith(PART_PREFIX.encode())
        self._make(f"rename to {os.fsdecode(target)}")
        self._rename(source, target, **more)

    def _on_link(self, file: int, directory: int, name: bytes) -> bool:
        self._make(f"link to {os.fsdecode(name)}")
        return self._link(file, directory, name)

    def _make(self, call: str) -> None:
        if call in self.broken:
            raise OSError(self.broken[call], os.strerror(self.broken[call]))
        self.made.append(call)

    def count(self, beginning: str) -> int:
        return sum(call.startswith(beginning) for call in self.made)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    # Whatever the temporary folder lies on, it is to be treated as a disk.
    monkeypatch.setattr("ftpsvc.commits.is_in_memory", lambda device: False)
    return Calls(monkeypatch)


@pytest.fixture
def run() -> Iterator[ByHand]:
    run = support.by_hand()
    yield run


async def write(disk: LocalDisk, path: str, data: bytes) -> Stored:
    file = await disk.open_write(path)
    await file.write(data)
    return await file.commit()


def written(disk: LocalDisk, names: list[str], data: bytes = LITTLE) -> list[Started]:
    return [start(write(disk, f"/{name}", data)) for name in names]


@pytest.mark.parametrize("data", [b"", LITTLE, BIG], ids=["empty", "little", "big"])
def test_a_file_is_synced_then_renamed_then_its_folder_is_synced(tmp_path: Path, calls: Calls, data: bytes) -> None:
    result_of(write(support.local_disk(tmp_path), "/file", data))
    assert calls.made == ["fsync part", "rename to file", f"fsync directory {tmp_path.name}"]
    assert (tmp_path / "file").read_bytes() == data


def test_in_memory_the_order_is_the_same(tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsvc.commits.is_in_memory", lambda device: True)
    disk = support.local_disk(tmp_path)
    for made in ("link to file", "rename to file"):  # a new name, and one that is there
        calls.made.clear()
        result_of(write(disk, "/file", LITTLE))
        assert calls.made == ["fsync part", made, f"fsync directory {tmp_path.name}"]


def test_without_sync_nothing_is_synced_and_the_rename_stays(tmp_path: Path, calls: Calls) -> None:
    disk = support.local_disk(tmp_path, sync=False)
    for data, made in ((LITTLE, "link to file"), (LITTLE, "rename to file"), (BIG, "rename to file")):
        calls.made.clear()
        result_of(write(disk, "/file", data))
        assert calls.made == [made]


def put(disk: LocalDisk, name: str, data: bytes = LITTLE) -> None:
    result_of(disk.put(f"/{name}", Whole(data, Facts(mode=0o640))))


@pytest.fixture
def memory(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setattr("ftpsvc.commits.is_in_memory", lambda device: True)
    return calls


def test_a_new_small_file_is_whole_before_it_has_any_name(tmp_path: Path, memory: Calls) -> None:
    def look(file: int, directory: int, name: bytes) -> bool:
        assert os.listdir(tmp_path) == []
        assert os.fstat(file).st_size == len(LITTLE)
        return link(file, directory, name)

    link, memory._link = memory._link, look
    put(support.local_disk(tmp_path), "file")
    assert memory.made == ["fsync part", "link to file", f"fsync directory {tmp_path.name}"]
    assert (tmp_path / "file").read_bytes() == LITTLE
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("work", ["make", "rename"])
def test_what_is_done_is_not_refused_for_want_of_a_descriptor(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    really = os.dup

    def dup(descriptor: int) -> int:
        if (tmp_path / "new").exists():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return really(descriptor)

    disk = support.local_disk(tmp_path)
    (tmp_path / "old").mkdir()
    monkeypatch.setattr(os, "dup", dup)
    monkeypatch.setattr(os, "rename", calls._rename)
    result_of(disk.make_dir("/new") if work == "make" else disk.rename("/old", "/new"))
    assert calls.made == [f"fsync directory {tmp_path.name}"]
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("call", ["fsync part", "fsync directory {name}"])
def test_a_new_small_file_that_can_not_be_synced_is_an_error(tmp_path: Path, memory: Calls, call: str) -> None:
    memory.broken[call.format(name=tmp_path.name)] = errno.EIO
    with pytest.raises(model.LocalFault, match="file"):
        put(support.local_disk(tmp_path), "file")


def test_what_appears_meanwhile_is_replaced_in_one_step(tmp_path: Path, memory: Calls) -> None:
    def appear(file: int, directory: int, name: bytes) -> bool:
        (tmp_path / "file").write_bytes(b"somebody else's")
        return link(file, directory, name)

    link, memory._link = memory._link, appear
    put(support.local_disk(tmp_path), "file")
    assert memory.made[1:4] == ["link to file", "fsync part", "rename to file"]
    assert (tmp_path / "file").read_bytes() == LITTLE
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_written_through_and_not_replaced(tmp_path: Path, memory: Calls) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    put(support.local_disk(tmp_path), "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == LITTLE


@pytest.mark.parametrize("missing", ["O_TMPFILE", "linkat", "both ways"])
def test_where_files_can_not_be_without_a_name_a_part_is_used(
    tmp_path: Path, memory: Calls, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "O_TMPFILE":
        monkeypatch.setattr(unnamed, "_UNNAMED", os.O_WRONLY | os.O_CLOEXEC)
    else:
        monkeypatch.setattr(unnamed, "_AT_EMPTY_PATH", 0)  # then an empty path is an error
    if missing == "both ways":
        monkeypatch.setattr(os, "link", lambda *_, **__: memory._make("link") or os.stat(tmp_path / "no /proc"))
    put(support.local_disk(tmp_path), "file")
    assert ("rename to file" in memory.made) == (missing != "linkat")
    assert (tmp_path / "file").read_bytes() == LITTLE
    assert os.listdir(tmp_path) == ["file"]


def test_what_is_added_is_synced_with_its_folder(tmp_path: Path, calls: Calls) -> None:
    async def add() -> None:
        file = await support.local_disk(tmp_path).open_append("/append")
        await file.write(b"x")
        await file.commit()

    result_of(add())
    assert calls.made[-1] == f"fsync directory {tmp_path.name}"
    assert calls.count("fsync part") == 1


def test_no_commit_is_over_before_the_folder_is_synced(tmp_path: Path, calls: Calls, run: ByHand) -> None:
    (commit,) = written(support.local_disk(tmp_path, run), ["file"])
    assert not commit.is_over
    assert not (tmp_path / "file").exists()
    run.fire()
    assert commit.result().size == len(LITTLE)


def test_commits_that_wait_together_share_one_sync_of_the_folder(tmp_path: Path, calls: Calls, run: ByHand) -> None:
    names = [f"file{number}" for number in range(100)]
    commits = written(support.local_disk(tmp_path, run), names)
    while not all(commit.is_over for commit in commits):
        run.fire()
    assert {commit.result().size for commit in commits} == {len(LITTLE)}
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert calls.count("fsync part") == 100
    # The first went at once, and the others together while it was under way.
    assert calls.count("fsync directory") == 2
    assert [call for call in calls.made if "rename" in call] == [f"rename to {name}" for name in names]


def test_each_folder_has_its_own_sync(tmp_path: Path, calls: Calls, run: ByHand) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    commits = written(support.local_disk(tmp_path, run), ["first", "a/1", "b/1", "a/2", "b/2"])
    while not all(commit.is_over for commit in commits):
        run.fire()
    assert calls.count("fsync directory a") == calls.count("fsync directory b") == 1


def test_an_error_goes_to_the_file_that_has_it(tmp_path: Path, calls: Calls, run: ByHand) -> None:
    (tmp_path / "bad").write_bytes(b"old")
    calls.broken["rename to bad"] = errno.EIO
    good, bad, other = written(support.local_disk(tmp_path, run), ["good", "bad", "other"])
    while not other.is_over:
        run.fire()
    assert good.result().size == other.result().size == len(LITTLE)
    with pytest.raises(model.LocalFault, match="bad"):
        bad.result()
    assert (tmp_path / "bad").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"good", "bad", "other"}


def test_a_folder_that_can_not_be_synced_fails_its_files_and_no_others(
    tmp_path: Path, calls: Calls, run: ByHand
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    calls.broken["fsync directory a"] = errno.EIO
    first, *commits = written(support.local_disk(tmp_path, run), ["first", "a/1", "b/1", "a/2"])
    while not all(commit.is_over for commit in commits):
        run.fire()
    assert first.result()
    assert commits[1].result()
    for commit in (commits[0], commits[2]):
        with pytest.raises(model.TransferError):
            commit.result()


def test_where_no_folder_can_be_synced_by_itself_everything_is(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sync", lambda: calls.made.append("sync"))
    calls.broken[f"fsync directory {tmp_path.name}"] = errno.EINVAL
    assert result_of(write(support.local_disk(tmp_path), "/file", LITTLE)).size == len(LITTLE)
    assert calls.made == ["fsync part", "rename to file", "sync"]


def test_a_folder_that_can_not_be_synced_costs_the_next_upload_of_the_name_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, next_one = support.local_disk(tmp_path), []

    def fail_later(directory: int) -> None:
        """By now the part has got its name, and another may have the part's."""
        next_one.append(start(begun(disk, "/file", BIG[::-1])).result())
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr("ftpsvc.commits.fsync_directory", fail_later)
        with pytest.raises(model.LocalFault):
            result_of(write(disk, "/file", BIG))
    result_of(next_one[0].commit())
    assert (tmp_path / "file").read_bytes() == BIG[::-1]


async def begun(disk: LocalDisk, path: str, data: bytes) -> Any:
    file = await disk.open_write(path)
    await file.write(data)
    return file


@pytest.mark.parametrize("data", [LITTLE, BIG], ids=["little", "big"])
def test_a_file_that_can_not_be_synced_is_not_committed(tmp_path: Path, calls: Calls, data: bytes) -> None:
    (tmp_path / "file").write_bytes(b"old")
    calls.broken["fsync part"] = errno.EIO
    with pytest.raises(model.TransferError):
        result_of(write(support.local_disk(tmp_path), "/file", data))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_big_file_does_not_hold_up_the_little_ones(tmp_path: Path, calls: Calls) -> None:
    run = support.by_hand()
    disk = support.local_disk(tmp_path, run)
    (big,) = written(disk, ["big"], BIG)
    run.fire()  # all of it is written, and only its commit waits
    assert not (tmp_path / "big").exists()
    waiting, run.jobs = run.jobs, []
    (little,) = written(disk, ["little"])
    run.fire()
    assert little.is_over
    assert not big.is_over
    run.jobs = waiting
    run.fire()
    assert big.result().size == len(BIG)


def test_a_commit_goes_on_to_its_end_when_nobody_waits_any_more(tmp_path: Path, calls: Calls, run: ByHand) -> None:
    for data, name in ((LITTLE, "little"), (BIG, "big")):
        (commit,) = written(support.local_disk(tmp_path, run), [name], data)
        if data is BIG:
            run.fire()  # it is written; the commit waits
        commit.deferred.cancel()
        assert commit.is_over
        run.fire()
        assert (tmp_path / name).read_bytes() == data
        with pytest.raises(Exception):  # noqa: B017  # how Twisted names a cancel
            commit.result()


def test_a_folder_that_is_made_is_synced_into_its_parent(tmp_path: Path, calls: Calls, run: ByHand) -> None:
    disk = support.local_disk(tmp_path, run)
    made = start(disk.make_dir("/new"))
    assert not made.is_over
    run.fire()
    assert made.is_over
    assert calls.made == [f"fsync directory {tmp_path.name}"]
