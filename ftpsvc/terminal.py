"""A person at a terminal: a prompt with completion, a history and a toolbar, on the reactor's own asyncio loop.

This module alone imports prompt_toolkit, and it alone is imported only when there is a terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import DummyHistory, History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from twisted.internet.defer import CancelledError, Deferred

from ftpsvc import views
from ftpsvc.console import Stopped
from ftpsvc.model import NotLoggedIn, decode_name, encode_name
from ftpsvc.words import escape, last_word

if TYPE_CHECKING:
    from ftpsvc.shell import Shell

#: How many lines of history are kept. Reading them costs a millisecond at the start.
MAX_HISTORY = 2000

#: Seconds between two drawings of the toolbar.
REDRAW = 0.5


class Terminal:
    """What the shell says to a person, asks of them, and is told by them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, history: Path) -> None:
        self._loop = loop
        self._kept = LineHistory(history)
        self._session: PromptSession[str] | None = None  #: the one that waits for the person now
        self._has_line = False  #: a progress stands on the current line
        self._interrupt: Callable[[], object] = lambda: None
        #: For progress on the current line; whatever else is said while it stands there wipes it out first.
        self.line = cast(TextIO, _CurrentLine(self, sys.stderr))
        self.out = cast(TextIO, _AbovePrompt(self, sys.stdout))
        self.err = cast(TextIO, _AbovePrompt(self, sys.stderr))

    def give_ctrl_c_to(self, interrupt: Callable[[], object]) -> None:
        """Say who hears of a Ctrl-C while there is no prompt."""
        self._interrupt = interrupt
        self._loop.add_signal_handler(signal.SIGINT, interrupt)

    def history(self) -> list[str]:
        """The lines that were typed, the oldest first."""
        return list(self._kept.load_history_strings())[::-1]

    # -- saying

    def write(self, stream: TextIO, text: str) -> None:
        """Write, above the prompt if there is one just now."""
        session = self._session
        if session is None or not session.app.is_running:
            stream.write(views.NOTHING + text if self._has_line else text)
            self._has_line = False
            stream.flush()
            return

        def write() -> None:
            stream.write(text)
            stream.flush()

        with set_app(session.app):
            run_in_terminal(write)

    def write_line(self, stream: TextIO, text: str) -> None:
        """Write a progress, without an end of the line."""
        self._has_line = text != views.NOTHING
        stream.write(text)

    # -- asking

    async def ask(self, question: str, answers: Sequence[str]) -> str:
        """The key that is pressed. Raises `Stopped` at Ctrl-C."""
        *above, last = question.split("\n")
        for row in above:
            self.write(sys.stdout, row + "\n")
        session: PromptSession[str] = PromptSession(key_bindings=_keys(answers), history=DummyHistory())
        session.default_buffer.accept_handler = lambda buffer: (
            True
        )  # Enter, and whatever else ends a line, is no answer
        answer = await self._typed(session, session.prompt_async(f"{last} "), None)
        if answer is None:
            raise Stopped("stopped. Nothing was done.")
        return answer

    async def answer(self, question: str) -> str:
        """What is typed, which gets into no history. See `credentials.Person`.

        Raises `Stopped` at Ctrl-C, and `NotLoggedIn` where something else is being typed.
        """
        return await self._line(question, is_secret=False)

    async def secret(self, question: str) -> str:
        """The same, unseen."""
        return await self._line(question, is_secret=True)

    async def _line(self, question: str, is_secret: bool) -> str:
        if self._session is not None:  # for a job's connection, or for completion, of which who types knows nothing
            raise NotLoggedIn("there is something to be asked first, and somebody is typing something else.")
        session: PromptSession[str] = PromptSession(history=DummyHistory())
        typed = await self._typed(session, session.prompt_async(question, is_password=is_secret), None)
        if typed is None:
            raise Stopped("stopped. Nobody was logged in.")
        return typed.removesuffix("\n")  # what is pasted may bring the end of its line with it

    # -- lines

    async def lines(self, shell: Shell) -> AsyncGenerator[str, None]:
        """The lines that are typed. While one is carried out, Ctrl-C stops it; while one is typed, Ctrl-C clears it."""
        ahead = _Ahead(shell)
        session: PromptSession[str] = PromptSession(
            history=self._kept,
            completer=_Completer(shell, self._loop),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            key_bindings=_prompt_keys(),
        )
        session.default_buffer.on_text_changed += ahead.typed
        while True:
            with self._toolbar(session, shell):
                line = await self._typed(session, session.prompt_async(lambda: shell.prompt), "")
            if line is None:
                yield "quit"  # which asks once more while there are jobs
                continue
            for command in line.split("\n"):  # several are there when they were pasted
                yield command
                if shell.was_interrupted:
                    break  # who stops one of them has had enough of what was pasted

    async def _typed(
        self, session: PromptSession[str], prompt: Coroutine[Any, Any, str], at_ctrl_c: str | None
    ) -> str | None:
        """One line; None after Ctrl-D."""
        before, self._session = self._session, session
        try:
            return await Deferred.fromFuture(self._loop.create_task(_caught(prompt, at_ctrl_c)))
        except asyncio.CancelledError:
            raise CancelledError from None  # as whatever else is stopped says it, and not for a defect of ours
        finally:
            self._session = before
            # Each prompt takes the signal for itself and gives it back to nobody.
            self._loop.add_signal_handler(signal.SIGINT, self._interrupt)

    @contextlib.contextmanager
    def _toolbar(self, session: PromptSession[str], shell: Shell) -> Iterator[None]:
        due: asyncio.Handle

        def draw() -> None:
            nonlocal due
            due = self._loop.call_later(REDRAW, draw)
            has_jobs = len(shell.jobs) > 0
            if has_jobs or session.bottom_toolbar is not None:
                session.bottom_toolbar = (lambda: views.toolbar(list(shell.jobs), views.width())) if has_jobs else None
                session.app.invalidate()

        due = self._loop.call_soon(draw)
        try:
            yield
        finally:
            due.cancel()


