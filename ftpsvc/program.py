"""The command `ftpsvc`: its first word says which of its programs is meant; anything else is for the shell."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from ftpsvc import collector
from ftpsvc.descriptors import open_streams

#: First word -> the module whose `main` takes all the words, the first included, and returns the exit status. A server
#: that bears one of these names is reached with the shell's `connect`.
PROGRAMS = {
    "user": "ftpsvc.usercommand",
    **dict.fromkeys("get put mirror resume ls cat rm mv mkdir hash".split(), "ftpsvc.oneshot"),
    "init": "ftpsvc.initcommand",
    "doctor": "ftpsvc.doctorcommand",
    "ctl": "ftpsvc.ctlcommand",
}

#: What is meant by any other word, or none.
SHELL = "ftpsvc.shell"

#: Those that say themselves what a signal does, as soon as there is something to be stopped.
LISTENING = (SHELL, "ftpsvc.oneshot")


def main() -> int:
    """Run what the command line asks for; the exit status. What isn't run is not imported."""
    # Until somebody listens, Ctrl-C just ends it: else it would leave a traceback of whatever is being imported.
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    collector.relax()
    open_streams()
    words = sys.argv[1:]
    module = PROGRAMS.get(words[0], SHELL) if words else SHELL
    try:
        program = import_module(module)
        if is_heard and module not in LISTENING:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return int(program.main(words) if module != SHELL else program.main())
    finally:
        if is_heard and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        collector.retire()
