"""`cmd.Cmd` for commands that take time: the words of a line, the one error boundary, help and completion.

The names are those of `cmd.Cmd`: `do_list` is the command `list`, `complete_list` completes its arguments, and its
docstring is its help, usage first. Commands are coroutines that take their words as arguments, so that a usage is
checked by the signature. How lines are got is none of a console's business: `terminal` and `piped` feed `onecmd`.

A line that ends with `&` is carried out in the background, and so is what `to_background` finds in the foreground.
"""

from __future__ import annotations

import cmd
import contextlib
import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar, NamedTuple, TextIO, cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from ftpsvc import display
from ftpsvc.jobs import MAX_JOBS, Job, Jobs
from ftpsvc.model import BadArgument, BadCommand, Busy, LocalFault, NoSpace, TransferError
from ftpsvc.output import writing_out
from ftpsvc.words import escape, last_word, quote, split, without_ampersand

#: What happened, for a program: see docs/scripts.md.
Event = Mapping[str, Any]


class Offer(NamedTuple):
    """What completion offers: a word, and what there is to know about it."""

    text: str
    note: str = ""


class Stopped(TransferError):
    """A command that was interrupted, and whose text says what that left behind."""


class Console(cmd.Cmd):
    """Carries out lines. A subclass has the commands."""

    #: Other names for commands.
    aliases: ClassVar[dict[str, str]] = {}

    #: Commands of a group that may ask, or take the terminal: with `&` they move to the background only once they have
    #: begun, and those of which `has_begun` is never said stay where they are.
    planning: ClassVar[frozenset[str]] = frozenset()

    log = Logger()

    def __init__(self, stdout: TextIO, stderr: TextIO, colour: bool = False) -> None:
        super().__init__(stdout=stdout)
        self.failures = 0
        self.first_failure: Exception | None = None
        self.jobs = Jobs()
        self.meanings: dict[str, str] = {}  #: what the user's own aliases stand for
        self.width: Callable[[], int] | None = None  #: how many columns a terminal has, if there is one
        self._stderr = stderr
        self._colour = colour
        self._job = Job("")
        self._typed_before: tuple[str, ...] = ()  #: a command's words before the one that is to be completed
        self._front: Job | None = None
        self._is_stopped = False

    # -- speaking

    def say(self, text: str, *events: Event) -> None:
        """Say something that was asked for. The events are the same for programs."""
        self._write(self.stdout, text)

    def note(self, text: str, *events: Event) -> None:
        """Say how something went that went well."""
        self.say(text, *events)

    def warn(self, text: str) -> None:
        """Say what goes wrong just now, and may get better by itself."""
        self._write_aside(escape(text))

    def complain(self, text: str, error: Exception | None = None) -> None:
        """Say what failed, and count it."""
        self.failures += 1
        self.first_failure = self.first_failure or error
        # Half of it may come from the other end, which must not get a say in what this terminal does.
        text = escape(text)
        self._write_aside(display.warning(text) if self._colour else text)

    def _write_aside(self, text: str) -> None:
        with contextlib.suppress(OSError, LocalFault, NoSpace):  # nobody hears it, which changes nothing else
            self._write(self._stderr, text)

    @staticmethod
    def _write(stream: IO[str], text: str) -> None:
        with writing_out():
            stream.write(text + "\n")
            stream.flush()

    # -- running

    def onecmd(self, line: str) -> Deferred[bool]:  # type: ignore[override]  # Cmd's commands are over when they return
        """Carry out one line. Fires with True if it was the last one, and never fails: `failures` counts.

        It fires when the next line may come: a line that was moved to the background still goes on then.
        """
        if self._is_stopped:
            return succeed(True)
        # All that stands behind ! is for the system's shell, which has a & of its own.
        text, is_behind = (line.strip(), False) if line.lstrip().startswith("!") else without_ampersand(line)
        job = Job(text, wants_background=is_behind)
        self._front = job
        job.work = Deferred.fromCoroutine(self._carried_out(job))
        job.work.addErrback(self._unheard)
        job.work.addCallback(self._ended, job)
        if job.wants_background and not self._plans(job.line):
            self.to_background()
        return job.floor

    def _plans(self, line: str) -> bool:
        try:
            words = self._meaning(self.words_of(line))
        except BadArgument:
            return False  # which is said when it is carried out
        name = self.aliases.get(words[0], words[0]) if words else ""
        return any(name in getattr(kind, "planning", ()) for kind in type(self).__mro__)

    def _unheard(self, failure: Failure) -> bool:
        """A failure that could not be said either, because nobody takes what is written. It ends all the same."""
        failure.trap(Exception)
        self._is_stopped = True
        self.failures += 1
        self.first_failure = self.first_failure or cast(Exception, failure.value)
        return True

    def _ended(self, is_last: bool, job: Job) -> bool:
        job.view.close()
        self.jobs.remove(job)
        self.released(job)
        job.tell()
        if job.has_floor:
            job.floor.callback(is_last)
        return is_last

    def to_background(self) -> None:
        """Let the command that is under way go on in the background, if there is one."""
        job = self._front
        if job is None or job.is_over or not job.has_floor or job.has_terminal:
            return
        if job.has_questions:
            job.wants_background = True  # once it has begun
            return
        if self.jobs.is_full:
            job.wants_background = False
            self._write_aside(f"{MAX_JOBS} jobs are in the background already. This one stays here.")
            return
        self.jobs.add(job)
        self.parted(job)
        job.view.close()
        self.say(f"[{job.number}] {escape(job.line)}")
        job.floor.callback(False)  # with which the next line may begin at once, where it is there already

    def has_begun(self, job: Job) -> None:
        """A command has asked what it had to ask: if it is to be in the background, it moves there now.

        To be called by the command itself. Raises `CancelledError` if the next line, which may be there already, has
        stopped it.
        """
        job.has_questions = False
        if job.wants_background and not job.number:
            job.is_parting = True
            try:
                self.to_background()
            finally:
                job.is_parting = False
            if job.is_interrupted:
                raise CancelledError

    def interrupt(self) -> None:
        """Stop the command that is in the foreground, if there is one."""
        if self._front is not None and self._front.has_floor:
            self._front.stop()

    @property
    def was_interrupted(self) -> bool:
        """Whether somebody has stopped the last line."""
        return self._front is not None and self._front.is_interrupted

    def stop(self) -> list[Deferred[None]]:
        """Stop all that is under way, and carry out nothing else. What fires when each of that is over."""
        self._is_stopped = True
        under_way = list(self.jobs)
        if self._front is not None and self._front.has_floor:
            under_way.append(self._front)
        over = [job.ended() for job in under_way]
        for job in under_way:
            job.stop()
        return over

    async def _carried_out(self, job: Job) -> bool:
        if job.line.startswith("#"):
            return False
        name = ""
        try:
            words = self._meaning(self.words_of(job.line))
            if not words:
                return False
            name = words[0]
            if job.wants_background and self.jobs.is_full:
                raise Busy(f"{MAX_JOBS} jobs are in the background already. Use: wait")
            is_last = await self._command(job, *words) is True
            if job.number:
                self.note(f"[{job.number}] done: {escape(job.line)}")
            return is_last
        except BrokenPipeError as error:
            self._is_stopped = True  # whoever read the output has gone, as `head` does
            for other in self.jobs:
                if other is not job:
                    other.stop()
            self.failures += 1
            self.first_failure = self.first_failure or error
            return True
        except Exception as error:
            why = self._why(name, job, error)
            number = f"[{job.number}] " if job.number else ""
            self.complain(f"{number}{name}: {why}" if name else why, error)
            job.is_interrupted = job.is_interrupted or isinstance(error, Stopped)  # at a question, too
            return False

    def words_of(self, line: str) -> list[str]:
        """The words of a line. Raises `BadArgument`."""
        return split(line)

    def _meaning(self, words: list[str]) -> list[str]:
        """The words, with what the first one stands for. What an alias stands for isn't looked up again."""
        return [*split(self.meanings[words[0]]), *words[1:]] if words and words[0] in self.meanings else words

    async def _command(self, job: Job, name: str, *arguments: str) -> bool | None:
        command = self.aliases.get(name, name)
        if command not in self.commands():
            raise BadCommand(f"there is no such command. {self._meant(name)}")
        method = getattr(self, f"do_{command}")
        try:
            inspect.signature(method).bind(*arguments)
        except TypeError:
            raise BadArgument(self._misused(command, arguments)) from None
        await self.prepare(job, command)
        self._job = job
        is_last: bool | None = await method(*arguments)
        return is_last

    async def prepare(self, job: Job, command: str) -> None:
        """Called before each command. Raises `TransferError` if it can't be carried out now."""

    def failed(self, job: Job, error: TransferError) -> str:
        """Called when a command has failed; what else there is to say about it."""
        return ""

    def parted(self, job: Job) -> None:
        """Called when a command moves to the background, before the next one begins."""

    def released(self, job: Job) -> None:
        """Called when a command is over, however it ended."""

    def _why(self, name: str, job: Job, error: Exception) -> str:
        if not isinstance(error, TransferError) and not job.is_interrupted:
            self.log.failure("{command} failed", command=name)
            return "Something in ftpsvc itself is wrong; please report what stands above."
        if job.is_interrupted and not isinstance(error, Stopped):
            return "stopped."
        assert isinstance(error, TransferError)
        return f"{error} {self.failed(job, error)}".rstrip()

    def _misused(self, command: str, arguments: tuple[str, ...]) -> str:
        usage, _, more = self.described(command)
        needed = [
            word
            for word in inspect.signature(getattr(self, f"do_{command}")).parameters.values()
            if word.default is word.empty and word.kind is not word.VAR_POSITIONAL
        ]
        if len(arguments) < len(needed):
            return f"a word is missing. Use: {usage}"
        example = more.rpartition("Example: ")[2]
        return f"too many words; a name with spaces needs quotes. Use: {usage}. Example: {example}"

    def _meant(self, name: str) -> str:
        others = [other for other in (*self.commands(), *self.aliases, *self.meanings) if other != name]
        close = difflib.get_close_matches(name, others)
        return f"Did you mean {' or '.join(close)}?" if close else "Use: help"

    # -- help

    def groups(self) -> dict[str, list[str]]:
        """The commands' names under the headings of their classes, in the order in which they are written down."""
        kinds = type(self).__mro__[: type(self).__mro__.index(cmd.Cmd)]
        named = {kind: [name[3:] for name in vars(kind) if name.startswith("do_")] for kind in kinds}
        return {getattr(kind, "heading", ""): names for kind, names in named.items() if names}

    def commands(self) -> list[str]:
        """The commands' names."""
        return [name for names in self.groups().values() for name in names]

    def described(self, command: str) -> tuple[str, str, str]:
        """A command's usage, what it does in one line, and the rest of its help."""
        usage, summary, *more = inspect.cleandoc(getattr(self, f"do_{command}").__doc__).split("\n\n")
        return usage, summary, "\n\n".join(more)

    def overview(self) -> str:
        """All commands, a line for each, under headings."""
        groups = [(heading, self.summary(names)) for heading, names in self.groups().items()]
        return "\n\n".join(f"{heading}\n{lines}" for heading, lines in groups)

    def summary(self, names: list[str]) -> str:
        """A line for each of these commands."""
        rows = [self.described(command)[:2] for command in names]
        width = max(len(usage) for usage, _ in rows)
        return "\n".join(f"  {usage:{width}}  {summary}" for usage, summary in rows)

    async def do_help(self, command: str = "") -> None:  # type: ignore[override]  # a coroutine, as all commands are
        """help [command]

        List the commands, or tell more about one.

        Example: help retrieve
        """
        if not command:
            self.say(self.fitted(self.overview()))
            return
        if command in self.meanings:
            self.say(f"{escape(command)} stands for: {escape(self.meanings[command])}")
            return
        name = self.aliases.get(command, command)
        if name not in self.commands():
            raise BadCommand(f'there is no command "{command}". {self._meant(command)}')
        usage, summary, more = self.described(name)
        others = [alias for alias, meant in self.aliases.items() if meant == name]
        also = f"   (also: {', '.join(others)})" if others else ""
        self.say(self.fitted(f"{usage}{also}\n\n{summary}\n\n{more}"))

    def fitted(self, text: str) -> str:
        """Help, as it fits the terminal. Where there is none it stays as it was written."""
        return display.fitted(text, self.width() - 1) if self.width is not None else text

    async def complete_help(self, text: str, position: int) -> list[Offer]:  # type: ignore[override]
        return self._names(text) if position == 1 else []

    # -- completion

    async def completions(self, before: str) -> tuple[int, list[Offer]]:
        """What may stand instead of the last word of a line, and where that word begins. Never fails."""
        earlier, word = last_word(before)
        if earlier:
            found = await self._arguments(word.text, *self._meaning(earlier))
        else:
            found = self._names(word.text)
        return word.start, [Offer(self._typed(text, word.quote, len(found) == 1), note) for text, note in found]

    async def _arguments(self, text: str, name: str, *earlier: str) -> list[Offer]:
        command = self.aliases.get(name, name)
        complete: Any = getattr(self, f"complete_{command}", None)
        if complete is None:
            return []
        job = Job("")
        try:
            await self.prepare(job, command)
            self._job, self._typed_before = job, earlier
            offers: list[Offer] = await complete(text, len(earlier) + 1)
        except TransferError:
            return []  # whoever completes is still typing; what is wrong is said when the line is done
        return offers

    def _names(self, text: str) -> list[Offer]:
        names = {name: self.described(name)[1] for name in self.commands()}
        names |= {name: names[meant] for name, meant in self.aliases.items()} | self.meanings
        return sorted(Offer(name, note) for name, note in names.items() if name.startswith(text))

    @staticmethod
    def _typed(text: str, style: str, is_only: bool) -> str:
        # Behind a folder one goes on typing inside the quotes; behind anything else the word is over.
        quoted = quote(text, style)
        if text.endswith("/"):
            return quoted[:-1] if quoted[-1] in "'\"" else quoted
        return quoted + " " if is_only else quoted
