"""What an operator sees of a running server, and may do to its sessions: for `ftpsvc ctl` and for the live page."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ftpsvc import __version__
from ftpsvc.blocklist import BANNED
from ftpsvc.diskspace import DiskSpace
from ftpsvc.factory import ServerFactory
from ftpsvc.limits import Network
from ftpsvc.livelist import LiveList, Row, dismiss
from ftpsvc.operatortoken import Token
from ftpsvc.records import Ending, Happening, Record, Transfer
from ftpsvc.server import ServerProtocol
from ftpsvc.throughput import Moved, Throughput

#: How many bans are told. Whoever has more has seen that there are many.
MAX_BANS_TOLD = 200

#: How many of the transfers that failed are remembered.
MAX_FAILURES = 20


class Outcome(Protocol):
    """What became of a reload."""

    @property
    def is_done(self) -> bool:
        """Whether what was read is in force; else all is as it was."""

    @property
    def lines(self) -> Sequence[str]:
        """What has changed, or why nothing has."""


class Daemon(Protocol):
    """The service that the sessions are of."""

    def reload(self) -> Awaitable[Outcome]:
        """Read the configuration, the accounts and the certificate again."""

    def drain(self) -> Awaitable[None]:
        """Let nobody in any more, and see everybody out."""


class Everywhere(Protocol):
    """The other nodes."""

    @property
    def is_up(self) -> bool:
        """Whether they can be told, and hear."""

    @property
    def others(self) -> int:
        """How many there are."""

    def block(self, network: Network, seconds: float | None) -> None:
        """An operator has banned them here."""

    def unblock(self, network: Network) -> None:
        """An operator has taken it back here."""


class Ban(NamedTuple):
    """Somebody who isn't let in."""

    network: str  #: or an address
    left: float | None  #: for so many seconds more; None: until somebody takes it back
    why: str


class Glimpse(NamedTuple):
    """Some of the sessions: those with a transfer, and the others."""

    transfers: list[Row]
    others: list[Row]


class Now(NamedTuple):
    """How much goes on."""

    sessions: int
    transfers: int
    rate: float  #: of all transfers, in bytes a second
    up: int  #: how many bytes those under way have received so far
    down: int  #: and how many they have sent


