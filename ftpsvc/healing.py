"""A server whose connection is made again when it is lost: a `Storage`, and the `Line` that a mirror goes through.

What is open when the connection breaks fails, as ever; what was asked `through` the line is then done again on the new
connection. What the server refuses is never tried again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ftpsvc.model import (
    Aborted,
    Busy,
    ConnectionFailed,
    Entry,
    Facts,
    NoTLS,
    ServiceClosing,
    Stored,
    TransferError,
    Whole,
)
from ftpsvc.remote import Remote
from ftpsvc.storage import ReadFile, Times, WriteFile
from ftpsvc.threads import done_with

T = TypeVar("T")

#: How long to wait before each try to connect, in seconds. The last one is for all that follow.
DELAYS = (1, 2, 4, 8, 15, 30)

#: Tries to connect before it is given up: with `DELAYS`, after some ten minutes.
MAX_TRIES = 23

#: How often one work is done again without having got on: something is wrong with it, and not with the line.
MAX_STANDSTILLS = 5

#: How long to wait, in seconds, before a work that the server was too busy for (450) is tried again.
BUSY_DELAYS = (1, 2, 4)

#: Gives a new connection, logged in.
Redial = Callable[[], Awaitable[Remote]]

#: Is told what is going on, each second: why, and in how many seconds the next try is; an empty text when it is over.
#: The flag says whether that is news, or the countdown going on.
Tell = Callable[[str, bool], None]


class Lasting:
    """What does a work again when the connection was lost and is back. A subclass brings it back."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    async def through(self, work: Callable[[], Awaitable[T]], moved: Callable[[], int] = lambda: 0) -> T:
        """Do a work, and again after each loss of the connection, as long as there is hope.

        `moved` tells how far it is: one that gets on from one time to the next may go on for ever.
        """
        standstills, before, busy = 0, moved(), list(BUSY_DELAYS)
        while True:
            try:
                result = await work()
            except Busy:
                if not busy:
                    raise
                await deferLater(self._clock, busy.pop(0))
            except (ConnectionFailed, ServiceClosing) as error:
                standstills += 1
                if moved() != before:
                    standstills, before = 0, moved()
                    self.got_on()
                await self.healed(error)
                if standstills >= MAX_STANDSTILLS:
                    raise Aborted(f"given up: {standstills} tries in a row ended with: {error}") from error
            else:
                self.got_on()
                return result

    async def healed(self, error: TransferError) -> None:
        """Wait until there is a connection again. Raises `ConnectionFailed` if there won't be one."""
        raise NotImplementedError

    def got_on(self) -> None:
        """Something was done, so the server is all right."""


class HealingRemote(Lasting):
    """A `Remote` that is replaced by a new one when it is lost."""

    def __init__(self, remote: Remote, redial: Redial, clock: Any, tell: Tell = lambda text, is_new: None) -> None:
        super().__init__(clock)
        self.remote = remote
        self._redial = redial
        self._tell = tell
        self._healing: Deferred[None] | None = None
        self._hopeless: ConnectionFailed | None = None
        self._tries = 0

    async def healed(self, error: TransferError) -> None:
        if self._hopeless is not None:
            raise self._hopeless
        healing = self._healing
        if healing is None:
            if self.remote.lost is None:
                return  # somebody has waited for that meanwhile
            self._healing = healing = Deferred.fromCoroutine(self._heal(error))
            healing.addBoth(self._over)
        await done_with(healing)

    def got_on(self) -> None:
        self._tries = 0

    def _over(self, result: object) -> object:
        self._healing = None
        self._tell("", True)
        return result

    async def _heal(self, error: TransferError) -> None:
        self.remote.close()
        while self._tries < MAX_TRIES:
            await self._count_down(DELAYS[min(self._tries, len(DELAYS) - 1)], error)
            self._tries += 1
            try:
                self.remote = await self._redial()
                return
            except NoTLS as untrusted:  # to ask once more would only teach people to look away
                self._hopeless = untrusted
                raise
            except (ConnectionFailed, ServiceClosing) as again:
                error = again
            except TransferError as refusal:  # 530 and its like: it would be the same the next time
                self._hopeless = ConnectionFailed(str(refusal))
                raise self._hopeless from refusal
        self._hopeless = ConnectionFailed(f"{error} Given up after {self._tries} tries to connect.")
        raise self._hopeless

    async def _count_down(self, seconds: int, error: TransferError) -> None:
        for left in range(seconds, 0, -1):
            self._tell(f"Trying again in {left} s: {error}", left == seconds)
            await deferLater(self._clock, 1)
        self._tell("Connecting again", False)

    def close(self) -> None:
        """Stop healing. The connection itself is left as it is."""
        if self._healing is not None:
            self._healing.addErrback(lambda _: None)
            self._healing.cancel()

    # -- the storage: that of the connection there is now

    @property
    def times(self) -> Times:
        return self.remote.times

    @property
    def algorithms(self) -> tuple[str, ...]:
        return self.remote.algorithms

    async def digest(self, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
        return await self.remote.digest(path, algorithm, first, end, of_part)

    async def kept(self, path: str) -> int:
        return await self.remote.kept(path)

    async def stat(self, path: str) -> Entry:
        return await self.remote.stat(path)

    def list(self, path: str) -> AsyncGenerator[Entry, None]:
        return self.remote.list(path)

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        return await self.remote.open_read(path, offset)

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> WriteFile:
        return await self.remote.open_write(path, offset, replace)

    def announce(self, path: str, facts: Facts) -> None:
        self.remote.announce(path, facts)

    async def open_append(self, path: str) -> WriteFile:
        return await self.remote.open_append(path)

    def fetch(self, path: str) -> Awaitable[Whole]:
        return self.remote.fetch(path)

    async def put(self, path: str, whole: Whole) -> Stored:
        return await self.remote.put(path, whole)

    async def make_dir(self, path: str) -> None:
        await self.remote.make_dir(path)

    async def remove(self, path: str) -> None:
        await self.remote.remove(path)

    async def remove_dir(self, path: str) -> None:
        await self.remote.remove_dir(path)

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        await self.remote.rename(source, target, replace)

    async def set_facts(self, path: str, facts: Facts) -> None:
        await self.remote.set_facts(path, facts)

    async def space(self, path: str) -> int:
        return await self.remote.space(path)
