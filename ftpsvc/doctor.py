"""An examination in steps: each takes its time, is measured, and ends with a finding that says what to do.

What the steps look at is in `checks`.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from twisted.internet import error
from twisted.internet.defer import Deferred, TimeoutError

from ftpsvc.model import TransferError

P = TypeVar("P")


class Outcome(enum.Enum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"  #: it works, but not for everybody, or not for long
    FAILED = "failed"
    SKIPPED = "skipped"  #: nothing is known of it


#: What a step that builds on others needs of them.
GOOD = (Outcome.OK, Outcome.WARNING)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step found, and what there is to do about it."""

    outcome: Outcome
    text: str
    advice: str = ""


class Trouble(Exception):
    """The step has failed."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.finding = Finding(Outcome.FAILED, text, advice)


class Skipped(Exception):
    """The step can't be done, for a reason that is nobody's fault."""

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.finding = Finding(Outcome.SKIPPED, text, advice)


@dataclass(frozen=True, slots=True)
class Step(Generic[P]):
    """A row of an examination of `P`.

    `limit`: seconds that it may take. `advice`: what to do if it takes longer, or fails in a way that the check itself
    has no words for. `needs`: the steps without which it can't be done. `before`: what has to be done first and is not
    measured, because a person does it.
    """

    name: str
    limit: float
    check: Callable[[P], Awaitable[Finding]]
    advice: str
    needs: tuple[str, ...] = ()
    before: Callable[[P], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a step, and how many seconds it took."""

    name: str
    finding: Finding
    seconds: float
    is_left_out: bool = False  #: it was not begun, because one that it needs has failed


async def examine(
    steps: Sequence[Step[P]], patient: P, clock: Any, tell: Callable[[Result], None]
) -> dict[str, Outcome]:
    """Do the steps, one after the other, and tell of each as soon as it is over."""
    outcomes: dict[str, Outcome] = {}
    for step in steps:
        lacking = [name for name in step.needs if outcomes[name] not in GOOD]
        if lacking:
            result = Result(step.name, Finding(Outcome.SKIPPED, f"not without: {', '.join(lacking)}"), 0.0, True)
        else:
            result = await _done(step, patient, clock)
        outcomes[step.name] = result.finding.outcome
        tell(result)
    return outcomes


async def _done(step: Step[P], patient: P, clock: Any) -> Result:
    begun = clock.seconds()
    try:
        if step.before is not None:
            await step.before(patient)
            begun = clock.seconds()
        checking = Deferred.fromCoroutine(_awaited(step.check(patient)))
        finding: Finding = await checking.addTimeout(step.limit, clock)
    except (Trouble, Skipped) as found:
        finding = found.finding
    except (TimeoutError, error.TimeoutError):
        finding = Finding(Outcome.FAILED, f"no answer for {step.limit:g} s", step.advice)
    except TransferError as why:
        finding = Finding(Outcome.FAILED, str(why), step.advice)
    return Result(step.name, finding, clock.seconds() - begun)


async def _awaited(work: Awaitable[Finding]) -> Finding:
    return await work
