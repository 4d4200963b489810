"""The interactive shell: its commands, and the program `ftpsvc` that runs it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TextIO

from twisted.internet import asyncioreactor
from twisted.internet.defer import CancelledError, Deferred

from ftpsvc import __version__, connecting, display, piped, transfers
from ftpsvc.connecting import Dial, Target
from ftpsvc.console import Console
from ftpsvc.credentials import Person
from ftpsvc.knownservers import KnownServers, state_folder
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import (
    BadSequence,
    ConnectionFailed,
    ProtocolViolation,
    ServiceClosing,
    TransferError,
)
from ftpsvc.parallel import relax_collector
from ftpsvc.places import Here, Place, There
from ftpsvc.program import PROGRAMS
from ftpsvc.progress import Progress, ProgressLine
from ftpsvc.remote import Remote
from ftpsvc.threads import pool_of
from ftpsvc.words import escape, quote

#: What works without a connection.
OFFLINE = ("connect", "help", "quit")

#: How many seconds a server may take over a good-bye. It has nothing left to say that anybody needs.
FAREWELL = 2.0

#: Shows the progress of what has this name while it is entered.
Show = Callable[[Progress, str], AbstractContextManager[None]]


class Shell(Console):
    """The commands, and the two places they work on."""

    aliases: ClassVar[dict[str, str]] = {"ls": "list", "get": "retrieve", "put": "store", "exit": "quit"}

    def __init__(
        self,
        reactor: Any,
        dial: Dial,
        here: Here,
        stdout: TextIO,
        stderr: TextIO,
        *,
        colour: bool = False,
        show: Show = lambda progress, label: contextlib.nullcontext(),
    ) -> None:
        super().__init__(stdout, stderr, colour)
        self._reactor = reactor
        self._dial = dial
        self._here = here
        self._show = show
        self._there: There | None = None
        self._target: Target | None = None

    @property
    def prompt(self) -> str:  # type: ignore[override]  # it changes with the connection and the folder
        """What stands before the line that is typed."""
        return f"{self._there.host}:{escape(self._there.folder)}> " if self._there else "ftpsvc> "

    def welcome(self) -> None:
        """What the shell says first."""
        self.say(f"ftpsvc {__version__}\n\n{self.overview()}\n\nOnly connect, help and quit work yet: not connected.")

    # -- the connection

    def prepare(self, command: str) -> None:
        lost = self._there and self._there.remote.lost
        if lost:
            where = self._forget()
            if command not in OFFLINE:
                raise ConnectionFailed(f"{lost} {where}")
            self.complain(f"{lost} {where}")
        if self._there is None and command not in OFFLINE:
            raise ConnectionFailed("Not connected. Use: connect <host> [port]")

    def failed(self, error: TransferError) -> str:
        # After these the connection is of no use any more, whatever its own end has noticed so far.
        return self._forget() if isinstance(error, ConnectionFailed | ServiceClosing | ProtocolViolation) else ""

    def _forget(self) -> str:
        there, self._there = self._there, None
        if there is None:
            return ""
        there.remote.close()
        assert self._target is not None
        return f"Use: connect {self._target.typed}"

    @property
    def _server(self) -> There:
        assert self._there is not None, "prepare() refuses what needs a connection"
        return self._there

    async def do_connect(self, *words: str) -> None:
        """connect [user@]<host> [port]

        Connect to a server.

        Logs in as <user>; without one, as ~/.netrc says, or as anonymous. The password is asked for, or comes from
        FTPSVC_PASSWORD, from what the command in FTPSVC_PASSWORD_COMMAND prints, or from ~/.netrc. Without a port it
        is 5000. Before the host may stand:
          --tls                    with TLS, or not at all; without it, with TLS where the server offers it, but not as
                                   anonymous on this machine
          --implicit               with TLS from the first byte
          --clear                  without TLS, so that anybody on the way can read along
          --fingerprint <SHA-256>  with TLS, and with no other certificate than the one that has this fingerprint

        Example: connect mia@files.example.org
        """
        if self._there is not None:
            raise BadSequence(f"connected to {self._there.host} already. Use close first, then connect; or quit.")
        self._target = target = connecting.target_of(words)
        remote = await connecting.dialled(self._dial, target)
        self._there = There(remote, target.host, target.port)
        self.say(f"{connecting.report(remote, target)} Now all commands work:\n\n{self.overview()}\n")

    # -- looking around

    async def do_list(self, path: str = "") -> None:
        """list [path]

        List a folder of the server.

        Shows sizes, times and names. What ends with / is a folder, with @ a link that leads nowhere.

        Example: list "summer photos"
        """
        entries = await self._server.entries(path)
        self.say("\n".join(display.listing(entries, self._colour)))

    async def complete_list(self, text: str, position: int) -> list[str]:
        return await self._server.offers(text) if position == 1 else []

    async def do_cd(self, path: str = "/") -> None:
        """cd [path]

        Go to a folder of the server.

        Without a path it goes to the top.

        Example: cd pub/2026
        """
        await self._server.enter(path)

    async def complete_cd(self, text: str, position: int) -> list[str]:
        return await self._folder_offers(text, position, self._server)

    async def do_pwd(self) -> None:
        """pwd

        Show the current folder of the server.

        Example: pwd
        """
        self.say(escape(self._server.folder))

    async def do_lcd(self, path: str = "~") -> None:
        """lcd [path]

        Go to a folder of this machine.

        Without a path it goes home.

        Example: lcd ~/Downloads
        """
        await self._here.enter(path)

    async def complete_lcd(self, text: str, position: int) -> list[str]:
        return await self._folder_offers(text, position, self._here)

    async def do_lpwd(self) -> None:
        """lpwd

        Show the current folder of this machine, where files come to and go from.

        Example: lpwd
        """
        self.say(escape(self._here.folder))

    async def _folder_offers(self, text: str, position: int, place: Place) -> list[str]:
        return [path for path in await place.offers(text) if path.endswith("/")] if position == 1 else []

    # -- files

    async def do_retrieve(self, file: str, local: str = ".") -> None:
        """retrieve <file> [local]

        Bring a file from the server to this machine.

        It appears under its name when it is whole, and not before; a file that has that name already is replaced then.
        The last word says what it was checked by: its digest, or its size where a server has no digests.
        If <local> is a folder, the file goes into it.

        Example: retrieve "my notes.txt" papers/
        """
        await self._carry("retrieved", self._server, file, self._here, local)

    async def complete_retrieve(self, text: str, position: int) -> list[str]:
        return await self._file_offers(text, position, self._server, self._here)

    async def do_store(self, file: str, remote: str = ".") -> None:
        """store <file> [remote]

        Bring a file from this machine to the server.

        A server with MODE I shows it under its name when it is whole and its digest is right, and not before, and a
        file that has that name already is replaced then. Others do as they like while it is on its way.
        If <remote> is a folder, the file goes into it.

        Example: store report.pdf pub/
        """
        await self._carry("stored", self._here, file, self._server, remote)

    async def complete_store(self, text: str, position: int) -> list[str]:
        return await self._file_offers(text, position, self._here, self._server)

    async def _carry(self, done: str, source: Place, file: str, target: Place, to: str) -> None:
        plan = await transfers.planned(source, file, target, to)
        progress = Progress(plan.size, self._reactor.seconds)
        await transfers.carry(plan, progress, self._show(progress, plan.label))
        self.say(transfers.report(done, plan, progress))

    async def _file_offers(self, text: str, position: int, first: Place, second: Place) -> list[str]:
        return await (first, second)[position - 1].offers(text) if position <= 2 else []

    # -- leaving

    async def do_close(self) -> None:
        """close

        End the connection, and stay in the shell.

        Example: close
        """
        host = self._server.host
        await self._leave()
        self.say(f"Closed the connection to {host}.")

    async def do_quit(self) -> bool:
        """quit

        End the connection, if there is one, and the shell.

        Ctrl-D does the same.

        Example: quit
        """
        await self._leave()
        return True

    async def _leave(self) -> None:
        there, self._there = self._there, None
        if there is not None:
            farewell = Deferred.fromCoroutine(there.remote.quit())
            farewell.addTimeout(FAREWELL, self._reactor)
            with contextlib.suppress(Exception):  # however it ends, it is over
                await farewell
            there.remote.close()


# -- the program ---------------------------------------------------------------------------------------------


def main() -> int:
    """Run the shell. The exit code is 0, or 1 if a command of a script has failed, or 128 and a signal's number."""
    _open_streams()
    arguments = _arguments()
    relax_collector()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this locale has no letters for still lists
    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)
    from twisted.internet import reactor  # not before: the prompt needs the one that was installed just now

    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if has_terminal:
        from ftpsvc import terminal  # not before: prompt_toolkit takes long to import, and a script needs none of it

        shell = _shell(reactor, has_terminal, terminal.Sitting(loop))
        lines = terminal.lines(shell, loop, terminal.history_path())
    else:
        shell = _shell(reactor, has_terminal)
        lines = piped.lines(reactor, 0)
    words = connecting.words_of(arguments)
    first = [" ".join(["connect", *map(quote, words)])] if words else []
    ended_by = _run(reactor, loop, shell, _talk(shell, first, lines), has_terminal)
    if ended_by:
        return 128 + ended_by
    return 1 if shell.failures and not has_terminal else 0


