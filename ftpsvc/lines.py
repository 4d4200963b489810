"""The way to the two ends of a mirror, which may break and be mended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from ftpsvc.model import ConnectionFailed, ServiceClosing

T = TypeVar("T")

#: What a line raises when it has given up. That ends all of a tree; any other error is about one name.
GIVEN_UP = (ConnectionFailed, ServiceClosing)


class Line(Protocol):
    """What everything that is asked of a storage goes through."""

    async def through(self, work: Callable[[], Awaitable[T]], moved: Callable[[], int] = lambda: 0) -> T:
        """Do a work, and again if the way broke meanwhile. `moved` tells whether it gets on each time."""


class Unbreakable:
    """The `Line` between storages that have no connection."""

    async def through(self, work: Callable[[], Awaitable[T]], moved: Callable[[], int] = lambda: 0) -> T:
        return await work()


UNBREAKABLE: Line = Unbreakable()
