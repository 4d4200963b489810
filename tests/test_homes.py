"""The storages behind the accounts: opened when they are asked for, each with parts of its own."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import support
from membership import Place, log, place, quick
from support import frames

from ftpsvc import model
from ftpsvc.accounts import WRONG
from ftpsvc.homes import Homes
from ftpsvc.localdisk import LocalDisk

__all__ = ["log", "place", "quick"]


def test_a_home_that_is_not_there_is_told_to_the_operator(place: Place, log: list[str], logged_errors: Any) -> None:
    place.account("alice", home='"/nowhere/at/all"')
    reply = place.login("alice")
    assert reply.startswith("530 This account's files can't be opened")
    assert "nowhere" not in reply
    assert any("the home /nowhere/at/all can't be opened: No such file" in line for line in log)
    logged_errors.events.clear()
    assert place.login("alice", "wrong") == f"530 {WRONG}"


def test_a_home_that_is_replaced_is_opened_again(place: Place) -> None:
    place.account("alice")
    (place.folder / "alice" / "old").touch()
    talk = place.talk()
    assert talk.codes(b"USER alice\r\nPASS secret\r\nTYPE I\r\nSIZE old\r\n") == [331, 230, 200, 213]
    (place.folder / "alice").rename(place.folder / "before")
    (place.folder / "alice").mkdir()
    (place.folder / "alice" / "new").touch()
    other = place.talk()
    assert other.codes(b"USER alice\r\nPASS secret\r\nTYPE I\r\nSIZE new\r\n") == [331, 230, 200, 213]
    assert talk.codes(b"SIZE old\r\n") == [213]


def test_the_sweep_goes_through_all_homes(place: Place) -> None:
    place.account("alice")
    place.account("bob")
    place.account("gone", home='"/nowhere"')
    place.login("alice")
    place.homes.known = place.doors().members.homes
    for name in ("alice", "bob"):
        part = place.folder / name / ".ftpsvc-part"
        part.touch()
        os.utime(part, (1, 1))
    before = len(os.listdir("/proc/self/fd"))
    assert support.result_of(place.homes.sweep(100.0)) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_shares_a_home_shares_no_parts(place: Place) -> None:
    for name in ("alice", "bob"):
        place.account(name, home=f'"{place.root}"')
    talk = place.talk()
    talk.send(b"USER alice\r\nPASS secret\r\nMODE I\r\nSTOR a\r\n", frames(b"x" * 500)[:-60])
    talk.link.lose()
    other = place.talk()
    other.send(b"USER bob\r\nPASS secret\r\nMODE I\r\nTYPE I\r\n")
    other.take()
    assert other.codes(b"REST 10\r\nSTOR a\r\n", frames(b"y")) == [350, 554]
    assert set(support.take_part(place.root)) == {ord("x")}


def test_a_home_that_can_not_be_swept_keeps_no_other_from_it(tmp_path: Path) -> None:
    """As an object storage that doesn't let the server see the uploads in parts."""

    class Closed:
        async def sweep(self, before: float, run: str = "") -> int:
            raise model.Denied("not allowed")

        def close(self) -> None: ...

    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".ftpsvc-0123").write_bytes(b"left")

    def open_disk(home: str, owner: str) -> Any:
        return Closed() if home.endswith("closed") else LocalDisk(home, support.at_once)

    homes = Homes(open_disk, support.at_once, lambda: 0.0)
    homes.known = lambda: [str(tmp_path / name) for name in ("closed", "open")]
    assert support.result_of(homes.sweep(math.inf)) == 1
    assert support.take_part(tmp_path / "closed") == b"left"
