"""One of several processes that serve: `python -m ftpsvc.worker`, which only the parent (`workers`) starts.

It finds its end of the link, the memory that is shared and the sockets as descriptors, and is told the rest in the
first line of the link. It ends when it is told to, and when the parent is gone.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import socket
from collections.abc import Callable
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc import parts
from ftpsvc.allocator import Trimming
from ftpsvc.allworkers import answers_of
from ftpsvc.companions import Companion, hooks_for
from ftpsvc.connections import ALL
from ftpsvc.diskspace import DiskSpace
from ftpsvc.lateness import Lateness
from ftpsvc.options import Options
from ftpsvc.overview import Overview
from ftpsvc.passiveports import PORTS
from ftpsvc.premises import made, settle_in
from ftpsvc.readymade import ReadyMade
from ftpsvc.records import printable
from ftpsvc.reloading import Reloaded
from ftpsvc.securing import endpoint_for
from ftpsvc.sharedtable import Memory
from ftpsvc.sharing import Sharing
from ftpsvc.signals import OnSignal
from ftpsvc.threads import done_with
from ftpsvc.turnstile import Turnstile
from ftpsvc.workerlink import Handlers, WorkerLink
from ftpsvc.workerlog import ToParent
from ftpsvc.workers import FIRST_PORT, LINK, MEMORY, Start, restore_path

if TYPE_CHECKING:
    from ftpsvc.metrics import Gauges


def main() -> None:
    """Serve until the parent says that it is enough."""
    # What a terminal sends to all that was started there, the parent sees to.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    connection = socket.socket(fileno=LINK)
    start = _told(connection)
    for descriptor in range(LINK, FIRST_PORT + len(start.ports)):
        os.set_inheritable(descriptor, False)  # what this process starts has no part in them
    restore_path(start.python_path)
    importlib.import_module(start.reactor).install()
    from twisted.internet import reactor

    Serving(reactor, start).begin(connection, start)
    reactor.run()


def _told(connection: socket.socket) -> Start:
    """The first line, and not a byte of the next."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise SystemExit("the parent has gone")
        line += byte
    return Start(**json.loads(line)["with"])


