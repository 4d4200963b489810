"""One tree made like another: what is copied and replaced, and what of names, links and special files."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import support
from twisted.internet.defer import CancelledError, Deferred
from twotrees import BIG, Two, content, disks, two, write

from ftpsvc import model, trees
from ftpsvc.filters import Rule
from ftpsvc.model import NO_FACTS, Entry, Facts, Kind, TransferError, Whole
from ftpsvc.rolls import MAX_PLAIN, Shelf
from ftpsvc.steps import Rules, Side
from ftpsvc.storage import Times
from ftpsvc.trees import Comparison

__all__ = ["disks", "two"]  # fixtures, which pytest finds by their names

# -- the same at both ends, in both directions ---------------------------------------------------------------


def test_a_tree_is_copied_with_times_and_modes_and_a_second_time_nothing_is_done(two: Two) -> None:
    write(two.source / "a" / "b" / "small", b"1", 1_234_567_890, 0o604)
    write(two.source / "big", BIG)
    (two.source / "empty").mkdir(mode=0o711)
    os.utime(two.source / "a" / "b", (1_111_111_111, 1_111_111_111))
    report = two.run()
    assert content(two.target) == content(two.source)
    status = (two.target / "a" / "b" / "small").stat()
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_234_567_890_000_000_000, 0o604)
    assert (two.target / "a" / "b").stat().st_mtime == 1_111_111_111
    assert (two.target / "empty").stat().st_mode & 0o777 == 0o711
    assert (report.copied, report.made, report.bytes, report.failed.count) == (2, 3, 150_001, 0)
    assert two.plan == "plan: 2 files to copy, 3 folders to make; 150.0 kB"
    again = two.run()
    assert (again.copied, again.replaced, again.made, again.same) == (0, 0, 0, 2)
    assert two.plan == "plan: nothing to do"


class Timeless:
    """A storage that tells times and modes in its listings only, as a server without MLST and MDTM does."""

    times = Times(with_modes=False)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def facts(self) -> Facts:
        return NO_FACTS

    async def fetch(self, path: str) -> Whole:
        return Whole((await self._inner.fetch(path)).data)

    async def open_read(self, path: str, offset: int = 0) -> Any:
        return Timeless(await self._inner.open_read(path, offset))


def test_the_times_and_modes_of_a_listing_are_kept_where_nothing_else_tells_them(disks: Two) -> None:
    write(disks.source / "small", b"1", 1_234_567_890, 0o600)
    write(disks.source / "large", BIG * 10, 1_234_567_890, 0o600)
    disks.source_storage = Timeless(disks.source_storage)
    assert disks.run().copied == 2
    assert {path.stat().st_mtime for path in disks.target.iterdir()} == {1_234_567_890}
    assert {path.stat().st_mode & 0o777 for path in disks.target.iterdir()} == {0o600}
    again = disks.run()
    assert (again.copied, again.replaced, again.touched) == (0, 0, 0)


def test_what_differs_in_size_or_time_is_replaced(two: Two) -> None:
    for name in ("size", "time", "same"):
        write(two.source / name, b"new")
        write(two.target / name, b"old")
    write(two.target / "size", b"older")
    write(two.target / "time", b"old", 999_999_999)
    report = two.run()
    assert report.replaced == 2 and report.same == 1
    assert content(two.target) == {"size": b"new", "time": b"new", "same": b"old"}


def test_by_digest_what_differs_is_replaced_whatever_its_time(two: Two) -> None:
    write(two.source / "changed", b"new" + BIG)
    write(two.target / "changed", b"old" + BIG)
    write(two.source / "same", BIG, 1_000_000_000)
    write(two.target / "same", BIG, 2_000_000_000)
    assert two.dry_run(by_digest=True) == ["replace changed (150.0 kB): digest"]
    report = two.run(by_digest=True)
    assert (report.replaced, report.same) == (1, 1)
    assert content(two.target) == content(two.source)


def test_what_is_newer_at_the_target_stays_if_only_newer_is_asked_for(two: Two) -> None:
    write(two.source / "old", b"a", 1_000_000_000)
    write(two.target / "old", b"bb", 1_000_000_001)
    write(two.source / "new", b"a", 1_000_000_002)
    write(two.target / "new", b"bb", 1_000_000_001)
    two.run(only_newer=True)
    assert content(two.target) == {"old": b"bb", "new": b"a"}


def test_without_delete_nothing_is_removed_and_with_it_all_that_is_too_much(two: Two) -> None:
    for name in ("1", "2", "3", "4", "5"):
        write(two.source / name)
    write(two.target / "extra" / "deep" / "file")
    write(two.target / "one more")
    two.run()
    assert (two.target / "one more").exists()
    report = two.run(delete=True)
    assert report.removed == 4 and not report.failed.count
    assert content(two.target) == content(two.source)
    assert two.asked == []


def test_a_file_takes_the_place_of_a_folder_and_a_folder_that_of_a_file_if_it_may_be_removed(two: Two) -> None:
    write(two.source / "was folder", b"1")
    write(two.source / "was file" / "deep" / "a", b"2")
    write(two.target / "was folder" / "deep" / "b")
    write(two.target / "was file")
    report = two.run(delete=True)
    assert content(two.target) == content(two.source)
    assert report.failed.count == 0
    assert two.run(delete=True).copied == 0


def test_a_target_that_is_not_there_is_made(two: Two) -> None:
    write(two.source / "sub" / "a", b"1")
    report = two.run(top="/sub")
    assert content(two.target) == {"sub": None, "sub/a": b"1"} and report.made == 1
    assert two.plan == "plan: 1 file to copy, 1 folder to make; 1 B"


@pytest.mark.parametrize("does", ["run", "dry_run"])
def test_a_target_in_what_is_no_folder_is_refused(two: Two, does: str) -> None:
    (two.source / "no" / "sub").mkdir(parents=True)
    for above in ({}, {"no": b"file"}):
        for path, data in above.items():
            write(two.target / path, data)
        with pytest.raises(TransferError):
            getattr(two, does)(top="/no/sub")
        assert content(two.target) == above


def test_a_target_that_is_made_is_as_private_as_its_source(two: Two) -> None:
    write(two.source / "sub" / "a", b"1")
    (two.source / "sub").chmod(0o700)
    os.utime(two.source / "sub", (1_111_111_111, 1_111_111_111))
    two.run(top="/sub")
    status = (two.target / "sub").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o700, 1_111_111_111)


def test_a_mode_that_differs_stands_in_the_plan(two: Two) -> None:
    write(two.source / "a", b"1", mode=0o600)
    write(two.target / "a", b"1", mode=0o644)
    assert two.dry_run() == ["set mode of a"]
    assert two.run().touched == 1
    assert two.plan == "plan: 1 mode to set; 0 B"


def test_a_source_that_is_not_there_or_no_folder_ends_it_and_nothing_is_removed(two: Two) -> None:
    write(two.target / "sub" / "a")
    with pytest.raises(model.Unavailable):
        two.run(top="/sub", delete=True)
    write(two.source / "sub")
    with pytest.raises(model.NotADirectory):
        two.run(top="/sub", delete=True)
    assert (two.target / "sub" / "a").exists()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(two: Two) -> None:
    write(two.source / "new folder" / "a", b"12345")
    write(two.source / "b", b"1")
    write(two.target / "b", b"22")
    write(two.target / "gone" / "c")
    before = content(two.target)
    assert two.dry_run(delete=True) == [
        "copy new\\ folder/a (5 B)",
        "make new\\ folder/",
        "remove folder gone/",
        "remove gone/c",
        "replace b (1 B): size",
    ]
    assert content(two.target) == before


# -- names, links, special files -----------------------------------------------------------------------------


def test_links_are_followed_or_left_out_as_is_asked_for(disks: Two) -> None:
    write(disks.source / "real" / "a", b"1")
    (disks.source / "to file").symlink_to("real/a")
    (disks.source / "to folder").symlink_to("real")
    (disks.source / "broken").symlink_to("nowhere")
    report = disks.run(follow_links=False)
    assert set(content(disks.target)) == {"real", "real/a"} and report.skipped.count == 3
    report = disks.run()
    assert (disks.target / "to folder" / "a").read_bytes() == (disks.target / "to file").read_bytes() == b"1"
    assert report.skipped.first == [("broken", "a link that leads nowhere, or out of the root")]


@pytest.mark.parametrize("plain", [MAX_PLAIN, 0])
def test_links_that_lead_round_in_a_circle_come_to_an_end(
    two: Two, monkeypatch: pytest.MonkeyPatch, plain: int
) -> None:
    monkeypatch.setattr(trees, "Shelf", lambda: Shelf(plain))
    write(two.source / "sub" / "a")
    (two.source / "sub" / "up").symlink_to("..")
    report = two.run()
    assert report.skipped.first == [("sub/up", "a link that leads back to a folder that it is in")]
    assert set(content(two.target)) == {"sub", "sub/a"}


def test_what_is_no_file_is_left_out(disks: Two) -> None:
    os.mkfifo(disks.source / "fifo")
    report = disks.run()
    assert report.skipped.first == [("fifo", "neither a file nor a folder")]


@pytest.mark.parametrize("name", [".ftpsvc-x", "a\nb", "x" * 256, "..", "a/b"])
def test_names_that_cannot_be_held_are_told_and_never_changed(
    disks: Two, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def listing(path: str) -> Any:
        yield model.Entry(name, Kind.FILE, 1)
        yield model.Entry("good", Kind.FILE, 1)

    write(disks.source / "good")
    monkeypatch.setattr(disks.source_storage, "list", listing)
    report = disks.run()
    assert [path for path, _ in report.failed.first] == [name]
    assert isinstance(report.failed.causes[0], model.InvalidName)
    assert set(content(disks.target)) == {"good"}


def test_a_folder_that_is_left_out_does_not_make_room_for_a_file_of_its_name(two: Two) -> None:
    write(two.source / "x", b"file")
    write(two.target / "x/precious")
    report = two.run(delete=True, filter=[Rule(False, "x/")])
    assert content(two.target) == {"x": None, "x/precious": b"x"}
    assert (report.failed.count, report.removed) == (1, 0)


def test_a_folder_that_something_stays_in_is_neither_planned_to_go_nor_exchanged(two: Two) -> None:
    write(two.source / "clash", b"file")
    for folder in ("clash", "extra"):
        write(two.target / folder / "a")
        write(two.target / folder / "a.keep")
    rules = [Rule(False, "*.keep")]
    why = "there is a folder of that name, and something in it stays."
    assert two.dry_run(delete=True, filter=rules) == [f"fail clash: {why}", "remove clash/a", "remove extra/a"]
    report = two.run(delete=True, filter=rules)
    assert (report.removed, report.failed.first) == (2, [("clash", why)])
    assert two.plan == "plan: 2 names to remove; 0 B"


class Refusing:
    """A source of which nothing can be listed."""

    async def list(self, path: str) -> AsyncIterator[Entry]:
        raise model.Denied("Not for you.")
        yield


class Silent:
    """A target that never answers."""

    async def list(self, path: str) -> AsyncIterator[Entry]:
        await Deferred()
        yield


def test_a_comparison_that_is_stopped_is_over_though_one_side_has_said_no_already() -> None:
    storages: tuple[Any, Any] = Refusing(), Silent()
    source, target = (Side(storage, "/") for storage in storages)
    comparing = support.start(support.collected(Comparison(source, target, Rules()).steps()))
    comparing.deferred.cancel()
    with pytest.raises(CancelledError):
        comparing.result()
