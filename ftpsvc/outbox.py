"""Replies in the order of their commands, though some are known later than those behind them."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from ftpsvc.wire import Command, Reply, format_reply

#: Uploads of one session that may wait for their commit while the next one arrives. Each holds two descriptors.
MAX_COMMITS = 64

#: As what the error of a commit is logged: the command itself was over by then.
COMMIT = Command("STOR", "(its commit)")


@dataclass(slots=True)
class _Place:
    """A reply in its turn; None until it is known."""

    reply: bytes | None


class Outbox:
    """What a session has to say. While the answer to an upload is awaited, what comes behind it waits here."""

    def __init__(self, write: Callable[[bytes], None], count: Callable[[str, int], None]) -> None:
        """`count` is told the verb and the code of each reply."""
        self.write = write
        self._count = count
        self.verb = ""  #: the command that is carried out
        self._places: deque[_Place] = deque()
        self._waiters: list[Deferred[None]] = []
        self.pending = 0  #: replies that are not known yet

    def post(self, reply: Reply) -> None:
        """Send a reply in its turn."""
        if reply.opening:
            self._count(self.verb, 150)
        self._count(self.verb, reply.code)
        self.post_bytes(format_reply(reply))

    def post_bytes(self, data: bytes) -> None:
        """Send what is no reply, in its turn."""
        if self._places:
            self._places.append(_Place(data))
        else:
            self.write(data)

    def post_at_once(self, reply: Coroutine[Any, Any, Reply]) -> Awaitable[Reply] | None:
        """Send a reply in its turn, if it is known without waiting for anything; else what is left to wait for.

        In memory a commit is over at once. A Deferred, and what Twisted needs for one, is a tenth of such an upload.
        """
        try:
            awaited = reply.send(None)
        except StopIteration as over:
            self.post(over.value)
            return None
        return _rest(reply, awaited)

    async def post_later(self, reply: Awaitable[Reply]) -> None:
        """Keep a place for a reply until it is known. Begins at once, and is over when it is."""
        place, verb = _Place(None), self.verb
        self._places.append(place)
        self.pending += 1
        try:
            known = await reply
            if known.opening:
                self._count(verb, 150)
            self._count(verb, known.code)
            place.reply = format_reply(known)
        finally:
            self.pending -= 1
            self._send()

    def _send(self) -> None:
        """Send what is due, and wake up who waits for that."""
        while self._places and (reply := self._places[0].reply) is not None:
            self._places.popleft()
            self.write(reply)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    async def settled(self, most: int = 0) -> None:
        """Wait until at most so many replies are not known yet."""
        while self.pending > most:
            waiter: Deferred[None] = Deferred(self._waiters.remove)
            self._waiters.append(waiter)
            await waiter


@types.coroutine
def _rest(work: Coroutine[Any, Any, Reply], awaited: Any) -> Generator[Any, Any, Reply]:
    """What a coroutine does behind its first wait."""
    try:
        while True:
            try:
                found = yield awaited
            except BaseException as error:  # what was waited for has failed, or nobody waits any more
                awaited = work.throw(error)
            else:
                awaited = work.send(found)
    except StopIteration as over:
        reply: Reply = over.value
        return reply
