"""How far transfers are, shown: on a line of a terminal, in the toolbar below a prompt, and as lines of a log."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from ftpsvc import display
from ftpsvc.jobs import Job
from ftpsvc.model import TransferError
from ftpsvc.progress import Progress
from ftpsvc.words import escape

#: A transfer that is over in less than this many seconds is not worth a look.
PATIENCE = 1.0

#: Seconds between two drawings: often enough to look alive, too seldom to cost anything.
REDRAW = 0.2

#: The bar's width in columns, where there is room, and the least that still is a bar.
WIDEST_BAR = 30
NARROWEST_BAR = 8

#: More columns than this a name does not get, and so many it has even where there is no room.
WIDEST_LABEL = 30
NARROWEST_LABEL = 6

#: The last column stays empty: a terminal may wrap the line at it.
_MARGIN = 1


def line(progress: Progress, label: str, columns: int, colour: bool = False) -> str:
    """One line of less than `columns` columns, with as much as fits: `a.bin [###...]  40 %  4.9 MB/s  0:07 left`."""
    if progress.notice:
        return display.clipped(progress.notice, columns - _MARGIN - 1)
    label = display.clipped(label, WIDEST_LABEL)
    share = f"{display.percent(progress.done, progress.total):3d} %"
    if progress.files > 1:
        share = f"{progress.files_done} of {progress.files}  {share}"
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


def width() -> int:
    """How wide the terminal is, in columns."""
    return shutil.get_terminal_size().columns


#: Wipes what is right of the cursor.
_WIPE = "\x1b[K"

#: Leaves the current line empty.
NOTHING = "\r" + _WIPE


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
        self._next = self._reactor.callLater(REDRAW, self._draw)
        self._show(line(self._progress, self._label, width(), self._colour))

    def _show(self, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody sees it any more, which is no fault of the transfer's
            self._stream.write(f"\r{text}{_WIPE}")
            self._stream.flush()

    def __exit__(self, *exception: object) -> None:
        self._next.cancel()
        if self._is_shown:
            self._show("")


def state(job: Job) -> str:
    """How far a job is."""
    return "under way" if job.progress is None else far(job.progress)


def far(progress: Progress) -> str:
    """How far that is, in a few words: `3 of 40 files, 1.2 MB of 2.0 MB, 61 %, 4.9 MB/s, 0:07 left`."""
    if progress.notice:
        return progress.notice
    files = [f"{progress.files_done} of {progress.files} files"] * (progress.files > 1)
    done = f"{display.size(progress.done)} of {display.size(progress.total)}"
    return ", ".join([*files, done, _pace(progress)])


def _pace(progress: Progress) -> str:
    stalled = progress.stalled_for
    news = f"stalled {display.clock(stalled)}" if stalled else _speed(progress).replace("  ", ", ")
    return f"{display.percent(progress.done, progress.total)} %, {news}"


def toolbar(jobs: Sequence[Job], columns: int) -> str:
    """The jobs in the background, on one line: how far each is, as long as there is room."""
    shown: list[str] = []
    room = columns - _MARGIN
    for job in jobs:
        text = _in_toolbar(job, WIDEST_LABEL, state(job))
        left = len(jobs) - len(shown) - 1
        others = f"   +{left}" if left else ""
        if display.columns("   ".join([*shown, text]) + others) > room:
            if shown:
                shown.append(f"+{left + 1}")
                break
            text = _cramped(job, room - len(others))
        shown.append(text)
    return display.clipped("   ".join(shown), room)


def _cramped(job: Job, room: int) -> str:
    """The same without what can be done without: that it is stalled, or how long it takes, is asked for first."""
    now = state(job) if job.progress is None or job.progress.notice else _pace(job.progress)
    return _in_toolbar(job, max(NARROWEST_LABEL, room - display.columns(f"[{job.number}] : {now}")), now)


def _in_toolbar(job: Job, widest: int, now: str) -> str:
    label = display.clipped(job.label, widest) or display.clipped(escape(job.line), widest)
    return f"[{job.number}] {label}: {now}"


#: Seconds between two lines of a log.
LOG_EVERY = 5.0


class ProgressLog:
    """Tells of a progress every few seconds while a `with` block runs, a line each: for what is no terminal."""

    def __init__(
        self,
        progress: Progress,
        label: str,
        reactor: Any,
        tell: Callable[[Progress, str], None],
        every: float = LOG_EVERY,
    ) -> None:
        self._progress = progress
        self._label = label
        self._reactor = reactor
        self._tell = tell
        self._every = every

    def __enter__(self) -> None:
        self._next = self._reactor.callLater(self._every, self._go_on)

    def _go_on(self) -> None:
        self._next = self._reactor.callLater(self._every, self._go_on)
        with contextlib.suppress(OSError, TransferError):  # as above
            self._tell(self._progress, self._label)

    def __exit__(self, *exception: object) -> None:
        self._next.cancel()
