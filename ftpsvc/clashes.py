"""What becomes of a file that is there already: by the setting, or by asking, with both sizes and dates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ftpsvc import display
from ftpsvc.places import Here, Place
from ftpsvc.transfers import Plan
from ftpsvc.words import quote

if TYPE_CHECKING:
    from ftpsvc.commands.base import Ask

#: The key of an answer, and what it means. The capital letter of each means: for all that follow, too.
ANSWERS = {"o": "replace", "s": "skip", "r": "resume", "n": "newer"}


async def settled(plans: Sequence[Plan], policy: str, ask: Ask | None, note: Callable[[str], None]) -> list[Plan]:
    """The plans that are left when each clash has its answer. Without anybody to be asked, files are replaced."""
    left = []
    for plan in plans:
        if plan.old is None:
            left.append(plan)
            continue
        answer = policy
        if policy == "ask":
            answer = "replace"
            if ask is not None:
                key = await ask(_question(plan, len(plans) > 1), "osrn" + "OSRN" * (len(plans) > 1))
                answer = ANSWERS[key.lower()]
                policy = answer if key.isupper() else policy
        if answer == "resume":
            left.append(replace(plan, goes_on=True))
        elif answer == "replace" or (answer == "newer" and plan.entry.modified > plan.old.modified):
            left.append(plan)
        else:
            why = "kept the one that is there" if answer == "skip" else "the one that is there is as new"
            note(f"skipped {plan.label}: {why}")
    return left


def _question(plan: Plan, is_one_of_many: bool) -> str:
    assert plan.old is not None
    sides = sorted(
        [(plan.source, plan.entry.size, plan.entry.modified), (plan.target, plan.old.size, plan.old.modified)],
        key=lambda side: isinstance(side[0], Here),
        reverse=True,
    )
    width = max(len(display.size(size)) for _, size, _ in sides)
    rows = [f"  {_name(place):6}  {display.size(size):>{width}}  {display.moment(when)}" for place, size, when in sides]
    more = "; a capital letter: for all" if is_one_of_many else ""
    return "\n".join(
        [
            f"{quote(plan.name)} is there already:",
            *rows,
            f"[o]verwrite, [s]kip, [r]esume, [n]ewer only{more}; Ctrl-C for none of it",
        ]
    )


def _name(place: Place) -> str:
    return "here" if isinstance(place, Here) else "server"
