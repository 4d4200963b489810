"""The command `ftpsvc`: its first word says which of its programs is meant; anything else is for the shell."""

from __future__ import annotations

import sys
from importlib import import_module

from ftpsvc import collector

#: First word -> the module whose `main` takes all the words, the first included, and returns the exit status. A server
#: that bears one of these names is reached with the shell's `connect`.
PROGRAMS = {
    "user": "ftpsvc.usercommand",
    **dict.fromkeys("get put mirror resume ls cat rm mv mkdir hash".split(), "ftpsvc.oneshot"),
    "init": "ftpsvc.initcommand",
    "doctor": "ftpsvc.doctorcommand",
    "ctl": "ftpsvc.ctlcommand",
}


def main() -> int:
    """Run what the command line asks for; the exit status. What isn't run is not imported."""
    collector.relax()
    words = sys.argv[1:]
    try:
        if words and words[0] in PROGRAMS:
            return int(import_module(PROGRAMS[words[0]]).main(words))
        return int(import_module("ftpsvc.shell").main())
    finally:
        collector.retire()
