"""Files of this machine that are written to while they are sent: none is stored as a mixture of two."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from desk import Desk
from support import read_all, result_of
from test_streamclient import PASSIVE, Far
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twotrees import write

from ftpsvc import model
from ftpsvc.copying import copy
from ftpsvc.outcomes import outcome

DATA = os.urandom(300_000)


def append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"another line\n")


def overwrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"another beginning")
    os.utime(file, ns=(0, 2_000_000_000))  # the same tick of the clock might be the one in which it was made


def cut(file: Path) -> None:
    os.truncate(file, 10)


CHANGES = pytest.mark.parametrize("change", [append, overwrite, cut])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path).connected()


@CHANGES
@pytest.mark.parametrize("line", ["store log", "mirror -R . /", "mput log other"])
def test_a_file_that_is_changed_while_it_is_stored_is_not_stored(
    desk: Desk, line: str, change: Callable[[Path], None]
) -> None:
    write(desk.here / "log", DATA)
    write(desk.here / "other", b"x")
    write(desk.there / "log", b"old")
    desk.type("set limit-rate 100k")
    started = desk.start(line)
    desk.advance(10)
    change(desk.here / "log")
    desk.advance(40)
    assert started.result() is False
    assert (desk.there / "log").read_bytes() == b"old" and support.parts_in(desk.there) == []
    said = desk.said()
    assert "log was changed while it was read: " in said and "Try again when it rests, or send a copy of it." in said
    assert outcome(desk.shell.first_failure) == (12, "changed")
    assert line == "store log" or (desk.there / "other").read_bytes() == b"x"
    assert desk.journal.unfinished() == []


@CHANGES
@pytest.mark.parametrize("size", [0, 1, 5000, 64 * 1024])
def test_a_small_file_that_is_changed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: Callable[[Path], None]
) -> None:
    write(tmp_path / "log", DATA[:size])
    disk = support.local_disk(tmp_path, steady=True)

    def read_and_change(*args: Any) -> bytes:
        data = DATA[:size]
        change(tmp_path / "log")
        return data

    monkeypatch.setattr("ftpsvc.localdisk.read_at_once", read_and_change)
    with pytest.raises(model.Changed, match=r"^log was changed"):
        result_of(disk.fetch("/log"))


@CHANGES
def test_a_file_that_is_read_to_its_end_and_is_another_by_then_is_no_file(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    write(tmp_path / "log", DATA)
    file = result_of(support.local_disk(tmp_path, steady=True).open_read("/log"))
    assert result_of(file.read(1 << 20)) == DATA
    change(tmp_path / "log")
    with pytest.raises(model.Changed):
        result_of(read_all(file))


def test_a_file_that_is_replaced_or_removed_meanwhile_is_read_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "log", DATA)
    disk = support.local_disk(tmp_path, steady=True)
    for change in (lambda: (tmp_path / "new").rename(tmp_path / "log"), (tmp_path / "log").unlink):
        write(tmp_path / "new", DATA)
        file = result_of(disk.open_read("/log"))
        change()
        assert result_of(read_all(file)) == DATA


def test_a_server_sends_a_file_that_grows_as_long_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "log", DATA)
    file = result_of(support.local_disk(tmp_path).open_read("/log"))
    append(tmp_path / "log")
    assert result_of(read_all(file)) == DATA


def test_on_a_data_connection_it_ends_in_a_reset(tmp_path: Path) -> None:
    far = Far()
    write(tmp_path / "log", DATA)
    disk = support.local_disk(tmp_path, steady=True)
    work = support.start(copy(disk, "/log", far.remote, "/f", lambda _: append(tmp_path / "log")))
    far.say(PASSIVE)
    ends: list[Failure] = []
    far.data.connectionLost = ends.append  # type: ignore[method-assign,assignment]
    far.say(b"150 x\r\n")
    with pytest.raises(model.Changed):
        work.result()
    (end,) = ends
    assert not end.check(ConnectionDone)
    far.say(b"426 Broken off.\r\n")
