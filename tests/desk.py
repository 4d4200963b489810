"""A shell to be typed at, over a real client and a real server in memory."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import support

from ftpsvc.connecting import Target
from ftpsvc.places import Here
from ftpsvc.shell import Shell

#: Large enough that a disk leaves the writing of one to a thread.
SEGMENT = 1 << 20


class Desk:
    """A person at a shell: a folder here, a server's folder there, and what was said."""

    def __init__(self, folder: Path, run: Any = support.at_once) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir()
        self.there.mkdir()
        self.remote, self.link = support.connected_remote(support.local_disk(self.there), cut=lambda: SEGMENT)
        self.dialled: list[tuple[str, int]] = []
        self.refuses: Exception | None = None
        self.out, self.err = StringIO(), StringIO()
        here = Here(support.local_disk("/", run), str(self.here), str(folder))
        self.shell = Shell(self.link.clock, self._dial, here, self.out, self.err)

    async def _dial(self, target: Target) -> Any:
        self.dialled.append((target.host, target.port))
        if self.refuses is not None:
            raise self.refuses
        return self.remote

    def start(self, line: str) -> support.Started:
        started = support.start(self.shell.onecmd(line))
        self.link.pump()
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
        start, found = support.result_of(self.shell.completions(before), self.link)
        return [before[:start] + text for text in found]
