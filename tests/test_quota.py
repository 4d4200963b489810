"""Quotas: what a home may hold, under many uploads at once, and what is given back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import support
from hypothesis import given
from hypothesis import strategies as st
from storage_contract import StorageContract
from storage_place import Place
from support import Conversation, frames, result_of
from tree_contract import TreeContract
from twisted.internet.defer import Deferred, fail, succeed

from ftpsvc import diskfiles, model
from ftpsvc.homes import Homes
from ftpsvc.model import Account, Facts, OverQuota, Whole
from ftpsvc.quota import Quota
from ftpsvc.usage import COUNT_AGAIN, Usage, Used

MOST = 1000


def homes_for(run: Any = support.at_once) -> Homes:
    homes = Homes(lambda home, owner: support.local_disk(home, run, owner), run, lambda: 0.0)
    return homes


def limited(folder: Path, size: int | None = MOST, files: int | None = None, homes: Homes | None = None) -> Quota:
    account = Account("ann", quota_bytes=size, quota_files=files)
    storage = (homes or homes_for()).storage(str(folder), account, "ann")
    assert isinstance(storage, Quota)
    return storage


def used(folder: Path) -> tuple[int, int]:
    """What really lies there."""
    paths = list(folder.rglob("*"))
    return sum(path.stat().st_size for path in paths if path.is_file()), len(paths)


def talking(
    folder: Path, homes: Homes | None = None, files: int | None = None, size: int | None = MOST
) -> Conversation:
    account = Account("ann", quota_bytes=size, quota_files=files)
    storage = (homes or homes_for()).storage(str(folder), account, "ann")
    talk = Conversation(storage, accounts=support.OneAccount(account, storage)).log_in(user="ann")
    talk.send(b"TYPE I\r\n")
    talk.take()
    return talk


class TestQuota(StorageContract, TreeContract):
    """One that is never reached changes nothing."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return Place(limited(tmp_path, 1 << 40, 1 << 40), tmp_path, support.result_of)


def test_what_fits_is_stored_and_what_does_not_is_not(tmp_path: Path) -> None:
    talk = talking(tmp_path)
    assert talk.codes(b"STOR a\r\n", frames(b"a" * 600)) == [150, 226]
    assert talk.codes(b"STOR b\r\n", frames(b"b" * 401)) == [150, 552]
    assert talk.codes(b"STOR b\r\n", frames(b"b" * 400)) == [150, 226]
    assert talk.codes(b"APPE b\r\n", frames(b"b")) == [150, 552]
    assert used(tmp_path) == (1000, 2)


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_bytes(b"x" * 900)
    assert talking(tmp_path).codes(b"STOR a\r\n", frames(b"a" * 101)) == [150, 552]


def test_what_is_replaced_is_given_back(tmp_path: Path) -> None:
    talk = talking(tmp_path)
    assert talk.codes(b"STOR a\r\n", frames(b"a" * 1000)) == [150, 226]
    assert talk.codes(b"STOR a\r\n", frames(b"b" * 1000)) == [150, 226]
    assert talk.codes(b"STOR a\r\n", frames(b"c" * 1001)) == [150, 552]
    assert (tmp_path / "a").read_bytes() == b"b" * 1000
    assert talk.codes(b"STOR a\r\n", frames(b"d" * 10)) == [150, 226]
    assert talk.codes(b"STOR b\r\n", frames(b"e" * 990)) == [150, 226]
    assert talk.codes(b"DELE b\r\nSTOR b\r\n", frames(b"f" * 991)) == [250, 150, 552]
    assert talk.codes(b"STOR b\r\n", frames(b"f" * 990), b"RNFR b\r\nRNTO a\r\n", b"STOR b\r\n", frames(b"g" * 10)) == [
        150, 226, 350, 250, 150, 226,
    ]  # fmt: skip
    assert used(tmp_path) == (1000, 2)


def test_a_size_that_was_announced_is_refused_before_the_first_byte(tmp_path: Path) -> None:
    talk = talking(tmp_path)
    assert talk.codes(b"ALLO 1001\r\n") == [552]
    assert talk.codes(b"STOR a\r\n", frames(b"a" * 600)) == [150, 226]
    assert talk.codes(b"ALLO 401\r\nSTOR b\r\n", frames(b"b" * 401)) == [200, 552]
    assert talk.codes(b"ALLO 401\r\nSTOU\r\n", frames(b"b" * 401)) == [200, 552]
    assert talk.codes(b"ALLO 401\r\nAPPE b\r\n", frames(b"b" * 401)) == [200, 552]
    assert talk.codes(b"ALLO 1000\r\nSTOR a\r\n", frames(b"b" * 1000)) == [200, 150, 226]  # the old one is given back
    assert talk.ask(b"AVBL\r\n") == ["213 0"]


