"""Addresses and networks that an operator has banned. That ends when its time is over, or when an operator says so."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from ftpsvc.addresses import IP, without_scope
from ftpsvc.limits import Network
from ftpsvc.model import OverLimit

#: How many there may be at a time. A connection is looked up by the lengths of the networks, and not in each of them.
MAX_BLOCKED = 10_000

#: What somebody is told who isn't let in.
BANNED = "The operator of this server has banned your address."


class Blocklist:
    """One server's. The limits per address exempt some; this exempts nobody."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._until: dict[Network, float | None] = {}
        self._lengths: dict[tuple[int, int], int] = {}  #: how many networks there are of each version and length

    def __len__(self) -> int:
        return sum(1 for _ in self.listed())

    def block(self, network: Network, seconds: float | None) -> None:
        """Let nobody in from there, for so many seconds or until `unblock`. Raises `ValueError` for too many."""
        self.unblock(network)
        if len(self._until) >= MAX_BLOCKED:
            for over in [known for known in self._until if self._left(known) == 0]:
                self.unblock(over)
        if len(self._until) >= MAX_BLOCKED:
            raise ValueError(f"there are {MAX_BLOCKED} bans already, which is the limit; a firewall takes more")
        self._until[network] = None if seconds is None else self._clock.seconds() + seconds
        length = network.version, network.prefixlen
        self._lengths[length] = self._lengths.get(length, 0) + 1

    def unblock(self, network: Network) -> bool:
        """Take back what was said of exactly this network; whether there was something."""
        if network not in self._until:
            return False
        was_over = self._left(network) == 0
        del self._until[network]
        length = network.version, network.prefixlen
        self._lengths[length] -= 1
        if not self._lengths[length]:
            del self._lengths[length]
        return not was_over

    def demand_welcome(self, host: IP | None) -> None:
        """Raises `OverLimit` for whom an operator has banned."""
        if not self._until or host is None:
            return
        host = without_scope(host)
        for version, length in self._lengths:
            if version == host.version:
                network = ip_network((host, length), strict=False)
                if network in self._until and self._left(network) != 0:
                    raise OverLimit(BANNED, "ban")

    def listed(self) -> Iterator[tuple[Network, float | None]]:
        """Each network, and for how many seconds more; None: until somebody takes it back."""
        return ((network, left) for network in self._until if (left := self._left(network)) != 0)

    def _left(self, network: Network) -> float | None:
        until = self._until[network]
        return None if until is None else max(0.0, until - self._clock.seconds())
