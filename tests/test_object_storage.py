"""What object storage does beside the contract: over FTP, in its calls, and in what it keeps in memory."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import Any

import buckets
import pytest
import support
from buckets import MemoryEngine
from obstore.store import MemoryStore
from support import Conversation, by_hand, collected, frames, result_of, start
from twisted.internet.defer import Deferred

from ftpsvc import model
from ftpsvc.frames import digest_of
from ftpsvc.model import Account, Facts, Whole
from ftpsvc.objects import obstored
from ftpsvc.objects.calls import PATIENCE, Calls
from ftpsvc.objects.engine import Listed, Page
from ftpsvc.objects.listed import LOOKS_AT_ONCE
from ftpsvc.objects.obstored import ObstoreEngine
from ftpsvc.objects.reading import AHEAD, PIECE
from ftpsvc.objects.storage import ObjectStorage
from ftpsvc.objects.writing import ObjectWriteFile
from ftpsvc.quota import Quota, Usage

TIME = 1_795_327_140_123_456_789


class Counting(MemoryEngine):
    """Counts its calls, by name."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("look", "whole", "read", "put", "upload", "remove", "copy", "rewrite", "page", "has_below"):
            self.calls.append(name)
        return super().__getattribute__(name)

    def took(self) -> list[str]:
        calls, self.calls[:] = list(self.calls), []
        return calls


@pytest.fixture
def engine() -> Counting:
    return Counting()


@pytest.fixture
def storage(engine: Counting) -> ObjectStorage:
    return ObjectStorage(buckets.bucket(engine))


def text(answer: Any) -> str:
    assert isinstance(answer, str)
    return answer


# -- over FTP


@pytest.fixture
def talk(storage: ObjectStorage, engine: Counting) -> Conversation:
    engine.put("file", b"content", {}, True)
    engine.make_folder("folder/")
    return Conversation(storage).log_in()


def test_what_can_not_be_done_is_said_at_once_and_in_the_perm_fact(talk: Conversation, engine: Counting) -> None:
    assert "perm=dfrw;" in text(talk.ask(b"MLST file\r\n")[-1])
    assert "perm=cdelmp;" in text(talk.ask(b"MLST folder\r\n")[-1])
    assert talk.codes(b"APPE file\r\n", frames(b"more")) == [502]
    assert talk.codes(b"REST 3\r\nSTOR file\r\n", frames(b"tent")) == [350, 504]
    assert talk.codes(b"RNFR folder\r\nRNTO other\r\n") == [350, 502]
    assert talk.codes(b"AVBL\r\n") == [502]
    assert talk.codes(b"MFMT 20200101000000 folder\r\n") == [504]
    assert talk.codes(b"SITE PART file\r\n") == [502]
    assert talk.codes(b"STOR \xe4\xe4\r\n", frames(b"x" * 70_000)) == [553]
    assert bytes(engine.whole("file", 100)[1] or b"") == b"content"


def test_a_listing_tells_the_same(talk: Conversation) -> None:
    sequence = talk.ask(b"MLSD\r\n")[1]
    listed = b"".join(sequence.data if isinstance(sequence.data, list) else [sequence.data]).decode()
    assert "perm=dfrw;" in listed
    assert "perm=cdelmp;" in listed


def test_the_digest_of_a_file_that_was_stored_is_known_without_reading_it(talk: Conversation, engine: Counting) -> None:
    assert talk.codes(b"STOR new\r\n", frames(b"12345" * 40_000)) == [150, 226]
    talk.ask(b"OPTS HASH XXH3-128\r\n")
    engine.took()
    assert digest_of(b"12345" * 40_000) in text(talk.ask(b"HASH new\r\n")[0])
    assert not {"read", "whole"} & set(engine.took())
    assert digest_of(b"content") in text(talk.ask(b"HASH file\r\n")[0]), "somebody else has stored it"
    assert digest_of(b"234") in text(talk.ask(b"RANG 1 3\r\nHASH new\r\n")[1])


