"""Parts that broken uploads left: which go, which stay, and who waits for it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import support
from conftest import LoggedErrors
from support import Conversation, result_of, start
from twisted.internet.task import Clock

from ftpsvc import sweeping
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.factory import ServerFactory
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import Facts
from ftpsvc.parts import apply_facts, open_part
from ftpsvc.reloading import Reloaded
from ftpsvc.service import KEEP_PARTS, SWEEP_EVERY, FileService

NOW = 1_700_000_000.0
YESTERDAY = NOW - 86_400


def part(folder: Path, name: str = ".ftpsvc-0123", written: float = YESTERDAY - 1) -> Path:
    path = folder / name
    path.write_bytes(b"left")
    os.utime(path, (written, written))
    return path


@pytest.fixture
def disk(tmp_path: Path) -> LocalDisk:
    return support.local_disk(tmp_path)


def test_old_parts_go_wherever_they_are_and_nothing_else_does(disk: LocalDisk, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    old = [part(tmp_path), part(deep), part(tmp_path / "a", ".ftpsvc-9")]
    kept = [part(deep, "file"), part(tmp_path, "ftpsvc-0"), part(tmp_path, ".ftpsvc")]
    young = part(tmp_path, ".ftpsvc-young", YESTERDAY)
    assert result_of(disk.sweep(YESTERDAY)) == 3
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*kept, young))
    young.unlink()


def test_a_part_that_an_upload_holds_stays_however_old_it_is(disk: LocalDisk, tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    descriptor, name, _ = open_part(directory, b"file", "")
    os.utime(descriptor, (0, 0))
    assert result_of(disk.sweep(YESTERDAY)) == 0
    os.close(descriptor)
    assert result_of(disk.sweep(YESTERDAY)) == 1
    assert os.fsdecode(name) not in os.listdir(tmp_path)
    os.close(directory)


def test_an_upload_that_begins_while_its_part_is_looked_at_takes_another_name(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    old, name, _ = open_part(directory, b"file", "")
    os.utime(old, (0, 0))
    os.close(old)
    begun = []

    def unlink(path: bytes, **where: int) -> None:
        begun.append(open_part(directory, b"file", ""))
        remove(path, **where)

    remove = os.unlink
    monkeypatch.setattr(sweeping.os, "unlink", unlink)
    assert result_of(disk.sweep(YESTERDAY)) == 1
    monkeypatch.undo()
    descriptor, other, _ = begun[0]
    assert other != name
    assert os.listdir(directory) == [os.fsdecode(other)]
    os.unlink(other, dir_fd=directory)
    os.close(descriptor)
    os.close(directory)


def test_links_are_not_followed(disk: LocalDisk, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    outside = tmp_path_factory.mktemp("outside")
    theirs = part(outside)
    (tmp_path / "folder").symlink_to(outside)
    (tmp_path / ".ftpsvc-link").symlink_to(theirs)
    assert result_of(disk.sweep(NOW)) == 0
    assert theirs.exists()
    (tmp_path / ".ftpsvc-link").unlink()


def test_a_folder_that_has_the_name_of_a_part_and_a_fifo_stay(disk: LocalDisk, tmp_path: Path) -> None:
    (tmp_path / ".ftpsvc-folder").mkdir()
    os.mkfifo(tmp_path / ".ftpsvc-fifo")
    assert result_of(disk.sweep(time.time() + 1)) == 0
    (tmp_path / ".ftpsvc-fifo").unlink()


def test_a_tree_of_a_thousand_levels_is_walked_without_recursion(disk: LocalDisk, tmp_path: Path) -> None:
    at = tmp_path
    for _ in range(1000):
        at = at / "d"
        at.mkdir()
    part(at)
    assert result_of(disk.sweep(YESTERDAY)) == 1
    while at != tmp_path:  # what cleans up behind the tests is recursive
        at.rmdir()
        at = at.parent


def test_the_walk_is_cut_into_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "STEP", 3)
    for name in range(10):
        part(tmp_path, f".ftpsvc-{name}")
    run = support.by_hand()
    sweep = start(support.local_disk(tmp_path, run).sweep(YESTERDAY))
    run.fire()
    assert not sweep.is_over
    assert 0 < len(support.parts_in(tmp_path)) < 10
    while not sweep.is_over:
        run.fire()
    assert sweep.result() == 10


def test_a_sweep_that_is_cancelled_waits_for_its_thread_and_gives_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "STEP", 1)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    run = support.by_hand()
    sweep = start(support.local_disk(tmp_path, run).sweep(YESTERDAY))
    run.fire()
    sweep.deferred.cancel()
    assert not sweep.is_over, "its thread still works with the folder"
    run.fire()
    assert sweep.is_over and not run.jobs


def test_a_part_that_can_not_be_removed_does_not_stop_the_sweep(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in range(3):
        part(tmp_path, f".ftpsvc-{name}")
    remove = os.unlink

    def unlink(path: bytes, **where: int) -> None:
        if path == b".ftpsvc-1":
            raise OSError(errno.EACCES, "no")
        remove(path, **where)

    monkeypatch.setattr(sweeping.os, "unlink", unlink)
    assert result_of(disk.sweep(YESTERDAY)) == 2
    monkeypatch.undo()
    support.take_part(tmp_path)


def test_uploads_go_on_after_their_part_was_swept(tmp_path: Path, disk: LocalDisk) -> None:
    talk = Conversation(disk).log_in()
    assert talk.codes(b"ALLO 5\r\nSTOR a\r\n", support.frames(b"123")) == [200, 150, 426]
    assert result_of(disk.sweep(time.time() + 1)) == 1
    assert talk.codes(b"REST 3\r\nSTOR a\r\n", support.frames(b"45")) == [350, 554]
    assert talk.codes(b"STOR a\r\n", support.frames(b"12345")) == [150, 226]


def test_facts_are_set_through_a_descriptor_that_may_do_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    descriptor = os.open(tmp_path / "a", os.O_PATH)
    apply_facts(descriptor, Facts(5_000_000_000, 0o200))
    os.close(descriptor)
    status = (tmp_path / "a").stat()
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (5_000_000_000, 0o200)


# -- the service


def serving(folder: Path, run: Any = support.at_once) -> tuple[FileService, Clock]:
    disk = LocalDisk(str(folder), run)
    clock = support.make_clock()
    factory = ServerFactory(AnonymousOnly(disk), clock, run)
    return FileService(disk, factory, [], [], lambda: Reloaded(True, [])), clock


def test_the_service_sweeps_at_its_start_and_every_day(tmp_path: Path) -> None:
    service, clock = serving(tmp_path)
    at_start, young = part(tmp_path), part(tmp_path, ".ftpsvc-young", time.time() - KEEP_PARTS + 3600)
    service.startService()
    assert not at_start.exists()
    later = part(tmp_path)
    clock.advance(SWEEP_EVERY - 1)
    assert later.exists()
    clock.advance(1)
    assert not later.exists() and young.exists()
    result_of(service.stopService())
    young.unlink()


def test_a_service_that_stops_waits_for_its_sweep(tmp_path: Path) -> None:
    run = support.by_hand()
    service, _ = serving(tmp_path, run)
    service.startService()
    stopping = start(service.stopService())
    assert not stopping.is_over, "the folder would be closed under the sweep"
    run.fire()
    stopping.result()


def test_a_sighup_ends_nobody_while_the_service_stops(tmp_path: Path, logged_errors: LoggedErrors) -> None:
    """As a reload or a log's rotation sends it, in the minutes that transfers may have to finish."""
    ended: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: ended.append(number))
    try:
        run = support.by_hand()
        service, clock = serving(tmp_path, run)
        clock.callFromThread = lambda action: clock.callLater(0, action)  # type: ignore[attr-defined]
        service.startService()
        stopping = start(service.stopService())
        signal.raise_signal(signal.SIGHUP)
        clock.advance(0)
        assert not ended and not stopping.is_over
        run.fire()
        stopping.result()
        signal.raise_signal(signal.SIGHUP)
        assert ended == [signal.SIGHUP], "whoever listened before does again"
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [event["line"] for event in logged_errors.events] == ["nothing was changed: the server is stopping"]
    logged_errors.events.clear()


