"""Failed logins: how many have come from each address, and who is banned for that. A ban ends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from ftpsvc.commons import Common, Note
from ftpsvc.limits import Limits, Network
from ftpsvc.model import OverLimit


class Bans:
    """What the server remembers of failed logins.

    It is addresses that are banned and never accounts, or whoever knows a name could keep its owner out (RFC 2577,
    section 5).
    """

    def __init__(self, limits: Limits, clock: Any, common: Common | None = None) -> None:
        """`common`: where they are remembered."""
        self._limits = limits
        self._clock = clock
        self._common = common or Common()
        self._failures = self._common.failures  #: how many from each address, and when the last was

    async def failed(self, source: str) -> str:
        """A login from there has failed. Who is exempt, the empty source, is not counted.

        Gives what is to be told of the ban that begins with it, if one does.
        """
        if not source:
            return ""
        everywhere = self._common.everywhere
        told = None if everywhere is None else await everywhere.failed(source, self._limits.ban)
        now = self._clock.seconds()
        count, _ = self._failures.change(
            source, lambda known: (self._remembered(known) + 1 if told is None else told, now)
        ) or (0, now)
        if count != self._limits.ban_after:
            return ""
        return f"{count:.0f} logins from {source} have failed; nobody there may log in for {self._limits.ban:g} s"

    def count(self, source: str) -> int:
        """How many of the failures from there are remembered."""
        return self._remembered(self._failures.get(source))

    def _remembered(self, known: Note | None) -> int:
        count, last = known or (0, 0.0)
        return int(count) if self._clock.seconds() < last + self._limits.ban else 0

    def __len__(self) -> int:
        """How many addresses are banned."""
        most = self._limits.ban_after
        return sum(self._remembered(known) >= most for _, known in self._failures.items()) if most else 0

    def listed(self) -> Iterator[tuple[str, float, int]]:
        """Each address that is banned, for how many seconds more, and after how many failures."""
        for source, known in self._failures.items():
            if self._is_banned(known):
                yield source, known[1] + self._limits.ban - self._clock.seconds(), self._remembered(known)

    def forgive(self, network: Network) -> int:
        """Forget the failures from there; how many bans that has ended."""
        # Of IPv6 a source is a /64, of which the address that is meant may be a part.
        forgiven = [pair for pair in self._failures.items() if network.overlaps(ip_network(pair[0]))]
        for source, _ in forgiven:
            self._failures.change(source, lambda _: None)
        if self._common.everywhere is not None:
            self._common.everywhere.forgiven(source for source, _ in forgiven)
        return sum(self._is_banned(known) for _, known in forgiven)

    def _is_banned(self, known: Note) -> bool:
        return bool(self._limits.ban_after) and self._remembered(known) >= self._limits.ban_after

    def demand_none(self, source: str) -> None:
        """Raises `OverLimit` while the address is banned."""
        known = self._failures.get(source) if source and self._limits.ban_after else None
        if known is not None and self._remembered(known) >= self._limits.ban_after:
            left = known[1] + self._limits.ban - self._clock.seconds()
            raise OverLimit(
                f"{self._limits.ban_after} logins from your address have failed, which is the limit."
                f" Try again in {_time(left)}.",
                "ban-after",
            )


def _time(seconds: float) -> str:
    minutes = -int(-seconds // 60)
    return f"{minutes} minutes" if minutes > 1 else "a minute"
