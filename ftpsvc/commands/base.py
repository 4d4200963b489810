"""What all commands can use: the two places, the settings, and what is around the shell."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from ftpsvc import display
from ftpsvc.addressbook import AddressBook
from ftpsvc.connecting import Dial, dialled
from ftpsvc.console import Console, Offer, Stopped
from ftpsvc.crew import Healing, lasting
from ftpsvc.healing import Redial
from ftpsvc.jobs import Job
from ftpsvc.journal import Journal
from ftpsvc.model import BadArgument, Entry, NotFound, TransferError
from ftpsvc.pacing import Pace, Paced
from ftpsvc.parallel import each, for_each, telling
from ftpsvc.places import Here, Place, There
from ftpsvc.progress import Progress
from ftpsvc.settings import Settings
from ftpsvc.storage import Storage

#: Shows the progress of what has this name while it is entered.
Show = Callable[[Progress, str], AbstractContextManager[None]]


class Ask(Protocol):
    """Asks the person at the terminal."""

    async def __call__(self, question: str, answers: Sequence[str]) -> str:
        """What was answered: one of the answers, a key each. Ctrl-C cancels."""


#: Runs another program, which gets the terminal if there is one. Its exit status. A text is for the system's shell.
Spawn = Callable[[str | Sequence[str]], Awaitable[int]]


async def _no_programs(program: str | Sequence[str]) -> int:
    raise BadArgument("no other program can be run from here.")


@dataclass(frozen=True)
class Surroundings:
    """What is around the shell. Without any of it, it works, in memory."""

    colour: bool = False
    show: Show = lambda progress, label: contextlib.nullcontext()
    ask: Ask | None = None  #: None: nobody is there to be asked
    spawn: Spawn = _no_programs
    columns: Callable[[], int] | None = None  #: how wide the terminal is, if there is one
    history: Callable[[], Iterable[str]] = tuple  #: the lines that were typed, the oldest first
    addresses: AddressBook = field(default_factory=AddressBook)
    journal: Journal | None = None  #: where unfinished work is remembered


class Commands(Console):
    """The base of the groups of commands."""

    def __init__(
        self,
        reactor: Any,
        dial: Dial,
        here: Here,
        stdout: TextIO,
        stderr: TextIO,
        around: Surroundings | None = None,
    ) -> None:
        self._around = around or Surroundings()
        super().__init__(stdout, stderr, self._around.colour)
        self.width = self._around.columns
        self._reactor = reactor
        self._dial = dial
        self._here = here
        self._there: There | None = None
        self.settings = Settings()
        self._pace = Pace(lambda: self.settings.limit_rate, reactor)

    @property
    def _server(self) -> There:
        """The server that the current command works on. To be taken before the command's first `await`."""
        assert self._job.server is not None, "prepare() refuses what needs a connection"
        return self._job.server

    # -- what takes time

    def _underway(self, job: Job, progress: Progress, label: str) -> AbstractContextManager[None]:
        """While this is entered, the job's progress can be seen: on a line in the foreground, or in the toolbar."""
        return _Underway(self, job, progress, label)

    def show_again(self, job: Job) -> None:
        """Show a job's progress on a line, until its view is closed."""
        if job.progress is not None:
            job.view.enter_context(self._around.show(job.progress, job.label))

    def _slowed(self, storage: Storage) -> Storage:
        """What is to be read in a storage's place, so that a rate is kept, whenever it is set."""
        return Paced(storage, self._pace)

    # -- a server that may be lost meanwhile

    def _redialling(self, there: There) -> Redial:
        """What makes another connection to the same server."""
        return lambda: dialled(self._dial, there.target)

    @contextlib.asynccontextmanager
    async def _lasting(self, there: There, progress: Progress | None = None) -> AsyncIterator[Healing]:
        """The server as a storage, over a connection that is made again when it is lost. The progress shows it."""
        tell = (progress or Progress(0, self._reactor.seconds)).telling(self.warn)
        async with lasting(there, self._redialling(there), self._reactor, tell) as line:
            yield line

    async def _looked_up(
        self, job: Job, command: str, look: Callable[[str], Awaitable[list[tuple[str, Entry]]]], typed: Sequence[str]
    ) -> list[tuple[str, Entry]]:
        """What these words mean at the server, as `look` tells of one. Says which mean nothing, which keeps none of the
        others.

        Raises what is wrong with the only one, and what ends all.
        """
        found: list[tuple[str, Entry]] = []
        for word in typed:
            with telling(self._complaining(job, command, is_only=len(typed) == 1)):
                found += await look(word)
        return found

    def _complaining(self, job: Job, command: str, is_only: bool = False) -> Callable[[TransferError], None]:
        """Says what failed of many, which keeps none of the others; raises it where that is to end the command."""

        def failed(error: TransferError) -> None:
            if is_only or job.is_interrupted:
                raise error
            self.complain(f"{command}: {error}", error)

        return failed

    async def _every(
        self,
        job: Job,
        command: str,
        paths: Sequence[str],
        work: Callable[[str], Awaitable[object]],
        at_once: int = 1,
        others: int = 0,
    ) -> int:
        """Do the same with each of these, and say where it failed: that keeps none of the others. How many went well.

        Raises what failed with the only one, and what ends all: a lost connection, or that nothing can be written that
        is to be said. `others`: how many more there are, of which that isn't asked here.
        """
        done = 0

        def failed(path: str, error: TransferError) -> None:
            # With the system's own error behind it, it is no server's answer, but that of a full disk to what was said.
            ends_all = isinstance(error, Stopped) or isinstance(error.__cause__, OSError)
            if ends_all or job.is_interrupted or len(paths) + others == 1:
                raise error
            # That something isn't there is said by a place, which says what.
            named = display.naming if isinstance(error, NotFound) else display.named
            self.complain(f"{command}: {named(path, str(error))}", error)

        async def one(path: str) -> None:
            nonlocal done
            with telling(lambda error: failed(path, error)):
                await work(path)
                done += 1

        await for_each(each(paths), one, at_once)
        return done

    # -- words

    def _options(self, words: Sequence[str], known: str, command: str) -> tuple[set[str], list[str]]:
        """The letters of `-x` words, and the other words; behind `--` all are others. Raises `BadArgument`."""
        found: set[str] = set()
        rest: list[str] = []
        for at, word in enumerate(words):
            if word == "--":
                return found, rest + list(words[at + 1 :])
            if len(word) < 2 or not word.startswith("-"):
                rest.append(word)
            elif unknown := set(word[1:]) - set(known):
                usage = self.described(command)[0]
                raise BadArgument(
                    f"there is no option -{min(unknown)}. Use: {usage}. A name that begins with - is written ./{word}"
                )
            else:
                found |= set(word[1:])
        return found, rest

    def _needed(self, words: Sequence[str], least: int, command: str) -> None:
        """Raises `BadArgument` for too few words."""
        if len(words) < least:
            raise BadArgument(f"a word is missing. Use: {self.described(command)[0]}")

    # -- completion

    async def _offers(self, place: Place, text: str, only_folders: bool = False) -> list[Offer]:
        found = await place.offers(text, self._reactor.seconds())
        return [Offer(path, _noted(entry)) for path, entry in found if entry.is_directory or not only_folders]

    async def _file_offers(self, text: str, position: int, first: Place, second: Place) -> list[Offer]:
        return await self._offers((first, second)[position - 1], text) if position <= 2 else []

    async def _sure(self, question: str) -> bool:
        """Whether the person at the terminal wants it; where there is none, who wrote the script did."""
        return self._around.ask is None or await self._around.ask(f"{question} [y]es, [n]o", "yn") == "y"


def _noted(entry: Entry) -> str:
    size = display.size(entry.size) if entry.is_file else "folder" if entry.is_directory else ""
    return f"{size:>9}  {display.moment(entry.modified)}"


class _Underway(AbstractContextManager[None]):
    def __init__(self, shell: Commands, job: Job, progress: Progress, label: str) -> None:
        self._shell, self._job = shell, job
        job.progress, job.label = progress, label

    def __enter__(self) -> None:
        self._shell.has_begun(self._job)
        if self._job.has_floor:
            self._shell.show_again(self._job)

    def __exit__(self, *exception: object) -> None:
        self._job.view.close()
        self._job.progress = None
