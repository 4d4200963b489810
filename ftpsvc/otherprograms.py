"""Other programs, run while the reactor goes on: an editor, a pager, the system's shell."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from ftpsvc.threads import Run, done_with


class OtherPrograms:
    """Runs one after the other; it has the terminal meanwhile, if there is one."""

    def __init__(self, run: Run, has_terminal: bool) -> None:
        self._run = run
        self._input = None if has_terminal else subprocess.DEVNULL  # else it would read the rest of the script
        self._child: subprocess.Popen[bytes] | None = None

    async def spawn(self, program: str | Sequence[str]) -> int:
        """Run a program to its end; its exit status. If the wait is cancelled, so is the program."""
        child = self._child = subprocess.Popen(program, shell=isinstance(program, str), stdin=self._input)
        waiting = self._run(child.wait)
        try:
            return await done_with(waiting)
        except BaseException:
            child.terminate()
            raise
        finally:
            self._child = None

    def go_on(self) -> bool:
        """After a Ctrl-C or a Ctrl-Z, of which the program that has the terminal hears itself: let nothing of it be
        stopped, because nobody could have it go on. Whether there is one."""
        if self._child is None:
            return False
        os.kill(0, signal.SIGCONT)  # all that the terminal has sent it to: the child is the system's shell, and waits
        return True
