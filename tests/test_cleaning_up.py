"""What is left open when things go wrong twice, or while a file is opened or closed.

Mostly an error ends a transfer, and the session is lost before all is tidy.

The jobs of these tests wait in a queue as those of a disk that has enough to do (`threads.few_at_once`).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest
import support
from support import ByHand, Conversation, result_of, start

from ftpsvc import diskfiles, locks, model, writing
from ftpsvc.model import PART_PREFIX
from ftpsvc.threads import few_at_once

BIG = bytes(range(256)) * 1024


@pytest.fixture
def jobs() -> ByHand:
    return support.by_hand()


@pytest.fixture
def talk(tmp_path: Path, jobs: ByHand, monkeypatch: pytest.MonkeyPatch) -> Conversation:
    """With somebody whose uploads all wait for a thread."""
    monkeypatch.setattr(writing, "AT_ONCE", 0)
    (tmp_path / "file").write_bytes(b"before")
    return Conversation(support.local_disk(tmp_path, few_at_once(jobs, 1)), cut=lambda: 1 << 20).log_in()


def opened_below(folder: Path) -> list[str]:
    """What this process has open there."""
    paths = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return [path for path in paths if path.startswith(f"{folder}/")]


@pytest.mark.parametrize("command", [b"APPE file", b"STOR file"])
def test_an_upload_that_fails_is_undone_even_if_the_connection_is_lost_meanwhile(
    talk: Conversation, jobs: ByHand, tmp_path: Path, command: bytes
) -> None:
    talk.send(command, b"\r\nDATA %d\r\n" % len(BIG), BIG, b"FAIL enough\r\n")
    assert jobs.jobs, "the end has come while a thread still writes"
    talk.link.lose()
    while jobs.jobs:
        jobs.fire()
    assert (tmp_path / "file").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["file"]
    assert not opened_below(tmp_path), "what is open is locked, too"


def test_a_session_is_over_when_its_last_upload_is_undone(talk: Conversation, jobs: ByHand) -> None:
    talk.send(b"APPE file\r\nDATA %d\r\n" % len(BIG), BIG, b"FAIL enough\r\n")
    talk.link.lose()
    over = start(talk.server.over())
    assert not over.is_over
    while jobs.jobs:
        jobs.fire()
    assert over.is_over


def test_a_file_is_closed_behind_the_thread_that_reads_it(
    tmp_path: Path, jobs: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diskfiles, "READ_AT_ONCE", 0)
    (tmp_path / "file").write_bytes(BIG)
    file = result_of(support.local_disk(tmp_path, few_at_once(jobs, 1)).open_read("/file"))
    reading = start(file.read(len(BIG)))
    reading.deferred.cancel()
    closing = start(file.close())
    assert opened_below(tmp_path), "the thread would read from whatever has the descriptor's number by then"
    closing.deferred.cancel()
    jobs.fire()
    assert not opened_below(tmp_path)


def test_a_folder_is_closed_behind_the_thread_that_lists_it(tmp_path: Path, jobs: ByHand) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    listing = start(support.collected(support.local_disk(tmp_path, few_at_once(jobs, 1)).list("/folder")))
    listing.deferred.cancel()
    listing.deferred.cancel()
    assert opened_below(tmp_path)
    jobs.fire()
    assert not opened_below(tmp_path)


def test_a_folder_is_removed_from_its_own_parent_even_if_nobody_waits_any_more(tmp_path: Path, jobs: ByHand) -> None:
    for parent in ("mine", "yours"):
        (tmp_path / parent / "folder").mkdir(parents=True)
        (tmp_path / parent / "folder" / f"{PART_PREFIX}x").touch()
    removing = start(support.local_disk(tmp_path, few_at_once(jobs, 1)).remove_dir("/mine/folder"))
    removing.deferred.cancel()
    others = [os.open(tmp_path / "yours", os.O_RDONLY) for _ in range(8)]  # one of them has the number by then
    jobs.fire()
    assert [path.name for path in (tmp_path / "yours").iterdir()] == ["folder"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == []
    for other in others:
        os.close(other)
    support.take_part(tmp_path)


def test_a_folder_that_is_made_is_synced_itself_even_if_nobody_waits_any_more(
    tmp_path: Path, jobs: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    making = start(support.local_disk(tmp_path, few_at_once(jobs, 1)).make_dir("/folder"))
    making.deferred.cancel()
    others = [os.open("/", os.O_RDONLY) for _ in range(8)]  # one of them has the number by then
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    jobs.fire()
    assert synced == [str(tmp_path)]
    for other in others:
        os.close(other)


@pytest.mark.parametrize("call", ["flock", "fstat"])
def test_a_file_that_can_not_be_added_to_is_closed_and_not_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    disk = support.local_disk(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(locks.fcntl if call == "flock" else os, call, fail)
        with pytest.raises(model.LocalFault):
            result_of(disk.open_append("/file"))
    assert not opened_below(tmp_path)
    result_of(result_of(disk.open_append("/file")).abort())


def test_a_part_that_can_not_be_looked_at_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = result_of(support.local_disk(tmp_path).open_write("/file"))
    with monkeypatch.context() as broken:
        broken.setattr(os, "fstat", fail)
        with pytest.raises(model.TransferError):
            result_of(file.write(BIG))
    result_of(file.abort())
    assert not opened_below(tmp_path)
    for part in support.parts_in(tmp_path):
        part.unlink()


@pytest.mark.parametrize("adds", [False, True], ids=["STOR", "APPE"])
def test_an_error_in_closing_is_told_and_nothing_is_closed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adds: bool
) -> None:
    (tmp_path / "file").write_bytes(b"before")
    disk = support.local_disk(tmp_path, sync=False)
    file = result_of(disk.open_append("/file") if adds else disk.open_write("/file"))
    result_of(file.write(BIG))
    really_close, closed = os.close, []

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        really_close(descriptor)
        if len(closed) == 1:
            fail()

    with monkeypatch.context() as broken:
        broken.setattr(os, "close", close)
        with pytest.raises(model.LocalFault, match="file: Input/output error"):
            result_of(file.commit())
        result_of(file.abort())
    assert len(closed) == len(set(closed)) == 2
    assert not opened_below(tmp_path)


def fail(*_: object) -> NoReturn:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
