"""How seldom Python's garbage collector looks for cycles, in the programs that this machine's users start."""

from __future__ import annotations

import gc

#: How many objects may come into being between two looks for cycles among them, and how seldom the old ones are looked
#: at. Python's own 700, 10 and 10 make it look at thousands of transfers under way again and again, which took half of
#: the time of a tree of small files. Hardly any of our objects are ever in a cycle.
THRESHOLDS = (50_000, 20, 20)


def relax() -> None:
    """Let it look less often. For programs to call at their start, before they import much."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def retire() -> None:
    """Nothing that is there now is looked at any more: for the end of a program, whose memory is about to go anyway.

    Else Python looks at all of it once more, which takes as long as a third of its start.
    """
    gc.freeze()
