"""Whole folders: mirror, and what retrieve and store do with -r."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from ftpsvc import journal
from ftpsvc.commands.base import Commands
from ftpsvc.console import Offer, Stopped
from ftpsvc.jobs import Job
from ftpsvc.journal import Unfinished
from ftpsvc.model import (
    Aborted,
    BadArgument,
    ConnectionFailed,
    Entry,
    NoSpace,
    NotFound,
    ServiceClosing,
    TransferError,
    Unavailable,
    parent_and_name,
)
from ftpsvc.places import Place, There
from ftpsvc.preflight import claim
from ftpsvc.reports import Report
from ftpsvc.targets import Names
from ftpsvc.treejobs import Desk, TreeJob, carry
from ftpsvc.treeoptions import OPTIONS, TreeOptions, parse
from ftpsvc.words import quote


class Trees(Commands):
    """The commands that carry folders."""

    heading = "Folders, with all that is in them"
    planning: ClassVar[frozenset[str]] = frozenset(["mirror"])
    names_given: Names | None = None  #: by all lines so far, where these are one command together

    async def do_mirror(self, *words: str) -> None:
        """mirror [-R] [options] <folder> [to]

        Make a folder here like one of the server; with -R, one of the server like one here.

        Copies what is missing or differs in size or time. Several files are under way at once, each whole or not there
        at all, and what fails is told at the end. A lost connection is made again.

          --delete             remove what the source doesn't have, behind everything else
          --dry-run, -n        say what would be done, and do nothing
          --exclude <pattern>  leave out, and leave alone: *.o anywhere, /build at the top, cache/ folders only
          --include <pattern>  the opposite; the first pattern that matches decides
          --newer              replace only what is older than its source
          --checksum, -c       compare digests, not times
          --links skip         leave links out; follow, which copies what they lead to, is the default
          --force              remove more than half without being asked
          --parallel <number>  connections; 4, or with MODE I, which needs no more, 1

        Example: mirror --delete pub/photos photos
        """
        await self._tree(self._job, self._server, "mirror", parse(words))

    async def complete_mirror(self, text: str, position: int) -> list[Offer]:
        options = parse(self._typed_before)
        source, target = (self._here, self._server) if options.up else (self._server, self._here)
        return self._tree_options(text) or await self._tree_offers(text, options.words, source, target, True)

    @staticmethod
    def _tree_options(text: str) -> list[Offer]:
        if not text.startswith("-"):
            return []
        return [Offer(option) for option in sorted(OPTIONS) if option.startswith(text)]

    async def _tree_offers(
        self, text: str, before: Sequence[str], source: Place, target: Place, only_folders: bool = False
    ) -> list[Offer]:
        """What may stand behind these words that are no options: what is carried, then where it goes to."""
        ends = (source, target)
        return await self._offers(ends[len(before)], text, only_folders) if len(before) < len(ends) else []

    async def _tree(
        self,
        job: Job,
        there: There,
        command: str,
        options: TreeOptions,
        top: Entry | None = None,
        given: Names | None = None,
    ) -> None:
        """Carry a tree, in the way of one of the commands. Raises what ended it.

        `top` is the source's folder, if it was looked at just now. `given` are the names that the same command has
        given to others before.
        """
        job.has_questions = True
        if command == "store":
            options.up = True
        if not 1 <= len(options.words) <= 2:
            raise BadArgument(f"it takes one folder, and where it goes to. Use: help {command}")
        source, target = (self._here, there) if options.up else (there, self._here)
        path = source.path(options.words[0])
        top = top or await source.entry(path)  # raises, with the names that are close
        to = await _target(command, path, target, options.words[1:])
        given = self.names_given if given is None else given
        if given is not None:
            claim(given, to, (there.target, path))
        local, remote = (path, to) if options.up else (to, path)
        work = journal.Job.of(there.target, True, options.up, local, remote, tuple(options.given), time.time())
        if options.dry_run:
            await self._carry_tree(job, there, work, None, top)
        else:
            with self._remembered(work) as memory:
                await self._carry_tree(job, there, work, memory, top)

    async def _carry_tree(
        self, job: Job, there: There, work: journal.Job, memory: Unfinished | None, top: Entry | None = None
    ) -> None:
        async def ask(question: str) -> bool:
            if self._around.ask is None or not job.has_floor:
                return False  # somebody is typing something else
            job.has_questions = True
            try:
                return await self._around.ask(f"{question} [y]es, [n]o", "yn") == "y"
            finally:
                job.has_questions = False

        desk = Desk(
            self._reactor,
            self.say,
            self.note,
            self.warn,
            lambda progress, label: self._underway(job, progress, label),
            lambda report, seconds: self._tell_report(work, report, seconds),
            ask if self._around.ask is not None else None,
            self._slowed,
        )
        options = parse(work.words)
        options.up = work.is_upload
        tree = TreeJob(self._here, there, work.local, work.remote, options, self._redialling(there), top)
        target, to = (there, work.remote) if work.is_upload else (self._here, work.local)

        async def carrying() -> None:
            try:
                await carry(tree, desk, memory)
            except (Unavailable, NoSpace) as error:
                raise type(error)(self._here.reason(work.local, error)) from error

        await target.doing(to, carrying(), is_new=True)

    def _tell_report(self, work: journal.Job, report: Report, seconds: float) -> None:
        for text in (*report.notes.told("note"), *report.skipped.told("skipped")):
            self.note(text)
        for text, error in zip(report.failed.told("failed"), report.failed.causes, strict=False):
            self.complain(text, error)
        source, target = (work.local, work.remote) if work.is_upload else (work.remote, work.local)
        self.note(report.sum(seconds), {"event": "done", "from": source, "to": target, **report.event(seconds)})

    # -- what is unfinished

    @contextlib.contextmanager
    def _remembered(self, work: journal.Job) -> Iterator[Unfinished | None]:
        """Remember a job while it is done, and for longer if it is stopped, or its connection is lost."""
        memory = self._around.journal.begin(work) if self._around.journal else None
        if memory is None:
            yield None
        else:
            with self._settled(memory):
                yield memory

    @staticmethod
    @contextlib.contextmanager
    def _settled(memory: Unfinished) -> Iterator[None]:
        """The end of a job: what was refused is over, what was stopped, lost or broken off stays in the journal."""
        try:
            yield
            memory.done()
        except (Aborted, ConnectionFailed, ServiceClosing, Stopped):
            raise
        except TransferError:
            memory.done()
            raise
        finally:
            memory.close()


async def _target(command: str, path: str, target: Place, words: list[str]) -> str:
    """The folder that is to be like the source: for `mirror` the one that is named, else one in it, as `cp -r` does."""
    name = parent_and_name(path)[1]
    if not words:
        return target.path(name or ".")
    to = target.path(words[0])
    if command == "mirror" or not name:
        return to
    if await target.has_folder(to):
        return f"{to.rstrip('/')}/{name}"
    if words[0].endswith("/"):
        raise NotFound(f"there is no folder {quote(to)}.")
    return to
