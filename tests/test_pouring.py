"""A file poured into a pipe while the connection is lost: each byte once, or an error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import support
from support import Started, start

from ftpsvc import pouring
from ftpsvc.healing import HealingRemote
from ftpsvc.model import SECOND, Aborted, TransferError
from ftpsvc.pouring import pour

DATA = os.urandom(3_000_000)


class Pipe:
    """What comes out of a pipe, from a server whose connection breaks after so many bytes."""

    def __init__(self, folder: Path, after: int, without: tuple[str, ...] = ()) -> None:
        self.out = b""
        self.offsets: list[int] = []
        self.file = folder / "f"
        self.file.write_bytes(DATA)
        self.disk = support.local_disk(folder)
        self.without = without
        self.clock = support.make_clock()
        self.links: list[Any] = []
        self.left = after
        self.meanwhile: Any = lambda: None
        self.line = HealingRemote(self._connected(), self._redial, self.clock)

    def _connected(self) -> Any:
        remote, link = support.connected_remote(self.disk)
        support.result_of(remote._ask_features(), link)
        for feature in self.without:
            remote.features.pop(feature)
        self.links.append(link)
        return remote

    async def _redial(self) -> Any:
        self.meanwhile()
        return self._connected()

    def put(self, chunk: Any) -> None:
        self.out += chunk
        self.left -= len(chunk)
        if self.left <= 0 and len(self.links) == 1:
            self.links[0].lose()

    def pour(self, unit: int = 1) -> Started:
        """`unit`: to how many nanoseconds a listing has told the time."""
        self.links[0].pump()
        entry = support.result_of(self.line.stat("/f"), self.links[0])
        entry = entry._replace(modified=entry.modified // unit * unit)
        pouring = start(pour(self.line, "/f", entry, self.line, self.put))
        for _ in range(5):
            for link in self.links:
                link.pump()
            self.clock.advance(1)
        return pouring


@pytest.mark.parametrize("after", [1, 1_000_000, 1_500_000])
def test_each_byte_goes_out_once(tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pouring, "PIECE", 700_000)
    pipe = Pipe(tmp_path, after)
    pipe.pour().result()
    assert pipe.out == DATA and len(pipe.links) == 2


def test_another_file_is_not_gone_on_with(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path, 1_000_000)
    pipe.meanwhile = lambda: pipe.file.write_bytes(DATA[::-1])
    with pytest.raises(Aborted, match="was changed after"):
        pipe.pour().result()
    assert DATA.startswith(pipe.out)


def test_what_looks_the_same_and_is_not_is_found_out(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path, 1_000_000)

    def rewrite() -> None:
        when = pipe.file.stat().st_mtime_ns
        pipe.file.write_bytes(DATA[::-1])
        os.utime(pipe.file, ns=(when, when))

    pipe.meanwhile = rewrite
    with pytest.raises(TransferError, match="doesn't begin with the"):
        pipe.pour().result()
    assert DATA.startswith(pipe.out)


def test_without_digests_size_and_time_have_to_do(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path, 1_000_000, without=("HASH",))
    pipe.pour().result()
    assert pipe.out == DATA


@pytest.mark.parametrize("unit", [1, 3600 * SECOND])
def test_where_nobody_can_tell_it_ends(tmp_path: Path, unit: int) -> None:
    pipe = Pipe(tmp_path, 1_000_000, without=("HASH", "MLST"))
    with pytest.raises(Aborted, match="nothing by which one could know"):
        pipe.pour(unit).result()


def test_a_time_of_which_list_tells_the_hour_has_not_changed(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path, 1_000_000, without=("MLST",))
    pipe.pour(3600 * SECOND).result()
    assert pipe.out == DATA
