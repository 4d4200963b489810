"""Several processes that serve, and the one above them: it starts them, replaces those that die, and has their log.

The parent listens and lets nobody in; its sockets are the workers', and so are the tables in which all count together
(`sharing`). Each worker has a link to the parent (`workerlink`), which ends when either of them does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ftpsvc import parts
from ftpsvc.readymade import ReadyMade
from ftpsvc.records import Record, printable
from ftpsvc.reloading import Reloaded
from ftpsvc.sharing import Sharing
from ftpsvc.threads import done_with
from ftpsvc.workerlink import Handlers, Unanswered, WorkerLink
from ftpsvc.workerlog import from_worker

#: For how many seconds the place of a worker that died stays empty: at first not at all, and longer the more often. One
#: that can't start would keep a processor busy with trying.
DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)

#: For how many seconds a worker has to have lived for its next death to be the first again.
LONG_ENOUGH = 60.0

#: For how many seconds a worker that has owed an answer may say nothing at all. They are asked all the time, and those
#: that live answer at once. Of a single process a manager thinks the same (`WatchdogSec` in deploy/ftpsvc.service).
STILL = 30.0

#: The most that is logged at a time of what a worker says outside its log, in bytes: a traceback of the start.
MAX_SAID = 16 * 1024

#: How many sessions of a worker that died there may have been that it hasn't told of. The next one's numbers begin
#: beyond those.
UNHEARD = 1000

#: What a worker finds where, when it starts.
LINK, MEMORY, FIRST_PORT = 3, 4, 5


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker is told first of all."""

    number: int  #: from 1
    first: int  #: the number of its first session; the next are as many further as there are workers
    node: str  #: what this server's processes are known by together, if it is one of many nodes
    workers: int
    rows: int  #: of the tables
    reactor: str  #: the module of the reactor that twistd was told to take
    words: list[str]  #: the options
    folder: str  #: where those begin that are relative
    ports: list[str]  #: the endpoints, in the order of their descriptors
    python_path: str  #: what PYTHONPATH was, for programs that the worker starts


@dataclass(frozen=True, slots=True)
class Opened:
    """A port of the parent's."""

    endpoint: str
    fileno: Callable[[], int]


