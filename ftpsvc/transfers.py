"""One file carried from one place to another, looked at before the first byte, with words for how it ended.

Download and upload are one function, as in `copying`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError

from ftpsvc import display, model
from ftpsvc.console import Stopped
from ftpsvc.crew import Healing
from ftpsvc.mirroring import Memory
from ftpsvc.model import Aborted, ConnectionFailed, Entry, NoTLS, TransferError, Unavailable, parent_and_name
from ftpsvc.places import Here, Place, There
from ftpsvc.progress import Progress
from ftpsvc.resuming import NOT_VERIFIED, Brought, Known, bring
from ftpsvc.storage import SMALL, Storage
from ftpsvc.words import escape, quote


def server_of(*ends: Place) -> There:
    """The end that is a server."""
    return next(place for place in ends if isinstance(place, There))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be carried where. All paths are absolute."""

    source: Place
    path: str
    target: Place
    name: str
    entry: Entry
    old: Entry | None  #: what has that name at the target already
    goes_on: bool = False  #: from the file that is there, if that is how the other begins

    @property
    def size(self) -> int:
        """Bytes."""
        return self.entry.size

    @property
    def replaces(self) -> bool:
        return self.old is not None

    @property
    def label(self) -> str:
        """The file's name as it can be shown."""
        return quote(parent_and_name(self.path)[1])

    @property
    def leaves(self) -> str:
        """What is at the target after a transfer that failed."""
        if isinstance(self.target, There) and (left := self.target.leaves(self.name)):
            return left
        if self.replaces:
            return f"The old {quote(self.name)} is as it was."
        return "Nothing was written locally." if self.is_download else "Nothing was stored on the server."

    @property
    def checked(self) -> str:
        """By what both ends know that they have the same, for the end of a sentence."""
        by = self.server.remote.checked
        return f", {by} checked" if by else ""

    @property
    def server(self) -> There:
        """The end that is a server."""
        return server_of(self.source, self.target)

    @property
    def is_download(self) -> bool:
        return isinstance(self.target, Here)


@dataclass(frozen=True, slots=True)
class Way:
    """How a file gets to the other end. `slowed` gives what is to be read in a storage's place."""

    line: Healing
    slowed: Callable[[Storage], Storage | None] = lambda storage: None

    def storage(self, place: Place) -> Storage:
        """A place's storage; that of the server heals."""
        return self.line if isinstance(place, There) else place.storage


async def carry(
    plan: Plan, way: Way, progress: Progress, shown: AbstractContextManager[None], memory: Memory | None = None
) -> Brought:
    """Carry a file, and show the progress meanwhile. What an earlier attempt has left is gone on from, if it is right.

    `memory` is told once the file is begun, and knows how its source was when that was noted the last time. A lost
    connection is made again.

    Raises what `bring` raises, with how far it got and what is left of it in the text; `Stopped` if it was cancelled.
    """

    def begun(known: Known) -> None:
        if memory is not None:
            memory.began("", known)

    source, target = way.storage(plan.source), way.storage(plan.target)
    try:
        with shown:
            return await bring(
                source,
                plan.path,
                plan.entry,
                target,
                plan.name,
                progress.advance,
                memory.known("") if memory is not None else None,
                line=way.line,
                via=way.slowed(source),
                goes_on=plan.goes_on,
                begun=begun,
            )
    except CancelledError as error:
        raise Stopped(_stopped(plan, progress)) from error
    except ConnectionFailed as error:
        kind = NoTLS if isinstance(error, NoTLS) else ConnectionFailed
        raise kind(_lost(plan, progress, error)) from error
    except TransferError as error:
        folder = parent_and_name(plan.name)[0]
        if isinstance(error, Unavailable) and not await plan.target.has_folder(folder):
            raise model.NotFound(f"there is no folder {quote(folder)}. {plan.leaves}") from error
        kept = _kept(plan, progress) if isinstance(error, Aborted) else ""
        raise type(error)(_failed(plan, error) + kept) from error


def _stopped(plan: Plan, progress: Progress) -> str:
    if progress.done >= plan.size:
        return _unknown("stopped", plan)
    is_lost = plan.server.remote.lost is not None
    return f"stopped at {display.part(progress.done, plan.size)}. {plan.leaves}{_kept(plan, progress, is_lost)}"


def _unknown(what: str, plan: Plan) -> str:
    # All bytes are at the other end, being put into place. That ends in order, and nobody is left to hear how.
    return f"{what} when every byte had been sent. Look whether {quote(plan.name)} is there."


def _lost(plan: Plan, progress: Progress, error: ConnectionFailed) -> str:
    if progress.done >= plan.size and not plan.is_download:
        return _unknown("connection lost", plan)
    text = f"connection lost at {display.part(progress.done, plan.size)}: {error} {plan.leaves}"
    return text + _kept(plan, progress, by_server=True)


def _kept(plan: Plan, progress: Progress, by_server: bool = False) -> str:
    """What is left for the next try. A server keeps what it has of an upload only if it wasn't told to give it up."""
    if not progress.done or plan.size <= SMALL or (not plan.is_download and not by_server):
        return ""
    return " What came is kept, and resume, or the same command, goes on from there."


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


def report(plan: Plan, progress: Progress, brought: Brought) -> str:
    """The last word about a transfer that went well."""
    label = plan.label
    if plan.name != plan.target.path(parent_and_name(plan.path)[1]):
        label += f" as {quote(plan.name)}"
    replaced = ", replaced the old one" if plan.replaces and not (plan.goes_on and brought.resumed) else ""
    done = "retrieved" if plan.is_download else "stored"
    went_on = f", went on from {display.size(brought.resumed)}" if brought.resumed else ""
    checked = f", {NOT_VERIFIED}" if brought.note == NOT_VERIFIED else plan.checked
    note = f", {escape(brought.note)}" if brought.note not in ("", NOT_VERIFIED) else ""
    return f"{done} {label}: {_took(brought.stored.size, progress, brought.resumed)}{went_on}{checked}{note}{replaced}"


def summary(plans: Sequence[Plan], total: Progress) -> str:
    """The last word about several, of which some may have failed."""
    done = "retrieved" if plans[0].is_download else "stored"
    return f"{done} {total.files_done} of {display.counted(len(plans), 'file')}: {_took(total.done, total)}"


def _took(size: int, progress: Progress, resumed: int = 0) -> str:
    moved = progress.done - resumed
    rate = f" ({display.size(moved / progress.elapsed)}/s)" if moved > 0 and progress.elapsed > 0 else ""
    return f"{display.size(size)} in {display.duration(progress.elapsed)}{rate}"


def event(plan: Plan, progress: Progress, brought: Brought) -> dict[str, Any]:
    """The same, for a program."""
    checked = "" if brought.note == NOT_VERIFIED else plan.checked.removeprefix(", ").removesuffix(" checked")
    return {
        "event": "done",
        "from": plan.path,
        "to": plan.name,
        "size": brought.stored.size,
        "resumed": brought.resumed,
        "seconds": round(progress.elapsed, 3),
        "checked": checked or None,
    }
