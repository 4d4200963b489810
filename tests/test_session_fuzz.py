"""Any commands in any order and in any pieces, data connections that come, go and break, time that passes.

What must hold whatever is said: each command has one final reply, the session goes on or ends in order, nothing is
logged as a fault of ours, and nothing is left behind. It all happens in memory.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from links import Link, RawPeer
from support import CLOCKS, LEFT_OPEN, Conversation, Sequence, frames, local_disk, parts_in
from twisted.logger import LogLevel, globalLogPublisher

from ftpsvc.addresses import IP, Address
from ftpsvc.dataconnection import DataConnection
from ftpsvc.datasetup import DataSetup
from ftpsvc.passive import PassiveOptions
from ftpsvc.passiveports import PassivePorts
from ftpsvc.verbs import VERBS
from ftpsvc.way import Way

UPLOADS = {name for name, verb in VERBS.items() if verb.uploads}

#: What changes how the bytes behind it are read, or ends the session, has a rule of its own.
APART = {"MODE", "REIN", "QUIT"}

names = st.sampled_from(
    ["a", "b", "d", "d/c", "new", "no/where", "..", "/", "-la", "*", "", "x" * 256, "a\0", "é", " a"]
)
values = st.sampled_from(
    "0|3|1 0|2 9|99999999999999999999|A|I|L 8|P|TLS|ALL|F|en|UTF8 ON|MLST size;|HASH MD5|20010101000000 a|"
    "UNIX.mode=0600; a|CHMOD 600 a|UTIME a|HELP|127,0,0,1,200,1||1|127.0.0.1|9999|".split("|")
)
junk = st.text(st.characters(max_codepoint=0xFE, exclude_characters="\n"), max_size=20)
arguments = st.one_of(names, values, junk)
verbs = st.sampled_from(sorted(set(VERBS) - APART))
contents = st.sampled_from([b"", b"hello", b"\r\nDELE a\r\n", b"x" * 70_000, b"line\r\n" * 9])
pieces = st.lists(st.integers(1, 4000), min_size=1, max_size=5)


class MemoryWay(Way):
    """A data connection whose other end is the test's."""

    peer: RawPeer | None = None
    link: Link | None = None

    def connect(self) -> None:
        connection = DataConnection(self._reactor)
        self.peer = RawPeer()
        self.link = Link(self._reactor, connection, self.peer)
        LEFT_OPEN.append(self.link)
        self.connection = connection
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(connection)

    def silence(self, limit: float) -> str:
        return "Nobody came."


