"""Files carried between here and there: retrieve store mget mput."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from twisted.internet.defer import CancelledError

from ftpsvc import clashes, preflight, transfers
from ftpsvc.commands.base import Commands
from ftpsvc.console import Offer, Stopped
from ftpsvc.jobs import Job
from ftpsvc.model import Aborted, ConnectionFailed, ServiceClosing, TransferError
from ftpsvc.pacing import Pace, Paced
from ftpsvc.parallel import for_each
from ftpsvc.places import Place, There
from ftpsvc.progress import Progress
from ftpsvc.transfers import Plan
from ftpsvc.walking import each_of

#: How many files of one command are under way at once in MODE I, so that the line's delay is paid once and not for
#: each of them. Without MODE I there is one at a time.
AT_ONCE = 16


class Transfers(Commands):
    """The commands that carry files."""

    heading = "Files between here and there"
    planning: ClassVar[frozenset[str]] = frozenset("retrieve store mget mput".split())
    _pace: Pace | None = None

    async def do_retrieve(self, file: str, local: str = ".") -> None:
        """retrieve <file> [local]

        Bring a file from the server to this machine.

        It appears under its name when it is whole, and not before. If a file has that name already, both are shown and
        you are asked. The last word says what it was checked by: its digest, or its size where a server has no digests.
        If <local> is a folder, the file goes into it. In the last part of <file>, * ? and [a-z] may stand.

        Example: retrieve "my notes.txt" papers/
        """
        await self._carry(self._server, [file], self._here, local)

    async def complete_retrieve(self, text: str, position: int) -> list[Offer]:
        return await self._file_offers(text, position, self._server, self._here)

    async def do_store(self, file: str, remote: str = ".") -> None:
        """store <file> [remote]

        Bring a file from this machine to the server.

        A server with MODE I shows it under its name when it is whole and its digest is right, and not before. Others do
        as they like while it is on its way. If a file has that name already, both are shown and you are asked. If
        <remote> is a folder, the file goes into it. In the last part of <file>, * ? and [a-z] may stand.

        Example: store report.pdf pub/
        """
        await self._carry(self._here, [file], self._server, remote)

    async def complete_store(self, text: str, position: int) -> list[Offer]:
        return await self._file_offers(text, position, self._here, self._server)

    async def do_mget(self, file: str, *more: str) -> None:
        """mget <file>...

        Bring several files from the server to this machine.

        In the last part of each, * ? and [a-z] may stand. One that fails doesn't keep the others.

        Example: mget *.jpg notes.txt
        """
        await self._carry(self._server, [file, *more], self._here, ".")

    async def complete_mget(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)

    async def do_mput(self, file: str, *more: str) -> None:
        """mput <file>...

        Bring several files from this machine to the server.

        In the last part of each, * ? and [a-z] may stand. One that fails doesn't keep the others.

        Example: mput *.jpg notes.txt
        """
        await self._carry(self._here, [file, *more], self._server, ".")

    async def complete_mput(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._here, text)

    # -- one or many

    async def _carry(self, source: Place, files: Sequence[str], target: Place, to: str) -> None:
        job = self._job
        job.has_questions = True
        plans = await preflight.planned(source, files, target, to)
        plans = await clashes.settled(plans, self.settings.overwrite, self._around.ask, self.note)
        if not plans:
            return
        await preflight.check(plans)
        if len(plans) == 1:
            await self._carry_one(job, plans[0])
        else:
            await self._carry_many(job, plans)

    def _paced(self, plan: Plan) -> Plan:
        """The plan, with its source held to the rate that is set."""
        rate = self.settings.limit_rate
        if not rate:
            return plan
        if self._pace is None or self._pace.rate != rate:
            self._pace = Pace(rate, self._reactor)
        return replace(plan, via=Paced(plan.source.storage, self._pace))

    async def _carry_one(self, job: Job, plan: Plan) -> None:
        progress = Progress(plan.size, self._reactor.seconds)
        await transfers.carry(self._paced(plan), progress, self._underway(job, progress, plan.label))
        self.note(transfers.report(plan, progress), transfers.event(plan, progress))

    async def _carry_many(self, job: Job, plans: Sequence[Plan]) -> None:
        total = Progress(sum(plan.size for plan in plans), self._reactor.seconds, files=len(plans))
        failed = 0
        ends = (plans[0].source, plans[0].target)
        ends = (plans[0].source, plans[0].target)
        is_inline = all(end.remote.is_inline for end in ends if isinstance(end, There))

        async def one(plan: Plan) -> None:
            nonlocal failed
            progress = Progress(plan.size, self._reactor.seconds, whole=total)
            try:
                await transfers.carry(self._paced(plan), progress, contextlib.nullcontext())
            except (ConnectionFailed, ServiceClosing):
                raise  # none of the others can be carried either
            except TransferError as error:
                if job.is_interrupted:
                    raise
                failed += 1
                self.complain(f"{plan.label}: {error}", error)
            else:
                total.file_done()
                self.note(transfers.report(plan, progress), transfers.event(plan, progress))

        try:
            with self._underway(job, total, f"{len(plans)} files"):
                await for_each(each_of(plans), one, AT_ONCE if is_inline else 1)
        except (CancelledError, Stopped) as error:
            count = f"{total.files_done} of {len(plans)} files"
            raise Stopped(f"stopped. {count} had been carried, and of the others none was replaced.") from error
        self.note(transfers.summary(plans, total))
        if failed:
            raise Aborted(f"{failed} of {len(plans)} files failed; what was wrong with each stands above.")