@pytest.mark.parametrize("whole_at_once", [True, False])
def test_many_uploads_at_once_do_not_pass_the_limit_together(tmp_path: Path, whole_at_once: bool) -> None:
    homes = homes_for()
    talks = [talking(tmp_path, homes) for _ in range(4)]
    sequence = frames(b"x" * 300, size=300 if whole_at_once else 100)
    for n, talk in enumerate(talks):
        talk.send(b"STOR %d\r\n" % n, sequence[:-40])
    for talk in talks:
        talk.send(sequence[-40:])
    codes = [talk.codes() for talk in talks]
    assert sorted(codes) == [[150, 226], [150, 226], [150, 226], [150, 552]]
    assert used(tmp_path) == (900, 3)


def test_many_uploads_of_the_same_name_count_once(tmp_path: Path) -> None:
    homes = homes_for()
    talks = [talking(tmp_path, homes) for _ in range(3)]
    for size, talk in zip((300, 200, 250), talks, strict=True):
        talk.send(b"STOR a\r\n", frames(b"x" * size)[:-40])
    for size, talk in zip((300, 200, 250), talks, strict=True):
        talk.send(frames(b"x" * size)[-40:])
        assert talk.codes()[-1] == 226
    assert talks[0].ask(b"AVBL\r\n") == [f"213 {MOST - 250}"]
    assert used(tmp_path) == (250, 1)


def test_a_file_that_is_deleted_while_it_is_replaced_opens_no_way_round(tmp_path: Path) -> None:
    homes = homes_for()
    one, other = talking(tmp_path, homes), talking(tmp_path, homes)
    one.send(b"STOR a\r\n", frames(b"x" * 1000))
    one.take()
    one.send(b"STOR a\r\n", frames(b"y" * 1000)[:-40])
    assert other.codes(b"DELE a\r\nSTOR b\r\n", frames(b"z" * 1000))[:1] == [250]
    one.send(frames(b"y" * 1000)[-40:])
    one.take()
    assert used(tmp_path)[0] <= MOST


def test_the_number_of_files_and_folders_has_a_limit_too(tmp_path: Path) -> None:
    talk = talking(tmp_path, files=2, size=None)
    assert talk.codes(b"MKD d\r\n", b"STOR d/a\r\n", frames(b"a"), b"MKD e\r\n") == [257, 150, 226, 552]
    assert talk.codes(b"STOR b\r\n", frames(b"")) == [552]
    assert talk.codes(b"STOR d/a\r\n", frames(b"other")) == [150, 226]
    assert talk.codes(b"DELE d/a\r\nRMD d\r\nMKD e\r\nMKD e\r\nMKD f\r\n") == [250, 250, 257, 550, 257]
    assert used(tmp_path) == (0, 2)


def test_an_upload_that_fails_gives_everything_back(tmp_path: Path) -> None:
    talk = talking(tmp_path)
    assert talk.codes(b"STOR a\r\n", frames(b"x" * 900, digest="0" * 32)) == [150, 451]
    assert talk.codes(b"STOR a\r\n", b"DATA 5\r\nxxxxxFAIL\r\n") == [150, 426]
    assert talk.ask(b"AVBL\r\n") == [f"213 {MOST}"]


def test_uploads_wait_until_the_home_has_been_counted(tmp_path: Path) -> None:
    run = support.by_hand()
    (tmp_path / "old").write_bytes(b"x" * 600)
    quota = limited(tmp_path, homes=homes_for(run))
    writing = support.start(quota.open_write("/a"))
    assert not writing.is_over
    while not writing.is_over:
        run.fire()
    file = writing.result()
    with pytest.raises(OverQuota, match="1000 bytes"):
        result_of(file.write(b"y" * 401))
    result_of(file.abort())


@pytest.mark.parametrize("commands", [b"DELE old\r\n", b"RNFR new\r\nRNTO old\r\n", b"RMD d\r\n"])
def test_what_goes_during_the_first_count_does_not_count(tmp_path: Path, commands: bytes) -> None:
    """The count may have seen it, and nobody would know of it until the next."""
    (tmp_path / "old").write_bytes(b"x" * MOST)
    (tmp_path / "new").write_bytes(b"")
    (tmp_path / "d").mkdir()
    run = support.by_hand()
    homes = homes_for(run)
    talk = talking(tmp_path, homes)
    seen, run.jobs = [(job(), done) for job, done in run.jobs], []
    assert talk.codes(commands)[-1:] != [250]
    for found, done in seen:
        done.callback(found)
    while run.jobs:
        run.fire()
    talk.link.pump()
    assert talk.codes()[-1:] == [250]
    usage = limited(tmp_path, homes=homes).usage
    assert (usage.size, usage.files) == used(tmp_path)


