"""A shell to be typed at, over a real client and a real server in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import support
from links import Link

from ftpsvc.addressbook import AddressBook
from ftpsvc.commands.base import Surroundings
from ftpsvc.journal import Job, Journal
from ftpsvc.places import Here
from ftpsvc.remote import Remote
from ftpsvc.shell import Shell
from ftpsvc.targets import Target

#: Large enough that a disk leaves the writing of one to a thread.
SEGMENT = 1 << 20


class Desk:
    """A person at a shell: a folder here, a server's folder there, and what was said."""

    def __init__(self, folder: Path, run: Any = support.at_once) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir()
        self.there.mkdir()
        self._disk = support.local_disk(self.there)
        self.clock = support.make_clock()
        self.links: list[Link] = []
        self.remotes: list[Remote] = []
        self.asked: list[str] = []
        self.answers: list[str] = []
        self.ran: list[Any] = []
        self.dialled: list[tuple[str, int]] = []
        self.users: list[str] = []
        self.refuses: Exception | None = None
        self.has_features = False  #: whether the server says what it can do
        self.out, self.err = StringIO(), StringIO()
        here = Here(support.local_disk("/", run, steady=True), str(self.here), str(folder))
        self.journal = Journal(folder / "unfinished")
        around = Surroundings(spawn=self._spawn, addresses=AddressBook(), journal=self.journal)
        self.shell = Shell(self.clock, self._dial, here, self.out, self.err, around)

    def is_attended(self, *answers: str) -> None:
        """Somebody is at the terminal, and will give these answers."""
        self.answers = list(answers)
        self.shell._around = replace(self.shell._around, ask=self._ask)

    async def _ask(self, question: str, answers: Sequence[str]) -> str:
        self.asked.append(question)
        answer = self.answers.pop(0)
        assert answer in answers
        return answer

    async def _spawn(self, program: Any) -> int:
        self.ran.append(program)
        return 0

    @property
    def remote(self) -> Remote:
        """The newest connection."""
        return self.remotes[-1]

    @property
    def link(self) -> Link:
        return self.links[-1]

    async def _dial(self, target: Target) -> Any:
        self.dialled.append((target.host, target.port))
        self.users.append(target.user)
        if self.refuses is not None:
            raise self.refuses
        remote, link = support.connected_remote(self._disk, cut=lambda: SEGMENT, clock=self.clock)
        self.remotes.append(remote)
        self.links.append(link)
        if self.has_features:
            await remote._ask_features()
        return remote

    def pump(self) -> None:
        """Move all that can move, on all connections."""
        for link in list(self.links):
            link.pump()

    def connected(self) -> Desk:
        """To a server that says what it can do."""
        self.has_features = True
        self.type("connect h")
        return self

    def advance(self, tenths: int) -> None:
        """Let so many tenths of a second pass."""
        for _ in range(tenths):
            self.clock.advance(0.1)
            self.pump()

    def step(self) -> None:
        """Move once, each way, what waits on the newest connection."""
        ends = (self.link.client_end, self.link.server_end)
        self.link._move(*ends)
        self.link._move(*ends[::-1])
        self.link.clock.advance(0)

    def start(self, line: str) -> support.Started:
        started = support.start(self.shell.onecmd(line))
        self.pump()
        return started

    def begun(self, line: str) -> support.Started:
        """A line that is carried out as far as the first change here."""
        started = support.start(self.shell.onecmd(line))
        while not any(self.here.iterdir()):
            self.step()
        assert not started.is_over
        return started

    def type(self, line: str) -> str:
        """Carry out a line that must be over at once; what was said."""
        assert self.start(line).result() is False
        return self.said()

    def said(self) -> str:
        text = self.out.getvalue() + self.err.getvalue()
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        return text

    def completed(self, before: str) -> list[str]:
        start, found = support.result_of(self.shell.completions(before), self)
        return [before[:start] + text for text, _ in found]

    def remember(self, job: Job) -> None:
        """As if an earlier shell had left it unfinished."""
        memory = self.journal.begin(job)
        assert memory is not None
        memory.close()

    def unfinished(self) -> list[Job]:
        jobs = self.journal.unfinished()
        for job in jobs:
            job.close()
        return [job.job for job in jobs]
