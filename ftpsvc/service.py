"""The twistd plugin: the service that the options make.

What can go wrong at the start goes wrong in `makeService`: there the folder is opened and the ports begin to listen,
before twistd leaves the terminal. So whoever typed the command sees the one line that says what is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from ftpsvc import collector
from ftpsvc.admission import Entrance, admitted
from ftpsvc.allocator import keep_freed_memory
from ftpsvc.companions import Companion, hooks_for, logging_for
from ftpsvc.controlsocket import ControlSocket
from ftpsvc.diskspace import DiskSpace
from ftpsvc.factory import ServerFactory
from ftpsvc.homes import Homes, since_the_start
from ftpsvc.limits import Limits
from ftpsvc.localdisk import LocalDisk
from ftpsvc.notify import Manager
from ftpsvc.objects.opening import AllHomes, Objects
from ftpsvc.objects.urls import is_address
from ftpsvc.operatortoken import kept_token
from ftpsvc.options import Options
from ftpsvc.overview import Overview
from ftpsvc.probing import Probe, free_in
from ftpsvc.records import printable
from ftpsvc.reloading import Reloaded, Reloading
from ftpsvc.securing import endpoint_for, refuse, secured, state_folder
from ftpsvc.signals import OnSignal
from ftpsvc.states import Required
from ftpsvc.threads import done_with, pool_of

__all__ = ["Options", "makeService"]  # what twistd looks for here


def makeService(options: Options) -> FileService:
    """Open the folder and listen. Who connects before the service has started waits in the socket's queue."""
    from twisted.internet import reactor  # not before: twistd installs the one that it was asked for

    run = pool_of(reactor)
    sync = options["sync"] == "on"
    objects = Objects(options["objects"], reactor)
    homes = Homes(
        lambda home, owner: objects.open(home) if is_address(home) else LocalDisk(home, run, owner=owner, sync=sync),
        run,
        since_the_start,
    )
    silence = _check_root(options["root"], objects)
    entrance = Entrance(admitted(options, homes, run))
    homes.known = lambda: entrance.now.homes()
    tls = secured(options["certificate"], options["key"], options["state"])
    tls.wants_certificates = lambda: entrance.now.wants_certificates()
    required = Required(options["require-tls"])
    limits = _affordable(options["limits"])
    factory = ServerFactory(entrance, reactor, run, limits, options["passive"], tls, required)
    ports = [_listen(reactor, endpoint, factory) for endpoint in options["ports"]]
    announcements = [_announcement(options["root"], port.getHost(), entrance.now.has_guests) for port in ports]
    announcements.extend([*silence, *entrance.now.announcements])
    announcements.append(f"The certificate's SHA-256 fingerprint is {tls.fingerprint}")
    if options.parent is not None and not options.parent.get("nodaemon", True):
        print(*announcements, sep="\n", flush=True)  # a daemon's log goes to a file, and somebody is waiting here
    reloading = Reloading(options, factory, entrance, homes, _affordable)
    service = FileService(AllHomes(homes, objects), factory, ports, announcements, reloading.reload)
    logging = logging_for(options, options.parent, factory)
    service.observer = logging.observer
    overview = Overview(factory, DiskSpace(homes.known, run, reactor), service)
    control = ControlSocket(state_folder(options["state"]), overview, reactor)
    service.companions += [logging, *hooks_for(options, factory, homes.locate), control]
    if options["monitor"]:
        root: str = options["root"]
        look = (lambda: objects.answers(root)) if is_address(root) else (lambda: free_in(root))
        probe = Probe(look, factory.run, reactor)
        service.companions.append(_monitor(reactor, options, factory, service, overview, probe))
    return service


def _monitor(
    reactor: Any, options: Options, factory: ServerFactory, service: FileService, overview: Overview, probe: Probe
) -> Companion:
    # Not before: they bring a web server with them, which most do without.
    from ftpsvc.livepage import put_below
    from ftpsvc.monitor import Monitor

    monitor = Monitor(factory, probe, service.trouble)
    overview.token = kept_token(state_folder(options["state"]))
    put_below(monitor.root, overview, overview.token)
    monitor.port = _listen(reactor, options["monitor"], factory, monitor.site, "--monitor")
    return monitor


#: The part of the descriptors that connections may have. The others are for data, files, and ports that listen.
_SHARE = 2 / 3


def _affordable(limits: Limits) -> Limits:
    """The limits, with no more connections than there are descriptors for: a server without any can't even refuse."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(hard * _SHARE) if hard != resource.RLIM_INFINITY else limits.connections
    if 0 < limits.connections <= most:
        return limits
    return replace(limits, connections=most)


def _check_root(root: str, objects: Objects) -> list[str]:
    """What to tell of it. Refuses to start with one that can't be served."""
    if is_address(root):
        try:
            return [objects.check(root)]
        except OSError as error:
            refuse(f"can't serve {root}: {error.strerror}. See docs/object-storage.md")
    try:
        os.scandir(root).close()  # may it be listed?
        os.stat(os.path.join(root, "."))  # may what is in it be reached?
    except OSError as error:
        refuse(f"can't serve {root}: {error.strerror}. Choose a folder that is there and may be read: --root DIR")
    return []


