"""The throughput of the last hour as the paths of a drawing, and in words for those who don't see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ftpsvc import display
from ftpsvc.throughput import LOOK_EVERY, LOOKS, SAMPLES, Sample

#: The size of the drawing, in its own units: two for each sample. The page stretches it.
WIDTH, HEIGHT = 2 * SAMPLES, 160

#: The least that the scale reaches, in bytes a second: less than that is no reason for a mountain.
LEAST = 1000.0


class Plot(NamedTuple):
    """What the page draws."""

    up: str  #: a path's `d`, in SVG's terms
    down: str
    most: float  #: bytes a second at the upper edge
    minutes: int  #: how long ago the left edge was
    text: str


def plot(samples: Sequence[Sample]) -> Plot:
    """The newest at the right edge; an hour that isn't over begins further right."""
    most = _scale(max((max(sample) for sample in samples), default=0.0))
    minutes = round(SAMPLES * LOOKS * LOOK_EVERY / 60)
    up, down = ([sample[at] for sample in samples] for at in (0, 1))
    return Plot(_path(up, most), _path(down, most), most, minutes, f"{_said('In', up)} {_said('Out', down)}")


def _scale(most: float) -> float:
    """The next of 1, 2 and 5 with zeros behind it."""
    scale = LEAST
    while scale < most:
        for factor in (2, 5, 10):
            if scale * factor >= most:
                return scale * factor
        scale *= 10
    return scale


def _path(values: Sequence[float], most: float) -> str:
    """The outline of the area below the values."""
    if not values:
        return ""
    left = WIDTH - 2 * len(values)
    points = [f"{left + 2 * at} {HEIGHT - value / most * HEIGHT:.1f}" for at, value in enumerate(values, 1)]
    return f"M{left + 2} {HEIGHT}L{'L'.join(points)}L{WIDTH} {HEIGHT}Z"


def _said(direction: str, values: Sequence[float]) -> str:
    if not values:
        return f"{direction}: nothing yet."
    return f"{direction}: {display.size(values[-1])}/s now, {display.size(max(values))}/s at the most."
