"""The gate: what a check refuses was never there, whatever way it came; and what it lets through is as ever."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import LoggedErrors
from hall import Hall
from storage_contract import BIG, StorageContract
from storage_place import Place
from support import Conversation, Started, at_once, frames, local_disk, parts_in, result_of, start
from tree_contract import TreeContract
from twisted.internet.defer import Deferred, fail, succeed

from ftpsvc import model
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.frames import digest_of
from ftpsvc.gate import LATER, MAX_TOLD, MAX_WAITING, CheckedAccounts, CheckedStorage, Gate
from ftpsvc.limits import Limits
from ftpsvc.model import Account, Facts, Whole
from ftpsvc.programs import Outcome
from ftpsvc.quota import Quota, Usage, Used
from ftpsvc.storage import SMALL, KeepsParts

CLEAN = Outcome(0, "")
FOUND = Outcome(1, "stream: Eicar-Test-Signature FOUND")


class Scanner:
    """In place of the check's program: reads what it gets, as a program does, and has an answer ready."""

    seconds = 60.0

    def __init__(self, answer: Outcome | OSError | None = CLEAN) -> None:
        """`answer`: None lets the test give it later."""
        self.answer = answer
        self.seen: list[bytes] = []
        self.told: list[dict[str, Any]] = []
        self.waiting: list[Deferred[Outcome]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def run(self, command: Sequence[str], given: int, more: Mapping[str, str]) -> Deferred[Outcome]:
        with open(given, "rb") as part:
            self.seen.append(part.read())
        self.told.append(json.loads(more["FTPSVC_RECORD"]))
        self.meanwhile()
        if isinstance(self.answer, OSError):
            return fail(self.answer)
        if self.answer is not None:
            return succeed(self.answer)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def start(self) -> None: ...

    def stop(self) -> None: ...


def checked(storage: Any, scanner: Scanner) -> CheckedStorage:
    return CheckedStorage(storage, Gate(["/bin/check"], scanner), {"account": "mia"})  # type: ignore[arg-type]


class TestContract(StorageContract, TreeContract):
    """A gate that everything passes changes nothing."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return Place(checked(local_disk(tmp_path), Scanner()), tmp_path, result_of)


SIZES = pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, 3_000_000])


@SIZES
@pytest.mark.parametrize("way", ["open_write", "put", "open_append", "new"])
def test_all_bytes_are_looked_at_before_the_name_is_there(tmp_path: Path, size: int, way: str) -> None:
    scanner, data = Scanner(), os.urandom(size)
    storage = checked(local_disk(tmp_path), scanner)
    scanner.meanwhile = lambda: seen.append(os.path.exists(tmp_path / "a"))
    seen: list[bool] = []
    result_of(stored(storage, way, data))
    assert scanner.seen == [data]
    assert seen == [False]
    assert (tmp_path / "a").read_bytes() == data
    digest = digest_of(data) if way == "put" else ""  # where nobody has said it, it is not known yet
    assert scanner.told[0] == {"account": "mia", "path": "/a", "bytes": size, "digest": digest}


async def stored(storage: Any, way: str, data: bytes, cut: int = 100_000) -> None:
    if way == "put":
        await storage.put("/a", Whole(data, Facts(mode=0o600)))
        return
    if way == "new":
        file = await storage.open_write("/a", replace=False)
    else:
        file = await getattr(storage, way)("/a")
    for at in range(0, size := len(data), cut):
        await file.write(data[at : min(at + cut, size)])
    await file.commit()


@SIZES
@pytest.mark.parametrize("way", ["open_write", "put"])
def test_what_is_refused_was_never_there_and_the_old_file_stays(tmp_path: Path, size: int, way: str) -> None:
    (tmp_path / "a").write_bytes(b"old")
    storage = checked(local_disk(tmp_path), Scanner(FOUND))
    with pytest.raises(model.Denied, match=r"\A/a was refused: stream: Eicar-Test-Signature FOUND\.\Z"):
        result_of(stored(storage, way, bytes(size)))
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_an_upload_that_goes_on_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    scanner = Scanner()
    storage = checked(local_disk(tmp_path), scanner)

    async def in_two_goes() -> None:
        file = await storage.open_write("/a")
        await file.write(BIG[:500_000])
        await file.abort(keep=True)
        assert isinstance(storage, KeepsParts)
        file = await storage.open_write("/a", 500_000)
        await file.write(BIG[500_000:])
        await file.commit()

    result_of(in_two_goes())
    assert scanner.seen == [BIG]
    assert (tmp_path / "a").read_bytes() == BIG


def test_what_is_added_is_checked_with_what_it_is_added_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    scanner = Scanner()
    storage = checked(local_disk(tmp_path), scanner)
    scanner.meanwhile = lambda: seen.append((tmp_path / "a").read_bytes())
    seen: list[bytes] = []
    result_of(stored(storage, "open_append", BIG))
    assert scanner.seen == [b"old" + BIG]
    assert seen == [b"old"]
    assert (tmp_path / "a").read_bytes() == b"old" + BIG
    scanner.answer = FOUND
    with pytest.raises(model.Denied):
        result_of(stored(storage, "open_append", b"more"))
    assert (tmp_path / "a").read_bytes() == b"old" + BIG
    assert os.listdir(tmp_path) == ["a"]


def test_of_two_who_add_to_one_file_neither_loses_what_was_added(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    storage = checked(local_disk(tmp_path), Scanner())
    first = result_of(storage.open_append("/a"))
    with pytest.raises(model.Busy, match="somebody else is adding"):
        result_of(storage.open_append("/a"))
    result_of(first.abort())
    second = result_of(storage.open_append("/a"))
    result_of(second.write(b"1"))
    result_of(stored(storage, "put", b"another"))
    with pytest.raises(model.Busy, match="has become another file"):
        result_of(second.commit())
    assert (tmp_path / "a").read_bytes() == b"another"
    result_of(stored(storage, "open_append", b"!"))
    assert (tmp_path / "a").read_bytes() == b"another!"
    assert os.listdir(tmp_path) == ["a"]


def test_damaged_bytes_are_not_even_looked_at(tmp_path: Path) -> None:
    scanner = Scanner()
    storage = checked(local_disk(tmp_path), scanner)

    async def store(data: bytes) -> None:
        file = await storage.open_write("/a")
        await file.write(data)
        await file.commit(digest="0" * 32)

    for data in (b"x", BIG):
        with pytest.raises(model.Damaged):
            result_of(store(data))
    assert scanner.seen == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Outcome(None, "", "said more than 64 MiB"), "the check said more than 64 MiB"),
        (Outcome(-9, ""), "the check has failed"),
        (Outcome(127, "not found"), "the check has failed"),
        (Outcome(126, ""), "the check has failed"),
        (Outcome(LATER, "the scanner is asleep"), "the scanner is asleep"),
        (OSError(errno.ENOENT, "gone"), "the check can't be run"),
    ],
)
def test_a_check_that_says_nothing_keeps_the_file_out_for_now(
    tmp_path: Path, logged_errors: LoggedErrors, answer: Any, why: str
) -> None:
    with pytest.raises(model.LocalFault, match=rf"\A/a was not stored, because {why}\. Try again later\.\Z"):
        result_of(stored(checked(local_disk(tmp_path), Scanner(answer)), "open_write", b"x"))
    assert os.listdir(tmp_path) == []
    logged_errors.events.clear()


def test_what_a_check_says_is_bounded_and_may_be_nothing(tmp_path: Path) -> None:
    for said, told in (("x" * 5000, "x" * MAX_TOLD), ("", "it has not passed the check that files here have to pass")):
        with pytest.raises(model.Denied, match=rf"\A/a was refused: {told}\.\Z"):
            result_of(stored(checked(local_disk(tmp_path), Scanner(Outcome(1, said))), "put", b"x"))


def test_no_more_uploads_wait_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsvc.gate.MAX_WAITING", 2)
    assert MAX_WAITING > 2
    scanner = Scanner(None)
    storage = checked(local_disk(tmp_path), scanner)
    waiting: list[Started] = []
    for name in ("/a", "/b"):
        waiting.append(start(storage.put(name, Whole(b"x"))))
    with pytest.raises(model.Busy):
        result_of(storage.put("/c", Whole(b"x")))
    for answer in scanner.waiting:
        answer.callback(CLEAN)
    assert all(one.is_over for one in waiting)
    scanner.answer = CLEAN
    result_of(storage.put("/c", Whole(b"x")))


class Mute:
    """A storage that shows no file before it has its name."""

    def __init__(self) -> None:
        self.is_aborted = False

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> Mute:
        return self

    async def write(self, chunk: bytes) -> None: ...

    async def commit(self, *_: object) -> None:
        raise AssertionError("unchecked")

    async def abort(self, keep: bool = False) -> None:
        self.is_aborted = True


def test_what_can_not_be_looked_at_is_not_stored() -> None:
    storage = Mute()
    with pytest.raises(model.LocalFault, match="lets nobody look"):
        result_of(stored(checked(storage, Scanner()), "open_write", b"x"))
    assert storage.is_aborted


# -- with a quota


def test_what_is_refused_takes_nothing_of_the_quota(tmp_path: Path) -> None:
    usage = Usage(lambda: succeed(Used()), lambda: 0.0)
    quota = Quota(local_disk(tmp_path), usage, Account("mia", quota_bytes=1_000_000))
    scanner = Scanner(FOUND)
    with pytest.raises(model.Denied):
        result_of(stored(checked(quota, scanner), "open_write", bytes(900_000)))
    assert (usage.size, usage.files, usage.uploads) == (0, 0, 0)
    scanner.answer = CLEAN
    result_of(stored(checked(quota, scanner), "open_write", bytes(900_000)))
    assert (usage.size, usage.files) == (900_000, 1)
    assert [len(seen) for seen in scanner.seen] == [900_000, 900_000]


# -- in a session


class Talk(Conversation):
    def __init__(self, folder: Path, scanner: Scanner) -> None:
        gate = Gate(["/bin/check"], scanner)  # type: ignore[arg-type]
        super().__init__(None, accounts=CheckedAccounts(AnonymousOnly(local_disk(folder)), gate))
        self.log_in()


@pytest.mark.parametrize("verb", ["STOR a", "STOU a", "APPE a"])
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_client_is_told_why_and_the_session_goes_on(tmp_path: Path, verb: str, size: int) -> None:
    scanner = Scanner(FOUND)
    talk = Talk(tmp_path, scanner)
    answers = talk.ask(verb.encode() + b"\r\n", frames(bytes(size)), b"NOOP\r\n")
    assert [str(answer)[:3] for answer in answers] == ["150", "550", "200"]
    assert str(answers[1]).endswith("was refused: stream: Eicar-Test-Signature FOUND.")
    assert os.listdir(tmp_path) == []
    assert (scanner.told[0]["account"], scanner.told[0]["session"]) == ("anonymous", 1)
    assert scanner.told[0]["bytes"] == size and len(scanner.told[0]["digest"]) == 32


def test_one_record_tells_of_the_refusal(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Scanner(FOUND))
    records: list[Any] = []
    talk.factory.records.listeners.append(records.extend)
    talk.ask(b"STOR a\r\n", frames(b"x"))
    talk.factory.records.flush()
    (record,) = [record for record in records if record.event == "transfer"]
    assert (record.ending.value, record.cause) == ("aborted", "/a was refused: stream: Eicar-Test-Signature FOUND.")


def test_while_one_is_checked_the_next_arrives_and_nobody_sees_either(tmp_path: Path) -> None:
    scanner = Scanner(None)
    talk = Talk(tmp_path, scanner)
    assert talk.codes(b"STOR a\r\n", frames(b"1"), b"STOR b\r\n", frames(b"2")) == [150]
    assert len(scanner.waiting) == 2
    assert os.listdir(tmp_path) == []
    scanner.waiting[1].callback(FOUND)
    scanner.waiting[0].callback(CLEAN)
    talk.link.pump()
    assert [str(answer)[:3] for answer in talk.take()] == ["226", "150", "550"]
    assert os.listdir(tmp_path) == ["a"]


def test_an_upload_is_checked_to_its_end_though_its_client_has_gone(tmp_path: Path) -> None:
    scanner = Scanner(None)
    talk = Talk(tmp_path, scanner)
    talk.send(b"STOR a\r\n", frames(bytes(200_000)))
    talk.link.close()
    scanner.waiting[0].callback(FOUND)
    assert os.listdir(tmp_path) == []
    assert parts_in(tmp_path) == []


def test_downloads_and_folders_are_not_checked(tmp_path: Path) -> None:
    scanner = Scanner(FOUND)
    (tmp_path / "a").write_bytes(b"x" * 200_000)
    talk = Talk(tmp_path, scanner)
    assert talk.codes(b"RETR a\r\nMKD d\r\nRNFR a\r\nRNTO d/a\r\nSIZE d/a\r\nDELE d/a\r\nRMD d\r\n") == [
        150, "DONE", 226, 257, 350, 250, 213, 250, 250
    ]  # fmt: skip
    assert scanner.seen == []


def test_guests_in_a_hall_are_let_in_and_checked(tmp_path: Path) -> None:
    gate = Gate(["/bin/check"], Scanner(FOUND))  # type: ignore[arg-type]
    hall = Hall(tmp_path, Limits(), CheckedAccounts(AnonymousOnly(local_disk(tmp_path)), gate), at_once)
    visitor = hall.visit()
    visitor.log_in()
    assert visitor.codes(b"MODE I\r\nSTOR a\r\n", frames(b"x")) == [200, 150, 550]
    visitor.leave()
