"""Places for jobs: how many of one disk's are in them at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import support

from ftpsvc.threads import by_device


def test_a_disk_has_so_many_jobs_at_once_over_all_its_folders(tmp_path: Path) -> None:
    run = support.by_hand()
    place = by_device(run, 2)
    for name in "abc":
        (tmp_path / name).mkdir()
    waiting = [place(str(tmp_path / name))(name.upper) for name in "abc"]
    assert len(run.jobs) == 2
    run.fire()
    assert len(run.jobs) == 1  # the third has its turn
    run.fire()
    assert [job.result for job in waiting] == ["A", "B", "C"]


def test_a_disk_whose_jobs_hang_keeps_nobody_on_another_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    run = support.by_hand()
    devices = {"slow": 1, "fast": 2}
    monkeypatch.setattr(os, "stat", lambda folder: os.stat_result((0, 0, devices[folder], *(0,) * 7)))
    place = by_device(run, 2)
    for _ in range(5):
        place("slow")(str)
    place("fast")(int)
    assert len(run.jobs) == 3


def test_a_folder_that_is_missing_has_no_place(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        by_device(support.by_hand(), 2)(str(tmp_path / "missing"))
