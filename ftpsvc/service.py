"""The twistd plugin: the service that the options make.

What can go wrong at the start goes wrong in `makeService`: there the folder is opened and the ports begin to listen,
before twistd leaves the terminal. So whoever typed the command sees the one line that says what is wrong.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from ftpsvc.allocator import Trimming
from ftpsvc.allworkers import AllWorkers
from ftpsvc.closing import Closing
from ftpsvc.companions import Companion, Hasty, hooks_for, logging_for
from ftpsvc.controlsocket import ControlSocket
from ftpsvc.descriptors import hold_standard
from ftpsvc.diskspace import DiskSpace
from ftpsvc.factory import ServerFactory
from ftpsvc.notify import Manager
from ftpsvc.objects.urls import is_address
from ftpsvc.operatortoken import kept_token
from ftpsvc.options import Options
from ftpsvc.overview import Overview
from ftpsvc.premises import affordable, made, settle_in
from ftpsvc.probing import Probe, free_in
from ftpsvc.records import printable
from ftpsvc.reloading import Reloaded
from ftpsvc.securing import endpoint_for, is_implicit, refuse, state_folder
from ftpsvc.sharing import Sharing
from ftpsvc.signals import OnSignal
from ftpsvc.threads import done_with
from ftpsvc.tls import PagesTLS
from ftpsvc.workers import Opened, Workers

if TYPE_CHECKING:
    from ftpsvc.metrics import Gauges
    from ftpsvc.monitor import Monitor
    from ftpsvc.objects.opening import AllHomes

__all__ = ["Options", "makeService"]  # what twistd looks for here


def makeService(options: Options) -> FileService:
    """Open the folder and listen. Who connects before the service has started waits in the socket's queue."""
    # Before the reactor, whose descriptor may be one of these else: a daemon puts /dev/null in their place.
    hold_standard()
    from twisted.internet import reactor  # not before: twistd installs the one that it was asked for

    connections = affordable(options["limits"]).connections
    sharing = Sharing.create(options["workers"], connections) if options["workers"] > 1 else None
    common = sharing.common(reactor) if sharing is not None else None
    storage, homes, factory, tls, entrance, reloading, told, everywhere = made(options, reactor, common)
    ports = [_listen(reactor, endpoint, factory) for endpoint in options["ports"]]
    listening = zip(options["ports"], ports, strict=True)
    announcements = [
        *(_announcement(options["root"], way, port.getHost(), entrance.now.has_guests) for way, port in listening),
        *told,
        *entrance.now.announcements,
        f"The certificate's SHA-256 fingerprint is {tls.fingerprint}",
    ]
    if options.parent is not None and not options.parent.get("nodaemon", True):
        print(*announcements, sep="\n", flush=True)  # a daemon's log goes to a file, and somebody is waiting here
    service = FileService(storage, factory, ports, announcements, reloading.reload)
    logging = logging_for(options, options.parent, factory)
    service.observer = logging.observer
    space = DiskSpace(homes.known, factory.run, reactor)
    if sharing is None:
        overview = Overview(factory, space, service)
        serving: Sequence[Hasty] = hooks_for(options, factory, homes.locate, None)
    else:
        opened = [_handed_on(endpoint, port) for endpoint, port in zip(options["ports"], ports, strict=True)]
        workers = Workers(reactor, sharing, opened, lambda: reloading.options.words, options.folder)
        overview = AllWorkers(factory, space, service, workers)
        serving = [workers]  # each of which has hooks of its own
        service.has_workers(workers, overview)
        workers.handlers["counted"] = lambda _, counts: factory.counts.add(counts)
        if everywhere is not None:
            workers.forget = everywhere.neighbour_died
    if everywhere is not None:
        overview.everywhere = everywhere
        everywhere.holds(factory.blocklist, overview.send_away)
        service.companions.append(everywhere)
    control = ControlSocket(state_folder(options["state"]), overview, reactor)
    service.hasty = serving
    service.companions += [logging, *serving, control, Trimming(reactor)]
    if options["monitor"]:
        monitor = _monitor(reactor, options, storage, factory, service, overview)
        service.companions.append(monitor)
        monitor.metrics.everywhere = everywhere
        if sharing is not None:
            monitor.metrics.ask_others = lambda: gauges_of(workers)
    return service


async def gauges_of(workers: Workers) -> list[Gauges]:
    """What all workers have at this moment."""
    from ftpsvc.metrics import Gauges

    return [Gauges(*numbers) for numbers in (await workers.ask_all("numbers")).values()]


