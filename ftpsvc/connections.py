"""Who is connected: how many in all, from each address, and for each account. No more than the limits allow."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Protocol

from ftpsvc.addresses import host_of
from ftpsvc.commons import Common
from ftpsvc.limits import Limits
from ftpsvc.model import ANONYMOUS, Account, OverLimit

#: For how many seconds somebody who is not logged in is safe from having to make room. A client that logs in by itself
#: rarely needs more; and a flood that fills ten thousand places in less is one that this process can't accept.
GRACE = 1.0

#: What connections are counted as: all, those of an address, and sessions of an account.
ALL = "connections"
ADDRESS = "address "
ACCOUNT = "account "

#: What one household or one server is given of IPv6 (RFC 6177). Who has one has 2^64 addresses.
_PREFIX = 64


class Guest(Protocol):
    """A connection, as far as it matters here."""

    @property
    def stranger_since(self) -> float:
        """Since when nobody has been logged in."""

    def give_way(self, why: OverLimit) -> None:
        """End at once: the place is needed for somebody else."""


def source_of(address: object, limits: Limits) -> str:
    """What the limits per address hold together: an IPv4 address, or a /64. Empty for those that are exempt."""
    host = host_of(getattr(address, "host", "").partition("%")[0])
    if host is None or any(host in network for network in limits.exempt):
        return ""
    if isinstance(host, IPv6Address):
        return str(IPv6Network((int(host) >> _PREFIX << _PREFIX, _PREFIX)))
    return str(host)


class Connections:
    """The connections of one server."""

    def __init__(self, limits: Limits, clock: Any, common: Common | None = None) -> None:
        """`common`: where they are counted."""
        self._limits = limits
        self._clock = clock
        self._common = common or Common()
        self._counts = self._common.counts
        self._sources: dict[Guest, str] = {}
        self._strangers: dict[Guest, None] = {}  #: in the order in which they came

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[Guest]:
        """In the order in which they came."""
        return iter(self._sources)

    def demand_room(self, source: str) -> None:
        """See to it that there is room for one more, and keep it for the next who `came`. Raises `OverLimit`."""
        most = self._limits.per_address
        if source and not self._counts.more(ADDRESS + source, most or None):
            raise OverLimit(
                f"There are {most} connections from your address already, which is the limit."
                " End one of them, or try again later.",
                "max-per-address",
            )
        most = self._limits.connections
        if not self._counts.more(ALL, most or None) and not (self.make_room() and self._counts.more(ALL, most or None)):
            if source:
                self._counts.less(ADDRESS + source)
            self._common.make_room(ALL)
            raise OverLimit(
                f"There are {self._counts.count(ALL)} connections already, which is the limit. Try again later.",
                "max-connections",
            )

    def make_room(self) -> bool:
        """Let the one who has been here longest without a login give way; whether there is one to do so.

        Else whoever holds so many connections open, from however many addresses, would keep everybody out.
        """
        oldest = next(iter(self._strangers), None)
        if oldest is None or self._clock.seconds() - oldest.stranger_since < GRACE:
            return False
        self.gone(oldest)
        oldest.give_way(OverLimit("All places are taken, and others wait for yours. Connect again.", "max-connections"))
        return True

    def came(self, guest: Guest, source: str) -> None:
        """One more, for whom there is room. Nobody is logged in there."""
        self._sources[guest] = source
        self._strangers[guest] = None

    def gone(self, guest: Guest) -> None:
        """The connection is over, or as good as. Whoever was logged in there has to have left."""
        if guest not in self._sources:
            return
        self._strangers.pop(guest, None)
        source = self._sources.pop(guest)
        self._counts.less(ALL)
        if source:
            self._counts.less(ADDRESS + source)

    async def enter(self, guest: Guest, account: Account) -> None:
        """Somebody has logged in. Raises `OverLimit`."""
        most = self._most(account)
        if not await self._common.more(ACCOUNT + account.name, most):
            raise OverLimit(
                f"There are {most} sessions of this account already, which is its limit. End one, or try again later.",
                "max-per-account",
            )
        self._strangers.pop(guest, None)

    def _most(self, account: Account) -> int | None:
        if account.max_sessions is not None:
            return account.max_sessions
        return self._limits.per_account if self._limits.per_account and account.name != ANONYMOUS.name else None

    def leave(self, guest: Guest, account: Account) -> None:
        """The login that `enter` was told of is over."""
        self._counts.less(ACCOUNT + account.name)
        if guest in self._sources:
            self._strangers[guest] = None
