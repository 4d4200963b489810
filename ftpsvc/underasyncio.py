"""Twisted's reactor on a running asyncio loop, for programs whose own loop that is. docs/api.md has an example."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred

T = TypeVar("T")


@contextlib.asynccontextmanager
async def reactor_on_this_loop() -> AsyncIterator[Any]:
    """The reactor, while this is entered. Once in a process: a reactor is installed for good, and starts once.

    Raises `ReactorAlreadyInstalledError` if something has imported `twisted.internet.reactor` before.
    """
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor

    running: Any = reactor
    running.startRunning(installSignalHandlers=False)
    try:
        yield running
    finally:
        running.fireSystemEvent("shutdown")  # its threads would keep the process alive


async def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Await from asyncio what awaits Deferreds: everything of ftpsvc's. Cancelling the one cancels the other."""
    return await Deferred.fromCoroutine(work).asFuture(asyncio.get_running_loop())
