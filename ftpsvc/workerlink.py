"""What the parent and a worker say to each other: questions, answers and news, as lines of JSON on a pair of sockets.

Either end has a table of what the other may ask for or tell: a name, and what is called with what was sent. An answer
is anything that JSON has, or something to wait for that comes to that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

#: The longest line, in bytes: a list of ten thousand sessions, with five kilobytes for each.
MAX_LINE = 64 * 1024 * 1024

#: For how many seconds an answer is waited for. What is asked for is in memory; who doesn't answer hangs.
ANSWER_LIMIT = 5.0

#: What may be asked for or told, by name.
Handlers = Mapping[str, Callable[..., Any]]


class Unanswered(Exception):
    """The other end has not answered, or could not."""


class WorkerLink(Protocol):
    """One end."""

    _log = Logger()

    def __init__(self, clock: Any, handlers: Handlers, lost: Callable[[], None] = lambda: None) -> None:
        """`lost` is called when there is nobody at the other end any more."""
        self._clock = clock
        self.handlers = dict(handlers)
        self._lost = lost
        self.transport: Any = None
        self._rest: list[bytes] = []  #: of a line of which not all has come
        self._asked: dict[int, Deferred[Any]] = {}
        self._count = 0
        self._is_connected = False
        self.is_clogged = False  #: whether the other end doesn't take what it is told
        self.unclogged: Callable[[], None] = lambda: None  #: called when it takes some again
        self.heard: Callable[[], None] = lambda: None  #: called when the other end says anything

    def hang_up(self) -> None:
        """Nothing more is said; what was said still goes out."""
        if self._is_connected:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionMade(self) -> None:
        self._is_connected = True
        self.transport.registerProducer(self, True)

    def tell(self, what: str, **about: Any) -> None:
        """Say something that needs no answer. Who isn't there isn't told."""
        self._send({"tell": what, "with": about})

    def ask(self, what: str, **about: Any) -> Deferred[Any]:
        """Ask for something. The answer fails with `Unanswered`."""
        self._count += 1
        number = self._count
        answer: Deferred[Any] = Deferred(lambda _: None)
        self._asked[number] = answer
        call = self._clock.callLater(
            ANSWER_LIMIT, self._settle, number, Unanswered(f"no answer to {what} within {ANSWER_LIMIT:g} seconds")
        )

        def stop_the_clock(result: Any) -> Any:
            if call.active():
                call.cancel()
            self._asked.pop(number, None)
            return result

        answer.addBoth(stop_the_clock)
        if self._is_connected:
            self._send({"ask": what, "with": about, "number": number})
        else:
            self._settle(number, Unanswered("nobody is there to be asked"))
        return answer

    def _send(self, message: dict[str, Any]) -> None:
        if self._is_connected:
            self.transport.write(json.dumps(message).encode() + b"\n")

    def _settle(self, number: int, error: Unanswered) -> None:
        if answer := self._asked.pop(number, None):
            answer.errback(error)

    # -- what comes

    def dataReceived(self, data: bytes) -> None:
        self.heard()
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join(self._rest) + lines[0]
            self._rest.clear()
        self._rest.append(rest)
        for line in lines:
            self._line_arrived(line)
        if sum(map(len, self._rest)) > MAX_LINE:
            self.transport.abortConnection()

    def _line_arrived(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if "answer" in message:
                if answer := self._asked.pop(message["to"], None):
                    answer.callback(message["answer"])
            elif "failed" in message:
                self._settle(message["to"], Unanswered(str(message["failed"])))
            else:
                self._carry_out(message)
        except Exception:
            self._log.failure("Something that can't be understood came from another process of this server")
            self.transport.abortConnection()

    def _carry_out(self, message: dict[str, Any]) -> None:
        name = message.get("ask") or message["tell"]
        outcome = maybeDeferred(self.handlers[name], **message["with"])
        if "ask" in message:
            number = message["number"]
            outcome.addCallback(lambda answer: self._send({"answer": answer, "to": number}))
            outcome.addErrback(self._failed, name, number)
        else:
            outcome.addErrback(self._failed, name, None)

    def _failed(self, failure: Failure, name: str, number: int | None) -> None:
        self._log.failure("{name}, which another process of this server asked for, has failed", failure, name=name)
        if number is not None:
            self._send({"failed": f"{failure.type.__name__ if failure.type else ''}: {failure.value}", "to": number})

    # -- the producer's side

    def pauseProducing(self) -> None:
        self.is_clogged = True

    def resumeProducing(self) -> None:
        self.is_clogged = False
        self.unclogged()

    def stopProducing(self) -> None:
        """Nothing more can be told."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_connected = False
        self._lost()  # first: who waits for an answer, and hears that there is none, may ask who is left
        for number in list(self._asked):
            self._settle(number, Unanswered("it has ended"))
