"""Lines from a person: a prompt with completion and a history, on the reactor's own asyncio loop.

This module alone imports prompt_toolkit, and it alone is imported only when there is a terminal.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory, History
from twisted.internet.defer import Deferred

from ftpsvc.knownservers import state_folder
from ftpsvc.model import decode_name, encode_name
from ftpsvc.shell import Shell

#: How many lines of history are kept. Reading them costs a millisecond at the start.
MAX_HISTORY = 2000


async def lines(shell: Shell, loop: asyncio.AbstractEventLoop, history: Path) -> AsyncGenerator[str, None]:
    """The lines that are typed. While one is carried out, Ctrl-C stops it; while one is typed, Ctrl-C clears it."""
    session: PromptSession[str] = PromptSession(
        history=LineHistory(history), completer=_Completer(shell, loop), complete_while_typing=False
    )
    while True:
        line = await Deferred.fromFuture(loop.create_task(_typed(session, shell.prompt)))
        if line is None:
            return
        # Each prompt takes the signal for itself and gives it back to nobody.
        loop.add_signal_handler(signal.SIGINT, shell.interrupt)
        yield line


async def _typed(session: PromptSession[str], prompt: str) -> str | None:
    """One line; None after Ctrl-D."""
    # Both are caught in here because a KeyboardInterrupt that leaves a task stops the whole loop.
    try:
        return await session.prompt_async(prompt)
    except KeyboardInterrupt:
        return ""
    except EOFError:
        return None


class Sitting:
    """The person at the terminal, as a `Person`. Nothing that is typed here gets into the history."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def answer(self, question: str) -> str:
        return await self._asked(question, is_password=False)

    async def secret(self, question: str) -> str:
        return await self._asked(question, is_password=True)

    async def _asked(self, question: str, is_password: bool) -> str:
        session: PromptSession[str] = PromptSession(history=DummyHistory())
        typed = _answered(session, question, is_password)
        return await Deferred.fromFuture(self._loop.create_task(typed))


async def _answered(session: PromptSession[str], question: str, is_password: bool) -> str:
    try:
        # Without the signal: it is the shell's, in the middle of a command. Ctrl-C is a key as long as this reads keys.
        return await session.prompt_async(question, is_password=is_password, handle_sigint=False)
    except (KeyboardInterrupt, EOFError):
        return ""


class _Completer(Completer):
    """Asks the shell, which may ask the server. Typing goes on meanwhile, and typing on makes the question void."""

    def __init__(self, shell: Shell, loop: asyncio.AbstractEventLoop) -> None:
        self._shell = shell
        self._loop = loop

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        before = document.text_before_cursor
        asked = Deferred.fromCoroutine(self._shell.completions(before))
        start, found = await asked.asFuture(self._loop)
        for text in found:
            yield Completion(text, start_position=start - len(before))


def history_path() -> Path:
    """Where the history is kept."""
    return state_folder() / "history"


#: What may hold `user:password@host`, typed by somebody who didn't know better.
_SECRET = re.compile(r":(?!//).*@")


class LineHistory(History):
    """A file with a line for each, the newest last, that nobody else may read.

    A line that begins with a space is not kept, as in bash, and neither is one that may hold a password, not even to
    be seen again with the arrow keys. No command takes a secret among its words.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def append_string(self, string: str) -> None:
        if not _SECRET.search(string):
            super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        try:
            kept = self._path.read_bytes().splitlines(keepends=True)
            if len(kept) > MAX_HISTORY:
                kept = kept[-MAX_HISTORY // 2 :]  # half, so that it's not done again at the next start
                self._write(b"".join(kept), os.O_TRUNC)
        except OSError:
            return []
        return [decode_name(line.rstrip(b"\n")) for line in reversed(kept)]

    def store_string(self, string: str) -> None:
        if string.startswith(" ") or "\n" in string:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(encode_name(string) + b"\n", os.O_APPEND)
        except OSError:
            pass  # a home that can't be written to costs the history, not the shell

    def _write(self, data: bytes, flag: int) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o600)
        try:
            os.write(file, data)
        finally:
            os.close(file)