class Overview:
    """One server's."""

    _log = Logger()

    def __init__(self, factory: ServerFactory, space: DiskSpace, daemon: Daemon) -> None:
        self._factory = factory
        self.daemon = daemon
        self._space = space
        self.everywhere: Everywhere | None = None
        self.token: Token | None = None  #: the one of the live page, where there is a page
        self.sessions = LiveList(factory.connections, factory.clock, factory.expected)
        self._began: float = factory.clock.seconds()
        self._numbers = itertools.count(1)
        self._failures: deque[tuple[int, Transfer]] = deque(maxlen=MAX_FAILURES)
        factory.records.listeners.append(self._recorded)
        self.throughput = Throughput(factory.clock, self.sessions.moving, self._finished)

    def start(self) -> None:
        self.throughput.start()

    def stop(self) -> None:
        self.throughput.stop()

    async def rows(self) -> Iterable[Row]:
        """All sessions, each as it is when it is asked for."""
        return self.sessions.rows(self.throughput.rate)

    async def glimpse(self, most: int) -> Glimpse:
        """Not more than so many of each kind: it is made at once, while everybody else waits."""
        sessions = self.sessions
        transfers: list[Row] = []
        others: list[Row] = []
        for guest in sessions.present():
            some = others if guest.session.moving is None else transfers
            if len(some) < most:
                some.append(sessions.row(guest, self.throughput.rate))
        return Glimpse(transfers, others)

    def failures(self) -> list[tuple[int, Transfer]]:
        """The last transfers that failed, each with its number, the newest first."""
        return list(reversed(self._failures))

    def _recorded(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, Transfer) and record.ending is not Ending.COMPLETE:
                self._failures.append((next(self._numbers), record))

    async def kick(self, number: int) -> Row | None:
        """End the session with this number, and say what it was; None if there is none."""
        sessions = self.sessions
        guest = sessions.find(number)
        if guest is None:
            return None
        row = sessions.row(guest, self.throughput.rate)
        dismiss(guest, "An operator has ended this session.", "kick")
        return row

    async def ban(self, network: Network, seconds: float | None) -> int:
        """Let nobody in from there, and end the sessions from there; how many. Raises `ValueError`."""
        self.block(network, seconds)
        return self.send_away(network)

    def block(self, network: Network, seconds: float | None) -> None:
        """Let nobody in from there. Raises `ValueError`."""
        self._factory.blocklist.block(network, seconds)
        if self.everywhere is not None:
            self.everywhere.block(network, seconds)

    def send_away(self, network: Network) -> int:
        """End the sessions from there; how many."""
        banned = [guest for guest in self.sessions.present() if _is_from(guest, network)]
        for guest in banned:
            dismiss(guest, BANNED, "ban")
        return len(banned)

    async def drain(self) -> dict[str, Any]:
        """Let nobody in any more, and see everybody out: who is left, in how many seconds that begins, and for how many
        transfers may go on then."""
        done = self.daemon.drain()
        Deferred.fromCoroutine(_over(done)).addErrback(lambda why: self._log.failure("The sessions did not end", why))
        left = self.sessions.present()
        moving = sum(guest.session.moving is not None for guest in left)
        limits = self._factory.limits
        return {"sessions": len(left), "transfers": moving, "notice": limits.notice, "seconds": limits.drain}

    async def unban(self, network: Network) -> bool:
        """Let those from there in again, also those whose logins have failed; whether somebody was banned."""
        was_blocked = self._factory.blocklist.unblock(network)
        if was_blocked and self.everywhere is not None:
            self.everywhere.unblock(network)
        return bool(self._factory.bans.forgive(network)) or was_blocked

    def bans(self) -> Iterator[Ban]:
        """An operator's first."""
        for network, left in self._factory.blocklist.listed():
            yield Ban(shown(network), left, "an operator said so")
        for source, left, count in self._factory.bans.listed():
            yield Ban(source, left, f"{count} logins have failed")

    async def now(self) -> Now:
        """How much goes on at this moment."""
        moving = list(self.sessions.moving())
        up = sum(one.moved for one in moving if one.verb != "RETR")
        rate, down = sum(map(self.throughput.rate, moving)), sum(one.moved for one in moving) - up
        return Now(len(self._factory.connections), len(moving), rate, up, down)

    async def stats(self) -> dict[str, Any]:
        """All numbers, as a JSON object: sizes in bytes, times in seconds."""
        factory, counts = self._factory, self._factory.counts
        now = await self.now()
        total = self.throughput.total()
        endings = Counter[str]()
        for made in counts.transfers.values():
            endings.update(made.endings)
        return {
            "version": __version__,
            "uptime": factory.clock.seconds() - self._began,
            "since": time.time() - (factory.clock.seconds() - self._began),
            "sessions": now.sessions,
            "transfers": now.transfers,
            "rate": now.rate,
            "bytes_in": total.up,
            "bytes_out": total.down,
            "complete": endings[Ending.COMPLETE.value],
            "aborted": endings[Ending.ABORTED.value],
            "rejected": endings[Ending.REJECTED.value],
            "logins": counts.events[Happening.LOGGED_IN.value],
            "failed_logins": counts.events[Happening.LOGIN_FAILED.value],
            "banned": len(factory.blocklist) + len(factory.bans),
            "bans": [ban._asdict() for ban in itertools.islice(self.bans(), MAX_BANS_TOLD)],
            "nodes": self._nodes(),
            "disks": [space._asdict() for space in await self._space.spaces()],
        }

    def _nodes(self) -> dict[str, Any] | None:
        """What is known of the nodes that this one counts with."""
        if self.everywhere is None:
            return None
        return {"others": self.everywhere.others, "connected": self.everywhere.is_up}

    def _finished(self) -> Moved:
        # What has ended a moment ago is on its way to the counts. Without it there would be a gap, and then a leap.
        self._factory.records.flush()
        moved = {verb: made.bytes for verb, made in self._factory.counts.transfers.items()}
        down = moved.pop("RETR", 0)
        return Moved(sum(moved.values()), down)


async def _over(work: Awaitable[None]) -> None:
    await work


def shown(network: Network) -> str:
    """A network as people write it: a single address without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _is_from(guest: ServerProtocol, network: Network) -> bool:
    host = guest.session.origin.address
    return host is not None and host in network
