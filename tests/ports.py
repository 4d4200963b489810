"""Ports for programs that are told where to listen."""

from __future__ import annotations

import itertools
import os
import secrets
import socket

#: Where the system takes none from by itself (ip_local_port_range). One of those may be somebody's before the program
#: has started: each connection that a test makes has one.
LOWEST = 12_000

#: How many each of the processes has that run tests side by side, and how many are given out at a time. A port that is
#: free may be another test's in a moment, unless no two have the same ones to choose from.
SHARE, BLOCK = 2_000, 16

_mine = LOWEST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10 * SHARE
_turns = itertools.count(secrets.randbelow(SHARE))


def free_ports(count: int) -> list[int]:
    """Up to `BLOCK` neighbours, on which nobody listens."""
    for turn in _turns:
        first = _mine + turn * BLOCK % SHARE
        ports = range(first, first + count)
        if all(map(_is_free, ports)):
            return list(ports)
    raise AssertionError


def free_port() -> int:
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
