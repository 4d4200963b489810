"""twistd with a window: at SIGUSR2 it writes how much it holds, as JSON, to the file that the first argument names.

Coroutines, Deferreds and calls that wait for their time are the tasks of a server, and no system call counts them.
Python's collector isn't asked to look first: what is in a circle is left over too.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

#: The types whose objects are counted. What is left over of a session is one of them, or is held by one.
KINDS = ("ServerProtocol", "Session", "DataConnection", "RangePump", "Deferred", "coroutine", "async_generator")


def tell(file: Path) -> None:
    from twisted.internet import reactor

    found = Counter(type(thing).__name__ for thing in gc.get_objects())
    held = {kind: found[kind] for kind in KINDS}
    held["calls due later"] = len(reactor.getDelayedCalls())  # type: ignore[attr-defined]
    part = file.with_suffix(".part")
    part.write_text(json.dumps(held))
    os.replace(part, file)


def main() -> None:
    from twisted.scripts.twistd import run

    file = Path(sys.argv.pop(1))
    signal.signal(signal.SIGUSR2, lambda *_: tell(file))
    run()


if __name__ == "__main__":
    main()
