"""What a quota counts of uploads that broke off, and of clients that left."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
import support
from support import Conversation, frames, result_of
from test_quota import homes_for, limited, talking, used

from ftpsvc.homes import Homes
from ftpsvc.model import Account, Entry


def test_a_part_that_is_kept_counts_until_it_is_gone_on_from(tmp_path: Path) -> None:
    homes = homes_for()
    lost = talking(tmp_path, homes)
    lost.send(b"STOR a\r\n", frames(b"x" * 800)[:-40])
    lost.link.lose()
    talk = talking(tmp_path, homes)
    assert talk.codes(b"STOR b\r\n", frames(b"y" * 202)) == [150, 552]
    came = support.parts_in(tmp_path)[0].stat().st_size
    assert talk.codes(b"REST %d\r\nSTOR a\r\n" % came, frames(b"z" * (1000 - came))) == [350, 150, 226]
    assert used(tmp_path) == (1000, 1)
    assert talk.ask(b"AVBL\r\n") == ["213 0"]


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("old", [b"", b"old"])
def test_what_is_kept_of_a_file_is_room_for_it_when_its_size_is_announced(
    tmp_path: Path, goes_on: bool, old: bytes
) -> None:
    if old:
        (tmp_path / "a").write_bytes(old)
    homes = homes_for()
    begun_and_lost(talking(tmp_path, homes), b"STOR a", frames(b"x" * 800)[:-40])
    came = support.parts_in(tmp_path)[0].stat().st_size
    talk = talking(tmp_path, homes)
    assert talk.codes(b"ALLO 1000\r\nSTOR b\r\n", frames(b"z" * 1000)) == [200, 552]
    rest = came if goes_on else 0
    lines = b"ALLO 1000\r\nREST %d\r\nSTOR a\r\n" % rest
    assert talk.codes(lines, frames(b"y" * (1000 - rest))) == [200, 350, 150, 226]
    assert (tmp_path / "a").stat().st_size == 1000
    for part in support.parts_in(tmp_path):
        part.unlink()


def begun_and_lost(talk: Conversation, line: bytes, *more: bytes) -> None:
    talk.send(line + b"\r\n", *more)
    talk.link.lose()


@pytest.mark.parametrize(
    "then",
    [
        [b"STOR a\r\n"],  # and is lost before the first byte
        [b"REST 1\r\n", b"STOR a\r\n"],
        [b"STOR a\r\n", frames(b"x" * 10)[:-40]],
        [b"STOR a\r\n", frames(b"x" * 10)],  # a small file becomes one without touching the part
        [b"STOR a\r\n", b"FAIL\r\n"],
        [b"REST 1\r\n", b"STOR a\r\n", b"FAIL\r\n"],
        [b"REST 10\r\n", b"STOR a\r\n", frames(b"x" * 100_000)[:-40]],
        [b"STOR a\r\n", frames(b"x" * 250_000)[:-40]],
        [b"STOR a\r\n", frames(b"x" * 250_000)],
        [b"APPE a\r\n", frames(b"x" * 10)],
        [b"APPE a\r\n", frames(b"x" * 100_000)],
    ],
)
def test_a_part_counts_as_long_as_it_is_there_whatever_is_begun_behind_it(tmp_path: Path, then: list[bytes]) -> None:
    homes = homes_for()
    most = 1_000_000
    begun_and_lost(talking(tmp_path, homes, size=most), b"STOR a", frames(b"x" * 200_000)[:-40])
    begun_and_lost(talking(tmp_path, homes, size=most), then[0].rstrip(), *then[1:])
    assert talking(tmp_path, homes, size=most).ask(b"AVBL\r\n") == [f"213 {most - used(tmp_path)[0]}"]
    for part in support.parts_in(tmp_path):
        part.unlink()


@pytest.mark.parametrize("then", [[frames(b"x" * 10)], [], [b"FAIL\r\n"]])
def test_a_part_that_was_there_at_the_count_counts_once_while_nobody_writes_to_it(
    tmp_path: Path, then: list[bytes]
) -> None:
    begun_and_lost(talking(tmp_path, size=1_000_000), b"STOR a", frames(b"x" * 200_000)[:-40])
    homes = homes_for()  # after a restart
    for _ in range(2):
        begun_and_lost(talking(tmp_path, homes, size=1_000_000), b"STOR a", *then)
    assert talking(tmp_path, homes, size=1_000_000).ask(b"AVBL\r\n") == [f"213 {1_000_000 - used(tmp_path)[0]}"]
    for part in support.parts_in(tmp_path):
        part.unlink()


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("announced", [b"", b"ALLO 900000\r\n"])
def test_a_part_that_was_there_at_the_count_is_room_for_who_goes_on_from_it(
    tmp_path: Path, goes_on: bool, announced: bytes
) -> None:
    begun_and_lost(talking(tmp_path, size=1_000_000), b"STOR a", frames(b"x" * 800_000)[:-40])
    came = support.parts_in(tmp_path)[0].stat().st_size if goes_on else 0
    talk = talking(tmp_path, homes_for(), size=1_000_000)  # after a restart
    lines = announced + b"REST %d\r\nSTOR a\r\n" % came
    assert talk.codes(lines, frames(b"y" * (900_000 - came)))[-2:] == [150, 226]
    assert used(tmp_path) == (900_000, 1)
    assert talk.ask(b"AVBL\r\n") == ["213 100000"]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_part_that_was_there_at_the_count_is_room_for_one_upload_at_a_time(
    tmp_path: Path, first: int, size: int
) -> None:
    begun_and_lost(talking(tmp_path, size=300_000), b"STOR a", frames(b"x" * 200_000)[:-40])
    quota = limited(tmp_path, 400_000)  # after a restart
    files = [result_of(quota.open_write("/a")) for _ in range(2)]
    for file in files:
        result_of(file.write(b"y" * size))
    for file in (files[first], files[1 - first]):
        result_of(file.commit())
    assert (quota.usage.size, quota.usage.files) == (used(tmp_path)[0], 1)
    for part in support.parts_in(tmp_path):
        part.unlink()


@pytest.mark.parametrize("names", [[b"d/a"], [b"e/a", b"d/a"], [b"d/a", b"e/a"]])
def test_a_part_that_is_carried_elsewhere_with_its_folder_goes_on_counting(tmp_path: Path, names: list[bytes]) -> None:
    homes = homes_for()
    talk = talking(tmp_path, homes, size=1_000_000)
    assert talk.codes(b"MKD d\r\n") == [257]
    begun_and_lost(talk, b"STOR d/a", frames(b"x" * 200_000)[:-40])
    talk = talking(tmp_path, homes, size=1_000_000)
    assert talk.codes(b"RNFR d\r\nRNTO e\r\nMKD d\r\n") == [350, 250, 257]
    for name in names:
        assert talk.codes(b"STOR %s\r\n" % name, frames(b"y" * 100_000)) == [150, 226]
        assert talk.ask(b"AVBL\r\n") == [f"213 {1_000_000 - used(tmp_path)[0]}"]
    for part in (tmp_path / "e").glob(".ftpsvc-*"):
        part.unlink()


def test_a_part_that_goes_with_its_folder_is_given_back(tmp_path: Path) -> None:
    homes = homes_for()
    talk = talking(tmp_path, homes, size=1_000_000)
    assert talk.codes(b"MKD d\r\n") == [257]
    begun_and_lost(talk, b"STOR d/a", frames(b"x" * 200_000)[:-40])
    talk = talking(tmp_path, homes, size=1_000_000)
    assert talk.ask(b"AVBL\r\n") == [f"213 {1_000_000 - used(tmp_path)[0]}"] != ["213 1000000"]
    assert talk.codes(b"RMD d\r\n") == [250]
    assert talk.ask(b"AVBL\r\n") == ["213 1000000"]
    assert talk.codes(b"MKD d\r\nSTOR d/a\r\n", frames(b"x" * 200_000)) == [257, 150, 226]
    assert talk.ask(b"AVBL\r\n") == ["213 800000"]


@pytest.mark.parametrize("has_heard", [True, False])
def test_a_part_that_goes_with_its_folder_is_given_back_once_where_an_upload_had_it(
    tmp_path: Path, has_heard: bool
) -> None:
    (tmp_path / "other").write_bytes(b"x" * 300_000)
    run = support.by_hand()
    homes = Homes(lambda home, owner: support.local_disk(home, run, owner, sync=False), support.at_once, lambda: 0.0)
    quota = limited(tmp_path, 1_000_000, homes=homes)
    result_of(quota.make_dir("/d"))
    broken = result_of(quota.open_write("/d/a"))
    result_of(broken.write(b"x" * 200_000))
    ended = support.start(broken.abort(keep=True))
    run.fire()
    ended.result()
    again = result_of(quota.open_write("/d/a"))
    removing = support.start(quota.remove_dir("/d"))
    ((job, done),), run.jobs = run.jobs, []
    removed = job()
    if has_heard:
        done.callback(removed)
    result_of(again.abort())
    if not has_heard:
        done.callback(removed)
    removing.result()
    assert (quota.usage.size, quota.usage.files) == used(tmp_path) == (300_000, 1)


@pytest.mark.parametrize("held", [b"d/a", b"d/b"])  # whichever is found first
def test_a_part_stays_and_counts_where_its_folder_can_not_be_removed(tmp_path: Path, held: bytes) -> None:
    homes = homes_for()
    talk = talking(tmp_path, homes, size=1_000_000)
    assert talk.codes(b"MKD d\r\n") == [257]
    for name in (b"d/a", b"d/b"):
        begun_and_lost(talking(tmp_path, homes, size=1_000_000), b"STOR " + name, frames(b"x" * 100_000)[:-40])
    busy = talking(tmp_path, homes, size=1_000_000)
    busy.send(b"REST 1\r\nSTOR %s\r\n" % held, frames(b"y" * 1000, 500)[:-40])
    assert talk.codes(b"RMD d\r\n") == [550]
    busy.link.lose()
    assert len(support.parts_in(tmp_path)) == 2
    assert talk.ask(b"AVBL\r\n") == [f"213 {1_000_000 - used(tmp_path)[0]}"]
    for part in support.parts_in(tmp_path):
        part.unlink()


def test_a_part_of_the_same_name_counts_for_each_who_has_one(tmp_path: Path) -> None:
    homes = homes_for()
    for name in ("ann", "bob", "bob", "ann"):
        quota = homes.storage(str(tmp_path), Account(name, quota_bytes=1_000_000), name)
        file = result_of(quota.open_write("/a"))
        result_of(file.write(b"x" * (100_000 if name == "ann" else 200_000)))
        result_of(file.abort(keep=True))
    assert result_of(quota.space("/")) == 1_000_000 - used(tmp_path)[0] == 700_000
    for part in support.parts_in(tmp_path):
        part.unlink()


def test_who_begins_where_a_part_is_kept_has_no_room_beside_it(tmp_path: Path) -> None:
    homes = homes_for()
    begun_and_lost(talking(tmp_path, homes, size=400_000), b"STOR a", frames(b"x" * 300_000)[:-40])
    waiting = talking(tmp_path, homes, size=400_000)
    waiting.send(b"STOR a\r\n")
    assert talking(tmp_path, homes, size=400_000).codes(b"STOR b\r\n", frames(b"y" * 200_000)) == [150, 552]
    waiting.send(frames(b"z" * 400_000))
    assert waiting.codes() == [150, 226]
    assert used(tmp_path) == (400_000, 1)


def test_a_folder_counts_though_whoever_has_made_it_left_before_it_was_synced(tmp_path: Path) -> None:
    run = support.by_hand()
    homes = Homes(lambda home, owner: support.local_disk(home, run, owner), support.at_once, lambda: 0.0)
    talk = talking(tmp_path, homes, files=1)
    talk.send(b"MKD a\r\n")
    talk.link.lose()
    run.close()
    assert os.listdir(tmp_path) == ["a"]
    assert talking(tmp_path, homes, files=1).codes(b"MKD b\r\n") == [552]


@pytest.mark.parametrize("first", [0, 1])
def test_a_part_that_two_uploads_leave_alone_goes_on_counting(tmp_path: Path, first: int) -> None:
    quota = limited(tmp_path, 300_000)
    broken = result_of(quota.open_write("/a"))
    result_of(broken.write(b"x" * 200_000))
    result_of(broken.abort(keep=True))
    files = [result_of(quota.open_write("/a")) for _ in range(2)]
    for file in files:
        result_of(file.write(b"y"))
    for file in (files[first], files[1 - first]):
        result_of(file.commit())
    assert (quota.usage.size, quota.usage.files) == (used(tmp_path)[0], 1) == (200_001, 1)
    for part in support.parts_in(tmp_path):
        part.unlink()


@pytest.mark.parametrize(("old", "kept"), [(500, 480), (700, 0)])
def test_what_came_is_kept_where_there_is_room_for_it_beside_the_file_that_stays(
    tmp_path: Path, old: int, kept: int
) -> None:
    (tmp_path / "a").write_bytes(b"o" * old)
    homes = homes_for()
    begun_and_lost(talking(tmp_path, homes), b"STOR a", b"DATA 600\r\n" + b"x" * 480)
    assert [part.stat().st_size for part in support.parts_in(tmp_path)] == [kept] * bool(kept)
    assert talking(tmp_path, homes).ask(b"AVBL\r\n") == [f"213 {1000 - old - kept}"]
    for part in support.parts_in(tmp_path):
        part.unlink()


@pytest.mark.parametrize("begins", ["before it is counted", "behind that"])
def test_an_upload_has_no_part_that_another_one_still_counts(tmp_path: Path, begins: str) -> None:
    homes = homes_for()
    first, second = (limited(tmp_path, 1_000_000, homes=homes) for _ in range(2))  # as two workers
    broken = result_of(first.open_write("/a"))
    result_of(result_of(second.open_write("/a")).abort())
    result_of(broken.write(bytes(200_000)))
    later = []
    look = first._part

    async def look_late(path: str) -> Entry | None:
        """Another worker is let in between the end of the upload and the look at what is left of it."""
        found = None if begins.startswith("before") else await look(path)
        later.append(await second.open_write(path))
        return found or await look(path)

    with mock.patch.object(first, "_part", look_late):
        result_of(broken.abort(keep=True))
    result_of(later[0].abort())
    assert first.usage.size == used(tmp_path)[0] == 200_000
    support.take_part(tmp_path)


def test_what_broke_off_is_given_back_by_who_has_written_over_it_whoever_comes_meanwhile(tmp_path: Path) -> None:
    quota = limited(tmp_path, 1_000_000)
    writing, broken = (result_of(quota.open_write("/a")) for _ in range(2))
    result_of(broken.write(bytes(200_000)))
    result_of(broken.abort(keep=True))
    result_of(writing.write(bytes(100_000)))
    result_of(result_of(quota.open_write("/a")).abort())
    result_of(writing.commit())
    assert quota.usage.size == used(tmp_path)[0] == 100_000
