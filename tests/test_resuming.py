"""One file, gone on from what an earlier attempt has left: between disks, and over a client and a server in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import support
from support import result_of

from ftpsvc import model, resuming
from ftpsvc.mirroring import Mirror
from ftpsvc.model import ConnectionFailed, Entry
from ftpsvc.parts import known_part
from ftpsvc.remote import Remote
from ftpsvc.resuming import NOT_VERIFIED, NOTHING, STILL_THERE, Brought, Known, bring, is_same
from ftpsvc.steps import Rules, Side
from ftpsvc.storage import Times

DATA = os.urandom(300_000)


class Ends:
    """A source with a file, a target, and the way between them."""

    def __init__(self, folder: Path, way: str) -> None:
        self.source, self.target = folder / "source", folder / "target"
        self.source.mkdir()
        self.target.mkdir()
        self.path = self.source / "f"
        self.path.write_bytes(DATA)
        self.link: Any = None
        self.source_storage: Any = support.local_disk(self.source)
        self.target_storage: Any = support.local_disk(self.target)
        if way == "down":
            self.source_storage = self._connected(self.source_storage)
        elif way == "up":
            self.target_storage = self._connected(self.target_storage)

    def _connected(self, storage: Any) -> Remote:
        remote, self.link = support.connected_remote(storage)
        result_of(remote._ask_features(), self.link)
        return remote

    @property
    def part(self) -> Path:
        return self.target / os.fsdecode(known_part(b"f", ""))

    def bring(self, known: Known | None = None) -> Brought:
        entry = result_of(self.source_storage.stat("/f"), self.link)
        work = bring(self.source_storage, "/f", entry, self.target_storage, "/f", known=known)
        brought = result_of(work, self.link)
        assert isinstance(brought, Brought)
        return brought


@pytest.fixture(params=["disks", "down", "up"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Ends:
    return Ends(tmp_path, request.param)


def test_what_is_right_is_gone_on_from(ends: Ends) -> None:
    ends.part.write_bytes(DATA[:123_456])
    brought = ends.bring()
    assert (brought.resumed, brought.note, brought.stored.size) == (123_456, "", len(DATA))
    assert (ends.target / "f").read_bytes() == DATA
    assert (ends.target / "f").stat().st_mtime_ns == ends.path.stat().st_mtime_ns


def test_a_server_that_only_begins_at_the_beginning_is_asked_for_all_of_it(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends.part.write_bytes(DATA[:123_456])
    opened = ends.source_storage.open_read

    async def from_the_beginning(path: str, offset: int = 0) -> Any:
        if offset:
            raise model.BadCommand("500 No REST.")
        return await opened(path)

    monkeypatch.setattr(ends.source_storage, "open_read", from_the_beginning)
    brought = ends.bring()
    assert (brought.resumed, brought.note) == (0, "started over: 500 No REST")
    assert (ends.target / "f").read_bytes() == DATA


def test_what_is_wrong_is_not_gone_on_from_and_that_is_said(ends: Ends) -> None:
    ends.part.write_bytes(bytes(123_456))
    brought = ends.bring()
    assert (brought.resumed, brought.note) == (0, "started over: what was kept is not what the source has")
    assert (ends.target / "f").read_bytes() == DATA


def test_of_what_is_wrong_only_further_on_the_beginning_counts(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "PIECE", 50_000)
    ends.part.write_bytes(DATA[:120_000] + bytes([DATA[120_000] ^ 1]) + DATA[120_001:130_000])
    brought = ends.bring()
    assert brought.resumed == 100_000 and "from byte 100000" in brought.note
    assert (ends.target / "f").read_bytes() == DATA


def test_more_than_the_source_has_is_not_gone_on_from(ends: Ends) -> None:
    ends.part.write_bytes(DATA + b"more")
    brought = ends.bring()
    assert brought.resumed == 0 and brought.note.startswith("started over: 300.0 kB were kept")
    assert (ends.target / "f").read_bytes() == DATA


def test_all_of_it_may_be_there_already(ends: Ends) -> None:
    ends.part.write_bytes(DATA)
    assert ends.bring().resumed == len(DATA)
    assert (ends.target / "f").read_bytes() == DATA


def test_an_old_file_as_long_as_the_part_is_not_taken_for_it(ends: Ends) -> None:
    ends.part.write_bytes(DATA[:1000])
    (ends.target / "f").write_bytes(bytes(1000))
    assert ends.bring().resumed == 999
    assert (ends.target / "f").read_bytes() == DATA


def test_what_was_stored_without_anybody_hearing_of_it_is_not_sent_again(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = ends.bring()
    opened: list[str] = []
    monkeypatch.setattr(ends.source_storage, "open_read", lambda *words: opened.append("read"))
    monkeypatch.setattr(resuming, "_start", lambda *words: opened.append("start"))
    monkeypatch.setattr(resuming, "_agreeing", agreeing_whole)
    brought = ends.bring(Known(len(DATA), ends.path.stat().st_mtime_ns))
    assert (brought.resumed, brought.stored.size, opened) == (len(DATA), result.stored.size, [])


def test_an_old_file_that_is_the_same_already_leaves_no_part_beside_it(ends: Ends) -> None:
    ends.part.write_bytes(DATA[:123_456])
    (ends.target / "f").write_bytes(DATA)
    status = ends.path.stat()
    os.utime(ends.target / "f", ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert ends.bring(Known(len(DATA), status.st_mtime_ns)).resumed == 123_456
    assert [path.name for path in ends.target.iterdir()] == ["f"]


async def agreeing_whole(source: Any, path: str, target: Any, name: str, kept: int, is_part: bool) -> int:
    assert not is_part
    return kept


def test_with_nothing_kept_it_begins_at_the_beginning(ends: Ends) -> None:
    assert ends.bring() == Brought(model.Stored(len(DATA), support.digest_of(DATA)))


def test_a_source_that_changes_behind_the_comparison_does_not_become_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Ends(tmp_path, "down")
    ends.part.write_bytes(DATA[:100_000])
    opened = ends.source_storage.open_read

    async def changing(path: str, offset: int = 0) -> Any:
        ends.path.write_bytes(bytes(len(DATA)))
        os.utime(ends.path, (1, 1))
        return await opened(path, offset)

    monkeypatch.setattr(ends.source_storage, "open_read", changing)
    with pytest.raises(model.Changed):
        ends.bring()
    assert not (ends.target / "f").exists()


def test_a_part_is_kept_after_a_lost_connection_and_not_after_damage(tmp_path: Path) -> None:
    ends = Ends(tmp_path, "disks")

    class Breaking:
        facts = model.NO_FACTS
        entry = Entry("f", model.Kind.FILE, len(DATA))

        def __init__(self, error: Exception) -> None:
            self.error = error
            self.chunks = [DATA[:100_000]]

        async def read(self, size: int) -> bytes:
            if not self.chunks:
                raise self.error
            return self.chunks.pop()

        async def close(self) -> None:
            pass

    class Source:
        def __init__(self, error: Exception) -> None:
            self.error = error

        async def open_read(self, path: str, offset: int = 0) -> Breaking:
            return Breaking(self.error)

    for error, kept in ((ConnectionFailed("gone"), 1), (model.Damaged("wrong"), 0)):
        source: Any = Source(error)
        with pytest.raises(type(error)):
            result_of(bring(source, "/f", Breaking.entry, ends.target_storage, "/f"))
        assert len(support.parts_in(ends.target)) == kept
        for part in support.parts_in(ends.target):
            assert part.read_bytes() == DATA[:100_000]
            part.unlink()


# -- against servers that can't tell digests -----------------------------------------------------------------


@pytest.fixture
def mute(tmp_path: Path) -> Ends:
    """A server without HASH."""
    ends = Ends(tmp_path, "down")
    for feature in ("HASH", "RANG", "SITE PART"):
        ends.source_storage.features.pop(feature)
    return ends


def test_without_digests_the_journal_has_to_know_the_source(mute: Ends) -> None:
    mute.part.write_bytes(DATA[:100_000])
    known = Known(len(DATA), mute.path.stat().st_mtime_ns, NOTHING)
    brought = mute.bring(known)
    assert (brought.resumed, brought.note) == (100_000, NOT_VERIFIED)
    assert (mute.target / "f").read_bytes() == DATA


@pytest.mark.parametrize("known", [None, Known(len(DATA), 1, NOTHING), Known(1, 1, NOTHING)])
def test_without_digests_and_with_another_source_it_starts_over(mute: Ends, known: Known | None) -> None:
    mute.part.write_bytes(bytes(100_000))
    brought = mute.bring(known)
    assert brought.resumed == 0 and brought.note.startswith("started over: nobody can tell")
    assert (mute.target / "f").read_bytes() == DATA


def test_what_such_a_server_has_under_the_name_itself_is_gone_on_from_only_if_it_is_ours(tmp_path: Path) -> None:
    ends = Ends(tmp_path, "up")
    for feature in ("HASH", "RANG", "SITE PART"):
        ends.target_storage.features.pop(feature)
    (ends.target / "f").write_bytes(DATA[:100_000])
    brought = ends.bring(Known(len(DATA), ends.path.stat().st_mtime_ns, NOTHING))
    assert (brought.resumed, brought.note) == (100_000, NOT_VERIFIED)
    assert (ends.target / "f").read_bytes() == DATA
    (ends.target / "f").write_bytes(bytes(100_000))
    assert ends.bring().resumed == 0
    assert (ends.target / "f").read_bytes() == DATA


def test_without_digests_a_part_that_was_there_before_is_not_taken_for_ours(mute: Ends) -> None:
    mute.part.write_bytes(bytes(100_000))
    told: list[Known] = []
    entry = result_of(mute.source_storage.stat("/f"), mute.link)
    work = bring(mute.source_storage, "/f", entry, mute.target_storage, "/f", begun=told.append)
    result_of(work, mute.link)
    assert told == [Known(entry.size, entry.modified, 100_000)]
    mute.part.write_bytes(bytes(100_000))  # as it is where the client ended before the first bytes reached the disk
    brought = mute.bring(told[0])
    assert (brought.resumed, brought.note) == (0, STILL_THERE)
    assert (mute.target / "f").read_bytes() == DATA


def test_files_are_not_said_to_be_the_same_by_a_server_without_digests(mute: Ends) -> None:
    with pytest.raises(model.NotImplementedHere):
        result_of(is_same(mute.source_storage, "/f", mute.target_storage, "/f", 1), mute.link)


def test_the_algorithm_is_one_that_both_have(tmp_path: Path) -> None:
    ends = Ends(tmp_path, "down")
    ends.source_storage.features["HASH"] = "SHA-256*;MD5;CRC32"
    assert ends.source_storage.algorithms[:1] == ("CRC32",)
    assert resuming.common_algorithm(ends.source_storage, ends.target_storage) == "MD5"
    ends.part.write_bytes(DATA[:5])
    assert ends.bring().resumed == 5
    ends.source_storage.features["HASH"] = "CRC32*"
    assert resuming.common_algorithm(ends.source_storage, ends.target_storage) is None


class _Remembering:
    """A memory, as the journal is one."""

    def __init__(self) -> None:
        self.begun: dict[str, Known] = {}

    def known(self, path: str) -> Known | None:
        return self.begun.get(path)

    def began(self, path: str, source: Known) -> None:
        self.begun[path] = source


def test_an_old_file_is_not_taken_for_ours_where_nothing_of_ours_has_come_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Ends(tmp_path, "up")
    for feature in ("HASH", "RANG", "SITE PART"):
        ends.target_storage.features.pop(feature)
    old = bytes(100_000)
    (ends.target / "f").write_bytes(old)
    memory = _Remembering()

    async def broken(path: str, offset: int = 0) -> Any:
        raise ConnectionFailed("gone before STOR was sent")

    with monkeypatch.context() as patch:
        patch.setattr(ends.target_storage, "open_write", broken)
        mirror = Mirror(Side(ends.source_storage, "/"), Side(ends.target_storage, "/"), Rules(), memory=memory)
        with pytest.raises(ConnectionFailed):
            result_of(mirror.run(), ends.link)
    assert (ends.target / "f").read_bytes() == old
    mirror = Mirror(Side(ends.source_storage, "/"), Side(ends.target_storage, "/"), Rules(), memory=memory)
    report = result_of(mirror.run(), ends.link)
    assert (report.replaced, report.resumed) == (1, 0)
    assert (ends.target / "f").read_bytes() == DATA
    assert memory.begun["f"].size == len(DATA)


def test_a_source_whose_time_nobody_tells_is_not_known_again(mute: Ends) -> None:
    mute.part.write_bytes(bytes(100_000))
    entry = Entry("f", model.Kind.FILE, len(DATA))
    known = Known(len(DATA), 0, NOTHING)
    brought = result_of(bring(mute.source_storage, "/f", entry, mute.target_storage, "/f", known=known), mute.link)
    assert brought.resumed == 0
    assert (mute.target / "f").read_bytes() == DATA


class OfTheDay:
    """A source that lists no more than the day, and can't tell digests. Its MDTM is exact."""

    times = Times(are_exact=False)
    algorithms = ()

    def __init__(self, storage: Any) -> None:
        self.stat, self.open_read = storage.stat, storage.open_read

    async def digest(self, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
        raise AssertionError

    async def kept(self, path: str) -> int:
        raise AssertionError


def test_a_file_whose_day_alone_is_listed_is_known_again_by_its_second(tmp_path: Path) -> None:
    ends = Ends(tmp_path, "disks")
    source: Any = OfTheDay(ends.source_storage)
    noon, day = 1_500_000_000 * model.SECOND, 86_400 * model.SECOND
    os.utime(ends.path, ns=(noon, noon))
    listed = Entry("f", model.Kind.FILE, len(DATA), noon // day * day)
    told: list[Known] = []

    def bring_listed(known: Known | None) -> Brought:
        work = bring(source, "/f", listed, ends.target_storage, "/f", known=known, begun=told.append)
        return result_of(work)  # type: ignore[no-any-return]

    bring_listed(None)
    assert told == [Known(len(DATA), noon, NOTHING)]
    ends.part.write_bytes(DATA[:100_000])
    brought = bring_listed(told[0])
    assert (brought.resumed, brought.note) == (100_000, NOT_VERIFIED)
    assert (ends.target / "f").read_bytes() == DATA

    ends.part.write_bytes(DATA[:100_000])
    ends.path.write_bytes(DATA[::-1])
    os.utime(ends.path, ns=(noon + model.SECOND, noon + model.SECOND))  # another file, of the same day
    brought = bring_listed(told[0])
    assert brought.resumed == 0 and brought.note.startswith("started over: nobody can tell")
    assert (ends.target / "f").read_bytes() == DATA[::-1]
