"""One file carried from one place to another, looked at before the first byte, with words for how it ended.

Download and upload are one function, as in `copying`.
"""

from __future__ import annotations

import errno
from contextlib import AbstractContextManager
from dataclasses import dataclass

from twisted.internet.defer import CancelledError

from ftpsvc import display, model
from ftpsvc.console import Stopped
from ftpsvc.copying import copy
from ftpsvc.model import ConnectionFailed, Entry, TransferError, Unavailable, parent_and_name
from ftpsvc.places import Here, Place, There
from ftpsvc.progress import Progress
from ftpsvc.words import quote


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be carried where. All paths are absolute."""

    source: Place
    path: str
    target: Place
    name: str
    size: int
    replaces: bool

    @property
    def label(self) -> str:
        """The file's name as it can be shown."""
        return quote(parent_and_name(self.path)[1])

    @property
    def leaves(self) -> str:
        """What is at the target after a transfer that failed."""
        if isinstance(self.target, There) and not self.target.remote.is_inline:
            return f"Look what {quote(self.name)} is now: such a server may keep a part of it under its name."
        if self.replaces:
            return f"The old {quote(self.name)} is as it was."
        return "Nothing was written locally." if self.is_download else "Nothing was stored on the server."

    @property
    def checked(self) -> str:
        """By what both ends know that they have the same, for the end of a sentence."""
        by = next((place.remote.checked for place in (self.source, self.target) if isinstance(place, There)), "")
        return f", {by} checked" if by else ""

    @property
    def is_download(self) -> bool:
        return isinstance(self.target, Here)


async def planned(source: Place, file: str, target: Place, to: str) -> Plan:
    """Look at both ends. Raises what would go wrong anyway, before a byte has moved."""
    path = source.path(file)
    entry = await source.entry(path)
    if entry.is_directory:
        raise model.NotAFile(f"{quote(path)} is a folder; one file at a time can be carried.")
    name = target.path(to)
    there = await _found(target, name)
    if there is not None and there.is_directory:
        name = f"{name.rstrip('/')}/{parent_and_name(path)[1]}"
        there = await _found(target, name)
    elif to.endswith("/"):
        raise model.NotFound(f"there is no folder {quote(name)}.")
    if there is not None and there.is_directory:
        raise model.NotAFile(f"{quote(name)} is a folder, and a folder is not replaced by a file.")
    await _check_space(target, name, entry.size)
    return Plan(source, path, target, name, entry.size, there is not None)


async def _found(place: Place, path: str) -> Entry | None:
    try:
        return await place.storage.stat(path)
    except Unavailable:
        return None  # whatever else stands in the way is said when it is opened


async def _check_space(target: Place, name: str, needed: int) -> None:
    free = await target.space(parent_and_name(name)[0])
    if free is not None and free < needed:
        where = "the disk" if isinstance(target, Here) else "the server"
        raise model.NoSpace(f"need {display.size(needed)}, {where} has {display.size(free)} free. Nothing transferred.")


async def carry(plan: Plan, progress: Progress, shown: AbstractContextManager[None]) -> None:
    """Carry a file, and show the progress meanwhile.

    Raises what `copy` raises, with how far it got and what is left of it in the text; `Stopped` if it was cancelled.
    """
    try:
        with shown:
            await copy(plan.source.storage, plan.path, plan.target.storage, plan.name, progress.advance)
    except CancelledError as error:
        raise Stopped(_stopped(plan, progress)) from error
    except ConnectionFailed as error:
        raise ConnectionFailed(_lost(plan, progress, error)) from error
    except TransferError as error:
        folder = parent_and_name(plan.name)[0]
        if isinstance(error, Unavailable) and await _found(plan.target, folder) is None:
            raise model.NotFound(f"there is no folder {quote(folder)}. {plan.leaves}") from error
        raise type(error)(_failed(plan, error)) from error


def _stopped(plan: Plan, progress: Progress) -> str:
    if progress.done >= plan.size:
        return _unknown("stopped", plan)
    return f"stopped at {display.part(progress.done, plan.size)}. {plan.leaves}"


def _unknown(what: str, plan: Plan) -> str:
    # All bytes are at the other end, being put into place. That ends in order, and nobody is left to hear how.
    return f"{what} when every byte had been sent. Look whether {quote(plan.name)} is there."


def _lost(plan: Plan, progress: Progress, error: ConnectionFailed) -> str:
    if progress.done >= plan.size and not plan.is_download:
        return _unknown("connection lost", plan)
    text = f"connection lost at {display.part(progress.done, plan.size)}: {error} {plan.leaves}"
    if plan.is_download and progress.done:
        folder = parent_and_name(plan.name)[0]
        text += f" What came is kept in {quote(folder)} in a hidden part file, which the next try replaces."
    return text


def _failed(plan: Plan, error: TransferError) -> str:
    # What is wrong on this machine is said in this machine's words, whichever end of the copy it is.
    if plan.is_download:
        advice = _ADVICE.get(getattr(error.__cause__, "errno", None), "")
        return f"{plan.target.reason(plan.name, error)}{advice} {plan.leaves}"
    return f"{plan.source.reason(plan.path, error)} {plan.leaves}"


_ELSEWHERE = " Choose another folder with lcd, or name one at the end of the command."
_ROOM = " Make room, or choose another disk with lcd."

#: What to do when this machine's disk does not take a file.
_ADVICE: dict[int | None, str] = {
    errno.EACCES: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
}


def report(done: str, plan: Plan, progress: Progress) -> str:
    """The last word about a transfer that went well."""
    label = plan.label
    if plan.name != plan.target.path(parent_and_name(plan.path)[1]):
        label += f" as {quote(plan.name)}"
    rate = f" ({display.size(progress.mean_rate)}/s)" if progress.mean_rate else ""
    replaced = ", replaced the old one" if plan.replaces else ""
    took = f"{display.size(plan.size)} in {display.duration(progress.elapsed)}"
    return f"{done} {label}: {took}{rate}{plan.checked}{replaced}"
