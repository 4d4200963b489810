"""Uploads of one name in a row: what the replies say, in their order, is what is in the file at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import support
from support import Conversation, frames, result_of, start

from ftpsvc.homes import Homes
from ftpsvc.model import Account

SMALL, LARGE = b"small", b"large" * 200_000


@pytest.fixture(params=["on a disk", "in memory"])
def storage_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsvc.commits.is_in_memory", lambda device: request.param == "in memory")


def last_first(run: support.ByHand) -> None:
    """Run the jobs that wait, and always the one that came last: threads have no order."""
    while run.jobs:
        run.jobs, others = run.jobs[-1:], run.jobs[:-1]
        run.fire()
        run.jobs = others + run.jobs


@pytest.mark.usefixtures("storage_kind")
@pytest.mark.parametrize(
    ("commands", "whole"),
    [
        ([(b"STOR", LARGE), (b"STOR", SMALL)], SMALL),
        ([(b"STOR", SMALL), (b"STOR", LARGE)], LARGE),
        ([(b"STOR", LARGE), (b"STOR", LARGE[::-1])], LARGE[::-1]),
        ([(b"STOR", SMALL), (b"APPE", SMALL)], SMALL * 2),
        ([(b"APPE", SMALL), (b"APPE", SMALL), (b"APPE", SMALL)], SMALL * 3),
        ([(b"APPE", SMALL), (b"STOR", LARGE), (b"APPE", LARGE), (b"APPE", SMALL)], LARGE * 2 + SMALL),
    ],
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_pipelined_uploads_of_one_name_take_effect_in_their_order(
    tmp_path: Path, commands: list[tuple[bytes, bytes]], whole: bytes, old: bytes | None
) -> None:
    if old is not None:
        (tmp_path / "x").write_bytes(old)
        if all(verb == b"APPE" for verb, _ in commands):
            whole = old + whole
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(*(verb + b" x\r\n" + frames(data) for verb, data in commands))
    talk.link.pump()
    for _ in range(100):
        last_first(run)
        talk.link.pump()
    assert [str(answer)[:3] for answer in talk.take()] == ["150", "226"] * len(commands)
    assert (tmp_path / "x").read_bytes() == whole


def test_two_that_begin_a_file_with_appe_never_replace_each_other(tmp_path: Path) -> None:
    first, second = (Conversation(support.local_disk(tmp_path)).log_in() for _ in range(2))
    assert first.codes(b"APPE x\r\nDATA 5\r\nfirst") == [150]
    assert second.codes(b"APPE x\r\n", frames(b"second")) == [150, 226]
    (code,) = first.codes(b"DONE\r\n")
    assert (code, (tmp_path / "x").read_bytes()) == (550, b"second")


@pytest.mark.parametrize("what", ["its part", "the part itself", "the file", "nothing"])
def test_who_asked_for_a_part_goes_on_from_that_one_or_not_at_all(tmp_path: Path, what: str) -> None:
    disk = support.local_disk(tmp_path)
    old, mine, theirs = b"old" * 100_000, LARGE[:100_000], b"theirs" * 50_000
    (tmp_path / "x").write_bytes(old)

    def leave(data: bytes) -> None:
        async def broken_off() -> None:
            file = await disk.open_write("/x")
            await file.write(data)
            await file.abort(keep=True)

        support.result_of(broken_off())

    leave(mine)
    talk = Conversation(disk).log_in()
    assert talk.codes(b"SITE PART x\r\n") == [213]
    if what == "its part":
        leave(theirs)
    elif what == "the part itself":
        support.take_part(tmp_path)
    elif what == "the file":
        (tmp_path / "x").write_bytes(theirs)
    codes = talk.codes(b"REST 100000\r\nSTOR x\r\n", frames(LARGE[100_000:]))
    if what == "nothing":
        assert codes == [350, 150, 226]
        assert (tmp_path / "x").read_bytes() == LARGE
        return
    assert codes == [350, 450]
    assert (tmp_path / "x").read_bytes() == (theirs if what == "the file" else old)
    if what == "the part itself":
        # Who doesn't ask means the file, as in any server.
        assert talk.codes(b"REST 100000\r\nSTOR x\r\n", frames(b"")) == [350, 150, 226]
        assert (tmp_path / "x").read_bytes() == old[:100_000]
    else:
        assert support.take_part(tmp_path) == (theirs if what == "its part" else mine)


@pytest.mark.parametrize("told", [b"HASH x", b"XCRC x", b"XSHA256 x", b"SIZE x", b"RANG 0 9\r\nHASH x"])
def test_who_was_told_of_a_file_goes_on_from_that_one_or_not_at_all(tmp_path: Path, told: bytes) -> None:
    mine, theirs = LARGE[:100_000], b"theirs" * 50_000
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    for data, codes, is_replaced in ((theirs, [350, 450], True), (LARGE, [350, 150, 226], False)):
        (tmp_path / "x").write_bytes(mine)
        talk.codes(b"TYPE I\r\n" + told + b"\r\n")
        if is_replaced:
            (tmp_path / "y").write_bytes(theirs)
            (tmp_path / "y").rename(tmp_path / "x")
        assert talk.codes(b"REST 100000\r\nSTOR x\r\n", frames(LARGE[100_000:])) == codes
        assert (tmp_path / "x").read_bytes() == data


def test_all_ranges_of_a_digest_and_a_size_behind_it_are_of_the_same(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    for number, data in enumerate((LARGE[:2000], LARGE[:2000][::-1])):
        (tmp_path / "y").write_bytes(data)
        (tmp_path / "y").rename(tmp_path / "x")
        assert talk.codes(b"RANG %d 1999\r\nHASH x\r\nSIZE x\r\n" % (number * 1000)) == [350, 213, 213]
    assert talk.codes(b"REST 2000\r\nSTOR x\r\n", frames(b"rest")) == [350, 450]
    assert talk.codes(b"HASH x\r\nREST 2000\r\nSTOR x\r\n", frames(b"rest")) == [213, 350, 150, 226]


def test_who_was_told_the_digest_of_a_file_never_goes_on_from_a_part(tmp_path: Path) -> None:
    disk = support.local_disk(tmp_path)
    (tmp_path / "x").write_bytes(b"file" * 50_000)

    async def broken_off() -> None:
        file = await disk.open_write("/x")
        await file.write(LARGE)
        await file.abort(keep=True)

    support.result_of(broken_off())
    talk = Conversation(disk).log_in()
    assert talk.codes(b"RANG 0 99\r\nHASH x\r\nREST 100\r\nSTOR x\r\n", frames(b"rest")) == [350, 213, 350, 450]
    assert (tmp_path / "x").read_bytes() == b"file" * 50_000
    assert support.take_part(tmp_path) == LARGE


@pytest.mark.parametrize(
    ("change", "size"), [(b"MFMT 20260101000000 x", 4), (b"SITE CHMOD 600 x", 4), (b"APPE x\r\nDATA 2\r\nesDONE", 6)]
)
def test_what_the_client_itself_has_done_is_not_held_against_it(tmp_path: Path, change: bytes, size: int) -> None:
    (tmp_path / "x").write_bytes(b"file")
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    talk.codes(b"SIZE x\r\n" + change + b"\r\n")
    assert talk.codes(b"REST %d\r\nSTOR x\r\n" % size, frames(b"s"))[-1] == 226


def test_all_ranges_of_a_part_that_are_asked_for_are_of_the_same(tmp_path: Path) -> None:
    disk = support.local_disk(tmp_path)
    talk = Conversation(disk).log_in()
    for data in (LARGE, LARGE[::-1]):

        async def broken_off(data: bytes = data) -> None:
            file = await disk.open_write("/x")
            await file.write(data)
            await file.abort(keep=True)

        support.result_of(broken_off())
        first = 0 if data == LARGE else 1000
        assert talk.codes(b"RANG %d %d\r\nSITE PART x\r\n" % (first, first + 999)) == [350, 213]
    assert talk.codes(b"REST 2000\r\nSTOR x\r\n", frames(b"rest")) == [350, 450]
    assert support.take_part(tmp_path) == LARGE[::-1]


@pytest.mark.usefixtures("storage_kind")
@pytest.mark.parametrize("what", ["rename", "remove", "be replaced"])
def test_what_goes_while_another_takes_its_place_is_given_back_once(tmp_path: Path, what: str) -> None:
    """By what it looked like before the commit, the commit would give it back too."""
    run = support.by_hand()
    homes = Homes(lambda home, owner: support.local_disk(home, run, owner), support.at_once, lambda: 0.0)
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "b").write_bytes(bytes(10))
    quota: Any = homes.storage(str(tmp_path), Account("ann", quota_bytes=1_000_000), "ann")
    file = result_of(quota.open_write("/a"))
    result_of(file.write(bytes(3000)))
    commit = start(file.commit())
    if what == "remove":
        going = start(quota.remove("/a"))
    else:
        going = start(quota.rename("/a", "/b") if what == "rename" else quota.rename("/b", "/a"))
    while run.jobs:
        run.fire()
    assert commit.is_over and going.is_over
    there = list(tmp_path.iterdir())
    assert (quota.usage.size, quota.usage.files) == (sum(path.stat().st_size for path in there), len(there))


@pytest.mark.usefixtures("storage_kind")
@pytest.mark.parametrize("is_replaced", [True, False])
def test_what_is_added_to_a_file_goes_with_it_whoever_comes_first(tmp_path: Path, is_replaced: bool) -> None:
    run = support.by_hand()
    homes = Homes(lambda home, owner: support.local_disk(home, run, owner), support.at_once, lambda: 0.0)
    (tmp_path / "a").write_bytes(bytes(1000))
    quota: Any = homes.storage(str(tmp_path), Account("ann", quota_bytes=1_000_000), "ann")
    adding, file = result_of(quota.open_append("/a")), result_of(quota.open_write("/a"))
    for upload in (adding, file):
        result_of(upload.write(bytes(10)))
    added = start(adding.commit())
    other = start(file.commit() if is_replaced else quota.remove("/a"))
    while run.jobs:
        run.fire()
    assert added.is_over and other.is_over
    result_of(file.abort())
    there = list(tmp_path.iterdir())
    assert (quota.usage.size, quota.usage.files) == (sum(path.stat().st_size for path in there), len(there))
