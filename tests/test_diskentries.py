"""A folder's entries, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import support

from ftpsvc import diskentries
from ftpsvc.diskentries import Scan
from ftpsvc.jail import Jail


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
