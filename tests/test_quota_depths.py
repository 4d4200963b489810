"""What a quota counts of a home whose folders lie deeper than one path leads."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from unittest import mock

import pytest
import support
from support import frames
from test_quota import homes_for, limited, talking


def test_what_lies_deeper_than_one_path_leads_is_counted_too(tmp_path: Path) -> None:
    talk = talking(tmp_path, size=100_000)
    deep = b"/".join([b"n" * 250] * 16)
    for top in (b"a", b"b"):
        paths = [top, *(top + b"/" + deep[: n * 251 - 1] for n in range(1, 17))]
        assert {code for path in paths for code in talk.codes(b"MKD " + path + b"\r\n")} == {257}
        assert talk.codes(b"STOR " + paths[-1] + b"/f\r\n", frames(b"x" * 40_000)) == [150, 226]
    assert talk.codes(b"RNFR b\r\nRNTO a/" + deep + b"/b\r\n") == [350, 250]
    assert talking(tmp_path, size=100_000).ask(b"AVBL\r\n") == ["213 20000"]  # by whom it is counted anew


def test_to_count_what_lies_deep_takes_no_memory_for_each_way_there(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(320):
        os.mkdir(b"n" * 250, dir_fd=folder)
        above, folder = folder, os.open(b"n" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(above)
    for n in range(300):
        os.mkdir(str(n), dir_fd=folder)
    os.close(folder)
    tracemalloc.start()
    try:
        quota = limited(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert quota.usage.files == 620
    assert peak < 2_000_000  # the ways to the 300 together are 24 MB long


@pytest.mark.parametrize("steps", range(14))
def test_what_is_carried_elsewhere_during_a_count_ends_it_nowhere_else(tmp_path: Path, steps: int) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    for name in ("a", "b", "c"):
        (home / name / "deep" / "deeper").mkdir(parents=True)
        (home / name / "deep" / "deeper" / "f").write_bytes(b"x")
    run = support.by_hand()
    with mock.patch("ftpsvc.homes.COUNT_STEP", 1):
        quota = limited(home, homes=homes_for(run))
        for _ in range(steps):
            run.fire()
        (home / "b" / "deep").rename(away)
        while run.jobs:
            run.fire()
    assert 9 <= quota.usage.files <= 12
    assert 2 <= quota.usage.size <= 3
