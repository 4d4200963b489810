"""A storage that stands before another, as quotas and checks do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable

from ftpsvc import model
from ftpsvc.model import Entry, Facts, Permission, Whole
from ftpsvc.storage import KeepsParts, ReadFile, Storage, known_digest, lacking


class Around:
    """All of a `Storage` but the ways in which bytes come in, handed on to another.

    Those each subclass has for itself: it is for their sake that it stands there, and what it forgot would go past it.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def stat(self, path: str) -> Entry:
        return await self._storage.stat(path)

    def list(self, path: str) -> AsyncGenerator[Entry, None]:
        return self._storage.list(path)

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        return await self._storage.open_read(path, offset)

    async def open_part(self, path: str, offset: int = 0) -> ReadFile:
        return await self._keeper(path).open_part(path, offset)

    async def open_begun(self, path: str) -> ReadFile:
        return await self._keeper(path).open_begun(path)

    def _keeper(self, path: str) -> KeepsParts:
        if not isinstance(self._storage, KeepsParts):
            raise model.NotFound(f"{path}: nothing is kept of it.")
        return self._storage

    def fetch(self, path: str) -> Awaitable[Whole]:
        return self._storage.fetch(path)

    async def make_dir(self, path: str) -> None:
        await self._storage.make_dir(path)

    async def remove(self, path: str) -> None:
        await self._storage.remove(path)

    async def remove_dir(self, path: str) -> None:
        await self._storage.remove_dir(path)

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        await self._storage.rename(source, target, replace)

    async def set_facts(self, path: str, facts: Facts) -> None:
        await self._storage.set_facts(path, facts)

    async def space(self, path: str) -> int:
        return await self._storage.space(path)

    def lacks(self, is_directory: bool) -> Permission:
        return lacking(self._storage, is_directory)

    async def known_digest(self, path: str) -> str:
        return await known_digest(self._storage, path)
