"""The server's files and folders: list cd pwd mkdir rmdir rm mv chmod touch stat."""

from __future__ import annotations

import re
import time
from typing import Any, ClassVar

from ftpsvc import display, model
from ftpsvc.commands.base import Commands
from ftpsvc.console import Event, Offer
from ftpsvc.lines import Unbreakable
from ftpsvc.model import BadArgument, Entry, Facts, Unavailable, Whole, parent_and_name
from ftpsvc.patterns import is_pattern
from ftpsvc.places import There
from ftpsvc.plans import Removals
from ftpsvc.removing import remove
from ftpsvc.reports import Report
from ftpsvc.steps import Side
from ftpsvc.walking import AT_ONCE, walk
from ftpsvc.words import escape, quote


class RemoteFiles(Commands):
    """The commands that look at the server's folders and change them."""

    heading = "The server's folders"
    planning: ClassVar[frozenset[str]] = frozenset(["rm", "mv"])

    async def do_list(self, *words: str) -> None:
        """list [-tsr] [path]

        List a folder of the server.

        Shows sizes, times and names. What ends with / is a folder, with @ a link that leads nowhere. In the last part
        of the path, * ? and [a-z] may stand. -t: by time, the newest first; -s: by size, the largest first; -r: the
        other way round.

        Example: list "summer photos"
        """
        server = self._server
        letters, paths = self._options(words, "tsr", "list")
        if len(paths) > 1:
            raise BadArgument(self._misused("list", ("", *paths)))
        path = paths[0] if paths else "."
        if is_pattern(parent_and_name(path)[1]):
            found = await server.matching(path)
            is_folder = len(found) == 1 and found[0][1].is_directory
            entries = await server.entries(found[0][0]) if is_folder else [entry for _, entry in found]
        else:
            entries = await server.entries(path)
        order = "time" if "t" in letters else "size" if "s" in letters else "name"
        rows = display.listing(entries, self._colour, order, "r" in letters)
        self.say("\n".join(rows), *map(entry_event, entries))

    async def complete_list(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)

    async def do_cd(self, path: str = "/") -> None:
        """cd [path]

        Go to a folder of the server.

        Without a path it goes to the top.

        Example: cd pub/2026
        """
        await self._server.enter(path)

    async def complete_cd(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text, only_folders=True) if position == 1 else []

    async def do_pwd(self) -> None:
        """pwd

        Show the current folder of the server.

        Example: pwd
        """
        self.say(escape(self._server.folder))

    async def do_mkdir(self, *words: str) -> None:
        """mkdir [-p] <folder>...

        Make folders on the server.

        -p: those above it too, and no complaint about one that is there already.

        Example: mkdir -p photos/2026/summer
        """
        server = self._server
        letters, folders = self._options(words, "p", "mkdir")
        self._needed(folders, 1, "mkdir")

        async def make(path: str) -> None:
            if "p" in letters:
                await _make_all(server, path)
            else:
                await server.doing(path, server.storage.make_dir(path), is_new=True)
            self.note(f"made {quote(path)}", {"event": "done", "made": path})

        await self._every(self._job, "mkdir", list(map(server.path, folders)), make)

    async def complete_mkdir(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text, only_folders=True)

    async def do_rmdir(self, folder: str, *more: str) -> None:
        """rmdir <folder>...

        Remove empty folders of the server.

        Example: rmdir photos/old
        """
        server = self._server

        async def remove_empty(path: str) -> None:
            await server.doing(path, server.storage.remove_dir(path))
            self.note(f"removed {quote(path)}", {"event": "done", "removed": path})

        await self._every(self._job, "rmdir", list(map(server.path, (folder, *more))), remove_empty)

    async def complete_rmdir(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text, only_folders=True)

    async def do_rm(self, *words: str) -> None:
        """rm [-r] <file>...

        Remove files of the server.

        In the last part of a path, * ? and [a-z] may stand. -r: folders with all that is in them; what that is is told
        first, and a person is asked.

        Example: rm *.tmp
        """
        server, job = self._server, self._job
        job.has_questions = True
        letters, typed = self._options(words, "r", "rm")
        self._needed(typed, 1, "rm")
        found = await self._looked_up(job, "rm", server.removable, typed)
        if not found:
            return  # which was said
        folders = [(path, entry.unique) for path, entry in found if _is_folder(entry)]
        if folders and "r" not in letters:
            raise model.NotAFile(f"{quote(folders[0][0])} is a folder. Use: rmdir, or rm -r for all that is in it too.")
        trees = [(top, await self._to_be_removed(server, top, unique)) for top, unique in folders]
        self.has_begun(job)
        files = [path for path, entry in found if not _is_folder(entry)]
        others = len(typed) - 1 + len(trees)
        removed = await self._every(job, "rm", files, server.storage.remove, AT_ONCE, others)
        report = Report(removed=removed)
        for top, removals in trees:
            await remove(removals, Side(server.storage, parent_and_name(top)[0]), Unbreakable(), report)
        for text, error in zip(report.failed.told("failed"), report.failed.causes, strict=False):
            self.complain(f"rm: {text}", error)
        what = display.counted(report.removed, "name" if trees else "file")
        self.note(f"removed {what}", {"event": "done", "removed": report.removed})

    async def _to_be_removed(self, server: There, top: str, unique: str) -> Removals:
        """A folder and all that is in it, with paths in the folder above. Raises `Aborted` if nobody wants that."""
        if top == "/":
            raise BadArgument("the top folder is not removed.")
        removals, files, folders = Removals(), 0, 1
        above = parent_and_name(top)[0].rstrip("/") + "/"
        removals.add_folder(top.removeprefix(above))
        async for folder, entries in walk(server.storage, top, unique):
            for entry in entries:
                path = f"{folder}/{entry.name}".removeprefix(above)
                if _is_folder(entry):
                    removals.add_folder(path)
                    folders += 1
                else:
                    removals.add_file(path)
                    files += 1
        what = f"{display.counted(files, 'file')} in {display.counted(folders, 'folder')}"
        if not await self._sure(f"Remove {quote(top)} with {what}?"):
            raise model.Aborted("nothing was removed.")
        return removals

    async def complete_rm(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)

    async def do_mv(self, source: str, target: str) -> None:
        """mv <old> <new>

        Give a file or folder of the server another name, or another folder.

        If <new> is a folder, <old> goes into it. A file that has that name already is replaced, and a person is asked.

        Example: mv draft.txt final.txt
        """
        server, job = self._server, self._job
        job.has_questions = True
        old, new = server.path(source), server.path(target)
        there = await _found(server, new)
        if there is not None and there.is_directory:
            new = f"{new.rstrip('/')}/{parent_and_name(old)[1]}"
            there = await _found(server, new)
        if there is not None and not await self._sure(f"{quote(new)} is there already. Replace it?"):
            raise model.Aborted("nothing was renamed.")
        self.has_begun(job)
        await server.doing(new, server.doing(old, server.storage.rename(old, new)), is_new=True)
        self.note(f"{quote(old)} is {quote(new)} now", {"event": "done", "from": old, "to": new})

    async def complete_mv(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text) if position <= 2 else []

    async def do_chmod(self, mode: str, file: str, *more: str) -> None:
        """chmod <mode> <file>...

        Set who may read and write files of the server.

        The mode is three octal digits: owner, group, others; 4 is to read, 2 to write, 1 to run.

        Example: chmod 644 report.pdf
        """
        server, job = self._server, self._job
        if not re.fullmatch("0?[0-7]{3}", mode):
            raise BadArgument(f'"{mode}" is no mode. Those have three octal digits: 644, 600, 755')
        facts = Facts(mode=int(mode, 8))
        paths = [path for path, _ in await self._looked_up(job, "chmod", server.matching, (file, *more))]

        async def change(path: str) -> None:
            await server.doing(path, server.storage.set_facts(path, facts))

        await self._every(job, "chmod", paths, change, others=len(more))

    async def complete_chmod(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text) if position > 1 else []

    async def do_touch(self, file: str, *more: str) -> None:
        """touch <file>...

        Set the time of files of the server to now; make those that aren't there.

        Example: touch done.flag
        """
        server = self._server

        async def touch(path: str) -> None:
            now = Facts(modified=time.time_ns())
            if await _found(server, path) is not None:
                await server.storage.set_facts(path, now)
            elif await server.lacks(path):
                await server.storage.put(path, Whole(b"", now))
            else:
                # It may be there, where one may neither look nor list: nothing to be added takes nothing from it.
                await (await server.storage.open_append(path)).commit(now)

        async def told(path: str) -> None:
            await server.doing(path, touch(path), is_new=True)

        await self._every(self._job, "touch", list(map(server.path, (file, *more))), told)

    async def complete_touch(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)

    async def do_stat(self, path: str, *more: str) -> None:
        """stat <path>...

        Show all that is known of a file or folder of the server.

        Example: stat report.pdf
        """
        server = self._server
        for at, entry in await self._looked_up(self._job, "stat", server.matching, (path, *more)):
            kind = "folder" if entry.is_directory else entry.kind.value
            exact = f"{display.size(entry.size)} ({entry.size} bytes)" if entry.is_file else "-"
            rows = {
                "name": quote(at),
                "kind": kind,
                "size": exact,
                "changed": display.moment(entry.modified),
                "mode": f"{entry.mode:03o}" if entry.mode else "not told",
            }
            self.say("\n".join(f"{name:8} {value}" for name, value in rows.items()), entry_event(entry))

    async def complete_stat(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)


def entry_event(entry: Entry) -> Event:
    """An entry, for a program."""
    facts: dict[str, Any] = {"event": "entry", "name": entry.name, "type": entry.kind.value}
    if entry.is_file:
        facts["size"] = entry.size
    if entry.modified:
        facts["modified"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.modified // 10**9))
    if entry.mode:
        facts["mode"] = f"{entry.mode:03o}"
    return facts


async def _found(server: There, path: str) -> Entry | None:
    try:
        return await server.storage.stat(path)
    except Unavailable:
        return None


async def _make_all(server: There, path: str) -> None:
    missing = []
    while path != "/" and (there := await _found(server, path)) is None:
        missing.append(path)
        path = parent_and_name(path)[0]
    if path != "/" and not (there and there.is_directory):
        raise model.NotADirectory(f"{quote(path)} is there already, and is a file.")
    for folder in reversed(missing):
        await server.doing(folder, server.storage.make_dir(folder), is_new=True)


def _is_folder(entry: Entry) -> bool:
    """Whether it has to be emptied before it can be removed. A link hasn't."""
    return entry.is_directory and not entry.is_link