async def _caught(prompt: Coroutine[Any, Any, str], at_ctrl_c: str | None) -> str | None:
    # Both are caught in here because a KeyboardInterrupt that leaves a task stops the whole loop.
    try:
        return await prompt
    except KeyboardInterrupt:
        return at_ctrl_c
    except EOFError:
        return None


def _keys(answers: Sequence[str]) -> KeyBindings:
    """One key answers; the others do nothing."""
    keys = KeyBindings()

    @keys.add(Keys.Any)
    def pressed(event: KeyPressEvent) -> None:
        if event.data in answers:
            event.current_buffer.insert_text(event.data)
            event.app.exit(result=event.data)

    @keys.add(Keys.BracketedPaste)
    def pasted(event: KeyPressEvent) -> None:
        """It is meant for something else, and would stand there as if it had been answered with it."""

    return keys


def _prompt_keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-z")
    def nothing(event: KeyPressEvent) -> None:
        """Nothing is under way in the foreground that it could put into the background."""

    return keys


class _AbovePrompt(io.TextIOBase):
    """A stream whose text goes above the prompt, and leaves what is being typed alone."""

    def __init__(self, terminal: Terminal, stream: TextIO) -> None:
        self._terminal = terminal
        self._stream = stream

    def write(self, text: str) -> int:
        self._terminal.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class _CurrentLine(io.TextIOBase):
    """A stream for a line that is written again and again."""

    def __init__(self, terminal: Terminal, stream: TextIO) -> None:
        self._terminal = terminal
        self._stream = stream

    def write(self, text: str) -> int:
        self._terminal.write_line(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


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
        before = document.current_line_before_cursor  # several are there when they were pasted
        asked = Deferred.fromCoroutine(self._shell.completions(before))
        start, found = await asked.asFuture(self._loop)
        for text, note in found:
            yield Completion(text, start_position=start - len(before), display_meta=escape(note))


class _Ahead:
    """Has the folder listed whose name is being typed, so that Tab finds it known."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._asked = ""
        self._is_busy = False

    def typed(self, buffer: Buffer) -> None:
        before = buffer.document.current_line_before_cursor
        earlier, word = last_word(before)
        folder = before[: word.start] + word.text.rpartition("/")[0]
        if earlier and folder != self._asked and not self._is_busy:
            self._asked = folder
            self._is_busy = True
            Deferred.fromCoroutine(self._shell.completions(before)).addBoth(self._done)

    def _done(self, _: object) -> None:
        self._is_busy = False


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
            super().append_string(string.removesuffix("\n"))  # what is pasted may bring the end of its line with it

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
