"""How much the server moves: as a rate for each transfer, and for all together over the last hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from twisted.internet.task import LoopingCall

from ftpsvc.session import Moving

#: How often, in seconds, it is looked how far the transfers are. With 10,000 sessions a look takes a millisecond.
LOOK_EVERY = 2.0

#: Over how many looks a rate is taken: ten seconds at the most. The kernel takes some megabytes at a time for clients
#: with large buffers, and over less a slow one would seem to stand still and leap.
REMEMBERED = 6

#: How many looks make a sample: ten seconds, and 360 of them an hour, which is more than a plot has columns on a phone.
LOOKS = 5
SAMPLES = 360


class Moved(NamedTuple):
    """Bytes, up (what the server has received) and down."""

    up: int
    down: int


class Sample(NamedTuple):
    """What was moved in one sample's time, in bytes a second."""

    up: float
    down: float


class Throughput:
    """One server's. It looks while it runs, and remembers an hour."""

    def __init__(self, clock: Any, moving: Callable[[], Iterable[Moving]], finished: Callable[[], Moved]) -> None:
        """`moving`: the transfers under way; `finished`: what all those that are over have moved."""
        self._clock = clock
        self._moving = moving
        self._finished = finished
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._looks: deque[tuple[float, dict[Moving, int]]] = deque(maxlen=REMEMBERED)
        self._count = 0
        self._sampled = Moved(0, 0)
        self._sampled_at: float = clock.seconds()
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)

    def start(self) -> None:
        self._looking.start(LOOK_EVERY)

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    def total(self) -> Moved:
        """All that has been moved since the start, by the transfers under way too."""
        up, down = self._finished()
        for one in self._moving():
            if one.verb == "RETR":
                down += one.moved
            else:
                up += one.moved
        return Moved(up, down)

    def rate(self, one: Moving) -> float:
        """Bytes a second of a transfer, since the first look that is remembered, or its begin if that is later."""
        now: float = self._clock.seconds()
        since, before = one.began, 0
        for at, moved in self._looks:
            if one in moved:
                since, before = at, moved[one]
                break
        return (one.moved - before) / (now - since) if now > since else 0.0

    def _look(self) -> None:
        now: float = self._clock.seconds()
        self._looks.append((now, {one: one.moved for one in self._moving()}))
        if self._count % LOOKS == 0:
            self._sample(now)
        self._count += 1

    def _sample(self, now: float) -> None:
        total, seconds = self.total(), now - self._sampled_at
        if seconds > 0:
            # A transfer that has just ended is counted as finished a moment later: never less than nothing.
            up, down = (max(0, new - old) / seconds for new, old in zip(total, self._sampled, strict=True))
            self.samples.append(Sample(up, down))
        self._sampled = Moved(*map(max, total, self._sampled))
        self._sampled_at = now
