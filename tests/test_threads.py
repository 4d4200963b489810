"""Places for jobs: how many of one disk's are in them at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import support
from twisted.internet.defer import CancelledError

from ftpsvc.threads import by_device, few_at_once


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


def test_a_job_that_nobody_waits_for_any_more_keeps_its_turn_until_its_thread_is_done() -> None:
    run = support.by_hand()
    few = few_at_once(run, 1)
    hanging, following = few(str), few(int)
    hanging.addErrback(lambda failure: failure.trap(CancelledError))
    hanging.cancel()
    assert len(run.jobs) == 1
    run.fire()
    run.fire()
    assert following.result == 0


def test_a_job_that_nobody_waits_for_any_more_is_done_in_its_turn() -> None:
    run = support.by_hand()
    few = few_at_once(run, 1)
    done: list[str] = []
    few(str)
    waiting = few(done.append, "closed what it was given")
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    run.fire()
    run.fire()
    assert done == ["closed what it was given"]


def test_a_folder_that_is_missing_has_no_place(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        by_device(support.by_hand(), 2)(str(tmp_path / "missing"))
