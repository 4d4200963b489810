"""What the shell and the one-shot commands are put together from: this machine, and connections to servers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from ftpsvc import connecting, xdg
from ftpsvc.addressbook import AddressBook
from ftpsvc.credentials import Person
from ftpsvc.journal import Journal
from ftpsvc.knownservers import KnownServers
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import ConnectionFailed, ServiceClosing, TransferError
from ftpsvc.places import Here
from ftpsvc.remote import Remote
from ftpsvc.targets import Target
from ftpsvc.threads import pool_of


def give_up_output() -> None:
    """Let what is still to be written to standard output go nowhere: nobody takes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (2, 1) if os.path.sameopenfile(1, 2) else (1,):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def finish_output() -> None:
    """Write what is still to be written; else the interpreter would, and end with 120 of its own if it can't."""
    try:
        sys.stdout.flush()
    except OSError:
        give_up_output()


#: What ends a program before its time.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

#: For how many seconds what such a signal stops may still put away what it has begun, and say how far it got. A disk
#: takes some tenths of one; a server that doesn't answer any more takes longer than anybody wants to wait.
PUTTING_AWAY = 5.0


def run(
    reactor: Any,
    work: Coroutine[Any, Any, None],
    broken: Callable[[Failure], None],
    stop: Callable[[], list[Deferred[None]]],
    listen: Callable[[Callable[[int], None]], None],
) -> int:
    """Run the reactor until the work is done. The signal that ended it before its time, or 0.

    `broken` is told if a defect ended it, and `stop` is called if a signal did: it gives what has to come to its end
    then, for which a second signal doesn't wait. `listen` has the signals of `ENDING` call what it is given, in a turn
    of the reactor's.
    """
    ended_by = 0

    def start() -> None:
        def end(number: int) -> None:
            nonlocal ended_by
            if ended_by:
                running.cancel()
                return
            ended_by = number
            over = DeferredList(stop(), consumeErrors=True).addTimeout(PUTTING_AWAY, reactor)
            over.addBoth(lambda _: running.cancel())

        running: Deferred[Any] = Deferred.fromCoroutine(work)
        running.addErrback(lambda failure: failure.trap(CancelledError))
        running.addErrback(broken)
        running.addBoth(lambda _: reactor.stop())
        listen(end)

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    return ended_by


def here_of(reactor: Any, may_be_home: bool = True) -> Here:
    """This machine, in the current folder; at home, if that was removed and `may_be_home`."""
    try:
        folder = os.getcwd()
    except OSError:
        folder = xdg.home() if may_be_home else _removed()
    return Here(LocalDisk("/", pool_of(reactor), steady=True), folder, xdg.home())


def _removed() -> str:
    """What stands for the current folder once that was removed: one that can't be had."""
    try:
        gone = os.readlink("/proc/self/cwd")  # Linux puts "(deleted)" behind it
    except OSError:
        gone = "/(deleted)"
    return f"{gone}/here"  # not the folder itself, or a file that comes to it would get its name


def wants_colour() -> bool:
    """Whether a terminal may be sent colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def journal() -> Journal:
    """What is unfinished."""
    return Journal(xdg.state_folder() / "unfinished")


def address_book() -> AddressBook:
    return AddressBook(xdg.settings_folder() / "bookmarks", xdg.state_folder() / "servers")


class Dialling:
    """Connects to servers, and logs in. A person is asked for a password once: a job's connection needs it again."""

    def __init__(self, reactor: Any, person: Person | None) -> None:
        self._reactor = reactor
        self._person = person
        self._secrets: dict[str, str] = {}  #: what was typed unseen, for as long as the program runs
        self._known = KnownServers(xdg.state_folder() / "known_servers")

    async def __call__(self, target: Target) -> Remote:
        """Raises `ConnectionFailed` and `NotLoggedIn`."""
        run = pool_of(self._reactor)
        if self._person is None:
            return await connecting.connected(self._reactor, target, self._known, run)
        person = Remembered(self._person, self._secrets)
        try:
            return await connecting.connected(self._reactor, target, self._known, run, person)
        except (ConnectionFailed, ServiceClosing):
            raise  # which says nothing of what was typed
        except TransferError:
            person.forget()
            raise


class Remembered:
    """A person, during one login, and what they have typed unseen at this one and earlier ones."""

    def __init__(self, person: Person, secrets: dict[str, str]) -> None:
        self._person = person
        self._secrets = secrets
        self._asked: list[str] = []

    async def answer(self, question: str) -> str:
        return await self._person.answer(question)

    async def secret(self, question: str) -> str:
        self._asked.append(question)
        if question not in self._secrets:
            self._secrets[question] = await self._person.secret(question)
        return self._secrets[question]

    def forget(self) -> None:
        """What this login was tried with was wrong. Others go on being right."""
        for question in self._asked:
            self._secrets.pop(question, None)