def _monitor(
    reactor: Any, options: Options, storage: AllHomes, factory: ServerFactory, service: FileService, overview: Overview
) -> Monitor:
    # Not before: they bring a web server with them, which most do without.
    from ftpsvc.livepage import put_below
    from ftpsvc.monitor import Monitor

    root: str = options["root"]
    look = (lambda: storage.objects.answers(root)) if is_address(root) else (lambda: free_in(root))
    monitor = Monitor(factory, Probe(look, factory.run, reactor), service.trouble)
    overview.token = kept_token(state_folder(options["state"]))
    put_below(monitor.root, overview, overview.token)
    monitor.port = _listen(reactor, options["monitor"], factory, monitor.site, "--monitor")
    return monitor


def _handed_on(endpoint: str, port: Any) -> Opened:
    """A port whose clients the workers let in. Who comes before there are any waits in the socket's queue."""
    try:
        port.stopReading()
        return Opened(endpoint, port.fileno)
    except AttributeError:
        refuse(f"can't share {endpoint} among several processes: it is no socket. Serve it with --workers 1.")


_ADVICE: dict[int | None, str] = {
    errno.EADDRINUSE: "Stop the program that listens there, or choose another port: {option} NUMBER",
    errno.EACCES: "Ports below 1024 are root's; choose a higher one: {option} NUMBER",
}
_OTHER_ADVICE = "Give a port number, or an endpoint like tcp:5000:interface=127.0.0.1: {option} ENDPOINT"

#: What Twisted's endpoints mean by errors that don't say it.
_REASONS: dict[type, str] = {
    TypeError: "it lacks a parameter, or has one that this kind of endpoint doesn't take",
    IndexError: "systemd has handed over no such socket",
    KeyError: "systemd has handed over no such socket",  # by its name
}


def _listen(
    reactor: Any,
    endpoint: str,
    factory: ServerFactory,
    other: IProtocolFactory | None = None,
    option: str = "--port",
) -> IListeningPort:
    """Listen for those whom the server serves, or for what something `other` does."""
    outcome: list[IListeningPort | Failure] = []
    tls = factory.tls if other is None or factory.tls is None else PagesTLS(factory.tls)
    maybeDeferred(lambda: endpoint_for(reactor, endpoint, tls, factory).listen(other or factory)).addBoth(
        outcome.append
    )
    if not outcome:
        refuse(f"can't listen on {endpoint}: it takes its time, and whether it works has to be known at the start.")
    if not isinstance(outcome[0], Failure):
        return outcome[0]
    # Whatever it is: a kind of endpoint is a plugin, and may raise anything.
    error: object = outcome[0].value
    if isinstance(error, CannotListenError):
        error = error.socketError
    reason = getattr(error, "strerror", None) or _REASONS.get(type(error)) or str(error).rstrip(".")
    advice = _ADVICE.get(getattr(error, "errno", None), _OTHER_ADVICE).format(option=option)
    refuse(f"can't listen on {endpoint}: {reason}. {advice}")


#: What to type on this machine to reach a port that listens on all of its addresses.
_NEARBY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def _announcement(root: str, endpoint: str, address: object, has_guests: bool) -> str:
    """Where something is served, and how to connect to it."""
    serving = f"Serving {printable(root)} on"
    if not isinstance(address, IPv4Address | IPv6Address):
        return f"{serving} {address}"
    host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
    user = "" if has_guests else "NAME@"
    implicit = "--implicit " if is_implicit(endpoint) else ""
    command = f"ftpsvc {implicit}{user}{_NEARBY.get(address.host, address.host)} {address.port}"
    return f"{serving} {host}:{address.port}; connect with: {command}, or any FTP client"


#: How often, in seconds, the parts that broken uploads left are looked for.
SWEEP_EVERY = 24 * 3600

#: For how long a part is kept for a client that comes back to go on.
KEEP_PARTS = 24 * 3600


class Kept(Protocol):
    """What is looked after while the service runs."""

    async def sweep(self, before: float, run: str = "") -> int:
        """Remove the parts of broken uploads that were last written before this time of day, and those of this run of
        a worker that nobody can go on from; how many."""

    def close(self) -> None:
        """Give everything back."""


