"""What an operator may ask of a running server: each of `ftpsvc ctl`'s commands as a row of one table.

An answer is a series of JSON objects. What they are asked for comes from whoever may open the socket, which is the
server's own user; and yet every value is looked at, since a mistake should end in a sentence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ftpsvc.addresses import network_of
from ftpsvc.limits import Network
from ftpsvc.overview import Overview, shown

#: What is asked for, as it came, and an answer.
Request = Mapping[str, Any]
Answer = Iterable[Mapping[str, Any]]

#: The longest that a ban may last for a time, in seconds: a hundred years. Beyond that, it is one without a time.
MAX_BAN = 100 * 365 * 24 * 3600


class Refused(Exception):
    """It can't be done; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Order:
    """One command."""

    name: str
    run: Callable[[Overview, Request], Awaitable[Answer]]
    changes: bool = False  #: whether the log is to have who gave it


async def _who(overview: Overview, request: Request) -> Answer:
    return (row._asdict() for row in await overview.rows())


async def _kick(overview: Overview, request: Request) -> Answer:
    number = request.get("id")
    if type(number) is not int:
        raise Refused("kick takes the number of a session. Those there are: ftpsvc ctl who")
    row = await overview.kick(number)
    if row is None:
        raise Refused(f"there is no session {number}. Those there are: ftpsvc ctl who")
    return [row._asdict()]


async def _ban(overview: Overview, request: Request) -> Answer:
    network, seconds = _network(request), request.get("seconds")
    if seconds is not None and (type(seconds) not in (int, float) or not 0 < seconds <= MAX_BAN):
        raise Refused("a ban's time is a number of seconds above 0, and at most a hundred years")
    try:
        ended = await overview.ban(network, seconds)
    except ValueError as error:
        raise Refused(str(error)) from error
    is_everywhere = overview.everywhere is not None
    return [{"network": shown(network), "seconds": seconds, "sessions": ended, "all_nodes": is_everywhere}]


async def _unban(overview: Overview, request: Request) -> Answer:
    network = _network(request)
    if not await overview.unban(network):
        raise Refused(f"{shown(network)} isn't banned. Who is: ftpsvc ctl stats")
    return [{"network": shown(network)}]


def _network(request: Request) -> Network:
    text = request.get("network")
    try:
        return network_of(text if isinstance(text, str) else "")
    except ValueError as error:
        raise Refused(f"{text} is no address or network: as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64") from error


async def _reload(overview: Overview, request: Request) -> Answer:
    outcome = await overview.daemon.reload()
    if not outcome.is_done:
        raise Refused("; ".join(outcome.lines))
    return [{"lines": list(outcome.lines)}]


async def _drain(overview: Overview, request: Request) -> Answer:
    return [await overview.drain()]


async def _stats(overview: Overview, request: Request) -> Answer:
    return [await overview.stats()]


async def _token(overview: Overview, request: Request) -> Answer:
    if overview.token is None:
        raise Refused("this server has no live page, and so no token; --monitor 9090 at its start makes one")
    return [{"token": overview.token.reveal()}]


ORDERS: Mapping[str, Order] = {
    order.name: order
    for order in (
        Order("who", _who),
        Order("kick", _kick, changes=True),
        Order("ban", _ban, changes=True),
        Order("unban", _unban, changes=True),
        Order("reload", _reload, changes=True),
        Order("drain", _drain, changes=True),
        Order("stats", _stats),
        Order("token", _token),
    )
}


def order(request: Request) -> Order:
    """The command that is asked for. Raises `Refused`."""
    name = request.get("order")
    found = ORDERS.get(name) if isinstance(name, str) else None
    if found is None:
        raise Refused(f"this server knows no order {name!r}; those it does: {', '.join(ORDERS)}")
    return found
