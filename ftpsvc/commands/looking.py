"""What there is on the server, and how much of it: du find df hash."""

from __future__ import annotations

from ftpsvc import display, model
from ftpsvc.commands.base import Commands
from ftpsvc.commands.remote_files import entry_event
from ftpsvc.console import Offer
from ftpsvc.patterns import Pattern
from ftpsvc.places import There
from ftpsvc.walking import walk
from ftpsvc.words import quote


class Looking(Commands):
    """The commands that look at whole trees, and into files."""

    heading = "Looking around on the server"

    async def do_du(self, folder: str = ".") -> None:
        """du [folder]

        Show how much is in a folder of the server and in each folder in it.

        Example: du photos
        """
        server, job = self._server, self._job
        top, unique = await self._folder(server, folder)
        sums: dict[str, int] = {top: 0}
        count = 0
        async for at, entries in walk(server.storage, top, unique, self._complaining(job, "du")):
            here = sum(entry.size for entry in entries if entry.is_file)
            count += sum(entry.is_file for entry in entries)
            sums[_branch(top, at)] = sums.get(_branch(top, at), 0) + here
        total = sum(sums.values())
        sums[top] = total
        width = max(len(display.size(size)) for size in sums.values())
        rows = [f"{display.size(size):>{width}}  {quote(at)}" for at, size in sorted(sums.items(), key=_largest_last)]
        events = ({"event": "size", "path": at, "size": size} for at, size in sums.items())
        self.say("\n".join([*rows, f"{display.counted(count, 'file')} in all"]), *events)

    async def complete_du(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text, only_folders=True) if position == 1 else []

    async def do_find(self, *words: str) -> None:
        """find [folder] <pattern>

        Find files and folders of the server by their names, in all folders below one.

        Example: find photos *.jpg
        """
        server, job = self._server, self._job
        self._needed(words, 1, "find")
        if len(words) > 2:
            raise model.BadArgument(self._misused("find", ("", *words)))
        pattern = Pattern(words[-1])
        top, unique = await self._folder(server, words[0] if len(words) == 2 else ".")
        count = 0
        async for folder, entries in walk(server.storage, top, unique, self._complaining(job, "find")):
            for entry in sorted(entries, key=lambda entry: entry.name):
                if pattern.matches(entry.name):
                    count += 1
                    path = f"{folder.rstrip('/')}/{entry.name}"
                    self.say(quote(path) + "/" * entry.is_directory, {**entry_event(entry), "path": path})
        if not count:
            raise model.NotFound(f"nothing below {quote(top)} matches {quote(words[-1])}.")

    async def complete_find(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text, only_folders=True) if position == 1 else []

    async def _folder(self, server: There, typed: str) -> tuple[str, str]:
        """The path of what was typed, and what is `unique` of it. Raises `Unavailable` if that is no folder."""
        path = server.path(typed)
        entry = await server.entry(path)
        if not entry.is_directory:
            raise model.NotADirectory(f"{quote(path)} is a file. Use: stat {quote(path)}")
        return path, entry.unique

    async def do_df(self, folder: str = ".") -> None:
        """df [folder]

        Show how much can still be stored, on the server and on this machine.

        Example: df
        """
        server = self._server
        path = server.path(folder)
        there, here = await server.space(path), await self._here.space(self._here.folder)
        self.say(
            f"server  {_free(there)}  {quote(path)}\nhere    {_free(here)}  {quote(self._here.folder)}",
            {"event": "space", "server": there, "here": here},
        )

    async def complete_df(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text, only_folders=True) if position == 1 else []

    async def do_hash(self, *words: str) -> None:
        """hash <file>... [algorithm]

        Have the server compute the digest of files, without retrieving them.

        The algorithm is SHA-256, or what the server offers beside that: SHA-512, SHA-1, MD5, CRC32, XXH3-128.

        Example: hash disc.iso SHA-1
        """
        server, job = self._server, self._job
        algorithms = server.remote.hashes
        algorithm = "SHA-256" if "SHA-256" in algorithms else next(iter(algorithms), "")
        if len(words) > 1 and words[-1].upper() in algorithms:
            algorithm, words = words[-1].upper(), words[:-1]
        self._needed(words, 1, "hash")
        if not algorithm:
            raise model.NotImplementedHere("this server computes no digests (HASH is not in FEAT).")

        async def tell(path: str) -> None:
            digest = await server.doing(path, server.remote.hash(path, algorithm))
            event = {"event": "digest", "path": path, "algorithm": algorithm, "digest": digest}
            self.say(f"{digest}  {quote(path)}", event)

        paths = [path for path, _ in await self._looked_up(job, "hash", server.matching, words)]
        await self._every(job, "hash", paths, tell, others=len(words) - 1)

    async def complete_hash(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._server, text)


def _branch(top: str, path: str) -> str:
    """The folder directly in the top one that a path belongs to."""
    base = "" if top == "/" else top
    rest = path[len(base) + 1 :]
    return f"{base}/{rest.partition('/')[0]}" if rest else top


def _largest_last(row: tuple[str, int]) -> tuple[int, str]:
    return row[1], row[0]


def _free(count: int | None) -> str:
    return "not told" if count is None else f"{display.size(count)} free"
