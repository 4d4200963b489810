"""What is in the background: jobs wait kill."""

from __future__ import annotations

from ftpsvc import views
from ftpsvc.commands.base import Commands
from ftpsvc.console import Offer
from ftpsvc.jobs import Job
from ftpsvc.model import BadArgument
from ftpsvc.words import escape


class JobCommands(Commands):
    """The commands about jobs. A line ending with & becomes one, and so does what Ctrl-Z finds under way."""

    heading = "Jobs: end a line with &, or press Ctrl-Z while it is carried out"

    async def do_jobs(self) -> None:
        """jobs

        List what is under way in the background.

        Example: jobs
        """
        rows = [f"[{job.number}] {escape(job.line)}: {views.state(job)}" for job in self.jobs]
        self.say("\n".join(rows) or "Nothing is under way in the background.")

    async def do_wait(self, *numbers: str) -> None:
        """wait [number]...

        Wait for jobs, or for all of them, and show how far each is.

        Ctrl-C ends the waiting, and not the job.

        Example: wait 1
        """
        waiting = self._job
        for job in list(map(self._numbered, numbers)) or self.jobs:
            if job is waiting or job.has_ended:
                continue
            if job.progress is not None:
                waiting.progress, waiting.label = job.progress, job.label
                if waiting.has_floor:
                    self.show_again(waiting)
            try:
                await job.ended()
            finally:
                waiting.view.close()
                waiting.progress = None

    async def complete_wait(self, text: str, position: int) -> list[Offer]:
        numbers = [Offer(str(job.number), job.line) for job in self.jobs]
        return [offer for offer in numbers if offer.text.startswith(text)]

    async def do_kill(self, number: str, *more: str) -> None:
        """kill <number>...

        Stop jobs. A file that one has not finished is as it was before, and resume takes it up again.

        Example: kill 1
        """
        jobs = [self._numbered(each) for each in (number, *more)]
        for job in jobs:
            job.stop()
        for job in jobs:
            await job.ended()

    async def complete_kill(self, text: str, position: int) -> list[Offer]:
        return await self.complete_wait(text, position)

    def _numbered(self, number: str) -> Job:
        job = self.jobs.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 5 else None
        if job is None:
            raise BadArgument(f'there is no job "{number}". Use: jobs')
        return job