def _open_streams() -> None:
    """Open what this program was started without (`<&-`, `>&-`): else the next file or socket would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


async def _talk(shell: Shell, first: list[str], lines: AsyncGenerator[str, None]) -> None:
    shell.welcome()
    for line in first:
        await shell.onecmd(line)
    async with contextlib.aclosing(lines):
        try:
            async for line in lines:
                if await shell.onecmd(line):
                    return
        except TransferError as error:
            shell.complain(str(error))
    await shell.onecmd("quit")


def _run(
    reactor: Any, loop: asyncio.AbstractEventLoop, shell: Shell, talk: Coroutine[Any, Any, None], has_terminal: bool
) -> int:
    """Run the reactor until the talk is over. The signal that ended it before its time, or 0."""
    ended_by = 0

    def start() -> None:
        def end(number: int) -> None:
            nonlocal ended_by
            ended_by = number
            shell.stop()
            running.cancel()

        running = Deferred.fromCoroutine(talk)
        running.addErrback(lambda failure: failure.trap(CancelledError))
        running.addErrback(lambda failure: Shell.log.failure("the shell broke down", failure))
        running.addBoth(lambda _: reactor.stop())
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, end, number)
        if has_terminal:
            loop.add_signal_handler(signal.SIGINT, shell.interrupt)

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    return ended_by


def _arguments() -> argparse.Namespace:
    others = f"Each of these has a --help of its own: {', '.join(f'ftpsvc {name}' for name in PROGRAMS)}."
    parser = argparse.ArgumentParser("ftpsvc", description="The interactive shell of ftpsvc.", epilog=others)
    parser.add_argument("--version", action="version", version=f"ftpsvc {__version__}")
    connecting.add_arguments(parser)
    return parser.parse_args()


def _shell(reactor: Any, has_terminal: bool, person: Person | None = None) -> Shell:
    run = pool_of(reactor)
    known = KnownServers(state_folder() / "known_servers")

    async def dial(target: Target) -> Remote:
        return await connecting.connected(reactor, target, known, run, person)

    def show(progress: Progress, label: str) -> AbstractContextManager[None]:
        if not (has_terminal and sys.stderr.isatty()):
            return contextlib.nullcontext()
        return ProgressLine(progress, label, reactor, sys.stderr, colour)

    colour = has_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    home = os.path.expanduser("~")
    try:
        folder = os.getcwd()
    except OSError:
        folder = home  # the one it was started in is gone
    here = Here(LocalDisk("/", run), folder, home)
    return Shell(reactor, dial, here, sys.stdout, sys.stderr, colour=colour, show=show)
