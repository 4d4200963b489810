"""The progress of a transfer: counters, rate, stall; and its one line."""

from __future__ import annotations

import errno
import os
from io import StringIO

import pytest
import support
from twisted.internet.task import Clock

from ftpsvc import views
from ftpsvc.jobs import Job
from ftpsvc.progress import RATE_WINDOW, SAMPLE_EVERY, STALL, Progress
from ftpsvc.views import LOG_EVERY, PATIENCE, REDRAW, ProgressLine, ProgressLog, line


def moving(total: int, steps: int, each: int, clock: Clock, seconds: float = 1.0) -> Progress:
    progress = Progress(total, clock.seconds)
    for _ in range(steps):
        clock.advance(seconds)
        progress.advance(each)
    return progress


def test_a_notice_is_shown_in_the_place_of_all_else() -> None:
    progress = moving(1000, 4, 100, Clock())
    progress.notice = "Trying again in 4 s"
    assert views.far(progress) == views.line(progress, "a", 80) == "Trying again in 4 s"
    assert views.line(progress, "a", 12) == "Trying ag…"


def test_what_a_server_said_last_commands_no_terminal() -> None:
    progress = Progress(1000, Clock().seconds)
    progress.telling(lambda text: None)("Trying again in 4 s: 421 \x1b]0;owned\x07", True)
    shown = [views.far(progress), views.line(progress, "a", 80)]
    assert shown == ["Trying again in 4 s: 421 \\x1b]0;owned\\x07"] * 2


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_a_terminal_may_be_as_narrow_as_it_likes(columns: int) -> None:
    progress = moving(1000, 4, 100, Clock())
    progress.notice = "Trying again in 4 s"
    assert len(views.line(progress, "a", columns)) < columns
    job = Job("get a")
    assert len(views.toolbar([job], columns)) < columns


def test_a_steady_transfer_has_its_rate_and_an_end() -> None:
    progress = moving(1000, 4, 100, Clock())
    assert (progress.done, progress.rate, progress.left, progress.elapsed) == (400, 100.0, 6.0, 4.0)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    progress = moving(10**9, 20, 100, clock)
    for _ in range(int(RATE_WINDOW) + 1):
        clock.advance(1)
        progress.advance(1000)
    assert progress.rate == pytest.approx(1000)


def test_a_burst_does_not_make_the_rate_jump() -> None:
    clock = Clock()
    progress = moving(10**9, 10, 100, clock)
    for _ in range(10):
        progress.advance(10)  # at one moment
    assert progress.rate == pytest.approx(120)


def test_samples_are_few_however_many_chunks_come() -> None:
    clock = Clock()
    progress = moving(10**9, 10_000, 1, clock, seconds=0.01)
    assert len(progress._samples) <= RATE_WINDOW / SAMPLE_EVERY + 2


def test_nothing_is_known_before_the_first_byte() -> None:
    progress = Progress(1000, Clock().seconds)
    assert (progress.rate, progress.left, progress.stalled_for) == (0.0, None, 0.0)


def test_a_stall_is_noticed_and_forgotten_when_it_goes_on() -> None:
    clock = Clock()
    progress = moving(1000, 3, 100, clock)
    clock.advance(STALL - 0.1)
    assert progress.stalled_for == 0
    clock.advance(4.1)
    assert progress.stalled_for == pytest.approx(7)
    progress.advance(1)
    assert progress.stalled_for == 0


def test_what_is_done_never_stalls() -> None:
    clock = Clock()
    progress = moving(300, 3, 100, clock)
    clock.advance(60)
    assert progress.stalled_for == 0


def test_a_line_has_bar_percent_rate_and_time_left() -> None:
    progress = moving(10_000_000, 4, 1_000_000, Clock())
    assert line(progress, "a.bin", 80) == "a.bin [############..................]  40 %  1.0 MB/s  0:06 left"


def test_after_the_last_byte_the_disk_is_waited_for() -> None:
    assert line(moving(300, 3, 100, Clock()), "a.bin", 80).endswith("] 100 %  writing to disk")


def test_a_stalled_line_says_so_with_colour_only_if_it_is_asked_for() -> None:
    clock = Clock()
    progress = moving(1000, 1, 100, clock)
    clock.advance(6)
    assert line(progress, "a.bin", 80).endswith(" 10 %  stalled 0:06")
    assert line(progress, "a.bin", 80, colour=True).endswith(" 10 %  \x1b[31mstalled 0:06\x1b[0m")


@pytest.mark.parametrize("columns", range(5, 120, 3))
@pytest.mark.parametrize("label", ["a", "x" * 100, "長" * 40])
def test_a_line_never_wraps(columns: int, label: str) -> None:
    text = line(moving(10**9, 3, 10**6, Clock()), label, columns)
    assert sum(2 if letter == "長" else 1 for letter in text) < columns


def drawn(clock: Clock, seconds: float, steps: int = 1) -> str:
    stream = StringIO()
    with ProgressLine(Progress(100, clock.seconds), "a", clock, stream):
        clock.pump([seconds / steps] * steps)
        during = stream.getvalue()
        assert stream.getvalue() == during
    return stream.getvalue()


def test_what_is_quick_is_never_shown() -> None:
    assert drawn(support.make_clock(), PATIENCE * 0.99) == ""


def test_what_takes_longer_is_drawn_again_and_again_and_wiped_out_at_the_end() -> None:
    text = drawn(support.make_clock(), PATIENCE + 3 * REDRAW + 0.01, steps=40)
    assert text.count("\ra [") == 4
    assert text.endswith("\r\x1b[K")
    assert "\n" not in text


def test_a_failure_wipes_the_line_out_too() -> None:
    clock, stream = support.make_clock(), StringIO()
    with pytest.raises(ValueError), ProgressLine(Progress(100, clock.seconds), "a", clock, stream):
        clock.advance(PATIENCE)
        raise ValueError
    assert stream.getvalue().endswith("\r\x1b[K")


class Gone(StringIO):
    """What nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@pytest.mark.parametrize("kind", ["line", "log"])
def test_a_progress_that_nobody_sees_any_more_changes_nothing_else(kind: str) -> None:
    clock, progress, told = support.make_clock(), Progress(100, Clock().seconds), []

    def tell(progress: Progress, label: str) -> None:
        told.append(label)
        Gone().write(label)

    shown = ProgressLine(progress, "a", clock, Gone()) if kind == "line" else ProgressLog(progress, "a", clock, tell)
    with shown:
        clock.pump([LOG_EVERY] * 2)
    assert told == ([] if kind == "line" else ["a", "a"])
