"""What the tests share: connections in memory, clocks, and work without threads.

Two ways of testing, and no third. Nearly everything runs without a reactor: protocols are joined by a `Link` in memory,
time is a `Clock`, threads are replaced by `at_once` or `ByHand`, and a coroutine is driven by `result_of` or `start`.
Only what needs real sockets runs on the global reactor, in `twisted.trial.unittest.TestCase`s with `async def` tests
(test_sockets.py), which pytest runs as trial would.

What is made here is remembered in `LEFT_OPEN`, and the fixture in conftest.py closes it behind each test.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from links import Link, RawPeer
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from ftpsvc.accounts import WRONG, AnonymousOnly
from ftpsvc.addresses import Origin
from ftpsvc.client import ClientProtocol
from ftpsvc.factory import ServerFactory
from ftpsvc.frames import digest_of
from ftpsvc.limits import Limits
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import EVERYTHING, PART_PREFIX, Account, NotLoggedIn, Permission
from ftpsvc.options import Options
from ftpsvc.remote import Remote
from ftpsvc.rules import PathRule
from ftpsvc.session import Visitor


class Pumped(Protocol):
    def pump(self) -> None: ...


class Closeable(Protocol):
    def close(self) -> None: ...


#: What is to be closed behind the test that is running.
LEFT_OPEN: list[Closeable] = []

#: Every clock of the test that is running: none may have a call left at the end.
CLOCKS: list[Clock] = []


def make_clock() -> Clock:
    CLOCKS.append(Clock())
    return CLOCKS[-1]


# -- work without threads ------------------------------------------------------------------------------------


def at_once(function: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
    """In place of the thread pool: the job is done before the caller goes on."""
    return execute(function, *args)


class ByHand:
    """In place of the thread pool: jobs wait until the test lets them run."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.jobs.append((lambda: function(*args), done))
        return done

    def fire(self) -> None:
        """Run all the jobs that wait now, first come, first served."""
        jobs, self.jobs = self.jobs, []
        for job, done in jobs:
            execute(job).chainDeferred(done)

    def close(self) -> None:
        while self.jobs:
            self.fire()


def by_hand() -> ByHand:
    run = ByHand()
    LEFT_OPEN.insert(0, run)
    return run


# -- driving coroutines --------------------------------------------------------------------------------------


