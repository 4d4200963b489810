"""Telling whoever has started this process how it is, where they want to know: sd_notify(3), as systemd has it.

Nothing of systemd's is needed for that: it is a datagram to a Unix socket, whose name is in the environment. Where none
is there, nobody wants to know, and nothing is done.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How long to wait, in seconds, for a manager who doesn't read what it is told.
SEND_TIME = 1.0

#: How often the status is looked at, in seconds. Where a watchdog wants to hear more often than twice this, it does.
LOOK_EVERY = 5.0

#: How much longer than the drain time the end may take, in seconds: the last replies, and commits on a slow disk.
SLACK = 30.0


class Manager:
    """Whoever has started this process."""

    _log = Logger()

    def __init__(self, environment: Mapping[str, str], clock: Any, status: Callable[[], str]) -> None:
        """`status`: what goes on, in a few words."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._status = status
        self._told = ""
        watchdog = _watchdog_seconds(environment) if self._address else 0.0
        self._has_watchdog = watchdog > 0
        self._every = min(LOOK_EVERY, watchdog / 2) if self._has_watchdog else LOOK_EVERY
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def ready(self) -> None:
        """All that was to be done at the start is done. From here on the status and the watchdog are kept alive."""
        self._tell("READY=1", *self._news())
        if self._address and not self._looking.running:
            self._looking.start(self._every, now=True)

    def reloading(self) -> None:
        """The configuration is read again; `ready` says that this is over."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        """The end has begun, and may take so long; what was configured for that is not to come before it."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((seconds + SLACK) * 1_000_000)}", *self._news())

    def gone(self) -> None:
        """Nothing more is told."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        """The reactor's turn has come round, which is what a watchdog wants to know."""
        self._tell(*(["WATCHDOG=1"] if self._has_watchdog else []), *self._news())

    def _news(self) -> list[str]:
        status = self._status()
        news = [f"STATUS={status}"] if status != self._told else []
        self._told = status
        return news

    def _tell(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            notify(self._address, *lines)
        except OSError as error:
            # Once: it would be the same each time, and the files are served all the same.
            self._log.warn("{address} can't be told how the service is: {error}", address=self._address, error=error)
            self._address = ""


def notify(address: str, *lines: str) -> None:
    """Send these assignments in one datagram to a Unix socket; `@` begins a name outside of the file system.

    Raises `OSError`.
    """
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(SEND_TIME)
        sender.sendto("\n".join(lines).encode(), name)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """How often the manager wants to hear at the least; 0 if it doesn't, or wants it of another process."""
    try:
        if int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid():
            return int(environment.get("WATCHDOG_USEC", "0")) / 1_000_000
    except ValueError:
        pass
    return 0.0
