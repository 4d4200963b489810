"""How late the reactor is: whatever holds it up holds up every session."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.task import LoopingCall

#: How often it is looked at, in seconds. What holds the reactor up for longer than this is always seen.
EVERY = 0.25

#: Over how many seconds the longest is told: longer than the usual time between two visits of whoever collects metrics.
WINDOW = 60.0


class Lateness:
    """Measures by how much a call that was due comes too late."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._due = 0.0
        self._seen: deque[float] = deque(maxlen=int(WINDOW / EVERY))

    def start(self) -> None:
        self._due = self._clock.seconds() + EVERY
        self._looking.start(EVERY, now=False)

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        now = self._clock.seconds()
        self._seen.append(max(now - self._due, 0.0))
        # As LoopingCall counts: the next turn that still lies ahead, whatever was missed.
        self._due += EVERY * max(1, -int(-(now - self._due) // EVERY))

    @property
    def longest(self) -> float:
        """The longest within the window, in seconds."""
        return max(self._seen, default=0.0)
