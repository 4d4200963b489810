"""The shell: all commands together, and the program `ftpsvc` that runs it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import difflib
import functools
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet import asyncioreactor
from twisted.python.failure import Failure

from ftpsvc import __version__, assembly, collector, connecting, piped, views, xdg
from ftpsvc.commands.base import Surroundings
from ftpsvc.commands.connections import Connections
from ftpsvc.commands.jobs import JobCommands
from ftpsvc.commands.local_files import LocalFiles
from ftpsvc.commands.looking import Looking
from ftpsvc.commands.reading import Reading
from ftpsvc.commands.remote_files import RemoteFiles
from ftpsvc.commands.settings import SettingCommands
from ftpsvc.commands.unfinished import UnfinishedWork
from ftpsvc.model import TransferError
from ftpsvc.otherprograms import OtherPrograms
from ftpsvc.program import PROGRAMS
from ftpsvc.progress import Progress
from ftpsvc.targets import is_url
from ftpsvc.threads import pool_of
from ftpsvc.views import ProgressLine
from ftpsvc.words import quote

if TYPE_CHECKING:
    from ftpsvc.terminal import Terminal


#: How many seconds after a Ctrl-Z another program may have stopped itself: first it puts the terminal in order.
STOPPING = (0.1, 0.3, 1.0, 3.0)


class Shell(Connections, RemoteFiles, Looking, Reading, UnfinishedWork, LocalFiles, JobCommands, SettingCommands):
    """The commands, and the two places they work on."""

    aliases: ClassVar[dict[str, str]] = {
        "ls": "list",
        "dir": "list",
        "get": "retrieve",
        "put": "store",
        "open": "connect",
        "less": "more",
        "delete": "rm",
        "rename": "mv",
        "exit": "quit",
        "bye": "quit",
    }

    #: What is shown at the start, a line for each.
    everyday: ClassVar[tuple[str, ...]] = tuple("connect list cd pwd lcd lpwd retrieve store close quit help".split())

    def welcome(self) -> None:
        """What the shell says first."""
        not_yet = "Only connect, help and quit work yet, and what is about this machine: not connected."
        self.say(f"ftpsvc {__version__}\n\n{self.short_overview()}\n\n{self.fitted(not_yet)}")


# -- the program ---------------------------------------------------------------------------------------------


def main() -> int:
    """Run the shell. The exit code is 0, or 1 if a command of a script has failed, or 128 and a signal's number."""
    arguments = _arguments()
    collector.relax()
    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)
    from twisted.internet import reactor  # not before: the prompt needs the one that was installed just now

    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    terminal = None
    if has_terminal:
        from ftpsvc.terminal import Terminal  # not before: prompt_toolkit takes long to import, a script needs none

        terminal = Terminal(loop, xdg.state_folder() / "history")
    programs = OtherPrograms(pool_of(reactor), has_terminal)
    shell = _shell(reactor, terminal, programs)
    if terminal is not None:
        reactor.callWhenRunning(terminal.give_ctrl_c_to, functools.partial(_stop_one, shell, programs))
    lines = terminal.lines(shell) if terminal else piped.lines(reactor, 0)
    where = [quote(word) for word in connecting.words_of(arguments)]
    first = [*_startup(), *([" ".join(["connect", *where])] if where else [])]
    ended_by = _run(reactor, loop, shell, _talk(shell, first, lines), programs if has_terminal else None)
    assembly.finish_output()
    if ended_by:
        return 128 + ended_by
    return 1 if shell.failures and not has_terminal else 0


def _startup() -> list[str]:
    try:
        return (xdg.settings_folder() / "startup").read_bytes().decode(errors="surrogateescape").splitlines()
    except OSError:
        return []


async def _talk(shell: Shell, first: list[str], lines: AsyncGenerator[str, None]) -> None:
    try:
        shell.welcome()
    except BrokenPipeError:
        shell.failures += 1  # nobody reads what there is to say, and no command would be carried out
        return
    except TransferError as error:
        shell.complain(str(error))
    for line in first:
        if await shell.onecmd(line):
            return
    async with contextlib.aclosing(lines):
        try:
            async for line in lines:
                if await shell.onecmd(line):
                    return
        except TransferError as error:
            shell.complain(str(error))
    await shell.onecmd("wait")
    await shell.onecmd("quit")


