"""A file system without locks: uploads are as safe as on any other, and what is weaker there is what the docs say."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from conftest import LoggedErrors
from storage_contract import BIG, StorageContract
from storage_place import Place
from support import local_disk, parts_in, result_of, take_part
from tree_contract import TreeContract

from ftpsvc import locks, model
from ftpsvc.localdisk import LocalDisk
from ftpsvc.parts import made_up_in


@pytest.fixture(autouse=True, params=[errno.ENOLCK, errno.EOPNOTSUPP])
def _no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(local_disk(tmp_path), tmp_path, result_of)


@pytest.fixture
def disk(tmp_path: Path) -> LocalDisk:
    return local_disk(tmp_path)


class TestContract(StorageContract, TreeContract):
    """The contract, without locks."""


def test_that_there_are_none_is_said_once(disk: LocalDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(locks._log, "warn", lambda text, **fields: told.append(fields["minor"]))
    locks._tell_of.cache_clear()
    for name in ("/a", "/b"):
        file = result_of(disk.open_write(name))
        result_of(file.write(BIG))
        result_of(file.commit())
    assert len(told) == 1


def test_of_two_uploads_of_one_name_each_is_whole_and_what_broke_off_is_gone_on_from(
    disk: LocalDisk, tmp_path: Path
) -> None:
    first, second = result_of(disk.open_write("/a")), result_of(disk.open_write("/a"))
    for file, data in ((first, BIG), (second, BIG[::-1])):
        result_of(file.write(data))
    result_of(second.commit())
    assert (tmp_path / "a").read_bytes() == BIG[::-1]
    result_of(first.abort(keep=True))
    resumed = result_of(disk.open_write("/a", len(BIG) - 1))
    other = result_of(disk.open_write("/a", len(BIG) - 1))
    result_of(resumed.write(b"!"))
    with pytest.raises(model.Busy):
        result_of(other.write(b"?"))  # the part is another's by now
    result_of(other.abort(keep=True))
    result_of(resumed.commit())
    assert (tmp_path / "a").read_bytes() == BIG[:-1] + b"!"
    assert not parts_in(tmp_path)


def test_a_part_that_is_another_since_the_rest_stays_for_whom_it_is(disk: LocalDisk, tmp_path: Path) -> None:
    def leave(data: bytes) -> None:
        file = result_of(disk.open_write("/a"))
        result_of(file.write(data))
        result_of(file.abort(keep=True))

    leave(BIG)
    resumed = result_of(disk.open_write("/a", 1000))
    leave(BIG[::-1])
    with pytest.raises(model.Busy):
        result_of(resumed.write(b"!"))
    result_of(resumed.abort(keep=True))
    part = result_of(disk.open_part("/a"))
    assert part.entry.size == len(BIG)
    result_of(part.close())
    assert take_part(tmp_path) == BIG[::-1]


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_what_another_process_adds_meanwhile_is_noticed_and_not_cut_off(
    disk: LocalDisk, tmp_path: Path, ending: str
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    file = result_of(disk.open_append("/a"))
    result_of(file.write(b"1"))
    with (tmp_path / "a").open("ab") as other:
        other.write(b"other")
    if ending == "commit":
        with pytest.raises(model.Busy):
            result_of(file.commit())
    result_of(file.abort())
    assert (tmp_path / "a").read_bytes() == b"old1other"


def test_parts_are_swept_but_not_those_that_may_be_under_way(
    disk: LocalDisk, tmp_path: Path, logged_errors: LoggedErrors
) -> None:
    (tmp_path / "d").mkdir()
    file = result_of(disk.open_write("/d/a"))
    result_of(file.write(BIG))
    with pytest.raises(model.NotEmpty):
        result_of(disk.remove_dir("/d"))
    result_of(file.abort(keep=True))
    (part,) = parts_in(tmp_path)
    assert result_of(disk.sweep(part.stat().st_mtime)) == 0
    assert result_of(disk.sweep(part.stat().st_mtime + 1)) == 1
    os.close(os.open(tmp_path / "d" / os.fsdecode(made_up_in("0123") + b"1"), os.O_CREAT))
    assert result_of(disk.sweep(0, "0123")) == 1
    file = result_of(disk.open_write("/d/a"))
    result_of(file.write(BIG))
    result_of(file.abort(keep=True))
    result_of(disk.remove_dir("/d"))