class Started:
    """A coroutine under way."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self.deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(_awaited(work))
        self._outcome: list[Any] = []
        self.deferred.addBoth(self._outcome.append)

    @property
    def is_over(self) -> bool:
        return bool(self._outcome)

    def result(self) -> Any:
        assert self._outcome, "it is still waiting"
        if isinstance(self._outcome[0], Failure):
            self._outcome[0].raiseException()
        return self._outcome[0]


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def start(work: Awaitable[Any]) -> Started:
    return Started(work)


def result_of(work: Awaitable[Any], link: Pumped | None = None) -> Any:
    """What a coroutine returns or raises, without a reactor; over a link, what it sends is delivered meanwhile."""
    started = start(work)
    if link is not None:
        link.pump()
    if not started.is_over:
        started.deferred.cancel()
        raise AssertionError("it would wait for ever")
    return started.result()


async def collected(entries: Any) -> list[Any]:
    return [entry async for entry in entries]


async def read_all(file: Any, size: int = 1024 * 1024) -> bytes:
    """All that is left of a `ReadFile`, which is closed whatever happens."""
    try:
        pieces = []
        while chunk := await file.read(size):
            assert len(chunk) <= size
            pieces.append(bytes(chunk))
        return b"".join(pieces)
    finally:
        await file.close()


def linked(clock: Clock, server: Any, client: Any, cut: Callable[[], int] = lambda: 1 << 16) -> Link:
    """A connection between two protocols, which is closed behind the test."""
    LEFT_OPEN.append(link := Link(clock, server, client, cut))
    return link


# -- options and accounts


def parsed(*words: str) -> Options:
    """The options that these words make."""
    options = Options()
    options.parseOptions(words)
    return options


class OneAccount:
    """One account, with the password `secret`; certificates are of no use, and one may come from anywhere."""

    def __init__(self, account: Account, storage: Any) -> None:
        self.account, self.storage = account, storage

    def refusal(self, origin: Origin) -> str:
        return ""

    async def recognise(self, user: str, visitor: Visitor) -> None:
        return None

    async def login(self, user: str, password: str, visitor: Visitor) -> tuple[Account, Any]:
        if (user, password) != (self.account.name, "secret"):
            raise NotLoggedIn(WRONG)
        return self.account, self.storage


# -- a raw client talking to the server ----------------------------------------------------------------------


@dataclass(frozen=True)
class Sequence:
    """A sequence of frames that was received: its bytes, and the line that ended it."""

    data: bytes
    end: str


def parse_answers(received: bytes) -> list[str | Sequence]:
    """Replies, one string each (inner lines included), and sequences, in the order in which they came.

    Written apart from the core's own reader on purpose: what tests the one must not be the other.
    """
    answers: list[str | Sequence] = []
    data: list[bytes] | None = None
    reply: list[str] = []
    while received:
        line, end, received = received.partition(b"\r\n")
        assert end, f"a line without an end: {line[:80]!r}"
        if line.startswith(b"DATA "):
            size = int(line[5:])
            assert 1 <= size <= len(received), "a frame was cut"
            data, received = [*(data or []), received[:size]], received[size:]
        elif line[:4] in (b"DONE", b"FAIL"):
            answers.append(Sequence(b"".join(data or []), line.decode("utf-8", "surrogateescape")))
            data = None
        else:
            assert data is None, f"a sequence was cut by {line[:80]!r}"
            reply.append(line.decode("utf-8", "surrogateescape"))
            if line[:3].isdigit() and line[3:4] == b" " and line[:3] == reply[0][:3].encode():
                answers.append("\n".join(reply))
                reply = []
    assert data is None and not reply, "the last answer was cut"
    return answers


#: A failed login is answered without delay, but in the tests about that.
AT_ONCE = Limits(delay=0, attempts=1000)


class Conversation:
    """A client of bare bytes, connected to a server protocol that serves a folder."""

    def __init__(
        self,
        storage: Any,
        run: Any = at_once,
        limits: Limits | None = None,
        cut: Callable[[], int] = lambda: 1 << 16,
        accounts: Any = None,
        address: IAddress | None = None,
    ) -> None:
        """`address`: from where the client connects."""
        self.clock = make_clock()
        self.peer = RawPeer()
        self.factory = ServerFactory(accounts or AnonymousOnly(storage), self.clock, run, limits or AT_ONCE)
        self.server = self.factory.buildProtocol(address)
        self.link = linked(self.clock, self.server, self.peer, cut)
        self.link.pump()

    def send(self, *parts: bytes) -> None:
        self.link.client_end.write(b"".join(parts))
        self.link.pump()

    def take(self) -> list[str | Sequence]:
        """What was answered since the last time."""
        received = bytes(self.peer.received)
        self.peer.received.clear()
        return parse_answers(received)

    def ask(self, *parts: bytes) -> list[str | Sequence]:
        self.send(*parts)
        return self.take()

    def codes(self, *parts: bytes) -> list[int | str]:
        """The codes of the replies to this, and `DONE` or `FAIL` for each sequence among them."""
        return [int(a[:3]) if isinstance(a, str) else a.end[:4] for a in self.ask(*parts)]

    def log_in(self, inline: bool = True, user: str = "anonymous", password: str = "secret") -> Conversation:
        self.send(f"USER {user}\r\nPASS {password}\r\n".encode(), b"MODE I\r\n" if inline else b"")
        self.peer.received.clear()
        return self

    @property
    def is_closed(self) -> bool:
        return self.peer.is_lost


def as_ann(folder: Path, permissions: Permission = EVERYTHING, *rules: PathRule) -> Conversation:
    """One who may do this in a folder."""
    disk = local_disk(folder)
    talk = Conversation(disk, accounts=OneAccount(Account("ann", permissions, rules), disk))
    assert talk.codes(b"USER ann\r\nPASS secret\r\nMODE I\r\n") == [220, 331, 230, 200]
    return talk


def frames(data: bytes, size: int = 1 << 16, digest: str | None = None, facts: str = "") -> bytes:
    """A complete sequence with these bytes, in frames of at most this size."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    body = b"".join(b"DATA %d\r\n%s" % (len(piece), piece) for piece in pieces)
    end = f"DONE {digest_of(data) if digest is None else digest} {facts}".rstrip(" ")
    return body + end.encode() + b"\r\n"


