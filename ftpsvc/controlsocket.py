"""The Unix socket in the state folder by which `ftpsvc ctl` speaks to a running server.

A request is a line with a JSON object, `{"order": "kick", "id": 7}`. The answer is a line for each object, and a last
one: `{"done": true}`, or `{"error": "..."}` with a sentence for people. Then the next request may come.

Who may open the socket commands the server: its mode is 0600, and it is in no moment anything else. A lock beside it
says whose it is. So what a server that was killed has left is replaced, and what belongs to one that lives is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IPullProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.closing import stop_listening
from ftpsvc.control import Refused, order
from ftpsvc.overview import Overview
from ftpsvc.records import printable

#: The socket's name in the state folder, and the lock's.
SOCKET, LOCK = "control", "control.lock"

#: The longest request, in bytes. The longest that there is has a network in it.
MAX_REQUEST = 4096

#: How many may be connected at once: people, each with a terminal or two.
MAX_CONNECTIONS = 32

#: How many objects are written in one turn of the reactor: of ten thousand sessions some milliseconds' worth.
BATCH = 200

#: How often, in seconds, a server looks whether the one that has the socket has ended. One that takes another's place,
#: in an upgrade, starts while that still sees its clients out.
TRY_AGAIN = 5.0

#: What the system takes for a socket's address is an array of 108 bytes (unix(7)).
MAX_ADDRESS = 107


@contextlib.contextmanager
def address_of(folder: Path) -> Iterator[str]:
    """What to bind or connect to: the socket's path, or a short way to it where that is too long. Raises `OSError`."""
    path = folder / SOCKET
    if len(os.fsencode(path)) <= MAX_ADDRESS:
        yield str(path)
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


class ControlSocket:
    """One server's. It listens as soon as no other server with the same state folder does."""

    _log = Logger()

    def __init__(self, folder: Path, overview: Overview, reactor: Any) -> None:
        self._folder = folder
        self._overview = overview
        self._reactor = reactor
        self._factory = ControlFactory(overview)
        self._trying = LoopingCall(self._try)
        self._trying.clock = reactor
        self._has_told = False
        self._open = contextlib.ExitStack()
        self._port: IListeningPort | None = None

    def start(self) -> None:
        """Listen now or later. What is in the way is logged, and keeps nobody from being served."""
        self._overview.start()
        self._trying.start(TRY_AGAIN)

    async def stop(self) -> None:
        self._overview.stop()
        if self._trying.running:
            self._trying.stop()
        if self._port is not None:
            await stop_listening(self._port)
            self._factory.hang_up()
        self._open.close()

    def _try(self) -> None:
        try:
            self._listen()
        except BlockingIOError:
            self._tell("Another server uses it, until which ends this one can't be reached by ftpsvc ctl")
        except (OSError, CannotListenError) as error:
            why = error.socketError if isinstance(error, CannotListenError) else error
            self._tell(f"{getattr(why, 'strerror', None) or why}; so ftpsvc ctl can't reach this server")
        else:
            self._trying.stop()

    def _tell(self, why: str) -> None:
        if not self._has_told:
            self._has_told = True
            self._log.warn("{folder}: {why}. Another folder: --state DIR", folder=str(self._folder), why=why)

    def _listen(self) -> None:
        """Raises `BlockingIOError` if the folder is another server's, and `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            opened.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            address = opened.enter_context(address_of(self._folder))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)  # nobody answers there any more: the lock was free
            # Twisted binds, sets the mode, and only then listens; before that nobody is let in.
            self._port = self._reactor.listenUNIX(address, self._factory, mode=0o600)
            self._open = opened.pop_all()


class ControlFactory(Factory):
    """Makes a `ControlProtocol` for each connection."""

    noisy = False

    def __init__(self, overview: Overview) -> None:
        self.overview = overview
        self.connected: set[ControlProtocol] = set()

    def buildProtocol(self, addr: object) -> ControlProtocol | None:
        if len(self.connected) >= MAX_CONNECTIONS:
            return None  # the connection is closed
        return ControlProtocol(self)

    def hang_up(self) -> None:
        """End all connections. They have nothing to lose but an answer."""
        for protocol in list(self.connected):
            protocol.transport.abortConnection()


@implementer(IPullProducer)
class ControlProtocol(LineReceiver):
    """One connection of an operator's. Requests are carried out one after the other."""

    _log = Logger()
    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST
    transport: Any

    def __init__(self, factory: ControlFactory) -> None:
        self._control = factory
        self._work: Deferred[None] | None = None
        self._answer: Iterator[Mapping[str, Any]] | None = None
        self._by = ""

    def connectionMade(self) -> None:
        self._control.connected.add(self)
        uid, self._by = _peer(self.transport.getHandle())
        if uid not in (None, 0, os.geteuid()):
            # The mode was changed, or the descriptor handed on: neither was our doing.
            self._log.warn("{by} is not the server's user, and was refused its control socket", by=self._by)
            self._say({"error": "only the server's own user and root may control it"})
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._control.connected.discard(self)
        if self._work is not None:
            self._work.cancel()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._say({"error": f"a request has at most {MAX_REQUEST} bytes"})
        self.transport.loseConnection()

    def lineReceived(self, line: bytes) -> None:
        self.pauseProducing()
        self._work = Deferred.fromCoroutine(self._carry_out(line))
        self._work.addErrback(self._failed)

    async def _carry_out(self, line: bytes) -> None:
        try:
            request = _parsed(line)
            wanted = order(request)
            answer = iter(await wanted.run(self._control.overview, request))
        except Refused as why:
            self._say({"error": str(why)})
            self._finished()
            return
        if wanted.changes:
            self._log.info("{by}: {request}", by=self._by, request=printable(line.decode("utf-8", "replace")))
        self._answer = answer
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Both of what `LineReceiver` pauses and what the transport pulls from."""
        if self._answer is None:
            super().resumeProducing()
            return
        batch = list(islice(self._answer, BATCH))
        self._say(*batch)
        if len(batch) < BATCH:
            self._answer = None
            self.transport.unregisterProducer()
            self._say({"done": True})
            self._finished()

    def stopProducing(self) -> None:
        self._answer = None

    def _finished(self) -> None:
        self._work = None
        if self.connected:
            self.resumeProducing()

    def _failed(self, failure: Failure) -> None:
        if self.connected:
            self._log.failure("An order by {by} failed by a fault of ours", failure, by=self._by)
            self._say({"error": "an error in the server stopped this; its log has the details"})
            self.transport.loseConnection()

    def _say(self, *objects: Mapping[str, Any]) -> None:
        self.transport.write("".join(json.dumps(one) + "\n" for one in objects).encode())


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused("a request is a JSON object on one line") from error
    if not isinstance(request, dict):
        raise Refused("a request is a JSON object on one line")
    return request


def _peer(connected: socket.socket) -> tuple[int | None, str]:
    """The user at the other end, and in words for the log; None where the system doesn't tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None, "ftpsvc ctl"
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid, f"ftpsvc ctl (process {pid} of user {uid})"