class FileService(Service):
    """Serves on ports that listen already."""

    _log = Logger()

    def __init__(
        self,
        storage: Kept,
        factory: ServerFactory,
        ports: Sequence[IListeningPort],
        announcements: Sequence[str],
        reload: Callable[[], Reloaded],
    ) -> None:
        """`reload` reads the configuration again, and takes it over if it can be used."""
        self._storage = storage
        self._factory = factory
        self._closing = Closing(ports, factory.clock, factory.limits)
        self._announcements = announcements
        self._sweeping = LoopingCall(self.sweep)
        self._sweeps: set[Deferred[None]] = set()
        self._reload = reload
        self._drained: Deferred[None] | None = None
        self._hangup = OnSignal(factory.clock, lambda: Deferred.fromCoroutine(self.reload()), signal.SIGHUP)
        self._hurry = OnSignal(factory.clock, self._wait_no_longer, signal.SIGTERM, signal.SIGINT)
        self._manager = Manager(os.environ, factory.clock, self.status)
        self.companions: list[Companion] = []
        self.hasty: Sequence[Hasty] = ()  #: those of them that are told of a second signal
        self._workers: Workers | None = None
        self._overview: AllWorkers | None = None
        self.observer: Any = None  #: an `ILogObserver` for twistd to use; None for its own

    def has_workers(self, workers: Workers, overview: AllWorkers) -> None:
        """Those serve in its place; `overview` knows how busy they are."""
        self._workers, self._overview = workers, overview
        workers.sweep = self.sweep
        workers.hear = self._factory.heard

    def trouble(self) -> str:
        """Why nobody is served; empty if they are."""
        if self._drained is not None:
            return "the server is stopping"
        if not self.running:
            return "the server has not started yet"
        return "" if self._workers is None else self._workers.trouble()

    def setServiceParent(self, parent: Any) -> None:
        """Tells twistd, whose application that is, where to log. It asks for this before it logs anything."""
        if self.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        settle_in()
        self._sweeping.clock = self._factory.clock
        self._sweeping.start(SWEEP_EVERY, now=True)
        self._hangup.listen()
        for companion in self.companions:
            companion.start()
        for line in self._announcements:
            self._log.info("{line}", line=line)
        self._manager.ready()

    def status(self) -> str:
        """What goes on, in a few words."""
        sessions, transfers = len(self._factory.connections), self._factory.transfers_under_way
        if self._overview is not None:
            sessions, transfers = self._overview.last.sessions, self._overview.last.transfers
        closed = "nobody is let in any more; " if self._drained is not None else ""
        return f"{closed}{sessions} sessions, {transfers} transfers"

    async def reload(self) -> Reloaded:
        """Read the configuration, the accounts and the certificate again: what was done, or why nothing was.

        It is done when all workers have it, or have said why not.
        """
        if self._drained is not None:
            outcome = Reloaded(False, ["nothing was changed: the server is stopping"])
            self._log.error("Reload: {line}", line=outcome.lines[0])
            return outcome
        self._manager.reloading()
        try:
            outcome = self._reload()
            for line in outcome.lines:
                (self._log.info if outcome.is_done else self._log.error)("Reload: {line}", line=printable(line))
            if outcome.is_done and self._workers is not None:
                outcome.lines.extend(await self._workers.reload())
        finally:
            if self.running:  # it may have begun to stop meanwhile
                self._manager.ready()
        return outcome

    def sweep(self, run: str = "") -> Deferred[None]:
        """Remove what broken uploads have left and nobody came back for; and what a worker has left that has died, as
        far as nobody can. `run` is what it called its run."""
        sweep = Deferred.fromCoroutine(self._storage.sweep(time.time() - KEEP_PARTS, run))
        outcome: Deferred[None] = sweep.addCallbacks(self._swept, self._not_swept)
        self._sweeps.add(outcome)
        return outcome.addBoth(lambda _: self._sweeps.discard(outcome))

    def _swept(self, removed: int) -> None:
        if removed:
            self._log.info("{removed} part files of uploads that broke off were removed", removed=removed)

    def _not_swept(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("The part files of broken uploads could not be removed", failure)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._sweeping.running:
            self._sweeping.stop()
        self._hurry.listen()
        # Not before, as by a drain: who says that it stops, and stays, is killed after a while, and started anew.
        self._manager.stopping(self._factory.limits.notice + self._factory.limits.drain)
        return Deferred.fromCoroutine(self._stop())

    def drain(self) -> Deferred[None]:
        """Let nobody in any more, after `--drain-notice`; then see everybody out, which may take `--drain-time`.

        Who calls it again waits for the same. The process is left alone: SIGTERM, which does this too, ends it.
        """
        if self._drained is None:
            self._drained = Deferred.fromCoroutine(self._drain())
        return done_with(self._drained)

    async def _drain(self) -> None:
        await self._closing.notice()
        await self._closing.close(lets_in=self._workers is None)
        if self._workers is not None:
            await self._workers.drain()
        await self._factory.stop()

    def _wait_no_longer(self) -> None:
        self._closing.hurry()
        self._factory.draining.hurry()
        for companion in self.hasty:
            companion.hurry()

    async def _stop(self) -> None:
        await self.drain()
        for sweep in list(self._sweeps):
            sweep.cancel()
            await sweep
        for companion in reversed(self.companions):
            await companion.stop()
        self._storage.close()
        self._manager.gone()
        # Not before: without it a SIGHUP would end the process, and break off what is waited for.
        self._hangup.forget()
        self._hurry.forget()
