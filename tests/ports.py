"""Ports for programs that are told where to listen."""

from __future__ import annotations

import secrets
import socket

#: Where the system takes none from by itself (ip_local_port_range). One of those may be somebody's before the program
#: has started: each connection that a test makes has one.
LOWEST, COUNT = 12_000, 20_000


def free_ports(count: int) -> list[int]:
    """Neighbours, on which nobody listens."""
    while True:
        first = LOWEST + secrets.randbelow(COUNT - count)
        ports = range(first, first + count)
        if all(map(_is_free, ports)):
            return list(ports)


def free_port() -> int:
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
