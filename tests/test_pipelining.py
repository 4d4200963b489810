"""Many commands at once: their order, the commits that overlap, and what may wait."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import support
from support import Conversation, Sequence, frames
from twisted.internet.defer import Deferred, succeed

from ftpsvc import model
from ftpsvc.around import Around
from ftpsvc.frames import digest_of
from ftpsvc.limits import Limits
from ftpsvc.model import Entry, Kind
from ftpsvc.stream import LAST_WORD


def test_everything_in_one_segment_is_answered_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    sent = (
        b"STOR a\r\n"
        + frames(b"first")
        + b"RETR a\r\nCWD sub\r\nSTOR a\r\n"
        + frames(b"second")
        + b"SIZE a\r\nRETR /a\r\n"
        b"XYZZY\r\nSTOR no/where\r\n" + frames(b"third") + b"NLST\r\nQUIT\r\nNOOP\r\n"
    )
    answers = talk.ask(sent)
    codes = [a.data if isinstance(a, Sequence) else int(a[:3]) for a in answers]
    assert codes == [
        *(150, 226),
        *(150, b"first", 226),
        250,
        *(150, 226),
        213,
        *(150, b"first", 226),
        500,
        550,
        *(150, b"a\r\n", 226),
        221,
    ]
    assert talk.is_closed


def test_thousands_of_files_go_up_and_come_back_in_one_conversation(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    count = 300
    files = {f"file{number}": f"content of {number}".encode() * (number % 50) for number in range(count)}
    talk.send(*(f"STOR {name}\r\n".encode() + frames(data) for name, data in files.items()))
    assert [str(a)[:3] for a in talk.take()] == ["150", "226"] * count
    answers = talk.ask(*(f"RETR {name}\r\n".encode() for name in files))
    assert [a.data for a in answers if isinstance(a, Sequence)] == list(files.values())


# -- commits that overlap


def test_the_next_upload_begins_while_the_one_before_is_committed(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    assert talk.codes(*(b"STOR %d\r\n" % n + frames(b"data %d" % n) for n in range(5))) == [150]
    assert not os.listdir(tmp_path) or not (tmp_path / "0").exists()
    codes: list[int | str] = []
    while run.jobs:
        run.fire()
        codes += talk.codes()
    # No 150 overtakes the 226 before it.
    assert codes == [226, *[150, 226] * 4]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {str(n): b"data %d" % n for n in range(5)}


@pytest.mark.parametrize("command", [b"SIZE a", b"RETR a", b"NOOP", b"XYZZY", b"NLST", b"QUIT", b"DATA 5"])
def test_any_other_command_waits_for_the_commits(tmp_path: Path, command: bytes) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    assert talk.codes(b"STOR a\r\n", frames(b"12345"), b"STOR b\r\n", frames(b""), command + b"\r\n") == [150]
    codes: list[int | str] = []
    while run.jobs:
        run.fire()
        codes += talk.codes()
    assert codes[:3] == [226, 150, 226]
    assert len(codes) > 3
    assert (command != b"SIZE a") or codes[3] == 213


def test_each_reply_belongs_to_its_own_file_when_one_of_them_fails(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(b"STOR a\r\n", frames(b"1"), b"STOR b/\r\n", frames(b"2"), b"STOR c\r\n", frames(b"3", digest="0" * 32))
    talk.send(b"STOR d\r\n", frames(b"4"))
    while run.jobs:
        run.fire()
        talk.link.pump()
    codes = [str(a)[:3] for a in talk.take()]
    assert codes == ["150", "226", "550", "150", "451", "150", "226"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "d"]


def test_one_session_keeps_a_bounded_number_of_files_waiting(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    before = len(os.listdir("/proc/self/fd"))
    talk.send(*(b"STOR %d\r\n" % n + frames(b"x") for n in range(400)))
    assert len(os.listdir("/proc/self/fd")) - before < 300
    while run.jobs:
        run.fire()
        talk.link.pump()
    assert [str(a)[:3] for a in talk.take()] == ["150", "226"] * 400


def test_uploads_whose_data_has_arrived_are_committed_though_the_connection_is_lost(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(b"STOR a\r\n", frames(b"1"), b"STOR b\r\n", frames(b"2"))
    talk.link.lose()
    while run.jobs:
        run.fire()
    names = os.listdir(tmp_path)
    assert all((tmp_path / name).read_bytes() in (b"1", b"2") for name in names)
    assert "a" in names


def test_a_connection_lost_while_a_thread_writes_keeps_the_part(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run, cut=lambda: 1 << 20).log_in()
    talk.send(b"STOR file\r\nDATA 900000\r\n", bytes(290_000))
    talk.send(bytes(290_000))  # which waits for the thread that writes the first
    assert run.jobs, "nothing is being written: the test is pointless"
    talk.link.lose()
    while run.jobs:
        run.fire()
    assert (tmp_path / "file").read_bytes() == b"old"
    part = support.take_part(tmp_path)
    assert part
    assert part == bytes(len(part))


# -- what may wait


def test_a_hundred_thousand_commands_to_a_client_that_reads_nothing_stay_bounded(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    talk.link.client_end.is_reading = False
    gc.collect()
    tracemalloc.start()
    talk.link.client_end.outgoing += b"NOOP\r\n" * 100_000
    before = tracemalloc.take_snapshot()
    talk.link.pump()
    grown = sum(stat.size_diff for stat in tracemalloc.take_snapshot().compare_to(before, "filename"))
    tracemalloc.stop()
    # What the server could not take is still with the client, which is what stops it on a real connection.
    assert talk.link.server_end.most_held < 2 * 1024 * 1024
    assert grown < 4 * 1024 * 1024
    talk.link.client_end.is_reading = True
    talk.link.pump()
    received = bytes(talk.peer.received)
    talk.peer.received.clear()
    assert received.count(b"200 ") == 100_000


def test_a_client_that_asks_for_the_state_of_its_transfer_and_reads_no_answer_stays_bounded(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in(inline=False)
    talk.server.data._way = Endless()
    assert talk.codes(b"STOR file\r\n") == [150]
    talk.link.client_end.is_reading = False
    talk.send(b"STAT\r\n" * 100_000)
    assert talk.link.server_end.most_held < 2 * 1024 * 1024
    talk.link.client_end.is_reading = True
    talk.link.pump()
    assert set(talk.codes(b"")) == {213, 421}
    assert os.listdir(tmp_path) == []


def test_downloads_for_a_client_that_reads_nothing_are_not_produced(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(100_000_000)
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    talk.link.client_end.is_reading = False
    talk.send(b"RETR file\r\n" * 2000)
    assert talk.link.server_end.most_held < 8 * 1024 * 1024


def test_commands_behind_a_transfer_wait_with_the_client(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(b"STOR file\r\n", frames(bytes(300_000)), b"NOOP\r\n" * 200_000)
    assert len(talk.link.client_end.outgoing) > 900_000
    talk.link.lose()
    run.close()


class Ended:
    """A data connection that has come and has ended, in order, before it was asked for."""

    mode = "passive"
    connection = None
    is_secure = False

    def look(self) -> None:
        """It is here."""

    def connected(self, limit: float) -> Deferred[Ended]:
        return succeed(self)

    def moved(self) -> None:
        """Nobody waits for it."""

    async def secured(self, connection: Ended) -> None:
        """It is in clear."""

    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        """It is taken."""

    async def finish(self) -> None:
        """It has ended."""

    def close(self, why: model.TransferError | None = None) -> None:
        """Nothing is open."""


class Endless(Ended):
    """One that has come, and brings nothing."""

    def __init__(self) -> None:
        self._end: Deferred[bytes] = Deferred()

    async def read(self) -> bytes:
        return await self._end

    def close(self, why: model.TransferError | None = None) -> None:
        if why is not None and not self._end.called:
            self._end.errback(why)


@pytest.mark.parametrize("behind", [b"", b"STAT\r\n"])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_came_while_a_file_was_opened_takes_effect_on_its_transfer(
    tmp_path: Path, behind: bytes, at_once: bool
) -> None:
    run = support.by_hand()
    (tmp_path / "a").write_bytes(b"old and whole")
    talk = Conversation(Slow(support.local_disk(tmp_path), run)).log_in(inline=False)
    assert talk.codes(b"TYPE I\r\n") == [200]
    talk.server.data._way = Ended()
    for lines in [b"STOR a\r\n" + behind + b"ABOR\r\n"] if at_once else [b"STOR a\r\n", behind, b"ABOR\r\n"]:
        talk.send(lines)
    run.fire()
    talk.link.pump()  # and nothing more comes that would have it looked for
    assert talk.codes(b"NOOP\r\n") == [150, *([213] if behind else []), 426, 226, 200]
    assert (tmp_path / "a").read_bytes() == b"old and whole"


def test_many_questions_for_the_progress_of_a_transfer_are_answered_together(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(Slow(support.local_disk(tmp_path), run)).log_in(inline=False)
    talk.server.data._way = Ended()
    with mock.patch.object(talk.server, "flush", wraps=talk.server.flush) as flush:
        talk.send(b"STOR a\r\n" + b"STAT\r\n" * 1000)
        run.fire()
        assert flush.call_count < 20
    talk.clock.advance(LAST_WORD)
    talk.link.pump()
    run.close()
    assert talk.codes() == [150] + [213] * 1000 + [226]


@pytest.mark.parametrize(("is_away", "first"), [(False, [150, 213, 226]), (True, [450, 211])])
def test_what_is_asked_of_a_listing_is_answered_behind_its_first_reply(
    tmp_path: Path, is_away: bool, first: list[int]
) -> None:
    run = support.by_hand()
    storage = Slow(support.local_disk(tmp_path), run)
    storage.is_away = is_away
    talk = Conversation(storage).log_in(inline=False)
    talk.server.data._way = Ended()
    talk.send(b"LIST\r\nSTAT\r\n")
    talk.send(b"NOOP\r\n")
    assert talk.codes() == []
    while run.jobs:
        run.fire()
    talk.clock.advance(0)
    talk.link.pump()
    run.close()
    assert talk.codes() == [*first, 200]


class Slow(Around):
    """A storage in which it takes a while to open a file, as an object storage, or a home that has to be counted."""

    is_away = False

    def __init__(self, storage: Any, run: support.ByHand) -> None:
        super().__init__(storage)
        self._run = run

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> Any:
        await self._run(lambda: None)
        return await self._storage.open_write(path, offset, replace)

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        await self._run(lambda: None)
        if self.is_away:
            raise model.Busy(f"{path}: the storage doesn't answer.")
        yield Entry("file", Kind.FILE)


def test_a_client_that_never_takes_the_last_reply_is_dropped(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    talk.link.client_end.is_reading = False
    talk.send(b"QUIT\r\n")
    assert not talk.is_closed
    talk.clock.advance(6)
    talk.link.pump()
    assert talk.is_closed


def test_a_session_lets_others_have_their_turn(tmp_path: Path) -> None:
    """Thousands of commands are not carried out in one go: between them, the clock's calls are made."""
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    turns = []
    talk.link.client_end.outgoing += b"NOOP\r\n" * 5000
    talk.server.dataReceived(talk.link.client_end.take(30_000))
    talk.clock.callLater(0, lambda: turns.append(bytes(talk.link.server_end.outgoing).count(b"200 ")))
    talk.link.pump()
    assert turns[0] < 5000
    assert bytes(talk.peer.received).count(b"200 ") == 5000
    talk.peer.received.clear()


def test_digests_are_those_of_each_file_however_many_are_under_way(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    contents = [os.urandom(size) for size in (0, 1, 70_000, 300_000, 5)]
    talk.send(*(b"STOR %d\r\n" % n + frames(data, 50_000) for n, data in enumerate(contents)))
    answers: list[str | Sequence] = talk.take()
    while run.jobs:
        run.fire()
        talk.link.pump()
        answers += talk.take()
    assert [a for a in answers if str(a).startswith("226")] == [
        f"226 Stored {len(data)} bytes, xxh3-128 {digest_of(data)}." for data in contents
    ]


def test_what_comes_behind_many_commands_is_heard_while_the_last_of_them_is_carried_out(tmp_path: Path) -> None:
    """Reading stops while too much waits; not while a transfer runs behind which nothing does."""
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run, Limits(delay=0, line=1000, waiting=1000)).log_in()
    talk.send(b"NOOP\r\n" * 300 + b"RETR file\r\n")
    talk.send(b"ABOR\r\n")
    while run.jobs:
        run.fire()
        talk.link.pump()
    assert talk.codes()[300:] == [150, "FAIL", 426, 226]
