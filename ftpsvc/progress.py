"""How far a transfer is: counted here, and shown by `views`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ftpsvc.words import escape

#: The rate is the mean of this many seconds: long enough to be calm, short enough to show a change.
RATE_WINDOW = 5.0

#: Seconds between two samples of the rate; with the window it bounds how many are kept.
SAMPLE_EVERY = 0.25

#: Without a byte for this many seconds a transfer is said to be stalled. A busy disk pauses for one or two.
STALL = 3.0


class Progress:
    """Counts what was transferred. `now` gives the time in seconds; only differences matter."""

    def __init__(self, total: int, now: Callable[[], float], *, files: int = 1, whole: Progress | None = None) -> None:
        """`files`: how many the bytes are in. `whole`: what this is a part of, and which counts it too."""
        self.total = total
        self.done = 0
        self.files = files
        self.files_done = 0
        self._whole = whole
        self.notice = ""  #: what is to be shown instead, while nothing can move
        self._now = now
        self._began = self._moved = now()
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])

    def advance(self, count: int, has_moved: bool = True) -> None:
        """So many more bytes are done. `has_moved`: just now; else they were there already, which is no speed.

        A negative count takes back what a lost connection has cost.
        """
        self.done += count
        if self._whole is not None:
            self._whole.advance(count, has_moved)
        if not has_moved:
            self._samples = deque((when, done + count) for when, done in self._samples)
            return
        self._moved = self._now()
        if self._moved - self._samples[-1][0] >= SAMPLE_EVERY:
            self._samples.append((self._moved, self.done))
            self._forget()

    def telling(self, warn: Callable[[str], None]) -> Callable[[str, bool], None]:
        """What may be told that nothing can move, and why: `warn` hears of what is new, and the progress shows it."""

        def tell(text: str, is_new: bool) -> None:
            self.notice = escape(text)  # half of it may come from the other end
            self._moved = self._now()  # it stands still, and that is no stall: why is said
            if is_new and text:
                warn(text)

        return tell

    def file_done(self) -> None:
        """One more file has been transferred."""
        self.files_done += 1

    def _forget(self) -> None:
        while len(self._samples) > 1 and self._samples[1][0] <= self._now() - RATE_WINDOW:
            self._samples.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._now() - self._began

    @property
    def rate(self) -> float:
        """Bytes a second, of late."""
        self._forget()
        since, done = self._samples[0]
        return (self.done - done) / (self._now() - since) if self._now() > since else 0.0

    @property
    def stalled_for(self) -> float:
        """For how many seconds nothing has moved, once that is long enough to say so; else 0."""
        still = self._now() - self._moved
        return still if still >= STALL and self.done < self.total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the end, at the present rate; None while that can't be told."""
        rate = self.rate
        return (max(self.total - self.done, 0)) / rate if rate > 0 else None
