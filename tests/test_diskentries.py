"""A folder's entries, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import support

from ftpsvc import diskentries
from ftpsvc.diskentries import Scan
from ftpsvc.jail import Jail
from ftpsvc.model import Entry, Kind


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskentries, "LIST_BATCH", 3)


@pytest.fixture
def jail(tmp_path: Path) -> Iterator[Jail]:
    jail = Jail(str(tmp_path))
    yield jail
    jail.close()


def fill(folder: Path, count: int) -> set[str]:
    names = {f"file{number}" for number in range(count)}
    for name in names:
        (folder / name).touch()
    return names


def begun(folder: Path, jail: Jail) -> tuple[Scan, support.ByHand]:
    """A scan of five entries, whose first batch is here."""
    fill(folder, 5)
    run = support.by_hand()
    scan = Scan(jail, run, b"")
    first = support.start(scan.next())
    run.fire()
    assert len(first.result()) == 3
    return scan, run


@pytest.mark.parametrize("count", [0, 1, 3, 4, 6, 7])
def test_all_are_found_once(tmp_path: Path, jail: Jail, count: int) -> None:
    names = fill(tmp_path, count)
    scan = Scan(jail, support.at_once, b"")
    found: list[str] = []
    while batch := support.result_of(scan.next()):
        assert len(batch) <= 3
        found += [entry.name for entry in batch]
    support.result_of(scan.close())
    assert len(found) == count
    assert set(found) == names


def test_the_next_ones_are_looked_up_while_the_last_ones_are_made_use_of(tmp_path: Path, jail: Jail) -> None:
    scan, run = begun(tmp_path, jail)
    run.fire()
    assert len(support.result_of(scan.next())) == 2
    # It is known by now that there are no others: nothing more is asked of the disk.
    assert not run.jobs
    assert support.result_of(scan.next()) == []
    support.result_of(scan.close())


def test_what_is_looked_up_ahead_ends_before_the_folder_is_closed(tmp_path: Path, jail: Jail) -> None:
    scan, run = begun(tmp_path, jail)
    closing = support.start(scan.close())
    assert not closing.is_over
    run.fire()
    closing.result()


def test_what_can_not_be_looked_at_is_listed_as_far_as_it_is_known(tmp_path: Path, jail: Jail) -> None:
    """In a folder that may be read and not entered. What isn't listed a mirror takes for removed."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    os.mkfifo(folder / "fifo")
    fill(folder, 2)
    folder.chmod(0o444)
    scan = Scan(jail, support.at_once, b"folder")
    before = os.geteuid()
    os.seteuid(before or 65534)  # root may enter any
    try:
        found: list[Entry] = []
        while batch := support.result_of(scan.next()):
            assert len(batch) <= 3
            found += batch
    finally:
        os.seteuid(before)
        folder.chmod(0o755)
    support.result_of(scan.close())
    kinds = {entry.name: entry.kind for entry in found}
    assert kinds == {"sub": Kind.DIRECTORY, "fifo": Kind.OTHER, "file0": Kind.FILE, "file1": Kind.FILE}