def test_a_home_that_can_not_be_counted_takes_nothing(logged_errors: Any, tmp_path: Path) -> None:
    usage = Usage(lambda: fail(OSError(5, "the disk is ill")), lambda: 0.0)
    quota = Quota(support.local_disk(tmp_path), usage, Account("ann", quota_bytes=MOST))
    with pytest.raises(model.Busy):
        result_of(quota.put("/a", Whole(b"x")))
    assert [type(error) for error in logged_errors.take()] == [OSError, OSError]


def test_what_changed_without_us_is_counted_at_a_login_an_hour_later(tmp_path: Path) -> None:
    now = [0.0]
    homes = Homes(lambda home, owner: support.local_disk(home, owner=owner), support.at_once, lambda: now[0])
    limited(tmp_path, homes=homes)
    (tmp_path / "new").write_bytes(b"x" * 700)
    assert result_of(limited(tmp_path, homes=homes).space("/")) == MOST
    now[0] += COUNT_AGAIN + 1
    assert result_of(limited(tmp_path, homes=homes).space("/")) == MOST - 700


def test_a_count_during_which_something_changed_is_not_believed(tmp_path: Path) -> None:
    counts: list[Deferred[Used]] = [succeed(Used(100, 1)), Deferred()]
    now = [0.0]
    usage = Usage(lambda: counts.pop(0), lambda: now[0])
    result_of(usage.counted())
    now[0] += COUNT_AGAIN + 1
    waiting = counts[0]
    usage.look_again()
    usage.add(50)
    waiting.callback(Used(100, 1))
    assert usage.size == 150


@pytest.mark.parametrize("commands", [b"RNFR new\r\nRNTO old\r\n", b"RMD d\r\n"])
def test_a_count_that_ends_during_a_change_is_not_believed(tmp_path: Path, commands: bytes) -> None:
    """What goes the count may not have seen any more."""
    (tmp_path / "old").write_bytes(b"x" * 400)
    (tmp_path / "new").write_bytes(b"y" * 300)
    (tmp_path / "d").mkdir()
    if b"RMD" in commands:
        (tmp_path / "d" / ".ftpsvc-1").write_bytes(b"z" * 200)  # a part of an upload that broke off
    run, now = support.by_hand(), [0.0]
    homes = Homes(lambda home, owner: support.local_disk(home, run, owner), support.at_once, lambda: now[0])
    talk = talking(tmp_path, homes)
    assert talk.codes(commands)[-1:] != [250]
    seen, run.jobs = [(job(), done) for job, done in run.jobs], []
    now[0] += COUNT_AGAIN + 1
    usage = limited(tmp_path, homes=homes).usage
    for found, done in seen:
        done.callback(found)
    assert talk.codes()[-1:] == [250]
    assert (usage.size, usage.files) == used(tmp_path)


def test_all_kinds_of_files_are_counted_and_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"x" * 10)
    os.link(tmp_path / "d" / "a", tmp_path / "same")
    (tmp_path / "up").symlink_to("..")
    os.mkfifo(tmp_path / "fifo")
    quota = limited(tmp_path)
    assert (quota.usage.size, quota.usage.files) == (10, 5)


@pytest.mark.parametrize("target", ["x", "n" * 256], ids=["round in a circle", "to no name"])
@pytest.mark.parametrize("commands", [b"DELE x\r\n", b"RNFR a\r\nRNTO x\r\n"])
def test_a_link_that_can_not_be_followed_is_taken_away_as_any_other(
    tmp_path: Path, commands: bytes, target: str
) -> None:
    (tmp_path / "x").symlink_to(target)
    (tmp_path / "a").write_bytes(b"content")
    homes = homes_for()
    assert talking(tmp_path, homes).codes(commands)[-1] == 250
    usage = limited(tmp_path, homes=homes).usage
    assert (usage.size, usage.files) == used(tmp_path) == (7, 1)


@pytest.mark.parametrize(
    ("command", "target"),
    [
        (b"DELE link\r\n", "large"),
        (b"DELE link\r\n", "folder"),
        (b"DELE link\r\n", "nowhere"),
        (b"RNFR small\r\nRNTO link\r\n", "large"),
        (b"RNFR small\r\nRNTO link\r\n", "folder"),
    ],
)
def test_a_link_that_goes_gives_back_no_more_than_its_name(tmp_path: Path, command: bytes, target: str) -> None:
    (tmp_path / "large").write_bytes(b"x" * 800)
    (tmp_path / "small").write_bytes(b"y")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(target)
    quota = limited(tmp_path, files=10)
    talk = Conversation(quota).log_in()
    talk.send(command)
    assert not (tmp_path / "link").is_symlink()
    assert (quota.usage.size, quota.usage.files) == used(tmp_path)