def test_times_come_with_the_upload_and_by_mfmt(talk: Conversation) -> None:
    assert talk.codes(b"STOR new\r\n", frames(b"x", facts="modify=20201122055900.5;unix.mode=0600;")) == [150, 226]
    assert "modify=20201122055900.5;perm=dfrw;unique=;UNIX.mode=0600;" in text(talk.ask(b"MLST new\r\n")[-1])
    assert talk.codes(b"MFMT 20190101000000 new\r\nSITE CHMOD 640 new\r\n") == [213, 200]
    assert "modify=20190101000000;perm=dfrw;unique=;UNIX.mode=0640;" in text(talk.ask(b"MLST new\r\n")[-1])
    assert talk.ask(b"MDTM new\r\n") == ["213 20190101000000"]


LARGE = bytes(range(256)) * 3000  # several of the tests' parts


@pytest.mark.parametrize(("told", "copies"), [("20201122055900", 0), ("20201122055901", 1), ("", 1)])
def test_facts_that_are_told_early_spare_a_copy(talk: Conversation, engine: Counting, told: str, copies: int) -> None:
    if told:
        assert talk.codes(f"SITE FACTS modify={told}; large\r\n".encode()) == [200]
    assert talk.codes(b"STOR large\r\n", frames(LARGE, facts="modify=20201122055900;")) == [150, 226]
    assert engine.took().count("rewrite") == copies
    assert "modify=20201122055900;" in text(talk.ask(b"MLST large\r\n")[-1])


def test_facts_of_another_name_are_not_taken(talk: Conversation) -> None:
    assert talk.codes(b"SITE FACTS modify=19990101000000; other\r\n") == [200]
    assert talk.codes(b"STOR large\r\n", frames(LARGE)) == [150, 226]
    assert "modify=1999" not in text(talk.ask(b"MLST large\r\n")[-1])
    assert talk.codes(b"SITE FACTS modify=19990101000000;\r\nSITE FACTS colour=red; x\r\n") == [501, 501]


def test_a_client_of_ours_tells_them(engine: Counting, tmp_path: Any) -> None:
    from ftpsvc.copying import copy

    (tmp_path / "large").write_bytes(LARGE)
    remote, link = support.connected_remote(ObjectStorage(buckets.bucket(engine)))
    engine.took()
    result_of(copy(support.local_disk(tmp_path), "/large", remote, "/large"), link)
    calls = engine.took()
    assert "upload" in calls
    assert "rewrite" not in calls
    found = result_of(remote.stat("/large"), link)
    assert found.modified == (tmp_path / "large").stat().st_mtime_ns
    assert found.mode == stat.S_IMODE((tmp_path / "large").stat().st_mode)


def test_a_quota_is_held_and_counts_what_is_there(engine: Counting) -> None:
    engine.put("home/old", b"x" * 600, {}, True)
    engine.put("elsewhere", b"x" * 5000, {}, True)
    storage = ObjectStorage(buckets.bucket(engine), "home/")
    account = Account("ann", quota_bytes=1000)
    usage = Usage(lambda: Deferred.fromCoroutine(storage.count()), lambda: 0.0)
    quota = Quota(storage, usage, account)
    talk = Conversation(quota, accounts=support.OneAccount(account, quota)).log_in(user="ann")
    assert talk.codes(b"STOR new\r\n", frames(b"x" * 401)) == [150, 552]
    assert talk.codes(b"STOR new\r\n", frames(b"x" * 400)) == [150, 226]
    assert talk.ask(b"AVBL\r\n") == ["213 0"]
    assert "perm=dfrw;" in text(talk.ask(b"MLST new\r\n")[-1])


def test_an_engine_that_is_silent_is_a_450_and_the_session_lives_on(engine: Counting) -> None:
    run = by_hand()
    clock = support.make_clock()
    storage = ObjectStorage(buckets.bucket(engine, run, clock))
    waiting = start(storage.stat("/file"))
    clock.advance(PATIENCE - 1)
    assert not waiting.is_over
    clock.advance(1)
    with pytest.raises(model.Busy, match="Try again later"):
        waiting.result()
    run.fire()  # the answer that came too late is nobody's


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