class Serving:
    """What a worker does."""

    def __init__(self, reactor: Any, start: Start) -> None:
        self._reactor = reactor
        self._sharing = Sharing(Memory(MEMORY), start.workers, start.rows, start.number - 1)
        self._link = WorkerLink(reactor, self._handlers(), self._link_lost)
        self._say = Logger("ftpsvc.worker.Serving", self)  # a class attribute's would be named after __main__
        self._is_stopping = False
        self._drained: Deferred[None] | None = None
        self._turnstiles: list[Turnstile] = []
        self._companions: list[Companion] = []
        self._lateness = Lateness(reactor)
        self._closed: Deferred[None] = Deferred()

    def begin(self, connection: socket.socket, start: Start) -> None:
        """Get all ready, and join the others."""
        with connection:
            connection.setblocking(False)
            self._reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, ReadyMade(self._link))
        self._log = ToParent(self._link, self._reactor)
        globalLogBeginner.beginLoggingTo([self._log], redirectStandardIO=False)
        options = Options(start.folder)
        options.parseOptions(start.words)
        common = self._sharing.common(self._reactor, lambda of: self._link.tell("make_room", of=of))
        self._made = made(options, self._reactor, common, start.node)
        factory = self._made.factory
        factory.next_number = itertools.count(start.first, start.workers).__next__  # nobody else has these
        self._hasty = hooks_for(options, factory, self._made.homes.locate, common)
        self._companions = [Trimming(self._reactor), *self._hasty]
        self._overview = Overview(factory, DiskSpace(self._made.homes.known, factory.run, self._reactor), self)
        if (everywhere := self._made.everywhere) is not None:
            everywhere.holds(factory.blocklist, self._overview.send_away)
            self._companions.append(everywhere)
        for companion in self._companions:
            companion.start()
        self._lateness.start()
        self._overview.start()
        self._link.handlers.update(answers_of(self._overview))
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        # Behind Twisted's own, which would stop a reactor that is stopping.
        self._reactor.callWhenRunning(OnSignal(self._reactor, self._terminated, signal.SIGTERM).listen)
        settle_in()
        joined = self._link.ask("join", run=parts.RUN)
        joined.addCallback(self._open, start.ports)
        joined.addErrback(self._outside)

    def _open(self, banned: list[tuple[str, float | None]], ports: list[str]) -> None:
        """Let clients in, but not those whom an operator has banned while there was another worker in this place."""
        if self._drained is not None:
            return
        factory = self._made.factory
        for network, left in banned:
            factory.blocklist.block(ip_network(network), left)
        for n, endpoint in enumerate(ports):
            shared = SharedSocket(self._turnstile, socket.socket(fileno=FIRST_PORT + n))
            endpoint_for(self._reactor, endpoint, self._made.tls, factory, shared).listen(factory)
        self._sharing.ready()
        self._link.tell("ready")

    def _outside(self, failure: Failure) -> None:
        if not self._is_stopping:
            self._say.failure("It can't let anybody in, and makes room for another", failure)
            self._log.flush()
            self._link.hang_up()

    def _turnstile(self, listening: socket.socket, factory: Any) -> Turnstile:
        turnstile = Turnstile(self._reactor, listening, factory, self._sharing.is_ahead)
        self._turnstiles.append(turnstile)
        turnstile.start()
        return turnstile

    # -- what the parent may say

    def _handlers(self) -> Handlers:
        return {"make_room": self._make_room, "reload": self.reload, "numbers": self._numbers}

    def _make_room(self, of: str) -> None:
        """Another worker had to refuse somebody, and the next had better find room."""
        factory = self._made.factory
        if of == ALL:
            factory.connections.make_room()
        elif of == PORTS:
            factory.passive_ports.make_room()

    async def reload(self, words: list[str] | None = None) -> Reloaded:
        """Take over the options that the parent has by now, and what it has read again."""
        outcome = self._made.reloading.reload(words)
        if outcome.is_done:
            self._say.info("Reloaded, as the others")  # what that was the parent has logged
        else:
            self._say.error("Reload: {line}", line=printable("; ".join(outcome.lines)))
        return outcome

    def _numbers(self) -> Gauges:
        """For the metrics. The records of the last moment and what else was counted go to the parent before the
        answer, for which nobody may wait any more: what was told is not told again."""
        from ftpsvc.metrics import Gauges  # not before: most do without, and it is large

        factory = self._made.factory
        factory.records.flush()
        self._log.flush()
        self._link.tell("counted", counts=factory.counts.take())
        return Gauges.of(factory, self._lateness)

    # -- the end

    def _link_lost(self) -> None:
        self._closed.callback(None)
        if not self._is_stopping:
            self._reactor.stop()  # the parent is gone, and nobody would ever end this process

    def _stop(self) -> Deferred[None]:
        self._is_stopping = True
        return Deferred.fromCoroutine(self._end())

    def _terminated(self) -> None:
        """The parent sends SIGTERM again when somebody is in a hurry, and both may come in one turn of the reactor."""
        if self._is_stopping:
            self._made.factory.draining.hurry()
            for companion in self._hasty:
                companion.hurry()
        else:
            self._is_stopping = True
            self._reactor.stop()

    def drain(self) -> Deferred[None]:
        """Let nobody in any more, and see everybody out. Who calls it again waits for the same."""
        if self._drained is None:
            if self._turnstiles:
                self._sharing.unready()
            for turnstile in self._turnstiles:
                turnstile.stop()
            self._drained = Deferred.fromCoroutine(self._made.factory.stop())
        return done_with(self._drained)

    async def _end(self) -> None:
        """See everybody out, and have the last words logged."""
        await self.drain()
        for companion in reversed(self._companions):
            await companion.stop()
        self._lateness.stop()
        self._overview.stop()
        self._made.storage.close()
        self._log.flush(is_last=True)
        self._link.hang_up()
        await self._closed


@implementer(IStreamServerEndpoint)
class SharedSocket:
    """An endpoint for a socket that the other workers listen on too."""

    def __init__(self, turnstile: Callable[[socket.socket, Any], Turnstile], listening: socket.socket) -> None:
        self._turnstile = turnstile
        self._socket = listening

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        return succeed(self._turnstile(self._socket, protocolFactory))


if __name__ == "__main__":
    main()
