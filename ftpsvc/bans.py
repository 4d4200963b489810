"""Failed logins: how many have come from each address, and who is banned for that. A ban ends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from ftpsvc.limits import Limits, Network
from ftpsvc.model import OverLimit

#: Addresses whose failures are remembered. Who attacks from more of them can make the oldest forgotten.
MAX_KNOWN = 10_000


class Bans:
    """What the server remembers of failed logins.

    It is addresses that are banned and never accounts, or whoever knows a name could keep its owner out (RFC 2577,
    section 5).
    """

    def __init__(self, limits: Limits, clock: Any) -> None:
        self._limits = limits
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}  #: how many, and when the last was; that one's are the latest

    def failed(self, source: str) -> str:
        """A login from there has failed. Who is exempt, the empty source, is not counted.

        Gives what is to be told of the ban that begins with it, if one does.
        """
        if not source:
            return ""
        count = self.count(source) + 1
        self._failures.pop(source, None)
        if len(self._failures) >= MAX_KNOWN:
            del self._failures[next(iter(self._failures))]
        self._failures[source] = count, self._clock.seconds()
        if count != self._limits.ban_after:
            return ""
        return f"{count} logins from {source} have failed; nobody there may log in for {self._limits.ban:g} s"

    def count(self, source: str) -> int:
        """How many of the failures from there are remembered."""
        count, last = self._failures.get(source, (0, 0.0))
        return count if self._clock.seconds() < last + self._limits.ban else 0

    def __len__(self) -> int:
        """How many addresses are banned."""
        most = self._limits.ban_after
        return sum(self.count(source) >= most for source in self._failures) if most else 0

    def listed(self) -> Iterator[tuple[str, float, int]]:
        """Each address that is banned, for how many seconds more, and after how many failures."""
        for source, (_, last) in self._failures.items():
            if self._is_banned(source):
                yield source, last + self._limits.ban - self._clock.seconds(), self.count(source)

    def forgive(self, network: Network) -> int:
        """Forget the failures from there; how many bans that has ended."""
        # Of IPv6 a source is a /64, of which the address that is meant may be a part.
        forgiven = [source for source in self._failures if network.overlaps(ip_network(source))]
        ended = sum(map(self._is_banned, forgiven))
        for source in forgiven:
            del self._failures[source]
        return ended

    def _is_banned(self, source: str) -> bool:
        return bool(self._limits.ban_after) and self.count(source) >= self._limits.ban_after

    def demand_none(self, source: str) -> None:
        """Raises `OverLimit` while the address is banned."""
        if self._failures and self._limits.ban_after and self.count(source) >= self._limits.ban_after:
            left = self._failures[source][1] + self._limits.ban - self._clock.seconds()
            raise OverLimit(
                f"{self._limits.ban_after} logins from your address have failed, which is the limit."
                f" Try again in {_time(left)}.",
                "ban-after",
            )


def _time(seconds: float) -> str:
    minutes = -int(-seconds // 60)
    return f"{minutes} minutes" if minutes > 1 else "a minute"