def test_an_upload_has_so_many_parts_under_way_and_its_writer_waits() -> None:
    run = by_hand()
    sent: list[int] = []

    class Upload:
        at_once = 4

        def send(self, number: int, data: bytes) -> None:
            sent.append(number)

    class Engine(MemoryEngine):
        def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Any:
            return Upload()

    file = ObjectWriteFile(Engine(MemoryStore()), Calls(run, support.make_clock(), ""), "/f", "f", True, 1000)
    writing = start(file.write(b"x" * 100_000))
    run.fire()  # the beginning
    assert len(run.jobs) == 4
    assert not writing.is_over
    run.fire()
    assert sent == [1, 2, 3, 4]
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
    done: list[str] = []

    class Upload:
        at_once = 2

        def send(self, number: int, data: bytes) -> None:
            done.append(f"part {number}")

        def abort(self) -> None:
            done.append("aborted")

    class Engine(MemoryEngine):
        def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Any:
            return Upload()

    def file() -> ObjectWriteFile:
        return ObjectWriteFile(Engine(MemoryStore()), Calls(run, support.make_clock(), ""), "/f", "f", True, 1000)

    going = file()
    writing = start(going.write(b"x" * 100_000))
    run.fire()  # the beginning; two parts are under way, and the third waits for the first
    writing.deferred.cancel()
    result_of(going.abort())
    for _ in range(3):
        run.fire()
    assert done == ["part 1", "part 2", "aborted"]
    done.clear()
    young = file()
    writing = start(young.write(b"x" * 100_000))
    writing.deferred.cancel()  # before the engine has answered that it is begun
    result_of(young.abort())
    for _ in range(3):
        run.fire()
    assert done == ["aborted"]


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


def test_a_home_is_all_that_can_be_reached(engine: Counting) -> None:
    engine.put("secret", b"", {}, True)
    engine.put("home2/secret", b"", {}, True)
    engine.put("home/own", b"", {}, True)
    talk = Conversation(ObjectStorage(buckets.bucket(engine), "home/")).log_in()
    for path in (b"../secret", b"/../secret", b"/../home2/secret", b"..//secret"):
        assert talk.codes(b"RETR %s\r\n" % path) == [550]
    assert talk.codes(b"STOR ../up\r\n", frames(b"x")) == [150, 226]
    assert buckets.names_in(engine) == {"secret", "home2/secret", "home/own", "home/up"}


def test_keys_that_can_be_no_names_do_not_show(storage: ObjectStorage) -> None:
    def pages(prefix: str, after: str = "") -> Page:
        listed = [Listed(key, 1, TIME, "") for key in ("", "ok", ".ftpsvc-folder", ".", "..", "a\0b")]
        return Page(listed, ["", "..", "sub"], "")

    storage._engine.page = pages  # type: ignore[method-assign]
    storage._bucket.exact = None
    assert sorted(entry.name for entry in result_of(collected(storage.list("/")))) == ["ok", "sub"]


def test_an_upload_that_fails_is_aborted_behind_its_parts() -> None:
    done: list[str] = []

    class Upload:
        at_once = 4

        def send(self, number: int, data: bytes) -> None:
            done.append(f"part {number}")

        def complete(self, replace: bool) -> None:
            raise OSError("no answer")

        def abort(self) -> None:
            done.append("aborted")

    class Engine(MemoryEngine):
        def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Any:
            return Upload()

    talk = Conversation(ObjectStorage(buckets.bucket(Engine(MemoryStore()), part=1000))).log_in()
    assert talk.codes(b"STOR file\r\n", frames(b"x" * 100_000)) == [150, 450]
    assert done[-1] == "aborted"
    done.clear()
    assert talk.codes(b"STOR file\r\n", frames(b"x" * 100_000, digest="0" * 32)) == [150, 451]
    assert done[-1] == "aborted"
    assert talk.codes(b"NOOP\r\n") == [200]