class MemoryData(DataSetup):
    """Prepares those."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock, PassiveOptions(), PassivePorts(0, clock), lambda: None)
        self._clock = clock
        self.ways: list[MemoryWay] = []

    @property
    def local(self) -> IP:
        return ipaddress.ip_address("127.0.0.1")

    def _prepare(self) -> None:
        self.forget()
        self.ways.append(MemoryWay(self._clock, lambda: None))
        self._way = self.ways[-1]

    def listen(self, tells_address: bool = True) -> Address:
        self._prepare()
        return Address(self.local, 40_000)

    def connect_to(self, address: Address) -> None:
        self._prepare()


class Session(RuleBasedStateMachine):
    """One client after the other, on one folder."""

    @initialize(cut=pieces, is_known=st.booleans())
    def connect(self, cut: list[int], is_known: bool) -> None:
        if not hasattr(self, "folder"):
            self.descriptors = len(os.listdir("/proc/self/fd"))
            self.folder = Path(tempfile.mkdtemp())
            (self.folder / "d").mkdir()
            for name in ("a", "d/c"):
                (self.folder / name).write_bytes(b"content")
            self.disk = local_disk(self.folder)
            self.faults: list[Any] = []
            globalLogPublisher.addObserver(self.watch)
        turns = iter(cut * 100_000)
        self.talk = Conversation(self.disk, cut=lambda: next(turns))
        self.data = self.talk.server.data = MemoryData(self.talk.clock)
        self.asked = self.answered = 0
        self.is_inline = False
        self.talk.take()
        if is_known:
            self.log_in()

    def watch(self, event: dict[str, Any]) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self.faults.append(event)

    def say(self, line: str, behind: bytes = b"") -> None:
        if not self.talk.is_closed:
            self.asked += 1
            self.talk.send(line.encode("latin-1", "replace") + b"\r\n", behind)
            self.pump()

    def pump(self) -> None:
        for way in self.data.ways:
            if way.link is not None:
                way.link.pump()
        self.talk.link.pump()

    # -- what a client may do

    @rule()
    def log_in(self) -> None:
        self.say("USER ftp")
        self.say("PASS x")

    @rule(verb=verbs, argument=arguments, has_one=st.booleans())
    def command(self, verb: str, argument: str, has_one: bool) -> None:
        line = f"{verb} {argument}" if has_one else verb
        self.say(line, frames(b"data", 3) if self.is_inline and verb in UPLOADS else b"")

    @rule(line=junk.filter(lambda line: line[:4].strip().upper() not in (*APART, *UPLOADS, "DATA", "DONE", "FAIL")))
    def no_command(self, line: str) -> None:
        self.say(line)

    @rule(line=st.sampled_from(["ABOR", "STAT", "NOOP", "EPSV", "PASV"]))
    def often(self, line: str) -> None:
        self.say(line)

    @rule(
        verb=st.sampled_from(sorted(UPLOADS)),
        name=names,
        content=contents,
        end=st.sampled_from(["", "FAIL", "DONE 00"]),
    )
    def upload(self, verb: str, name: str, content: bytes, end: str) -> None:
        sequence = frames(content, 4096)
        if end:
            sequence = sequence[: sequence.rindex(b"DONE ")] + end.encode() + b"\r\n"
        self.say(f"{verb} {name}", sequence if self.is_inline else b"")

    @rule(
        verb=st.sampled_from(["RETR a", "STOR new", "APPE a", "STOU", "LIST", "NLST d", "MLSD"]),
        content=contents,
        end=st.sampled_from(["in order", "reset", "not yet"]),
        is_early=st.booleans(),
    )
    def transfer(self, verb: str, content: bytes, end: str, is_early: bool) -> None:
        """A transfer on a connection of its own, as a client means it."""
        if self.is_inline:
            return
        self.say("EPSV")
        if is_early:
            self.data_connects()
        self.say(verb)
        if not is_early:
            self.data_connects()
        self.data_arrives(content)
        if end != "not yet":
            self.data_ends(end == "reset")

    @rule(mode=st.sampled_from("SI"))
    def mode(self, mode: str) -> None:
        self.settle()
        if not self.talk.is_closed:
            self.say(f"MODE {mode}")
            self.is_inline = mode == "I"
            self.settle()

    @rule()
    def rein(self) -> None:
        self.settle()
        self.say("REIN")
        self.is_inline = False

    @rule()
    def data_connects(self) -> None:
        for way in self.data.ways[-1:]:
            if way.link is None and not way._is_closed:
                way.connect()
                self.pump()

    @rule(content=contents)
    def data_arrives(self, content: bytes) -> None:
        for way in self.data.ways[-1:]:
            if way.link is not None:
                way.link.client_end.write(content)
                self.pump()

    @rule(is_reset=st.booleans())
    def data_ends(self, is_reset: bool) -> None:
        for way in self.data.ways[-1:]:
            if way.link is not None:
                if is_reset:
                    way.link.lose()
                else:
                    way.link.client_end.loseConnection()
                self.pump()

    @rule(is_reading=st.booleans())
    def reads(self, is_reading: bool) -> None:
        self.talk.link.client_end.is_reading = is_reading
        self.pump()

    @rule(seconds=st.sampled_from([1, 10, 31, 100]))
    def time_passes(self, seconds: int) -> None:
        self.talk.clock.advance(seconds)
        self.pump()

    @rule(is_reset=st.booleans(), is_half=st.booleans(), cut=pieces)
    def goes_and_comes_back(self, is_reset: bool, is_half: bool, cut: list[int]) -> None:
        if is_half and not self.is_inline:
            self.talk.link.client_end.loseWriteConnection()
            self.pump()
            self.settle_data()
        elif is_reset:
            self.talk.link.lose()
        else:
            self.talk.link.client_end.loseConnection()
        self.pump()
        self.leave()
        self.connect(cut, True)

    # -- what must hold

    def settle_data(self) -> None:
        """Let every transfer come to its end."""
        self.talk.link.client_end.is_reading = True
        self.pump()
        for _ in range(20):
            if self.count() >= self.asked or self.talk.is_closed:
                return
            for way in self.data.ways:
                if way.link is not None:
                    way.link.client_end.loseConnection()
            self.pump()
            if self.count() < self.asked:
                self.talk.clock.advance(31)
                self.pump()
        raise AssertionError(f"{self.asked - self.answered} commands have no answer")

    def count(self) -> int:
        """How many final replies there are by now."""
        if not self.talk.link.server_end.outgoing:
            self.answered += sum(
                1 for answer in self.talk.take() if not isinstance(answer, Sequence) and not answer.startswith("1")
            )
        return self.answered

    @rule()
    def settle(self) -> None:
        if self.talk.is_closed:
            return
        self.settle_data()
        if not self.talk.is_closed:
            assert self.answered == self.asked
            self.say("NOOP")
            assert self.count() == self.asked
        else:
            assert self.answered <= self.asked + 1  # a 421 is nobody's answer

    @invariant()
    def nothing_failed_by_a_fault_of_ours(self) -> None:
        assert not getattr(self, "faults", [])

    def leave(self) -> None:
        self.talk.link.close()
        self.talk.peer.received.clear()
        for way in self.data.ways:
            if way.link is not None:
                way.link.close()
            assert way._is_closed or way.connection is not None
        self.talk.clock.advance(60)
        self.talk.factory.records.flush()
        assert not self.talk.clock.getDelayedCalls()
        CLOCKS.remove(self.talk.clock)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            globalLogPublisher.removeObserver(self.watch)
            if self.talk.clock in CLOCKS:
                self.leave()
            for part in parts_in(self.folder):
                part.unlink()
            shutil.rmtree(self.folder)
            self.disk.close()
            LEFT_OPEN.remove(self.disk)
            assert len(os.listdir("/proc/self/fd")) == self.descriptors
            assert not self.faults


TestSession = Session.TestCase
TestSession.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
