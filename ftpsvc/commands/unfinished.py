"""What was begun and not finished: resume."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import ClassVar

from ftpsvc import display, journal, preflight
from ftpsvc.commands.transfers import Transfers
from ftpsvc.connecting import dialled
from ftpsvc.console import Offer
from ftpsvc.jobs import Job
from ftpsvc.journal import Unfinished
from ftpsvc.model import BadArgument, TransferError
from ftpsvc.places import Place, There
from ftpsvc.words import escape, quote


class UnfinishedWork(Transfers):
    """The command for what is in the journal."""

    heading = "What is unfinished"
    planning: ClassVar[frozenset[str]] = frozenset(["resume"])

    async def do_resume(self, which: str = "") -> None:
        """resume [number | all | forget]

        List what was begun and not finished, by this shell or an earlier one, or finish it.

        With a number, or all, it is done again from where it was: what is there already is compared, and only the rest
        is sent. Each goes over a connection of its own, to the server that it began with. With forget nothing is
        remembered any more.

        Example: resume all
        """
        job = self._job
        job.has_questions = True
        found = self._around.journal.unfinished() if self._around.journal else []
        try:
            if which == "forget":
                for memory in found:
                    memory.done()
                self.note(f"Forgot {display.counted(len(found), 'job')}. Parts of files stay until they are replaced.")
            elif which in ("", "list") or (which == "all" and not found):
                self._list_unfinished(found)
            else:
                await self._resume(job, _chosen(found, which))
        finally:
            for memory in found:
                memory.close()

    async def complete_resume(self, text: str, position: int) -> list[Offer]:
        if position != 1:
            return []
        found = self._around.journal.unfinished() if self._around.journal else []
        offers = [Offer(str(number), _described(memory.job)) for number, memory in enumerate(found, 1)]
        for memory in found:
            memory.close()
        offers += [Offer("all", "finish all of it"), Offer("forget", "remember none of it")] if found else []
        return [offer for offer in offers if offer.text.startswith(text)]

    def _list_unfinished(self, found: list[Unfinished]) -> None:
        for number, memory in enumerate(found, 1):
            work = memory.job
            event = {
                "event": "unfinished",
                "number": number,
                "url": work.server,
                "tree": work.is_tree,
                "upload": work.is_upload,
                "local": work.local,
                "remote": work.remote,
            }
            self.say(f"{number:3}  {_described(work)}", event)
        self.note(f"{display.counted(len(found), 'job')} unfinished." + (" Use: resume all" if found else ""))

    async def _resume(self, job: Job, chosen: list[Unfinished]) -> None:
        """Finish these, each whatever becomes of the others."""
        for memory in chosen:
            work = memory.job
            self.note(_described(work))
            try:
                async with self._at(job, work) as there:
                    with self._settled(memory):
                        if work.is_tree:
                            await self._carry_tree(job, there, work, memory)
                        else:
                            await self._carry_again(job, there, work, memory)
            except TransferError as error:
                if job.is_interrupted:
                    raise
                self.complain(f"resume: {error}", error)

    @contextlib.asynccontextmanager
    async def _at(self, job: Job, work: journal.Job) -> AsyncIterator[There]:
        """A connection to the server of an unfinished job."""
        there = There(await dialled(self._dial, work.target), work.target)
        job.server = there
        try:
            yield there
        finally:
            job.server = None
            there.remote.close()

    async def _carry_again(self, job: Job, there: There, work: journal.Job, memory: Unfinished) -> None:
        source: Place = self._here if work.is_upload else there
        target: Place = there if work.is_upload else self._here
        path, to = (work.local, work.remote) if work.is_upload else (work.remote, work.local)
        await self._carry_plan(job, await preflight.again(source, path, target, to), memory)


def _chosen(found: list[Unfinished], which: str) -> list[Unfinished]:
    if which == "all":
        return found
    if which not in map(str, range(1, len(found) + 1)):
        raise BadArgument(f"there is no job {quote(which)}. resume lists them, resume all finishes all.")
    return [found[int(which) - 1]]


def _described(work: journal.Job) -> str:
    what = ("store" if work.is_upload else "retrieve") + " -r" * work.is_tree
    source, target = (work.local, work.remote) if work.is_upload else (work.remote, work.local)
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(work.began))
    options = "".join(f" {escape(word)}" for word in work.words if word not in ("-r", "-R", "--up"))
    return f"{since}  {work.target.typed}: {what}{options} {quote(source)} {quote(target)}"
