"""What a mirror can't do, and what it does all the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import support
from twisted.internet.defer import CancelledError, Deferred
from twotrees import Two, content, disks, two, write

from ftpsvc import model

__all__ = ["disks", "two"]  # fixtures, which pytest finds by their names


def test_one_failure_does_not_stop_the_rest(two: Two) -> None:
    write(two.source / "a", b"1")
    write(two.source / "clash", b"2")
    write(two.source / "z" / "deep", b"3")
    write(two.target / "clash" / "in it")
    report = two.run()
    assert report.failed.first == [("clash", "there is a folder of that name, and without --delete it stays.")]
    assert (two.target / "a").read_bytes() == b"1" and (two.target / "z" / "deep").read_bytes() == b"3"


def test_a_folder_that_cannot_be_listed_fails_for_that_cause(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    write(two.source / "sub" / "a")

    listed = two.source_storage.list

    async def listing(path: str) -> Any:
        if path == "/sub":
            raise model.Denied(f"{path}: no.")
        async for entry in listed(path):
            yield entry

    monkeypatch.setattr(two.source_storage, "list", listing)
    report = two.run()
    assert report.failed.first == [("sub", "/sub: no.")]
    assert isinstance(report.failed.causes[0], model.Denied)


def test_a_folder_that_cannot_be_made_is_told_with_what_is_in_it(disks: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    write(disks.source / "sub" / "deep" / "a")
    write(disks.source / "b")

    async def refusing(path: str) -> None:
        raise model.Denied(f"{path}: no.")

    monkeypatch.setattr(disks.target_storage, "make_dir", refusing)
    report = disks.run()
    assert {path for path, _ in report.failed.first} == {"sub", "sub/deep", "sub/deep/a"}
    assert set(content(disks.target)) == {"b"}
    assert dict(report.failed.first)["sub"] == "/sub: no."


@pytest.mark.parametrize("end", [CancelledError(), model.ConnectionFailed("It was lost for good.")])
def test_what_is_broken_off_has_not_failed(disks: Two, monkeypatch: pytest.MonkeyPatch, end: Exception) -> None:
    write(disks.source / "sub" / "deep" / "a")
    making: Deferred[None] = Deferred()

    async def waiting(path: str) -> None:
        await making

    monkeypatch.setattr(disks.target_storage, "make_dir", waiting)
    mirror = disks.mirror()
    running = support.start(mirror.run())
    if isinstance(end, CancelledError):
        running.deferred.cancel()
    else:
        making.errback(end)
    with pytest.raises(type(end)):
        running.result()
    assert mirror.report.failed.first == []


def refusing(
    inner: Any, bad: str, kind: type[model.TransferError] = model.InvalidName, why: str = "the name is too long."
) -> Callable[..., Any]:
    """A method of a storage that can't bear one of the names."""

    async def method(path: str, *args: Any) -> Any:
        if path == bad:
            raise kind(f"{path}: {why}")
        return await inner(path, *args)

    return method


def test_a_name_that_cannot_even_be_looked_at_stops_no_removal(disks: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    write(disks.source / "clash", b"file")
    for name in ("a", "bad", "c", "clash"):
        (disks.target / name).mkdir()
    for method in ("remove", "remove_dir", "stat"):
        monkeypatch.setattr(disks.target_storage, method, refusing(getattr(disks.target_storage, method), "/bad"))
    report = disks.run(delete=True)
    assert content(disks.target) == {"bad": None, "clash": b"file"}
    assert (report.removed, report.failed.first) == (3, [("bad", "/bad: the name is too long.")])


def test_a_folder_whose_time_cannot_be_set_keeps_no_other_from_its_own(
    disks: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "bad", "c"):
        write(disks.source / name / "in it")
        os.utime(disks.source / name, (1_111_111_111, 1_111_111_111))
    failing = refusing(disks.target_storage.set_facts, "/bad", model.LocalFault, "Input/output error.")
    monkeypatch.setattr(disks.target_storage, "set_facts", failing)
    report = disks.run()
    assert [(disks.target / name).stat().st_mtime for name in ("a", "c")] == [1_111_111_111] * 2
    assert report.failed.first == [("bad", "/bad: Input/output error.")]
