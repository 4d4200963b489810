"""Known digests: good for the very same file only, and only once its times can be trusted."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftpsvc import digests
from ftpsvc.digests import KnownDigests


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    return path


def remember(known: KnownDigests, file: Path, digest: str) -> None:
    with open(file, "rb") as opened:
        known.remember(os.fstat(opened.fileno()), opened.fileno(), digest)


def settled(file: Path) -> KnownDigests:
    """With a clock that is long past the file's last change."""
    return KnownDigests(lambda: file.stat().st_ctime + 60)


def test_a_digest_is_known_until_the_file_changes(file: Path) -> None:
    known = settled(file)
    remember(known, file, "abc")
    assert known.look_up(file.stat()) == "abc"
    os.utime(file, (5, 5))
    assert known.look_up(file.stat()) is None


def test_another_file_under_the_name_is_another_file(file: Path, tmp_path: Path) -> None:
    known = settled(file)
    remember(known, file, "abc")
    times = file.stat()
    (tmp_path / "new").write_bytes(b"HELLO")
    os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(tmp_path / "new", file)
    assert known.look_up(file.stat()) is None


@pytest.mark.parametrize(
    ("changed", "after", "is_known"),
    [
        (1_000_000_123_456_789, digests.SETTLED_FINE * 2, True),
        (1_000_000_123_456_789, digests.SETTLED_FINE / 2, False),
        (1_000_000_000_000_000, digests.SETTLED_FINE * 2, False),  # a file system that knows no fractions
        (1_000_000_000_000_000, digests.SETTLED * 2, True),
    ],
)
def test_a_file_that_was_just_changed_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch, changed: int, after: float, is_known: bool
) -> None:
    times: Any = {"st_mtime": 0.0, "st_mtime_ns": 0, "st_ctime": changed / 1e9, "st_ctime_ns": changed}
    status: Any = SimpleNamespace(st_dev=1, st_ino=2, st_size=3, **times)
    monkeypatch.setattr(os, "fstat", lambda descriptor: status)
    known = KnownDigests(lambda: changed / 1e9 + after)
    known.remember(status, 0, "abc")
    assert known.look_up(status) == ("abc" if is_known else None)


def test_a_file_that_changed_while_it_was_read_is_not_remembered(file: Path) -> None:
    known = settled(file)
    before = file.stat()
    file.write_bytes(b"hello, world")
    with open(file, "rb") as opened:
        known.remember(before, opened.fileno(), "abc")
    assert known.look_up(before) is None
    assert known.look_up(file.stat()) is None


def test_only_the_latest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MAX_KNOWN", 2)
    files = [tmp_path / name for name in "abc"]
    for path in files:
        path.write_bytes(b"x")
    known = settled(files[-1])
    remember(known, files[0], "0")
    remember(known, files[1], "1")
    assert known.look_up(files[0].stat()) == "0"
    remember(known, files[2], "2")
    assert [known.look_up(path.stat()) for path in files] == ["0", None, "2"]