def _run(
    reactor: Any,
    loop: asyncio.AbstractEventLoop,
    shell: Shell,
    talk: Coroutine[Any, Any, None],
    programs: OtherPrograms | None,
) -> int:
    """Run the reactor until the talk is over. The signal that ended it before its time, or 0.

    `programs` are those that may have the terminal; None: there is none.
    """

    def broken(failure: Failure) -> None:
        Shell.log.failure("the shell broke down", failure)
        shell.failures += 1

    def listen(end: Callable[[int], None]) -> None:
        for number in assembly.ENDING:
            loop.add_signal_handler(number, end, number)
        if programs is not None:
            loop.add_signal_handler(signal.SIGINT, _stop_one, shell, programs)
            loop.add_signal_handler(signal.SIGTSTP, _put_aside, loop, shell, programs)

    return assembly.run(reactor, talk, broken, shell.stop, listen)


def _stop_one(shell: Shell, programs: OtherPrograms) -> None:
    """Ctrl-C while something is carried out. Another program decides for itself what becomes of it, as a pager does."""
    if not programs.go_on():
        shell.interrupt()


def _put_aside(loop: asyncio.AbstractEventLoop, shell: Shell, programs: OtherPrograms) -> None:
    """Ctrl-Z while something is carried out."""
    if not programs.go_on():
        shell.to_background()
    for seconds in STOPPING:
        loop.call_later(seconds, programs.go_on)


def _arguments() -> argparse.Namespace:
    others = f"Each of these has a --help of its own: {', '.join(f'ftpsvc {name}' for name in PROGRAMS)}."
    parser = argparse.ArgumentParser("ftpsvc", description="The interactive shell of ftpsvc.", epilog=others)
    parser.add_argument("--version", action="version", version=f"ftpsvc {__version__}")
    connecting.add_arguments(parser, "connect to this server at once")
    if problem := _misspelt(sys.argv[1:]):
        parser.error(problem)
    return parser.parse_args()


def _misspelt(words: list[str]) -> str:
    """What is wrong if a program was meant that there isn't; else nothing.

    The word would be a host, and the shell would take the lines of the script that it stands in for its commands.
    """
    name, *others = words or [""]
    if name.startswith("-") or is_url(name) or not any(map(is_url, others)):
        return ""
    programs = dict(zip(PROGRAMS, PROGRAMS, strict=True))
    programs |= {long: short for short, long in Shell.aliases.items() if short in PROGRAMS}
    close = difflib.get_close_matches(name.lower(), programs, 1)
    return f"there is no command {quote(name)}. " + (f"Did you mean {programs[close[0]]}?" if close else "Use: --help")


def _shell(reactor: Any, terminal: Terminal | None, programs: OtherPrograms) -> Shell:
    here = assembly.here_of(reactor)
    addresses = assembly.address_book()
    if terminal is None:
        around = Surroundings(
            spawn=programs.spawn,
            addresses=addresses,
            journal=assembly.journal(),
            show=functools.partial(_logged, reactor),
        )
        return Shell(reactor, assembly.Dialling(reactor, None), here, sys.stdout, sys.stderr, around)
    colour = assembly.wants_colour()

    def show(progress: Progress, label: str) -> AbstractContextManager[None]:
        if not sys.stderr.isatty():
            return contextlib.nullcontext()
        return ProgressLine(progress, label, reactor, terminal.line, colour)

    around = Surroundings(
        colour=colour,
        show=show,
        ask=terminal.ask,
        spawn=programs.spawn,
        columns=views.width,
        history=terminal.history,
        addresses=addresses,
        journal=assembly.journal(),
    )
    return Shell(reactor, assembly.Dialling(reactor, terminal), here, terminal.out, terminal.err, around)


def _logged(reactor: Any, progress: Progress, label: str) -> AbstractContextManager[None]:
    def tell(progress: Progress, label: str) -> None:
        sys.stderr.write(f"{label}: {views.far(progress)}\n")
        sys.stderr.flush()

    return views.ProgressLog(progress, label, reactor, tell)
