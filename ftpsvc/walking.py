"""A tree of folders, walked with many listings under way at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import NoReturn, TypeVar

from ftpsvc import display
from ftpsvc.model import Entry, TransferError, Unavailable
from ftpsvc.parallel import each, for_each, telling
from ftpsvc.storage import Storage
from ftpsvc.trees import MAX_DEPTH

T = TypeVar("T")

#: How many listings, or commands, are under way at once: enough for a line with much delay. What they list is held
#: in memory.
AT_ONCE = 32


def _raised(error: TransferError) -> NoReturn:
    raise error


async def walk(
    storage: Storage, top: str, unique: str, failed: Callable[[TransferError], object] = _raised
) -> AsyncGenerator[tuple[str, list[Entry]], None]:
    """Each folder of a tree with its entries, a folder before what is in it. `unique` is that of the top one.

    `failed` is told of a folder that can't be listed, and why; it counts as empty then. Without it that ends the walk,
    and so it does if it is the top one: then there is nothing to go on with.
    A link to a folder is not gone through where the server says that it is one. Elsewhere it may lead round in a
    circle: nobody goes into a folder again that he is in, where the server says which is which, nor more than
    `MAX_DEPTH` deep.
    """
    waiting: list[tuple[str, frozenset[str]]] = [(top, frozenset((unique,)) if unique else frozenset())]
    deepest = top.rstrip("/").count("/") + MAX_DEPTH
    while waiting:
        batch, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
        listed: dict[str, list[Entry]] = {}

        async def look(folder: str, into: dict[str, list[Entry]] = listed) -> None:
            into[folder] = []
            with telling(failed if folder != top else _raised):
                into[folder] = await _listed(storage, folder)

        await together([folder for folder, _ in batch], look)
        for folder, above in batch:
            yield folder, listed[folder]
            if folder.count("/") < deepest:
                for entry in listed[folder]:
                    if entry.is_directory and not entry.is_link and entry.unique not in above:
                        inside = above | {entry.unique} if entry.unique else above
                        waiting.append((f"{folder.rstrip('/')}/{entry.name}", inside))


async def _listed(storage: Storage, folder: str) -> list[Entry]:
    try:
        return [entry async for entry in storage.list(folder)]
    except Unavailable as error:
        raise type(error)(display.named(folder, str(error))) from error


async def together(items: Iterable[T], work: Callable[[T], Awaitable[object]]) -> None:
    """Do the same with many things, many at a time. The first error ends it."""

    await for_each(each(items), work, AT_ONCE)
