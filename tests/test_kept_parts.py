"""What a server and a disk say of the parts of uploads that broke off."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import support
from support import result_of

from ftpsvc import model
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import Account, Permission
from ftpsvc.parts import known_part


def test_a_part_is_told_with_the_digest_of_a_range(tmp_path: Path) -> None:
    talk = support.Conversation(support.local_disk(tmp_path)).log_in()
    assert talk.codes(b"SITE PART a b\r\n") == [550]
    part = tmp_path / os.fsdecode(known_part(b"a b", ""))
    part.write_bytes(b"hello\n")
    talk.ask(b"OPTS HASH XXH3-128\r\n")
    assert talk.ask(b"SITE PART a b\r\n") == ["213 6 XXH3-128 0-5 6bba86c7e069f56d5a10b435f1c8e49c a b"]
    answer = str(talk.ask(b"RANG 0 0\r\nSITE PART a b\r\n")[-1])
    assert answer == f"213 6 XXH3-128 0-0 {support.digest_of(b'h')} a b"
    assert talk.codes(b"RANG 9 10\r\nSITE PART a b\r\n") == [350, 213]
    part.unlink()


@pytest.mark.parametrize(("name", "code"), [("anonymous", 550), ("ann", 213)])
def test_a_guest_who_may_only_drop_does_not_learn_what_another_has_sent(tmp_path: Path, name: str, code: int) -> None:
    account = Account(name, Permission.WRITE)
    talk = support.Conversation(None, accounts=support.OneAccount(account, support.local_disk(tmp_path)))
    talk.log_in(user=name)
    part = tmp_path / os.fsdecode(known_part(b"letter", ""))
    part.write_bytes(b"hello\n")
    assert talk.codes(b"RANG 0 0\r\nSITE PART letter\r\n") == [350, code]
    part.unlink()


def test_a_part_that_is_being_written_is_nobody_elses(tmp_path: Path) -> None:
    disk = support.local_disk(tmp_path)
    writing = result_of(disk.open_write("/f"))
    result_of(writing.write(bytes(100_000)))
    with pytest.raises(model.NotFound):
        result_of(disk.open_part("/f"))
    result_of(writing.abort(keep=True))
    part = result_of(disk.open_part("/f", 99_999))
    assert part.entry.size == 100_000
    assert len(result_of(support.read_all(part))) == 1
    with pytest.raises(model.BadOffset):
        result_of(disk.open_part("/f", 100_001))
    support.take_part(tmp_path)


def test_a_part_that_somebody_only_looks_at_is_there_for_others_who_look(tmp_path: Path) -> None:
    disk = support.local_disk(tmp_path)
    writing = result_of(disk.open_write("/f"))
    result_of(writing.write(bytes(100_000)))
    result_of(writing.abort(keep=True))
    looked_at: list[str] = []

    def look_too(descriptor: int, how: int) -> None:
        """Another worker looks at it too, in the moment in which this one does."""
        flock(descriptor, how)
        if not looked_at:
            looked_at.append("f")
            result_of(result_of(other.open_part("/f")).close())

    flock, other = fcntl.flock, support.local_disk(tmp_path)
    with mock.patch.object(fcntl, "flock", look_too):
        result_of(result_of(disk.open_part("/f")).close())
    assert looked_at
    support.take_part(tmp_path)


@pytest.mark.parametrize("told", [b"", b"SIZE f\r\n"])
@pytest.mark.parametrize("sent", [10_000, 300_000], ids=["less than the old file", "more"])
def test_an_old_file_is_not_taken_for_the_beginning_of_the_upload_that_broke_off(
    tmp_path: Path, told: bytes, sent: int
) -> None:
    """lftp goes on by itself from the size that it is told, which at most servers is that of what has come."""
    new, old = b"new" * 200_000, b"old" * 50_000
    (tmp_path / "f").write_bytes(old)
    disk = support.local_disk(tmp_path)
    leave(disk, new[:sent])
    talk = support.Conversation(disk).log_in()
    rest = b"REST %d\r\nSTOR f\r\n" % len(old)
    assert talk.codes(b"TYPE I\r\n" + told + rest, support.frames(new[len(old) :]))[-2:] == [350, 554]
    assert (tmp_path / "f").read_bytes() == old
    leave(disk, (old + new)[:sent])  # what broke off began as the file does: then it is the same wherever one goes on
    assert talk.codes(told + rest, support.frames(b"more"))[-1] == 226
    assert (tmp_path / "f").read_bytes() == old + b"more"


def test_nor_while_it_is_not_known_yet_that_the_upload_has_broken_off(tmp_path: Path) -> None:
    """The client has gone from one network to another: nothing ends the connection that it had."""
    old = b"old" * 50_000
    (tmp_path / "f").write_bytes(old)
    disk = support.local_disk(tmp_path)
    begun = result_of(disk.open_write("/f"))
    result_of(begun.write(b"new" * 50_000))
    talk = support.Conversation(disk).log_in()
    rest = b"SIZE f\r\nREST %d\r\nSTOR f\r\n" % len(old)
    assert talk.codes(b"TYPE I\r\n" + rest, support.frames(b"new"))[-1] == 554
    result_of(begun.abort())
    assert talk.codes(rest, support.frames(b"more"))[-1] == 226
    assert (tmp_path / "f").read_bytes() == old + b"more"


def leave(disk: LocalDisk, data: bytes) -> None:
    """Have an upload break off when so much has come."""

    async def broken_off() -> None:
        file = await disk.open_write("/f")
        await file.write(data)
        await file.abort(keep=True)

    result_of(broken_off())


@pytest.mark.parametrize("told", [b"", b"SIZE f\r\n"])
@pytest.mark.parametrize("error", [0, errno.EACCES])
def test_what_bears_a_parts_name_and_is_none_keeps_nobody_from_going_on(
    tmp_path: Path, told: bytes, error: int
) -> None:
    (tmp_path / "f").write_bytes(b"x" * 10)
    part = tmp_path / os.fsdecode(known_part(b"f", ""))
    if error:
        part.write_bytes(b"that of the user whom the server had before")
    else:
        part.mkdir()

    def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if error and path == os.fsencode(part.name):
            raise OSError(error, os.strerror(error))
        return open_(path, flags, *rest, **more)

    open_ = os.open
    talk = support.Conversation(support.local_disk(tmp_path)).log_in()
    talk.send(b"TYPE I\r\n")
    with mock.patch.object(os, "open", opened):
        assert talk.codes(told + b"REST 10\r\nSTOR f\r\n", support.frames(b"y" * 5))[-2:] == [150, 226]
        assert talk.codes(b"SITE PART f\r\n") == [550]
    assert (tmp_path / "f").read_bytes() == b"x" * 10 + b"y" * 5
    shutil.rmtree(part, ignore_errors=True)
    part.unlink(missing_ok=True)