# -- storages and clients ------------------------------------------------------------------------------------


def local_disk(
    folder: Path | str, run: Any = at_once, owner: str = "", sync: bool = True, steady: bool = False
) -> LocalDisk:
    disk = LocalDisk(str(folder), run, owner=owner, sync=sync, steady=steady)
    LEFT_OPEN.append(disk)
    return disk


def parts_in(folder: Path) -> list[Path]:
    """The part files anywhere below a folder."""
    found = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.name.startswith(PART_PREFIX))


def take_part(folder: Path) -> bytes:
    """The bytes of the one part that was kept on purpose; it is removed, so that it isn't taken for a leftover."""
    (part,) = parts_in(folder)
    data = part.read_bytes()
    part.unlink()
    return data


def connected_remote(
    storage: Any,
    cut: Callable[[], int] = lambda: 1 << 16,
    run: Any = at_once,
    accounts: Any = None,
    clock: Clock | None = None,
) -> tuple[Remote, Link]:
    """A logged-in client whose server is at the other end of a link."""
    clock = clock or make_clock()
    client = ClientProtocol(clock)
    factory = ServerFactory(accounts or AnonymousOnly(storage), clock, run, AT_ONCE)
    link = linked(clock, factory.buildProtocol(None), client, cut)
    remote = Remote(client)
    result_of(client.greeting.finished, link)
    result_of(remote._ask_features(), link)
    result_of(remote.login(), link)
    return remote, link


class ScriptedServer:
    """A client protocol whose server is played by the test."""

    def __init__(self, silence: float = 120.0, greeting: bytes = b"220 Hello.\r\n") -> None:
        self.clock = make_clock()
        self.peer = RawPeer()
        self.client = ClientProtocol(self.clock, silence)
        self.remote = Remote(self.client)
        self.link = linked(self.clock, self.peer, self.client)
        if greeting:
            self.say(greeting)
            result_of(self.client.greeting.finished, self.link)

    def say(self, data: bytes) -> None:
        self.link.server_end.write(data)
        self.link.pump()

    def heard(self) -> bytes:
        """What the client has sent since the last time."""
        self.link.pump()
        received = bytes(self.peer.received)
        self.peer.received.clear()
        return received

    def answered(self, work: Started, *answers: bytes) -> Any:
        """What comes of work that is answered so."""
        for answer in answers:
            self.say(answer)
        self.link.pump()
        return work.result()

    @property
    def is_dropped(self) -> bool:
        return self.peer.is_lost


def seen_out(factory: ServerFactory) -> Deferred[None]:
    """On the reactor: wait until all whom it serves have gone, and log what is left to be said of them."""
    from twisted.internet import reactor

    async def look() -> None:
        while factory.connections:
            await deferLater(reactor, 0.001)
        factory.records.flush()

    return Deferred.fromCoroutine(look())


def close_all() -> None:
    """Close what the test has left open, connections before the storages behind them; let what is due happen."""
    order = {Link: 0, ByHand: 1}
    for thing in sorted(LEFT_OPEN, key=lambda thing: order.get(type(thing), 2)):
        thing.close()
        if isinstance(thing, Link | ByHand):
            for clock in CLOCKS:
                clock.advance(60)
    LEFT_OPEN.clear()
