"""Addresses as the commands for data connections bear them: PORT and PASV (RFC 959), EPRT and EPSV (RFC 2428)."""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from ftpsvc.model import BadArgument, ProtocolViolation

#: Ports up to here belong to a machine's own services, and no client listens there for data (RFC 2577, section 3).
LAST_RESERVED_PORT = 1023

IP = IPv4Address | IPv6Address


class Address(NamedTuple):
    """Where somebody listens."""

    host: IP
    port: int


class Origin(NamedTuple):
    """Where a connection comes from. `name` is for people; `address` is None where there is none, or none is known."""

    name: str
    address: IP | None = None
    is_local: bool = False  #: from this machine, as far as can be told


#: Where nothing is known of it.
SOMEBODY = Origin("somebody")


@lru_cache(maxsize=1024)
def host_of(text: str) -> IP | None:
    """The address in a socket's name for one end; None if that is none, as with a Unix socket.

    An IPv4 client of an IPv6 socket is an IPv4 client: it can't be reached at any other address.
    """
    try:
        host = ip_address(text)
    except ValueError:
        return None
    return host.ipv4_mapped or host if isinstance(host, IPv6Address) else host


def without_scope(host: IP) -> IP:
    """The address alone, without the interface that a link-local one is reached through."""
    return IPv6Address(host.packed) if isinstance(host, IPv6Address) and host.scope_id else host


def network_of(text: str) -> IPv4Network | IPv6Network:
    """The network that somebody has written, or the address, as clients from there are known: one of IPv4 in IPv6's
    notation is one of IPv4, and an interface says nothing of who is behind it. Raises `ValueError`."""
    network = ip_network(text)
    if isinstance(network, IPv4Network):
        return network
    first, length = network.network_address, network.prefixlen
    if first.ipv4_mapped is not None and length >= _MAPPED:
        return IPv4Network((first.ipv4_mapped, length - _MAPPED))
    return IPv6Network((without_scope(first).packed, length))


#: How long what IPv4 addresses begin with is in IPv6's notation (RFC 4291, section 2.5.5.2).
_MAPPED = 96


def socket_name(host: IP, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """What a socket is bound or connected to. Raises `OSError` where the interface in it has gone.

    The interface goes beside a link-local address: in its text Python reads it and then forgets it.
    """
    if not isinstance(host, IPv6Address) or not host.scope_id:
        return str(host), port
    scope = int(host.scope_id) if host.scope_id.isdigit() else socket.if_nametoindex(host.scope_id)
    return str(without_scope(host)), port, 0, scope


_PORT = re.compile(r"([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})")


def parse_port(argument: str) -> Address:
    """The address in `h1,h2,h3,h4,p1,p2`. Raises `BadArgument`."""
    match = _PORT.fullmatch(argument)
    numbers = [int(number) for number in match.groups()] if match else [256]
    if max(numbers) > 255:
        raise BadArgument("PORT takes six numbers from 0 to 255: the address's four, and the port's two.")
    return Address(IPv4Address(bytes(numbers[:4])), numbers[4] * 256 + numbers[5])


_EXTENDED = re.compile(r"([!-~])([0-9]{1,5})\1(.{1,50}?)\1([0-9]{1,5})\1")

#: RFC 2428's numbers for what an address can be.
FAMILIES: dict[str, type[IP]] = {"1": IPv4Address, "2": IPv6Address}


def parse_extended(argument: str) -> Address | None:
    """The address in `|1|192.0.2.1|6446|`; None for a family that isn't known. Raises `BadArgument`."""
    match = _EXTENDED.fullmatch(argument)
    if match is None or int(match[4]) > 65535:
        raise BadArgument("EPRT takes |family|address|port|, with family 1 or 2.")
    family = FAMILIES.get(match[2])
    if family is None:
        return None
    try:
        return Address(family(match[3]), int(match[4]))
    except ValueError as error:
        raise BadArgument(f"EPRT has no address of family {match[2]}.") from error


def format_passive(address: Address) -> str:
    """`h1,h2,h3,h4,p1,p2` for an IPv4 address."""
    return ",".join(str(number) for number in (*address.host.packed, *divmod(address.port, 256)))


def number_of(host: IP) -> str:
    """RFC 2428's number for a host's family."""
    return "1" if isinstance(host, IPv4Address) else "2"


_EXTENDED_PASSIVE = re.compile(r"\(([!-~])\1\1([0-9]{1,5})\1\)")


def extended_passive_port(text: str) -> int:
    """The port in the text of a 229: `(|||6446|)`. Raises `ProtocolViolation`."""
    match = _EXTENDED_PASSIVE.search(text)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise ProtocolViolation("The server's answer to EPSV has no port.")
    return int(match[2])


def passive_port(text: str) -> int:
    """The port in the text of a 227. Raises `ProtocolViolation`.

    The address in it is not looked at: behind NAT it is often wrong, and a hostile server's could make this machine
    connect to anybody (CVE-2020-8284). Data always comes from the control connection's peer.
    """
    match = _PORT.search(text)
    port = int(match[5]) * 256 + int(match[6]) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise ProtocolViolation("The server's answer to PASV has no port.")
    return port


def passive_host(text: str) -> IPv4Address | None:
    """The address in the text of a 227, for those who want to know and not to go there; None if there is none."""
    match = _PORT.search(text)
    try:
        return IPv4Address(".".join(match.groups()[:4])) if match else None
    except ValueError:
        return None