class Workers:
    """All workers of a server."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        sharing: Sharing,
        ports: Sequence[Opened],
        words: Callable[[], list[str]],
        folder: str,
    ) -> None:
        """`words`: the options that are in force; relative paths in them begin in `folder`."""
        self.reactor = reactor
        self.sharing = sharing
        self.ports = ports
        self._words = words
        self._folder = folder
        #: Removes what a dead worker has left and nobody can go on from, by what it called its run.
        self.sweep: Callable[[str], object] = lambda run: None
        #: The same where nodes count together.
        self.forget: Callable[[str], object] = lambda run: None
        self._drained: Deferred[Any] | None = None
        self._workers = [Worker(self, number) for number in range(1, sharing.workers + 1)]
        #: What the workers may ask for and tell, beside what each needs for itself: it is called with the number first.
        self.handlers: dict[str, Callable[..., Any]] = {"log": self._log_events, "make_room": self._make_room}
        #: Whom an operator has banned, and for how many seconds more: what a new worker has to know before it begins.
        self.banned: Callable[[], list[tuple[str, float | None]]] = list
        self._highest = 0  #: of the sessions' numbers, as far as they were heard of
        #: Gets the records of what has happened at the workers, which are in the log by then.
        self.hear: Callable[[Sequence[Record]], None] = lambda records: None

    def start(self) -> None:
        """Have them serve."""
        for worker in self._workers:
            worker.spawn()

    async def reload(self) -> list[str]:
        """Have them take over the options that are in force by now, and read the files that those name.

        What has kept any of them from that, in lines for people.
        """
        words = self._words()
        for worker in self._workers:
            if not worker.serves:
                worker.tell("reload", words=words)  # it may have read the old ones; it hears of it when it has started
        asked = [worker for worker in self._workers if worker.serves]
        answers = await self.ask_all("reload", words=words)
        late = False, ["it has not answered, and goes on as it was until it does"]
        outcomes = [(worker.number, Reloaded(*answers.get(worker.number, late))) for worker in asked if worker.serves]
        return [f"worker {n}: {line}" for n, outcome in outcomes if not outcome.is_done for line in outcome.lines]

    def drain(self) -> Deferred[None]:
        """Have them see their sessions out; fires when all have ended."""
        if self._drained is None:
            self._drained = DeferredList([worker.stop() for worker in self._workers])
        return done_with(self._drained)

    def hurry(self) -> None:
        """Have those that still see somebody out wait no longer."""
        for worker in self._workers:
            worker.signal(signal.SIGTERM)

    async def stop(self) -> None:
        """The same as `drain`, and then nothing of them is left."""
        await self.drain()
        self.sharing.close()

    def start_for(self, number: int) -> Start:
        return Start(
            number=number,
            first=self._first_session(number),
            node=parts.RUN,
            workers=self.sharing.workers,
            rows=self.sharing.rows,
            reactor=type(self.reactor).__module__,
            words=self._words(),
            folder=self._folder,
            ports=[port.endpoint for port in self.ports],
            python_path=os.environ.get(_PATH, ""),
        )

    def _first_session(self, number: int) -> int:
        """The number of a worker's first session, which nobody has who was in its place before."""
        workers = len(self._workers)
        return number + workers * (self._highest // workers + UNHEARD if self._highest else 0)

    async def ask_all(self, what: str, **about: Any) -> dict[int, Any]:
        """What each worker answers, by its number. Who doesn't answer in time, or is being replaced, is left out."""
        there = [worker for worker in self._workers if worker.serves]
        asked = [worker.ask(what, **about) for worker in there]
        found: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
        answers = {}
        for worker, (has_answered, answer) in zip(there, found, strict=True):
            if has_answered:
                answers[worker.number] = answer
            else:
                self._log.warn("Worker {n} was asked for {what}: {why}", n=worker.number, what=what, why=answer.value)
        return answers

    def number_of(self, session: int) -> int:
        """Which worker's a session is, by its number: each counts on by as many as there are workers."""
        return (session - 1) % len(self._workers) + 1

    def tell(self, number: int, what: str, **about: Any) -> None:
        """Have one worker do something."""
        self._workers[number - 1].tell(what, **about)

    def trouble(self) -> str:
        """Why nobody is let in; empty if they are."""
        return "" if self.sharing.somebody_is_ready() else "no worker is there to serve"

    async def ask(self, number: int, what: str, **about: Any) -> Any:
        """What one worker answers. Raises `Unanswered`."""
        if not 1 <= number <= len(self._workers):
            raise Unanswered(f"there is no worker {number}")
        return await self._workers[number - 1].ask(what, **about)

    def _log_events(self, number: int, events: list[Any]) -> None:
        from_worker(number, events, self._heard)

    def _heard(self, records: Sequence[Record]) -> None:
        self._highest = max([self._highest, *(record.session for record in records)])
        self.hear(records)

    def _make_room(self, number: int, of: str) -> None:
        """A worker had to refuse somebody, and has nobody of its own to send off for the next."""
        for worker in self._workers:
            if worker.number != number:
                worker.tell("make_room", of=of)

    def died(self, worker: Worker, run: str) -> None:
        """Clear up behind a worker."""
        self.sharing.forget(worker.number - 1)
        if run:
            self.sweep(run)
            self.forget(run)


class Worker(ProcessProtocol):
    """One place among the workers: the process that has it, and the one that has it next."""

    _log = Logger()

    def __init__(self, workers: Workers, number: int) -> None:
        self._workers = workers
        self._reactor = workers.reactor
        self.number = number
        self._process: Any = None
        self._link: WorkerLink | None = None
        self._run = ""
        self._since = 0.0
        self._deaths = 0
        self._next: IDelayedCall | None = None
        self._giving_up: IDelayedCall | None = None
        self._over: Deferred[None] | None = None

    # -- its life

    def spawn(self) -> None:
        """Start a process for this place."""
        self._next = None
        self._run = ""
        self._since = self._reactor.seconds()
        try:
            self._process = self._spawned()
        except OSError as error:
            self._log.error("Worker {n} can't be started: {why}", n=self.number, why=error.strerror)
            self._replace()

    def _spawned(self) -> Any:
        ours, theirs = socket.socketpair()
        with ours, theirs, open(os.devnull) as nothing:
            link = self._link = WorkerLink(self._reactor, self._handlers(), lambda: self._link_lost(link))
            link.heard = self._lives
            link.handlers["join"] = lambda run: self._join(link, run)
            ours.setblocking(False)
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, ReadyMade(link))
            # Before anything else: the worker reads it before it has a reactor.
            link.tell("start", **asdict(self._workers.start_for(self.number)))
            descriptors = {
                0: nothing.fileno(),
                1: "r",
                2: "r",
                LINK: theirs.fileno(),
                MEMORY: self._workers.sharing.memory.descriptor,
            }
            descriptors |= {FIRST_PORT + n: port.fileno() for n, port in enumerate(self._workers.ports)}
            command = [sys.executable, "-P", "-m", "ftpsvc.worker", str(self.number)]
            return self._reactor.spawnProcess(self, sys.executable, command, env=_environment(), childFDs=descriptors)

    def _handlers(self) -> Handlers:
        def for_this(handler: Callable[..., Any]) -> Callable[..., Any]:
            return lambda **about: handler(self.number, **about)

        handlers: Handlers = {name: for_this(how) for name, how in self._workers.handlers.items()}
        return {"ready": self._ready, **handlers}

    def _join(self, link: WorkerLink, run: str) -> list[tuple[str, float | None]]:
        """It has started, and lets somebody in when it has this answer. What changes later it is told behind that."""
        if self._link is link:
            self._run = run
        return self._workers.banned()

    def _ready(self) -> None:
        if self._process is not None:  # else it has ended already
            self._log.info("Worker {n} serves, as process {pid}", n=self.number, pid=self._process.pid)

    def processExited(self, reason: Failure) -> None:
        """Not `processEnded`, which comes when whatever the worker has started has ended too."""
        self._process = None
        self._lives()  # or did
        error: Any = reason.value
        if self._over is None or error.exitCode or error.signal not in (None, signal.SIGTERM):
            self._workers.died(self, self._run)
            self._log.error("Worker {n} has ended: {how}", n=self.number, how=_how(error))
        if self._over is None:
            self._replace()
        self._look_whether_it_is_over()

    def _link_lost(self, link: WorkerLink) -> None:
        """All that it had to say was heard. The next one in this place may be there by then, with a link of its own."""
        if self._link is link:
            self._link = None
        self._look_whether_it_is_over()

    def _look_whether_it_is_over(self) -> None:
        if self._over is not None and not self._over.called and self._process is None and self._link is None:
            self._over.callback(None)

    def _replace(self) -> None:
        if self._reactor.seconds() - self._since >= LONG_ENOUGH:
            self._deaths = 0
        delay = DELAYS[min(self._deaths, len(DELAYS) - 1)]
        self._deaths += 1
        if delay:
            self._log.info("The next worker {n} starts in {delay:g} s", n=self.number, delay=delay)
        self._next = self._reactor.callLater(delay, self.spawn)

    def stop(self) -> Deferred[None]:
        """Have it see its sessions out; fires when the process has ended."""
        self._over = Deferred()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self.signal(signal.SIGTERM)
        self._look_whether_it_is_over()
        return self._over

    def signal(self, number: signal.Signals) -> None:
        try:
            if self._process is not None:
                self._process.signalProcess(number)
        except ProcessExitedAlready:
            pass  # it is about to be told

    # -- what is said

    @property
    def serves(self) -> bool:
        """Whether it can be asked: it has joined the others, and not ended yet."""
        return self._link is not None and bool(self._run)

    def tell(self, what: str, **about: Any) -> None:
        if self._link is not None:
            self._link.tell(what, **about)

    def ask(self, what: str, **about: Any) -> Deferred[Any]:
        if self._link is None:
            return fail(Unanswered("it is being replaced"))
        return self._link.ask(what, **about).addErrback(self._unanswered)

    def _unanswered(self, failure: Failure) -> Failure:
        """It may yet. The time for that begins here, so that a parent that was asleep itself blames nobody."""
        if self._giving_up is None and self._process is not None:
            self._giving_up = self._reactor.callLater(STILL, self._give_up)
        return failure

    def _lives(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _give_up(self) -> None:
        """End it: its clients wait for nothing, and nobody could stop it otherwise."""
        self._giving_up = None
        self._log.error("Worker {n} has said nothing for {time:g} s, and is killed", n=self.number, time=STILL)
        self.signal(signal.SIGKILL)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """What isn't a log event: a traceback of the start, or what a library prints."""
        for line in data[:MAX_SAID].decode("utf-8", "replace").splitlines():
            self._log.warn("Worker {n} says: {line}", n=self.number, line=printable(line))


def _how(error: Any) -> str:
    if error.signal is not None:
        return f"by {signal.Signals(error.signal).name}"
    return f"with exit status {error.exitCode}"


#: What is the parent's alone: who manages services expects to hear from it, and its sockets were handed to it.
_NOT_FOR_WORKERS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")

_PATH = "PYTHONPATH"


def _environment() -> Mapping[str, str]:
    """The parent's; and what a worker imports is found where the parent has found it, wherever twistd has looked."""
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_WORKERS} | {_PATH: path}


def restore_path(path: str) -> None:
    """Let what a worker starts have the environment that the parent has."""
    if path:
        os.environ[_PATH] = path
    else:
        os.environ.pop(_PATH, None)