_ADVICE: dict[int | None, str] = {
    errno.EADDRINUSE: "Stop the program that listens there, or choose another port: {option} NUMBER",
    errno.EACCES: "Ports below 1024 are root's; choose a higher one: {option} NUMBER",
}
_OTHER_ADVICE = "Give a port number, or an endpoint like tcp:5000:interface=127.0.0.1: {option} ENDPOINT"

#: What Twisted's endpoints mean by errors that don't say it.
_REASONS: dict[type, str] = {
    TypeError: "it lacks a parameter, or has one that this kind of endpoint doesn't take",
    IndexError: "systemd has handed over no such socket",
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
    maybeDeferred(lambda: endpoint_for(reactor, endpoint, factory.tls, factory).listen(other or factory)).addBoth(
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


def _announcement(root: str, address: object, has_guests: bool) -> str:
    """Where something is served, and how to connect to it."""
    serving = f"Serving {printable(root)} on"
    if not isinstance(address, IPv4Address | IPv6Address):
        return f"{serving} {address}"
    host = f"[{address.host}]" if isinstance(address, IPv6Address) else address.host
    user = "" if has_guests else "NAME@"
    command = f"ftpsvc {user}{_NEARBY.get(address.host, address.host)} {address.port}"
    return f"{serving} {host}:{address.port}; connect with: {command}, or any FTP client"


#: How often, in seconds, the parts that broken uploads left are looked for.
SWEEP_EVERY = 24 * 3600

#: For how long a part is kept for a client that comes back to go on.
KEEP_PARTS = 24 * 3600


class Kept(Protocol):
    """What is looked after while the service runs."""

    async def sweep(self, before: float) -> int:
        """Remove the parts of broken uploads that were last written before this time of day; how many."""

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
        self._ports = ports
        self._announcements = announcements
        self._sweeping = LoopingCall(self._sweep)
        self._sweep_under_way: Deferred[int] | None = None
        self._reload = reload
        self._drained: Deferred[None] | None = None
        self._hangup = OnSignal(factory.clock, self.reload, signal.SIGHUP)
        self._hurry = OnSignal(factory.clock, factory.draining.hurry, signal.SIGTERM, signal.SIGINT)
        self._manager = Manager(os.environ, factory.clock, self.status)
        self.companions: list[Companion] = []
        self.observer: Any = None  #: an `ILogObserver` for twistd to use; None for its own

    def trouble(self) -> str:
        """Why nobody is served; empty if they are."""
        if self._drained is not None:
            return "the server is stopping"
        return "" if self.running else "the server has not started yet"

    def setServiceParent(self, parent: Any) -> None:
        """Tells twistd, whose application that is, where to log. It asks for this before it logs anything."""
        if self.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        _allow_many_files()
        collector.relax()
        keep_freed_memory()
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
        return f"{len(self._factory.connections)} sessions, {self._factory.transfers_under_way} transfers"

    def reload(self) -> Reloaded:
        """Read the configuration, the accounts and the certificate again: what was done, or why nothing was."""
        if self._drained is not None:
            return Reloaded(False, ["nothing was changed: the server is stopping"])
        self._manager.reloading()
        try:
            outcome = self._reload()
        finally:
            self._manager.ready()
        for line in outcome.lines:
            (self._log.info if outcome.is_done else self._log.error)("Reload: {line}", line=printable(line))
        return outcome

    def _sweep(self) -> Deferred[None]:
        """Remove what broken uploads have left and nobody came back for."""
        self._sweep_under_way = Deferred.fromCoroutine(self._storage.sweep(time.time() - KEEP_PARTS))
        return self._sweep_under_way.addCallbacks(self._swept, self._not_swept)

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
        self._hangup.forget()
        self._hurry.listen()
        return Deferred.fromCoroutine(self._stop())

    def drain(self) -> Deferred[None]:
        """Let nobody in any more, then see everybody out, which may take `--drain-time`.

        Who calls it again waits for the same. The process is left alone: SIGTERM, which does this too, ends it.
        """
        if self._drained is None:
            self._manager.stopping(self._factory.limits.drain)
            self._drained = Deferred.fromCoroutine(self._drain())
        return done_with(self._drained)

    async def _drain(self) -> None:
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        await self._factory.stop()

    async def _stop(self) -> None:
        await self.drain()
        if self._sweep_under_way is not None:
            self._sweep_under_way.cancel()
            await self._sweep_under_way
        for companion in reversed(self.companions):
            await companion.stop()
        self._storage.close()
        self._manager.gone()
        self._hurry.forget()


def _allow_many_files() -> None:
    """Each session and each transfer holds descriptors, and the usual soft limit of 1024 is soon reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS says "unlimited" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
