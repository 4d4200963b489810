"""What errors hold on to: every function that they came through, with all that was in its hands."""

from __future__ import annotations

from typing import TypeVar

from twisted.python.failure import Failure

E = TypeVar("E", bound=BaseException)


def without_trace(error: E) -> E:
    """The error, without the functions that it came through: for where it ends.

    They hold a transfer's buffers, and one of them mostly holds the error: a circle. Python looks for those too seldom
    for so much memory.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__context__
    return error


def clean(failure: Failure) -> None:
    """The same for what Twisted makes of an error."""
    if failure.value is not None:
        without_trace(failure.value)
    failure.cleanFailure()
