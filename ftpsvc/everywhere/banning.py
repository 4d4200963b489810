"""Bans over all nodes: the failed logins behind some, and what operators have said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ftpsvc.blocklist import MAX_BLOCKED, Blocklist
from ftpsvc.commons import MAX_KNOWN, Notes
from ftpsvc.everywhere import scripts
from ftpsvc.everywhere.link import Link
from ftpsvc.everywhere.resp import Away
from ftpsvc.limits import Network

#: How many addresses are told of in one go, so that Redis serves others in between.
BATCH = 500


class Banning:
    """What one process tells and hears of bans."""

    _log = Logger()

    def __init__(self, link: Link, failures: Notes, clock: Any) -> None:
        """`failures`: those that this node remembers."""
        self._link = link
        self._failures = failures
        self._clock = clock
        self._version = 0  #: the highest that was heard of
        self._failed_alone: set[str] = set()  #: the addresses of which Redis doesn't know the last failures
        self._said_alone: set[Network] = set()  #: the networks of which it doesn't know what an operator has said
        self.blocklist = Blocklist(clock)
        #: Ends the sessions from there, which another node's operator has banned.
        self.send_away: Callable[[Network], object] = lambda network: None

    # -- what happens here

    async def failed(self, source: str, ban: float) -> int | None:
        """One more failed login; how many there have been from there. None while nobody can tell."""
        try:
            count: int = await self._link.ask(scripts.FAILED, source, round(ban * 1000), MAX_KNOWN)
        except Away:
            if len(self._failed_alone) < MAX_KNOWN:
                self._failed_alone.add(source)
            return None
        return count

    def forgiven(self, sources: Iterable[str]) -> None:
        """An operator has had those forgotten."""
        sources = list(sources)
        self._failed_alone.difference_update(sources)
        for at in range(0, len(sources), BATCH):
            self._link.tell(scripts.FORGIVE, *sources[at : at + BATCH])

    def block(self, network: Network, seconds: float | None) -> None:
        """An operator has banned them here."""
        lasts = -1 if seconds is None else round(seconds * 1000)
        self._remember(network, self._link.tell(scripts.BLOCK, str(network), lasts))

    def unblock(self, network: Network) -> None:
        """An operator has taken it back here."""
        self._remember(network, self._link.tell(scripts.UNBLOCK, str(network)))

    def _remember(self, network: Network, done: Deferred[bool]) -> None:
        def over(was_done: bool) -> None:
            if not was_done and len(self._said_alone) < MAX_BLOCKED:
                self._said_alone.add(network)

        done.addCallback(over)

    # -- what is heard

    def heard(self, news: dict[str, Any], is_mine: bool) -> None:
        """`is_mine`: this process has told it, and holds to it already."""
        self._version = max(self._version, news["version"])
        kind = news["kind"]
        if is_mine:
            return
        if kind == "blocked":
            self._block(ip_network(news["network"]), None if news["lasts"] < 0 else news["lasts"] / 1000)
        elif kind == "unblocked":
            self.blocklist.unblock(ip_network(news["network"]))
        elif kind == "failed":
            self._learn(news["source"], news["count"], 0.0)
        elif kind == "forgiven":
            self._failures.change(news["source"], lambda _: None)

    def _block(self, network: Network, seconds: float | None) -> None:
        try:
            self.blocklist.block(network, seconds)
        except ValueError as error:
            self._log.error("A ban that another node has told of can't be held here: {why}", why=error)
        self.send_away(network)

    def _learn(self, source: str, count: int, age: float) -> None:
        last = self._clock.seconds() - age
        self._failures.change(source, lambda _: (count, last))

    # -- when there is a connection again

    def catch_up(self, now: int, version: int, blocked: list[bytes], failed: list[bytes], counts: list[bytes]) -> None:
        """Hold to what Redis knows, and tell it what it doesn't. `now` and the times are in ms."""
        has_lost = version < self._version
        self._version = max(version, self._version)
        self._catch_up_with_operators(has_lost, {ip_network(a.decode()): int(b) for a, b in _pairs(blocked)}, now)
        known = dict(_pairs(counts))
        there = {
            source.decode(): (int(known[source]), (now - float(time)) / 1000)
            for source, time in _pairs(failed)
            if source in known
        }
        self._catch_up_with_failures(has_lost, there)

    def _catch_up_with_operators(self, has_lost: bool, there: dict[Network, int], now: int) -> None:
        here = dict(self.blocklist.listed())
        alone, self._said_alone = self._said_alone, set()
        if has_lost:
            alone |= here.keys() - there.keys()
        for network in alone:
            if network in here:
                self.block(network, here[network])
            else:
                self.unblock(network)
        for network in here.keys() - there.keys() - alone:
            self.blocklist.unblock(network)
        for network, over in there.items():
            if network not in alone and (not over or over > now):
                self._block(network, (over - now) / 1000 if over else None)

    def _catch_up_with_failures(self, has_lost: bool, there: dict[str, tuple[int, float]]) -> None:
        here = dict(self._failures.items())
        alone, self._failed_alone = self._failed_alone, set()
        if has_lost:
            alone |= here.keys()
        told = [(source, here[source]) for source in alone if source in here]
        for at in range(0, len(told), BATCH):
            words = [
                word
                for source, (count, last) in told[at : at + BATCH]
                for word in (source, round(count), round((self._clock.seconds() - last) * 1000))
            ]
            self._link.tell(scripts.REMEMBER, *words)
        for source in here.keys() - there.keys() - alone:
            self._failures.change(source, lambda _: None)
        for source, (count, age) in there.items():
            if source not in alone or count > here.get(source, (0,))[0]:
                self._learn(source, count, age)


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    """Names and values, as Redis lists them."""
    return zip(flat[::2], flat[1::2], strict=True)