@pytest.mark.parametrize("meanwhile", [b"DELE a\r\n", b"RNFR a\r\nRNTO b\r\n", b"STOR a\r\n" + frames(b"x" * 100)])
@pytest.mark.parametrize("end", [True, False])
def test_whatever_happens_to_a_file_that_is_added_to_never_too_little_is_counted(
    tmp_path: Path, meanwhile: bytes, end: bool
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 200)
    homes = homes_for()
    one, other = talking(tmp_path, homes), talking(tmp_path, homes)
    one.send(b"APPE a\r\n", frames(b"y" * 300)[:-40])
    assert other.codes(meanwhile)[-1] < 300
    one.send(frames(b"y" * 300)[-40:]) if end else one.link.lose()
    (left,) = other.ask(b"AVBL\r\n")
    assert isinstance(left, str)
    assert MOST - int(left[4:]) >= used(tmp_path)[0]


# -- against a model: whatever is done, in whatever order, what is counted is what is there

NAMES = st.sampled_from(["/a", "/b", "/d/c"])
ACTIONS = st.one_of(
    st.tuples(st.just("store"), NAMES, st.integers(0, 600)),
    st.tuples(st.just("append"), NAMES, st.integers(0, 300)),
    st.tuples(st.just("begin"), NAMES, st.integers(0, 600)),
    st.tuples(st.just("resume"), NAMES, st.integers(1, 300)),
    st.tuples(st.just("end"), st.sampled_from(["commit", "abort", "break off"]), st.integers(0, 3)),
    st.tuples(st.just("remove"), NAMES, st.just(0)),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("make"), st.just("/d"), st.just(0)),
    st.tuples(st.just("unmake"), st.just("/d"), st.just(0)),
)


@mock.patch.object(diskfiles, "HELD", 50)  # bytes, above which an upload has a part
@given(st.lists(ACTIONS, max_size=20))
def test_what_is_counted_is_what_is_there(tmp_path_factory: pytest.TempPathFactory, actions: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("home")
    disk = support.local_disk(folder, sync=False)
    quota = Quota(disk, Usage(lambda: succeed(Used()), lambda: 0.0), Account("ann", quota_bytes=MOST, quota_files=3))
    begun: list[Any] = []
    for what, path, more in actions:
        try:
            if what == "store":
                result_of(quota.put(path, Whole(b"x" * more, Facts())))
            elif what == "append":
                file = result_of(quota.open_append(path))
                try:
                    result_of(file.write(b"x" * more))
                    result_of(file.commit())
                finally:
                    result_of(file.abort())
            elif what in ("begin", "resume"):
                file = result_of(quota.open_write(path, more if what == "resume" else 0))
                try:
                    result_of(file.write(b"x" * more))
                    begun.append(file)
                except model.TransferError:
                    result_of(file.abort())
            elif what == "end" and begun:
                file = begun.pop(more % len(begun))
                result_of(file.commit() if path == "commit" else file.abort(keep=path == "break off"))
            elif what == "remove":
                result_of(quota.remove(path))
            elif what == "rename":
                result_of(quota.rename(path, more))
            elif what == "make":
                result_of(quota.make_dir(path))
            elif what == "unmake":
                result_of(quota.remove_dir(path))
        except model.TransferError:
            pass
    for file in begun:
        result_of(file.abort())
    size, files = used(folder)
    parts = support.parts_in(folder)
    assert (quota.usage.size, quota.usage.files) == (size, files - len(parts))
    assert size - sum(part.stat().st_size for part in parts) <= MOST and quota.usage.files <= 3
    disk.close()
    support.LEFT_OPEN.remove(disk)


def test_what_has_another_name_is_not_given_back_when_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 400)
    os.link(tmp_path / "a", tmp_path / "b")
    talk = talking(tmp_path)
    assert talk.ask(b"AVBL a\r\n") == ["213 600"]
    assert talk.codes(b"STOR a\r\n", frames(b"y" * 601)) == [150, 552]
    assert talk.codes(b"STOR a\r\n", frames(b"y" * 500)) == [150, 226]
    assert used(tmp_path) == (900, 2)
    assert talk.ask(b"AVBL\r\n") == ["213 100"]
    assert talk.codes(b"STOR b\r\n", frames(b"z" * 500)) == [150, 226]
    assert used(tmp_path) == (1000, 2)


@pytest.mark.parametrize("names", [1, 2])
def test_a_file_that_is_renamed_onto_itself_through_a_link_to_its_folder_goes_on_counting(
    tmp_path: Path, names: int
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "d" / "f").write_bytes(b"x" * 300)
    if names == 2:
        os.link(tmp_path / "d" / "f", tmp_path / "other")
    storage = limited(tmp_path)
    result_of(storage.usage.counted())
    before = storage.usage.size, storage.usage.files
    result_of(storage.rename("/d/f", "/link/f"))
    assert (storage.usage.size, storage.usage.files) == before
