"""What object storage does beside the contract: what it keeps in memory, what others do meanwhile, and folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import buckets
import pytest
import support
from buckets import Counting, Incomplete, MemoryEngine, engine, storage
from obstore.store import MemoryStore
from support import ByHand, Started, by_hand, collected, result_of, start

from ftpsvc import model
from ftpsvc.model import Facts, Whole
from ftpsvc.objects import listed, obstored
from ftpsvc.objects.calls import Calls
from ftpsvc.objects.engine import Engine, Found, Listed, Page
from ftpsvc.objects.listed import LOOKS_AT_ONCE
from ftpsvc.objects.obstored import ObstoreEngine
from ftpsvc.objects.reading import AHEAD, PIECE
from ftpsvc.objects.requests import RefusedByS3
from ftpsvc.objects.storage import ObjectStorage
from ftpsvc.objects.writing import ObjectWriteFile

__all__ = ["engine", "storage"]  # fixtures, which pytest finds by their names

TIME = 1_795_327_140_123_456_789


# -- memory


class Endless(ObstoreEngine):
    """A folder with as many objects as one likes."""

    def __init__(self, pages: int) -> None:
        super().__init__(MemoryStore())
        self.pages = pages
        self.asked = 0

    def page(self, prefix: str, after: str = "") -> Page:
        self.asked += 1
        number = int(after or 0)
        objects = [Listed(f"{prefix}f{number:06d}-{n:03d}", n, TIME, "tag") for n in range(1000)]
        return Page(objects, [], str(number + 1) if number + 1 < self.pages else "")


def test_a_listing_of_a_million_is_asked_for_page_by_page() -> None:
    engine = Endless(1000)
    storage = ObjectStorage(buckets.bucket(engine, exact=False))

    async def some() -> list[tuple[int, int]]:
        seen, asked = 0, []
        entries = storage.list("/")
        async for _ in entries:
            seen += 1
            if seen in (1, 1000, 1001, 3000):
                asked.append((seen, engine.asked))
            if seen == 3000:
                break
        await entries.aclose()
        return asked

    assert result_of(some()) == [(1, 1), (1000, 1), (1001, 2), (3000, 3)]


def test_exact_times_are_asked_for_once_and_few_at_a_time(engine: Counting) -> None:
    for number in range(100):
        engine.put(f"f{number:03d}", b"", {"mtime": "1000000000.5"}, True)
    run = by_hand()
    storage = ObjectStorage(buckets.bucket(engine, run))
    listing = start(collected(storage.list("/")))
    run.fire()  # the page
    most = 0
    while not listing.is_over:
        most = max(most, len(run.jobs))
        run.fire()
    assert most == LOOKS_AT_ONCE
    assert {entry.modified for entry in listing.result()} == {1_000_000_000_500_000_000}
    engine.took()
    engine.put("f000", b"new", {"mtime": "7"}, True)
    again = start(collected(storage.list("/")))
    while not again.is_over:
        run.fire()
    assert engine.took().count("look") == 1, "only what has changed"
    assert {entry.modified for entry in again.result() if entry.name == "f000"} == {7_000_000_000}


def names(listing: Started, run: ByHand) -> list[str]:
    """What a listing shows, gone on with to its end."""
    while not listing.is_over:
        run.fire()
    return [entry.name for entry in listing.result()]


def test_what_has_to_make_room_while_a_page_is_asked_for_is_listed_too(
    engine: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listed, "MOST_REMEMBERED", 2)
    run = by_hand()
    storage = ObjectStorage(buckets.bucket(engine, run))
    for name in ("b", "c"):
        engine.put(name, b"", {}, True)
    assert names(start(collected(storage.list("/"))), run) == ["b", "c"]
    engine.put("a", b"", {}, True)
    assert names(start(collected(storage.list("/"))), run) == ["a", "b", "c"]


def test_what_is_replaced_while_a_page_is_asked_for_is_listed_too(engine: Counting) -> None:
    run = by_hand()
    storage = ObjectStorage(buckets.bucket(engine, run))
    engine.put("b", b"old", {}, True)
    assert names(start(collected(storage.list("/"))), run) == ["b"]
    engine.put("a", b"", {}, True)
    first = start(collected(storage.list("/")))
    run.fire()  # the page; now a is asked for, and b is remembered
    (asking,), run.jobs = run.jobs, []
    engine.put("b", b"new", {}, True)
    assert names(start(collected(storage.list("/"))), run) == ["a", "b"]
    run.jobs.append(asking)
    assert names(first, run) == ["a", "b"]


def test_an_object_that_may_not_be_looked_at_is_listed_with_the_time_at_which_it_was_stored() -> None:
    class Guarded(MemoryEngine):
        def look(self, key: str) -> Found:
            if key == "secret":
                raise RefusedByS3(403, "AccessDenied")
            return super().look(key)

    engine = Guarded(MemoryStore())
    for name in ("open", "secret"):
        engine.put(name, b"", {"mtime": "7"}, True)
    entries = result_of(collected(ObjectStorage(buckets.bucket(engine)).list("/")))
    modified = {entry.name: entry.modified for entry in entries}
    assert modified["open"] == 7_000_000_000
    assert modified["secret"] > 7_000_000_000


def in_parts(engine: Engine, run: ByHand) -> ObjectWriteFile:
    """A file that is written in parts of a thousand bytes."""
    return ObjectWriteFile(engine, Calls(run, support.make_clock(), ""), "/f", "f", True, 1000)


def test_an_upload_has_so_many_parts_under_way_and_its_writer_waits() -> None:
    run = by_hand()
    engine = Incomplete(at_once=4)
    file = in_parts(engine, run)
    writing = start(file.write(b"x" * 100_000))
    run.fire()  # the beginning
    assert len(run.jobs) == 4
    assert not writing.is_over
    run.fire()
    assert engine.done == ["part 1", "part 2", "part 3", "part 4"]
    assert len(run.jobs) == 4
    writing.deferred.cancel()
    run.fire()


def test_a_download_asks_for_so_many_ranges_ahead(engine: Counting) -> None:
    engine.put("large", bytes(PIECE * (AHEAD + 3)), {}, True)
    run = by_hand()
    storage = ObjectStorage(buckets.bucket(engine, run))
    opening = start(storage.open_read("/large"))
    run.fire()
    file = opening.result()
    reading = start(file.read(1000))
    assert len(run.jobs) == AHEAD
    run.fire()
    assert len(reading.result()) == 1000
    assert len(run.jobs) == 1, "one was taken, so one more is asked for"
    result_of(file.close())
    run.fire()


def test_who_gives_up_waits_for_the_parts_under_way_before_they_are_aborted() -> None:
    run = by_hand()
    engine = Incomplete(at_once=2)
    going = in_parts(engine, run)
    writing = start(going.write(b"x" * 100_000))
    run.fire()  # the beginning; two parts are under way, and the third waits for the first
    writing.deferred.cancel()
    result_of(going.abort())
    for _ in range(3):
        run.fire()
    assert engine.done == ["part 1", "part 2", "aborted"]
    engine.done.clear()
    young = in_parts(engine, run)
    writing = start(young.write(b"x" * 100_000))
    writing.deferred.cancel()  # before the engine has answered that it is begun
    result_of(young.abort())
    for _ in range(3):
        run.fire()
    assert engine.done == ["aborted"]


# -- what others do meanwhile


def test_a_file_that_is_replaced_while_it_is_read_is_an_error_and_no_mixture(engine: Counting) -> None:
    engine.put("file", b"a" * PIECE * 6, {}, True)
    storage = ObjectStorage(buckets.bucket(engine))

    async def read() -> None:
        file = await storage.open_read("/file")
        try:
            await file.read(PIECE)
            engine.put("file", b"b" * PIECE * 6, {}, True)
            while await file.read(PIECE):
                pass
        finally:
            await file.close()

    with pytest.raises(model.LocalFault, match="replaced"):
        result_of(read())


@pytest.mark.parametrize("size", [5, 1_000_000])
def test_what_came_meanwhile_is_not_replaced_by_who_may_not(engine: Counting, size: int) -> None:
    storage = ObjectStorage(buckets.bucket(engine))

    async def store() -> None:
        file = await storage.open_write("/file", replace=False)
        await file.write(b"n" * size)
        engine.put("file", b"theirs", {}, True)
        await file.commit()

    with pytest.raises(model.AlreadyExists):
        result_of(store())
    assert bytes(engine.whole("file", 100)[1] or b"") == b"theirs"


def test_what_is_there_is_not_replaced_by_a_rename_that_may_not(engine: Counting, storage: ObjectStorage) -> None:
    engine.put("a", b"a", {}, True)
    engine.put("b", b"b", {}, True)
    with pytest.raises(model.AlreadyExists):
        result_of(storage.rename("/a", "/b", replace=False))
    result_of(storage.rename("/a", "/c", replace=False))
    assert buckets.names_in(engine) == {"b", "c"}
    assert bytes(engine.whole("b", 10)[1] or b"") == b"b"


def test_a_source_that_was_replaced_during_a_rename_stays() -> None:
    class Late(MemoryEngine):
        def copy(self, source: str, target: str) -> None:
            super().copy(source, target)
            self.put(source, b"newer", {}, True)

    engine = Late(MemoryStore())
    engine.put("a", b"older", {}, True)
    with pytest.raises(model.LocalFault, match="both are there"):
        result_of(ObjectStorage(buckets.bucket(engine)).rename("/a", "/b"))
    assert buckets.names_in(engine) == {"a", "b"}
    assert bytes(engine.whole("a", 10)[1] or b"") == b"newer"


class Overtaken(MemoryEngine):
    """Somebody stores another file just before its metadata is changed."""

    def rewrite(self, key: str, metadata: Mapping[str, str], tag: str) -> None:
        self.put(key, b"theirs", {"xxh3128": THEIRS}, True)
        super().rewrite(key, metadata, tag)


THEIRS = "0" * 32


def test_a_file_that_came_meanwhile_gets_neither_time_nor_digest_of_the_one_before() -> None:
    engine = Overtaken(MemoryStore())
    storage = ObjectStorage(buckets.bucket(engine))
    result_of(storage.put("/a", Whole(b"ours", Facts())))
    with pytest.raises(model.LocalFault, match="replaced"):
        result_of(storage.set_facts("/a", Facts(TIME)))
    assert result_of(storage.known_digest("/a")) == THEIRS
    assert "mtime" not in engine.look("a").metadata


def test_a_file_that_came_behind_an_upload_in_parts_gets_nothing_that_was_told_at_its_end() -> None:
    class Told(Overtaken):
        def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Any:
            upload = super().upload(key, metadata, part)
            complete = upload.complete
            upload.complete = lambda replace: complete(replace) or self.look(key).tag  # type: ignore[method-assign]
            return upload

    engine = Told(MemoryStore())
    storage = ObjectStorage(buckets.bucket(engine, part=1000))

    async def store() -> None:
        file = await storage.open_write("/a")
        await file.write(b"x" * 5000)
        await file.commit(Facts(TIME))

    result_of(store())
    assert result_of(storage.known_digest("/a")) == THEIRS


# -- folders


def test_a_folder_stays_when_its_last_file_goes(engine: Counting, storage: ObjectStorage) -> None:
    engine.put("theirs/file", b"", {}, True)
    engine.put("theirs/sub/file", b"", {}, True)
    result_of(storage.remove("/theirs/sub/file"))
    assert result_of(storage.stat("/theirs/sub")).is_directory
    result_of(storage.rename("/theirs/file", "/file"))
    result_of(storage.remove_dir("/theirs/sub"))
    assert result_of(storage.stat("/theirs")).is_directory
    result_of(storage.remove_dir("/theirs"))
    assert [entry.name for entry in result_of(collected(storage.list("/")))] == ["file"]


def test_folders_with_much_in_them_are_listed_once(engine: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstored, "PAGE", 7)
    for name in ("b", "z", *(f"a/{number}" for number in range(30)), *(f"c/d/{number}" for number in range(30)), "c/e"):
        engine.put(f"home/{name}", b"", {}, True)
    engine.put("homely", b"", {}, True)
    storage = ObjectStorage(buckets.bucket(engine), "home/")
    assert sorted(entry.name for entry in result_of(collected(storage.list("/")))) == ["a", "b", "c", "z"]
    assert sorted(entry.name for entry in result_of(collected(storage.list("/c")))) == ["d", "e"]


def test_many_files_for_one_folder_look_for_it_once_in_a_while(engine: Counting) -> None:
    clock = support.make_clock()
    storage = ObjectStorage(buckets.bucket(engine, clock=clock))
    result_of(storage.make_dir("/in"))
    engine.took()
    for number in range(50):
        result_of(storage.put(f"/in/{number}", Whole(b"x", Facts())))
    assert engine.took() == ["page", *["put"] * 50]
    clock.advance(6)
    result_of(storage.put("/in/50", Whole(b"x", Facts())))
    assert engine.took() == ["page", "put"]


def test_many_at_once_look_for_their_folder_together(engine: Counting) -> None:
    run = by_hand()
    storage = ObjectStorage(buckets.bucket(engine, run))
    puts = [start(storage.put(f"/{number}", Whole(b"x", Facts()))) for number in range(20)]
    while not all(put.is_over for put in puts):
        run.fire()
    assert sorted(engine.took()) == ["page", *["put"] * 20]


def test_the_root_is_no_file_though_something_beside_the_home_has_its_name(engine: Counting) -> None:
    engine.put("home", b"not for you", {}, True)
    engine.put("home/a", b"", {}, True)
    storage = ObjectStorage(buckets.bucket(engine), "home/")
    with pytest.raises(model.NotAFile):
        result_of(storage.fetch("/"))


@pytest.mark.parametrize("name", ["a\tb", "a\x01", "\x7f"])
def test_a_name_with_control_characters_is_refused_at_once_and_one_that_is_there_keeps_no_folder_from_being_listed(
    storage: ObjectStorage, name: str
) -> None:
    """S3 takes such keys, and our own requests would; obstore, which looks for their times, does not."""
    objects = [Listed(name, 1, TIME, ""), Listed("vanished", 1, TIME, "")]
    storage._engine.page = lambda prefix, after="": Page(objects, [name], "")  # type: ignore[method-assign]
    assert result_of(collected(storage.list("/"))) == []
    for work in (storage.open_write(f"/{name}"), storage.make_dir(f"/{name}/x"), storage.stat(f"/{name}")):
        with pytest.raises(model.InvalidName):
            result_of(work)


def test_keys_that_can_be_no_names_do_not_show(storage: ObjectStorage) -> None:
    def pages(prefix: str, after: str = "") -> Page:
        objects = [Listed(key, 1, TIME, "") for key in ("", "ok", ".ftpsvc-folder", ".", "..", "a\0b")]
        return Page(objects, ["", "..", "sub"], "")

    storage._engine.page = pages  # type: ignore[method-assign]
    storage._bucket.exact = None
    assert sorted(entry.name for entry in result_of(collected(storage.list("/")))) == ["ok", "sub"]
