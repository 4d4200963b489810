"""The times and modes of what a mirror puts at its target, as far as the server there sets any."""

from __future__ import annotations

import contextlib
from itertools import groupby

from ftpsvc import display, model
from ftpsvc.lines import GIVEN_UP, Line
from ftpsvc.model import Facts, TransferError
from ftpsvc.parallel import each, for_each
from ftpsvc.removing import CHANGES_AT_ONCE
from ftpsvc.reports import Report
from ftpsvc.steps import Side, Step

#: What the owner of a folder may do with it, as long as it is being filled.
_OWNERS = 0o700

#: What a server says that doesn't know how to set a time or a mode.
_UNKNOWN = (model.NotImplementedHere, model.BadCommand, model.BadArgument, model.BadParameter)

#: Why a name may keep its own time and mode, without anybody missing them. Servers that set none for guests say 530 or
#: 553, too.
_NO_MATTER = (*_UNKNOWN, model.Unavailable, model.NotLoggedIn, model.InvalidName)


class TargetFacts:
    """Sets them: a file's behind it, and a folder's when nothing more comes into it."""

    def __init__(self, target: Side, line: Line, report: Report, come_with_files: bool) -> None:
        """`come_with_files`: whether a file's mode is set with its bytes."""
        self._target = target
        self._line = line
        self._report = report
        self._sets_modes = not come_with_files
        self._times: list[tuple[str, Facts]] = []  #: of folders
        self._modes: list[tuple[str, Facts]] = []  #: those with which a folder could not be filled

    async def set(self, path: str, facts: Facts) -> None:
        """Set them now. Raises why not."""
        await self._line.through(lambda: self._target.storage.set_facts(self._target.at(path), facts))

    async def of_file(self, step: Step) -> None:
        """Set a file's mode where it hasn't come with it. A server that doesn't know how is not asked again."""
        if not self._sets_modes or not step.entry.mode:
            return
        try:
            await self.set(step.path, Facts(mode=step.entry.mode))
        except _UNKNOWN:
            self._sets_modes = False
        except _NO_MATTER:
            pass  # which says nothing of the others, of which one may be private

    async def of_new_folder(self, step: Step) -> None:
        """Give a folder its mode, and its owner all that filling it takes. The rest is for the end."""
        if step.entry.mode:
            with contextlib.suppress(*_NO_MATTER):
                await self.set(step.path, Facts(mode=step.entry.mode | _OWNERS))
        if step.entry.modified:
            self._times.append((step.path, Facts(modified=step.entry.modified)))
        if step.entry.mode and step.entry.mode & _OWNERS != _OWNERS:
            self._modes.append((step.path, Facts(mode=step.entry.mode)))

    async def finish(self) -> None:
        """Give folders what they can have only behind all that is in them: each name that is made in a folder sets its
        time, and a mode may forbid to make any, or to go to what is in it."""
        # Apart, because a server may know one of them only.
        await for_each(each(self._times), self._finish, CHANGES_AT_ONCE)
        for _, level in groupby(sorted(self._modes, key=_depth, reverse=True), _depth):
            await for_each(each(level), self._finish, CHANGES_AT_ONCE)

    async def _finish(self, folder: tuple[str, Facts]) -> None:
        try:
            with contextlib.suppress(*_NO_MATTER):
                await self.set(*folder)
        except GIVEN_UP:
            raise
        except TransferError as error:
            self._report.failed.add(folder[0], display.reason(error), error)


def _depth(folder: tuple[str, Facts]) -> int:
    return folder[0].count("/") + bool(folder[0])
