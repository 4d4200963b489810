"""Random conversations in MODE I against a model that is too simple to be wrong: a dict of files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import Conversation, Sequence, frames, local_disk, parts_in

from ftpsvc.frames import digest_of

NAMES = ["a", "b", "folder/c"]
names = st.sampled_from(NAMES)
contents = st.binary(max_size=200) | st.sampled_from([b"", b"DONE\r\n", b"NOOP\r\n", bytes(70_000), bytes(300_000)])
frame_sizes = st.sampled_from([1 << 20, 50_000, 4096])


class Session(RuleBasedStateMachine):
    """Commands are gathered, sent all at once, and the answers compared with what the model expects."""

    @initialize()
    def connect(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        (self.folder / "folder").mkdir()
        self.disk = local_disk(self.folder)
        self.files: dict[str, bytes] = {}
        self.offset = 0
        self.said: list[bytes] = []
        self.expected: list[object] = []
        self.talk = Conversation(self.disk).log_in()

    def say(self, sent: bytes, *expected: object, offset: int = 0) -> None:
        self.said.append(sent)
        self.expected += expected
        self.offset = offset

    # -- what is sent, and what the model makes of it

    @rule(name=names, data=contents, size=frame_sizes, end=st.sampled_from(["right", "none", "wrong", "long", "FAIL"]))
    def store(self, name: str, data: bytes, size: int, end: str) -> None:
        sent = f"STOR {name}\r\n".encode() + self.sequence(data, size, end)
        before = self.files.get(name, b"")
        if self.offset > len(before):
            self.say(sent, 554)
        elif self.judged(sent, end):
            self.files[name] = before[: self.offset] + data
            self.say(sent)

    @rule(name=names, data=contents, end=st.sampled_from(["right", "wrong", "FAIL"]))
    def append(self, name: str, data: bytes, end: str) -> None:
        sent = f"APPE {name}\r\n".encode() + self.sequence(data, 4096, end)
        if self.offset:
            self.say(sent, 503)
        elif self.judged(sent, end):
            self.files[name] = self.files.get(name, b"") + data
            self.say(sent)

    @staticmethod
    def sequence(data: bytes, size: int, end: str) -> bytes:
        whole = frames(data, size)
        last = {"right": None, "none": b"DONE", "wrong": b"DONE " + b"0" * 32, "FAIL": b"FAIL"}
        last["long"] = b"DONE " + digest_of(data).encode() + b"0"
        chosen = last[end]
        return whole if chosen is None else whole[: whole.rindex(b"DONE ")] + chosen + b"\r\n"

    def judged(self, sent: bytes, end: str) -> bool:
        if end in ("right", "none"):
            self.expected += [150, 226]
            return True
        self.say(sent, 150, 426 if end == "FAIL" else 451)
        return False

    @rule(name=st.sampled_from(["", "no/where", "folder", "a\0", "x" * 256, ".ftpsvc-x"]), data=contents)
    def store_where_it_can_not_be(self, name: str, data: bytes) -> None:
        code = {"": 501, "no/where": 550, "folder": 550}.get(name, 553)
        self.say(f"STOR {name}\r\n".encode() + frames(data, 4096), code)

    @rule(name=names)
    def retrieve(self, name: str) -> None:
        sent = f"RETR {name}\r\n".encode()
        if name not in self.files:
            self.say(sent, 550)
        elif self.offset > len(self.files[name]):
            self.say(sent, 554)
        else:
            self.say(sent, 150, self.files[name][self.offset :], 226)

    @rule(name=names)
    def size(self, name: str) -> None:
        self.say(f"SIZE {name}\r\n".encode(), 213 if name in self.files else 550)

    @rule(offset=st.sampled_from([0, 1, 7, 100, 70_000]))
    def restart(self, offset: int) -> None:
        self.say(b"REST %d\r\n" % offset, 350, offset=offset)

    @rule(line=st.sampled_from([(b"NOOP", 200), (b"XYZZY", 500), (b"ABOR", 226), (b"MODE X", 504), (b"RETR no", 550)]))
    def something_else(self, line: tuple[bytes, int]) -> None:
        # An ABOR is looked for while a download runs: those that are under way must have ended.
        if line[0] == b"ABOR":
            self.compare()
        self.say(line[0] + b"\r\n", line[1])

    # -- what is answered

    @rule()
    def compare(self) -> None:
        answers = self.talk.ask(*self.said)
        found: list[object] = []
        for answer in answers:
            if isinstance(answer, Sequence):
                assert answer.end.startswith(f"DONE {digest_of(answer.data)} ")
                found.append(answer.data)
            else:
                found.append(int(answer[:3]))
        assert found == self.expected
        self.said, self.expected = [], []
        stored = {name: self.folder / name for name in NAMES if (self.folder / name).exists()}
        assert {name: path.read_bytes() for name, path in stored.items()} == self.files
        assert not parts_in(self.folder)

    @rule()
    def reconnect(self) -> None:
        self.compare()
        self.talk.link.close()
        self.talk = Conversation(self.disk).log_in()
        self.offset = 0

    @invariant()
    def the_session_stands(self) -> None:
        if hasattr(self, "talk"):
            assert not self.talk.is_closed

    def teardown(self) -> None:
        if hasattr(self, "talk"):
            try:
                self.compare()
            finally:
                self.talk.link.close()
                shutil.rmtree(self.folder)


TestSession = Session.TestCase
TestSession.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
