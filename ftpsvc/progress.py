"""How far a transfer is: the model, and its view on one line of a terminal."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

from ftpsvc import display

#: The rate is the mean of this many seconds: long enough to be calm, short enough to show a change.
RATE_WINDOW = 5.0

#: Seconds between two samples of the rate; with the window it bounds how many are kept.
SAMPLE_EVERY = 0.25

#: Without a byte for this many seconds a transfer is said to be stalled. A busy disk pauses for one or two.
STALL = 3.0


class Progress:
    """Counts what was transferred. `now` gives the time in seconds; only differences matter."""

    def __init__(self, total: int, now: Callable[[], float]) -> None:
        self.total = total
        self.done = 0
        self._now = now
        self._began = self._moved = now()
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])

    def advance(self, count: int) -> None:
        """So many more bytes have been transferred."""
        self.done += count
        self._moved = self._now()
        if self._moved - self._samples[-1][0] >= SAMPLE_EVERY:
            self._samples.append((self._moved, self.done))
            self._forget()

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
    def mean_rate(self) -> float:
        """Bytes a second, from the beginning."""
        return self.done / self.elapsed if self.elapsed > 0 else 0.0

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


# -- the view ------------------------------------------------------------------------------------------------

#: A transfer that is over in less than this many seconds is not worth a look.
PATIENCE = 1.0

#: Seconds between two drawings: often enough to look alive, too seldom to cost anything.
REDRAW = 0.2

#: The bar's width in columns, where there is room, and the least that still is a bar.
WIDEST_BAR = 30
NARROWEST_BAR = 8

#: More columns than this a name does not get.
WIDEST_LABEL = 30

#: The last column stays empty: a terminal may wrap the line at it.
_MARGIN = 1


def line(progress: Progress, label: str, columns: int, colour: bool = False) -> str:
    """One line of less than `columns` columns, with as much as fits: `a.bin [###...]  40 %  4.9 MB/s  0:07 left`."""
    label = display.clipped(label, WIDEST_LABEL)
    share = f"{display.percent(progress.done, progress.total):3d} %"
    stalled = progress.stalled_for
    news = f"stalled {display.clock(stalled)}" if stalled else _speed(progress)
    room = columns - _MARGIN
    before = f"{label} {_bar(progress, room - display.columns(f'{label} [] {share}  {news}'))}{share}  "
    if display.columns(before + news) > room:
        before, news = f"{share}  "[:room], news[: max(0, room - len(share) - 2)]
    return before + (display.warning(news) if stalled and colour else news)


def _speed(progress: Progress) -> str:
    if progress.done >= progress.total:
        return "writing to disk"  # that all of it is safe there takes a while, after the last byte
    left = progress.left
    return f"{display.size(progress.rate)}/s" + (f"  {display.clock(left)} left" if left is not None else "")


def _bar(progress: Progress, room: int) -> str:
    width = min(WIDEST_BAR, room)
    if width < NARROWEST_BAR:
        return ""
    filled = width * display.percent(progress.done, progress.total) // 100
    return f"[{'#' * filled}{'.' * (width - filled)}] "


class ProgressLine:
    """Shows a progress on a terminal's current line while a `with` block runs, and wipes it out at the end."""

    def __init__(self, progress: Progress, label: str, reactor: Any, stream: TextIO, colour: bool = False) -> None:
        self._progress = progress
        self._label = label
        self._reactor = reactor
        self._stream = stream
        self._colour = colour
        self._is_shown = False

    def __enter__(self) -> None:
        self._next = self._reactor.callLater(PATIENCE, self._draw)

    def _draw(self) -> None:
        self._is_shown = True
        self._show(line(self._progress, self._label, shutil.get_terminal_size().columns, self._colour))
        self._next = self._reactor.callLater(REDRAW, self._draw)

    def _show(self, text: str) -> None:
        self._stream.write(f"\r{text}\x1b[K")  # the code wipes what is left of a longer line
        self._stream.flush()

    def __exit__(self, *exception: object) -> None:
        self._next.cancel()
        if self._is_shown:
            self._show("")
