"""What a server and a disk say of the parts of uploads that broke off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import support
from support import result_of

from ftpsvc import model
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
