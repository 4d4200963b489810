"""Removing what a tree has too much: files first, then the folders that they were in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ftpsvc import display, model
from ftpsvc.lines import GIVEN_UP, Line
from ftpsvc.model import TransferError
from ftpsvc.parallel import each, for_each
from ftpsvc.plans import Removals, is_within
from ftpsvc.reports import Report
from ftpsvc.steps import Side

#: Removals, and other small changes, at once.
CHANGES_AT_ONCE = 200

#: Says whether something is too much after all, just before it goes.
IsExtra = Callable[[str], Awaitable[bool]]


async def listed(path: str) -> bool:
    """The `IsExtra` that believes the listings."""
    return True


async def remove(removals: Removals, tree: Side, line: Line, report: Report, is_extra: IsExtra = listed) -> None:
    """Remove these from a tree. What can't be removed is noted, and the rest goes on."""
    await _unlink_folders(removals, tree, line, report, is_extra)

    async def remove_file(path: str) -> None:
        await _removed(path, tree, line, report, tree.storage.remove, is_extra)

    async def remove_folder(path: str) -> None:
        await _removed(path, tree, line, report, tree.storage.remove_dir, is_extra)

    await for_each(each(removals.files()), remove_file, CHANGES_AT_ONCE)
    for level in removals.folders():
        await for_each(each(level), remove_folder, CHANGES_AT_ONCE)


async def _unlink_folders(removals: Removals, tree: Side, line: Line, report: Report, is_extra: IsExtra) -> None:
    """Remove the links among the folders, and leave out what seemed to be in them.

    Most servers show a link as the folder that it leads to, and through it one would remove what is somewhere else. To
    remove a folder as if it were a file fails; to remove a link in this way doesn't.
    """
    links: set[str] = set()

    async def unlink(path: str) -> None:
        try:
            if not await is_extra(path):
                return  # which is said when its turn as a folder comes, as is all that goes wrong
            await line.through(lambda: tree.storage.remove(tree.at(path)))
        except GIVEN_UP:
            raise
        except TransferError:
            return
        links.add(path)
        report.removed += 1

    for level in reversed(list(removals.folders())):
        await for_each(each(path for path in level if not is_within(path, links)), unlink, CHANGES_AT_ONCE)
    if links:
        removals.leave_out(links)


async def _removed(
    path: str,
    tree: Side,
    line: Line,
    report: Report,
    remove: Callable[[str], Awaitable[None]],
    is_extra: IsExtra,
) -> None:
    try:
        if not await is_extra(path):
            report.failed.add(
                path, "not removed: no listing of the source shows it, and asked for it, the source has it."
            )
            return
        await line.through(lambda: remove(tree.at(path)))
    except GIVEN_UP:
        raise
    except TransferError as error:
        if not await _is_gone(path, tree, line):
            report.failed.add(path, display.reason(error), error)
            return
    report.removed += 1


async def _is_gone(path: str, tree: Side, line: Line) -> bool:
    """Whether it isn't there any more: removed by us before the line broke, or by somebody else."""
    try:
        await line.through(lambda: tree.storage.stat(tree.at(path)))
    except model.Unavailable:
        return True
    except GIVEN_UP:
        raise
    except TransferError:
        pass  # as with a name that is too long: nobody can tell
    return False