def test_over_nfs_a_part_is_found_and_swept_too(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the lock is one of the server's, which takes a descriptor that may write (flock(2))."""
    lock = fcntl.flock

    def lock_over_nfs(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_over_nfs)
    (tmp_path / "d").mkdir()
    for path in ("/d/a", "/b"):
        file = result_of(disk.open_write(path))
        result_of(file.write(b"x" * 100_000))
        result_of(file.abort(keep=True))
        result_of(result_of(disk.open_part(path, 100_000)).close())
    result_of(disk.remove_dir("/d"))
    assert result_of(disk.sweep(time.time() + 1)) == 1


def test_a_part_with_the_mode_of_a_file_that_may_not_be_written_is_swept(disk: LocalDisk, tmp_path: Path) -> None:
    """As a server leaves it that is killed just before the rename."""
    before = os.geteuid()
    left = part(tmp_path)
    left.chmod(0o400)
    for path in (tmp_path, left):
        os.chown(path, before or 65534, -1)
    os.seteuid(before or 65534)  # root may write any
    try:
        assert result_of(disk.sweep(YESTERDAY)) == 1
    finally:
        os.seteuid(before)


def test_a_service_that_stops_in_the_middle_of_a_sweep_does_not_finish_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_errors: Any
) -> None:
    monkeypatch.setattr(sweeping, "STEP", 1)
    run = support.by_hand()
    for name in range(10):
        part(tmp_path, f".ftpsvc-{name}")
    service, _ = serving(tmp_path, run)
    service.startService()
    run.fire()
    stopping = start(service.stopService())
    run.fire()
    stopping.result()
    assert logged_errors.take() == []
    assert support.parts_in(tmp_path), "it went on to the end"
    for left in support.parts_in(tmp_path):
        left.unlink()
