"""One connection to Redis: commands out, answers and news in (RESP3, https://redis.io/docs/latest/develop/reference/protocol-spec/).

With RESP3 what is published comes on the same connection as the answers, in the order in which it happened. So what is
asked for behind a subscription, and what is heard after it, fit together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

#: For how many seconds an answer is waited for. Redis answers in less than a millisecond, but stops for a moment when
#: it forks to save; and a login waits for this.
PATIENCE = 2.0

#: The most that may have come of an answer which isn't whole yet, in bytes: the counts of a node with 100,000
#: connections are a tenth of it.
MAX_ANSWER = 64 * 1024 * 1024

_NOTHING = object()

#: What a command is made of.
Word = str | bytes | int


class Away(Exception):
    """Redis can't be asked: there is no connection, or no answer, or one that refuses."""


class Speaker(Protocol):
    """This end."""

    def __init__(self, clock: Any, heard: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        """`heard` is called with each message that was published; `lost` with why there is no connection any more."""
        self.transport: Any = None
        self._clock = clock
        self._heard = heard
        self._lost = lost
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._size = 0  #: how much has come since the last whole answer
        self._asked: deque[tuple[float, Deferred[Any]]] = deque()
        self._timer: IDelayedCall | None = None
        self._why = ""
        self._is_lost = False

    def ask(self, *words: Word) -> Deferred[Any]:
        """Have a command carried out. What comes back fails with `Away`, also where Redis refuses."""
        answer: Deferred[Any] = Deferred()
        if self._is_lost or self.transport is None:
            answer.errback(Away(self._why or "there is no connection"))
            return answer
        self._asked.append((self._clock.seconds(), answer))
        if self._timer is None:
            self._timer = self._clock.callLater(PATIENCE, self._look)
        self.transport.write(packed(words))
        return answer

    def give_up(self, why: str) -> None:
        """There is no use in this connection."""
        self._why = self._why or why
        if self.transport is not None and not self._is_lost:
            self.transport.abortConnection()

    def hang_up(self) -> None:
        """All is said."""
        if self.transport is not None:
            self.transport.loseConnection()

    def _look(self) -> None:
        """Whether an answer is overdue."""
        self._timer = None
        if not self._asked:
            return
        left = self._asked[0][0] + PATIENCE - self._clock.seconds()
        if left <= 0:
            self.give_up(f"no answer within {PATIENCE:g} seconds")
        else:
            self._timer = self._clock.callLater(left, self._look)

    def dataReceived(self, data: bytes) -> None:
        self._reader.feed(data)
        self._size += len(data)
        try:
            while not self._is_lost and (answer := self._reader.gets()) is not _NOTHING:
                self._size = 0
                self._arrived(answer)
        except hiredis.ProtocolError:
            self.give_up("what comes from there is not Redis' protocol")
        if self._size > MAX_ANSWER:
            self.give_up(f"an answer of more than {MAX_ANSWER} bytes")

    def _arrived(self, answer: Any) -> None:
        if isinstance(answer, hiredis.PushNotification):
            if answer[:1] == [b"message"]:
                self._heard(answer[2])
            elif answer[:1] == [b"subscribe"]:
                self._answered(None)
        else:
            self._answered(answer)

    def _answered(self, answer: Any) -> None:
        if not self._asked:
            self.give_up("an answer that nobody has asked for")
            return
        _, waiting = self._asked.popleft()
        if isinstance(answer, hiredis.ReplyError):
            waiting.errback(Away(str(answer)))
        else:
            waiting.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self._why = self._why or reason.getErrorMessage().rstrip(".")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked, self._asked = self._asked, deque()
        for _, waiting in asked:
            waiting.errback(Away(self._why))
        self._lost(self._why)


def packed(words: tuple[Word, ...]) -> bytes:
    """A command as Redis reads it: an array of byte strings. Names of files need not be UTF-8."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogateescape")
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)
