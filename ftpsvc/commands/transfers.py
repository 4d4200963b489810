"""Files carried between here and there: retrieve store mget mput reget reput."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from twisted.internet.defer import CancelledError

from ftpsvc import clashes, journal, preflight, transfers
from ftpsvc.commands.trees import Trees
from ftpsvc.console import Offer, Stopped
from ftpsvc.jobs import Job
from ftpsvc.journal import Unfinished
from ftpsvc.model import Aborted, BadArgument, ConnectionFailed, Entry, ServiceClosing, TransferError, parent_and_name
from ftpsvc.parallel import each, for_each
from ftpsvc.places import Place
from ftpsvc.plans import described, step_event
from ftpsvc.progress import Progress
from ftpsvc.steps import Do, Step
from ftpsvc.storage import SMALL
from ftpsvc.targets import Names
from ftpsvc.transfers import Plan, Way
from ftpsvc.treeoptions import TreeOptions, parse
from ftpsvc.words import quote

#: How many files of one command are under way at once in MODE I, so that the line's delay is paid once and not for
#: each of them. Without MODE I there is one at a time.
AT_ONCE = 16


class Transfers(Trees):
    """The commands that carry files."""

    heading = "Files between here and there"
    planning: ClassVar[frozenset[str]] = frozenset("retrieve store mget mput reget reput".split())

    async def do_retrieve(self, file: str, *more: str) -> None:
        """retrieve [-r] <file>... [local]

        Bring a file from the server to this machine.

        It appears under its name when it is whole, and not before. If a file has that name already, both are shown and
        you are asked. The last word says what it was checked by: its digest, or its size where a server has no digests.
        If <local> is a folder, the file goes into it; behind several files it has to be one, and to end with a slash
        or be a dot. In the last part of <file>, * ? and [a-z] may stand. What an earlier try has left of it is gone on
        from, once it was compared. With -r folders are retrieved too, with all that is in them and with the options of
        mirror. Behind -- all words are names, also those that begin with a dash.

        Example: retrieve "my notes.txt" papers/
        """
        await self._carry_words(self._job, "retrieve", self._server, self._here, (file, *more))

    async def complete_retrieve(self, text: str, position: int) -> list[Offer]:
        return await self._carried_offers(text, self._server, self._here)

    async def do_store(self, file: str, *more: str) -> None:
        """store [-r] <file>... [remote]

        Bring a file from this machine to the server.

        A server with MODE I shows it under its name when it is whole and its digest is right, and not before. Others do
        as they like while it is on its way. If a file has that name already, both are shown and you are asked. If
        <remote> is a folder, the file goes into it; behind several files it has to be one, and to end with a slash or
        be a dot. In the last part of <file>, * ? and [a-z] may stand. With -r folders are stored too, with all that is
        in them and with the options of mirror. Behind -- all words are names, also those that begin with a dash.

        Example: store report.pdf pub/
        """
        await self._carry_words(self._job, "store", self._here, self._server, (file, *more))

    async def complete_store(self, text: str, position: int) -> list[Offer]:
        return await self._carried_offers(text, self._here, self._server)

    async def do_mget(self, file: str, *more: str) -> None:
        """mget <file>...

        Bring several files from the server to this machine.

        In the last part of each, * ? and [a-z] may stand. One that fails doesn't keep the others.

        Example: mget *.jpg notes.txt
        """
        await self._carry(self._job, self._server, [file, *more], self._here, ".")

    async def complete_mget(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)

    async def do_mput(self, file: str, *more: str) -> None:
        """mput <file>...

        Bring several files from this machine to the server.

        In the last part of each, * ? and [a-z] may stand. One that fails doesn't keep the others.

        Example: mput *.jpg notes.txt
        """
        await self._carry(self._job, self._here, [file, *more], self._server, ".")

    async def complete_mput(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._here, text)

    async def do_reget(self, file: str, local: str = ".") -> None:
        """reget <file> [local]

        Go on with a file that is here in part, whoever has left it.

        What is here is compared with the beginning of the server's file, where the server has digests, and only the
        rest comes; if it differs, all of it does. The old file stays until the new one is whole.

        Example: reget disc.iso
        """
        await self._carry(self._job, self._server, [file], self._here, local, policy="resume")

    async def complete_reget(self, text: str, position: int) -> list[Offer]:
        return await self._file_offers(text, position, self._server, self._here)

    async def do_reput(self, file: str, remote: str = ".") -> None:
        """reput <file> [remote]

        Go on with a file that the server has in part, whoever has left it there.

        What is there is compared as reget does, and only the rest is sent.

        Example: reput disc.iso
        """
        await self._carry(self._job, self._here, [file], self._server, remote, policy="resume")

    async def complete_reput(self, text: str, position: int) -> list[Offer]:
        return await self._file_offers(text, position, self._here, self._server)

    async def _carried_offers(self, text: str, source: Place, target: Place) -> list[Offer]:
        before = self._typed_before
        has_options = "--" not in before
        words = before if has_options and "-r" not in before else parse(before).words
        if len(words) < 2 or (has_options and text.startswith("-")):
            options = self._tree_options(text) if has_options else []
            return options or await self._tree_offers(text, words, source, target)
        offers: dict[str, Offer] = {}  # one more that is carried, or the folder that they all go to
        for place in (target, source):
            with contextlib.suppress(TransferError):
                found = await self._offers(place, text, only_folders=place is target)
                offers.update({offer.text: offer for offer in found})
        return [offers[name] for name in sorted(offers)]

    # -- one or many

    async def _carry_words(self, job: Job, command: str, source: Place, target: Place, words: Sequence[str]) -> None:
        """What stands behind the command: with -r options too, else names only, in front of `--` and behind it."""
        end = words.index("--") if "--" in words else len(words)
        if "-r" in words[:end]:
            await self._carry_all(job, command, source, target, parse(words))
            return
        names = [*words[:end], *words[end + 1 :]]
        self._needed(names, 1, command)
        files, to = self._files_and_goal(command, *names)
        await self._carry(job, source, files, target, to)

    def _files_and_goal(self, command: str, file: str, *more: str) -> tuple[list[str], str]:
        """What is to be carried, and where to. Raises `BadArgument` for several and no folder behind them: they may be
        one name with spaces in it."""
        *others, to = more or (".",)
        if others and to.rpartition("/")[2] not in ("", ".", ".."):
            raise BadArgument(self._misused(command, (file, *more)))
        return [file, *others], to

    async def _carry_all(self, job: Job, command: str, source: Place, target: Place, options: TreeOptions) -> None:
        """What -r means: folders with all that is in them, and files as without it."""
        there = transfers.server_of(source, target)
        if options.delete:
            raise BadArgument("only mirror removes anything. Use: mirror --delete")
        if options.up:
            raise BadArgument("-R turns mirror round. Use: store -r, or retrieve -r")
        if not options.words:
            raise BadArgument(f"it takes one folder, and where it goes to. Use: help {command}")
        typed, to = self._files_and_goal(command, *options.words)
        found = await preflight.matching(source, typed, self._telling(job, len(typed)))
        items = [item for of_one in found.values() for item in of_one]
        if len(typed) == len(items) == 1:
            ((path, entry),) = items
            if entry.is_directory:
                await self._tree(job, there, command, replace(options, words=[path, *options.words[1:]]), entry)
                return
        else:
            to = f"{target.path(to).rstrip('/')}/"  # each would take the name of the one before it
            wanted = options.comparison().wanted
            items = [item for item in items if wanted.admits(parent_and_name(item[0])[1], item[1].is_directory)]
        await self._carry_items(job, command, source, items, target, replace(options, words=[to]))

    async def _carry_items(
        self,
        job: Job,
        command: str,
        source: Place,
        items: Sequence[tuple[str, Entry]],
        target: Place,
        options: TreeOptions,
    ) -> None:
        """Carry the files among these together, and then one folder behind the other; `options` have where to."""
        there = transfers.server_of(source, target)
        files = [(path, entry) for path, entry in items if not entry.is_directory]
        works: list[tuple[str, Entry | None]] = [(path, entry) for path, entry in items if entry.is_directory]
        if options.dry_run:
            for step in [Step(Do.COPY, parent_and_name(path)[1], entry) for path, entry in files]:
                self.say(described(step), step_event(step))
        elif files:
            works.insert(0, ("", None))
        given: Names = {} if self.names_given is None else self.names_given
        failed = 0
        for path, top in works:
            try:
                if top is not None:
                    await self._tree(job, there, command, replace(options, words=[path, *options.words]), top, given)
                else:
                    policy = "newer" if options.only_newer else None
                    paths = [path for path, _ in files]
                    await self._carry(job, source, paths, target, options.words[0], policy, given)
            except (ConnectionFailed, ServiceClosing, Stopped):
                raise
            except TransferError as error:
                if len(works) == 1 or job.is_interrupted:
                    raise
                failed += 1
                self.complain(str(error) if top is None else f"{quote(parent_and_name(path)[1])}: {error}", error)
        if failed:
            raise Aborted(f"{failed} of {len(works)} failed; what was wrong with each stands above.")

    def _telling(self, job: Job, count: int) -> Callable[[TransferError], None]:
        """Says why one of so many can't be carried. Why the only one can't is raised."""
        command = self.words_of(job.line)[0]  # once, because a script's line may have thousands of words

        def failed(error: TransferError) -> None:
            if count == 1 or job.is_interrupted:
                raise error
            self.complain(f"{command}: {error}", error)

        return failed

    async def _carry(
        self,
        job: Job,
        source: Place,
        files: Sequence[str],
        target: Place,
        to: str = ".",
        policy: str | None = None,
        given: Names | None = None,
    ) -> None:
        job.has_questions = True
        given = self.names_given if given is None else given
        plans = await preflight.planned(source, files, target, to, given, self._telling(job, len(files)))
        plans = await clashes.settled(plans, policy or self.settings.overwrite, self._around.ask, self.note)
        if not plans:
            return
        await preflight.check(plans)
        if len(plans) == 1:
            await self._carry_one(job, plans[0])
        else:
            await self._carry_many(job, plans)

    def _remembered_file(self, plan: Plan) -> contextlib.AbstractContextManager[Unfinished | None]:
        """Remember a file that is carried, if it isn't so small that it is over at once."""
        if plan.size <= SMALL:
            return contextlib.nullcontext()
        here, there = (plan.name, plan.path) if plan.is_download else (plan.path, plan.name)
        target = plan.server.target
        return self._remembered(journal.Job.of(target, False, not plan.is_download, here, there, (), time.time()))

    async def _carry_one(self, job: Job, plan: Plan) -> None:
        with self._remembered_file(plan) as memory:
            await self._carry_plan(job, plan, memory)

    async def _carry_plan(self, job: Job, plan: Plan, memory: Unfinished | None) -> None:
        """Carry a file, and say how that went."""
        progress = Progress(plan.size, self._reactor.seconds)
        shown = self._underway(job, progress, plan.label)
        async with self._lasting(plan.server, progress) as line:
            brought = await transfers.carry(plan, Way(line, self._slowed), progress, shown, memory)
        self.note(transfers.report(plan, progress, brought), transfers.event(plan, progress, brought))

    async def _carry_many(self, job: Job, plans: Sequence[Plan]) -> None:
        total = Progress(sum(plan.size for plan in plans), self._reactor.seconds, files=len(plans))
        failed = 0
        server = plans[0].server
        is_inline = server.remote.is_inline

        async def one(plan: Plan, way: Way) -> None:
            nonlocal failed
            progress = Progress(plan.size, self._reactor.seconds, whole=total)
            try:
                with self._remembered_file(plan) as memory:
                    brought = await transfers.carry(plan, way, progress, contextlib.nullcontext(), memory)
            except (ConnectionFailed, ServiceClosing):
                raise  # none of the others can be carried either
            except TransferError as error:
                if job.is_interrupted:
                    raise
                failed += 1
                self.complain(f"{plan.label}: {error}", error)
            else:
                total.file_done()
                self.note(transfers.report(plan, progress, brought), transfers.event(plan, progress, brought))

        try:
            async with self._lasting(server, total) as line:
                way = Way(line, self._slowed)
                with self._underway(job, total, f"{len(plans)} files"):
                    await for_each(each(plans), lambda plan: one(plan, way), AT_ONCE if is_inline else 1)
        except (CancelledError, Stopped) as error:
            count = f"{total.files_done} of {len(plans)} files"
            raise Stopped(f"stopped. {count} had been carried, and of the others none was replaced.") from error
        self.note(transfers.summary(plans, total))
        if failed:
            raise Aborted(f"{failed} of {len(plans)} files failed; what was wrong with each stands above.")
