"""`cmd.Cmd` for commands that take time: the words of a line, the one error boundary, help and completion.

The names are those of `cmd.Cmd`: `do_list` is the command `list`, `complete_list` completes its arguments, and its
docstring is its help, usage first. Commands are coroutines that take their words as arguments, so that a usage is
checked by the signature. How lines are got is none of a console's business: `terminal` and `piped` feed `onecmd`.
"""

from __future__ import annotations

import cmd
import difflib
import inspect
from typing import IO, Any, ClassVar, TextIO

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from ftpsvc import display
from ftpsvc.model import BadArgument, BadCommand, TransferError
from ftpsvc.words import escape, last_word, quote, split


class Stopped(TransferError):
    """A command that was interrupted, and whose text says what that left behind."""


class Console(cmd.Cmd):
    """Carries out lines. A subclass has the commands."""

    #: Other names for commands.
    aliases: ClassVar[dict[str, str]] = {}

    log = Logger()

    def __init__(self, stdout: TextIO, stderr: TextIO, colour: bool = False) -> None:
        super().__init__(stdout=stdout)
        self.failures = 0
        self._stderr = stderr
        self._colour = colour
        self._running: Deferred[bool] | None = None
        self._is_interrupted = False
        self._is_stopped = False

    # -- speaking

    def say(self, text: str) -> None:
        """Say something that was asked for."""
        self._write(self.stdout, text)

    def complain(self, text: str) -> None:
        """Say what failed, and count it."""
        self.failures += 1
        # Half of it may come from the other end, which must not get a say in what this terminal does.
        text = escape(text)
        self._write(self._stderr, display.warning(text) if self._colour else text)

    @staticmethod
    def _write(stream: IO[str], text: str) -> None:
        stream.write(text + "\n")
        stream.flush()

    # -- running

    def onecmd(self, line: str) -> Deferred[bool]:  # type: ignore[override]  # Cmd's commands are over when they return
        """Carry out one line. Fires with True if it was the last one, and never fails: `failures` counts."""
        if self._is_stopped:
            return succeed(True)
        self._is_interrupted = False
        self._running = Deferred.fromCoroutine(self._carried_out(line))
        return self._running

    def interrupt(self) -> None:
        """Stop the command that is under way, if there is one."""
        if self._running is not None and not self._running.called:
            self._is_interrupted = True
            self._running.cancel()

    def stop(self) -> None:
        """Stop the command that is under way, and carry out no other."""
        self._is_stopped = True
        self.interrupt()

    async def _carried_out(self, line: str) -> bool:
        if line.lstrip().startswith("#"):
            return False
        name = ""
        try:
            words = split(line)
            if not words:
                return False
            name = words[0]
            return await self._command(*words) is True
        except BrokenPipeError:
            self.stop()  # whoever read the output has gone, as `head` does
            self.failures += 1
            return True
        except Exception as error:
            why = self._why(name, error)
            self.complain(f"{name}: {why}" if name else why)
            return False

    async def _command(self, name: str, *arguments: str) -> bool | None:
        command = self.aliases.get(name, name)
        if command not in self.commands():
            raise BadCommand(f"there is no such command. {self._meant(name)}")
        self.prepare(command)
        method = getattr(self, f"do_{command}")
        try:
            inspect.signature(method).bind(*arguments)
        except TypeError:
            raise BadArgument(self._misused(command, arguments)) from None
        is_last: bool | None = await method(*arguments)
        return is_last

    def prepare(self, command: str) -> None:
        """Called before each command. Raises `TransferError` if it can't be carried out now."""

    def failed(self, error: TransferError) -> str:
        """Called when a command has failed; what else there is to say about it."""
        return ""

    def _why(self, name: str, error: Exception) -> str:
        if not isinstance(error, TransferError) and not self._is_interrupted:
            self.log.failure("{command} failed", command=name)
            return "Something in ftpsvc itself is wrong; please report what stands above."
        if self._is_interrupted and not isinstance(error, Stopped):
            return "stopped."
        assert isinstance(error, TransferError)
        return f"{error} {self.failed(error)}".rstrip()

    def _misused(self, command: str, arguments: tuple[str, ...]) -> str:
        usage, _, more = self.described(command)
        if not arguments:
            return f"a word is missing. Use: {usage}"
        example = more.rpartition("Example: ")[2]
        return f"too many words; a name with spaces needs quotes. Use: {usage}. Example: {example}"

    def _meant(self, name: str) -> str:
        close = difflib.get_close_matches(name, [*self.commands(), *self.aliases])
        return f"Did you mean {' or '.join(close)}?" if close else "Use: help"

    # -- help

    def commands(self) -> list[str]:
        """The commands' names, in the order in which they are written down; what all consoles have comes last."""
        kinds = type(self).__mro__[: type(self).__mro__.index(cmd.Cmd)]
        return [name[3:] for kind in kinds for name in vars(kind) if name.startswith("do_")]

    def described(self, command: str) -> tuple[str, str, str]:
        """A command's usage, what it does in one line, and the rest of its help."""
        usage, summary, *more = inspect.cleandoc(getattr(self, f"do_{command}").__doc__).split("\n\n")
        return usage, summary, "\n\n".join(more)

    def overview(self) -> str:
        """All commands, a line for each."""
        rows = [self.described(command)[:2] for command in self.commands()]
        width = max(len(usage) for usage, _ in rows)
        return "\n".join(f"  {usage:{width}}  {summary}" for usage, summary in rows)

    async def do_help(self, command: str = "") -> None:  # type: ignore[override]  # a coroutine, as all commands are
        """help [command]

        List the commands, or tell more about one.

        Example: help retrieve
        """
        if not command:
            self.say(self.overview())
            return
        name = self.aliases.get(command, command)
        if name not in self.commands():
            raise BadCommand(f'there is no command "{command}". {self._meant(command)}')
        usage, summary, more = self.described(name)
        others = [alias for alias, meant in self.aliases.items() if meant == name]
        also = f"   (also: {', '.join(others)})" if others else ""
        self.say(f"{usage}{also}\n\n{summary}\n\n{more}")

    async def complete_help(self, text: str, position: int) -> list[str]:  # type: ignore[override]
        return self._names(text) if position == 1 else []

    # -- completion

    async def completions(self, before: str) -> tuple[int, list[str]]:
        """What may stand instead of the last word of a line, and where that word begins. Never fails."""
        earlier, word = last_word(before)
        if earlier:
            found = await self._arguments(word.text, *earlier)
        else:
            found = self._names(word.text)
        return word.start, [self._typed(text, word.quote, len(found) == 1) for text in found]

    async def _arguments(self, text: str, name: str, *earlier: str) -> list[str]:
        command = self.aliases.get(name, name)
        complete: Any = getattr(self, f"complete_{command}", None)
        if complete is None:
            return []
        try:
            self.prepare(command)
            offers: list[str] = await complete(text, len(earlier) + 1)
        except TransferError:
            return []  # whoever completes is still typing; what is wrong is said when the line is done
        return offers

    def _names(self, text: str) -> list[str]:
        return sorted(name for name in [*self.commands(), *self.aliases] if name.startswith(text))

    @staticmethod
    def _typed(text: str, style: str, is_only: bool) -> str:
        # Behind a folder one goes on typing inside the quotes; behind anything else the word is over.
        quoted = quote(text, style)
        if text.endswith("/"):
            return quoted[:-1] if quoted[-1] in "'\"" else quoted
        return quoted + " " if is_only else quoted
