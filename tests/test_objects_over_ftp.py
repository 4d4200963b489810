"""Object storage behind a session: what is answered where it can't do what a disk can, and what its calls come to."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import buckets
import pytest
import support
from buckets import Counting, Incomplete, engine, storage
from support import Conversation, by_hand, frames, result_of, start
from twisted.internet.defer import Deferred

from ftpsvc.copying import copy
from ftpsvc.crew import Crew
from ftpsvc.frames import digest_of
from ftpsvc.healing import HealingRemote
from ftpsvc.model import Account
from ftpsvc.objects.calls import PATIENCE
from ftpsvc.objects.storage import ObjectStorage
from ftpsvc.quota import Quota, Usage
from ftpsvc.records import Change, Record

__all__ = ["engine", "storage"]  # fixtures, which pytest finds by their names


def text(answer: Any) -> str:
    assert isinstance(answer, str)
    return answer


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


def test_facts_that_are_told_early_and_not_said_at_the_end_are_not_set(talk: Conversation, engine: Counting) -> None:
    assert talk.codes(b"SITE FACTS modify=19990101000000; large\r\nSTOR large\r\n", frames(b"small")) == [200, 150, 226]
    assert talk.codes(b"STOR large\r\n", frames(LARGE)) == [150, 226]
    assert "modify=1999" not in text(talk.ask(b"MLST large\r\n")[-1])
    assert talk.codes(b"SITE FACTS modify=19990101000000; large\r\nSTOR large\r\n", frames(LARGE)) == [200, 150, 226]
    assert "modify=1999" not in text(talk.ask(b"MLST large\r\n")[-1])
    assert engine.whole("large", len(LARGE))[1] == LARGE


def test_facts_of_another_name_are_not_taken(talk: Conversation) -> None:
    assert talk.codes(b"SITE FACTS modify=19990101000000; other\r\n") == [200]
    assert talk.codes(b"STOR large\r\n", frames(LARGE)) == [150, 226]
    assert "modify=1999" not in text(talk.ask(b"MLST large\r\n")[-1])
    assert talk.codes(b"SITE FACTS modify=19990101000000;\r\nSITE FACTS colour=red; x\r\n") == [501, 501]


def test_a_client_of_ours_tells_them(engine: Counting, tmp_path: Path) -> None:
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


def test_several_connections_tell_them_each_of_its_own_file(engine: Counting, tmp_path: Path) -> None:
    source, storage = support.local_disk(tmp_path), ObjectStorage(buckets.bucket(engine))
    remotes, links = zip(*(support.connected_remote(storage) for _ in range(2)), strict=True)
    crew = Crew([HealingRemote(remote, pytest.fail, links[0].clock) for remote in remotes], links[0].clock)
    engine.took()
    names = ("/one", "/two", "/three")
    for name in names:
        (tmp_path / name[1:]).write_bytes(LARGE)
    copies = [start(copy(source, name, crew, name)) for name in names]
    while not all(copied.is_over for copied in copies):
        for link in links:
            link.pump()
    calls = engine.took()
    assert (calls.count("upload"), calls.count("rewrite")) == (3, 0)
    for name, copied in zip(names, copies, strict=True):
        assert copied.result().size == len(LARGE)
        assert result_of(storage.stat(name)).modified == (tmp_path / name[1:]).stat().st_mtime_ns


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


def test_a_quota_looks_for_the_old_file_twice_however_large_the_new_one_is(engine: Counting) -> None:
    storage = ObjectStorage(buckets.bucket(engine))
    account = Account("ann", quota_bytes=1 << 30)
    quota = Quota(storage, Usage(lambda: Deferred.fromCoroutine(storage.count()), lambda: 0.0), account)
    talk = Conversation(quota, accounts=support.OneAccount(account, quota)).log_in(user="ann")
    engine.took()
    assert talk.codes(b"STOR new\r\n", frames(LARGE, size=1000)) == [150, 226]
    assert sorted(engine.took()) == ["has_below", "has_below", "look", "look", "page", "upload"]


def test_a_home_is_all_that_can_be_reached(engine: Counting) -> None:
    engine.put("secret", b"", {}, True)
    engine.put("home2/secret", b"", {}, True)
    engine.put("home/own", b"", {}, True)
    talk = Conversation(ObjectStorage(buckets.bucket(engine), "home/")).log_in()
    for path in (b"../secret", b"/../secret", b"/../home2/secret", b"..//secret"):
        assert talk.codes(b"RETR %s\r\n" % path) == [550]
    assert talk.codes(b"STOR ../up\r\n", frames(b"x")) == [150, 226]
    assert buckets.names_in(engine) == {"secret", "home2/secret", "home/own", "home/up"}


def test_an_upload_that_fails_is_aborted_behind_its_parts() -> None:
    engine = Incomplete(at_once=4)
    talk = Conversation(ObjectStorage(buckets.bucket(engine, part=1000))).log_in()
    assert talk.codes(b"STOR file\r\n", frames(b"x" * 100_000)) == [150, 450]
    assert engine.done[-1] == "aborted"
    engine.done.clear()
    assert talk.codes(b"STOR file\r\n", frames(b"x" * 100_000, digest="0" * 32)) == [150, 451]
    assert engine.done[-1] == "aborted"
    assert talk.codes(b"NOOP\r\n") == [200]


def test_what_waited_for_a_thread_for_too_long_is_not_stored_after_all(engine: Counting) -> None:
    run = by_hand()
    clock = support.make_clock()
    talk = Conversation(ObjectStorage(buckets.bucket(engine, run, clock))).log_in()
    talk.send(b"STOR file\r\n", frames(b"old"))
    run.fire()  # the look at the folder
    clock.advance(PATIENCE)
    assert talk.codes()[-1:] == [450]
    engine.put("file", b"what another node has stored since", {}, True)
    run.close()
    assert bytes(engine.whole("file", 100)[1] or b"") == b"what another node has stored since"


def test_an_engine_that_is_silent_is_a_450_and_the_session_lives_on(engine: Counting) -> None:
    run = by_hand()
    clock = support.make_clock()
    talk = Conversation(ObjectStorage(buckets.bucket(engine, run, clock))).log_in()
    assert talk.codes(b"SIZE file\r\n") == []
    clock.advance(PATIENCE - 1)
    assert talk.codes() == []
    clock.advance(1)
    (reply,) = talk.ask()
    assert text(reply).startswith("450 ") and "Try again later" in text(reply)
    run.fire()  # the answer that came too late is nobody's
    assert talk.codes(b"NOOP\r\n") == [200]


@pytest.mark.parametrize(
    ("commands", "done", "left"),
    [
        (b"DELE d/f\r\n", "remove", set()),
        (b"RNFR d/f\r\nRNTO g\r\n", "copy", {"g"}),
    ],
)
def test_what_has_begun_to_change_is_changed_to_its_end_though_its_client_has_gone(
    engine: Counting, commands: bytes, done: str, left: set[str]
) -> None:
    engine.put("d/f", b"content", {}, True)
    run = by_hand()
    talk = Conversation(ObjectStorage(buckets.bucket(engine, run))).log_in()
    records: list[Record] = []
    talk.factory.records.listeners.append(records.extend)
    talk.send(commands)
    while done not in engine.took():
        run.fire()
    talk.link.lose()
    while run.jobs:
        run.fire()
    assert buckets.names_in(engine) == left
    assert engine.has_below("d/"), "the folder stays when its last file goes"
    talk.factory.records.flush()
    assert [record.account for record in records if isinstance(record, Change)] == ["anonymous"]
