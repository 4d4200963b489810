"""Telling whoever has started this process how it is, where they want to know: sd_notify(3), as systemd has it.

Nothing of systemd's is needed for that: it is a datagram to a Unix socket, whose name is in the environment. Where none
is there, nobody wants to know, and nothing is done.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How many datagrams wait for a manager who doesn't read what it is told: more than one reload's, or the start's.
MAX_OWED = 16

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
        #: Kept open: a server that has no descriptors left lives, and has to say so.
        self._socket: socket.socket | None = None
        self._status = status
        self._told = ""
        self._owed: deque[tuple[str, ...]] = deque(maxlen=MAX_OWED)
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
        self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _look(self) -> None:
        """The reactor's turn has come round, which is what a watchdog wants to know."""
        self._deliver()
        if not self._owed:
            self._tell(*(["WATCHDOG=1"] if self._has_watchdog else []), *self._news())

    def _news(self) -> list[str]:
        status = self._status()
        news = [f"STATUS={status}"] if status != self._told else []
        self._told = status
        return news

    def _tell(self, *lines: str) -> None:
        if self._address and lines:
            self._owed.append(lines)
            self._deliver()

    def _deliver(self) -> None:
        """Send what is owed, in its order, as far as the manager takes it."""
        try:
            if self._owed and self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            while self._owed and self._socket is not None:
                notify(self._socket, self._address, *self._owed[0])
                self._owed.popleft()
        except BlockingIOError:
            pass  # its queue is full for the moment: it is told at the next look, and nobody here waits for it
        except OSError as error:
            # Once: it would be the same each time, and the files are served all the same.
            self._log.warn("{address} can't be told how the service is: {error}", address=self._address, error=error)
            self._address = ""
            self._owed.clear()
            self._hang_up()


def notify(sender: socket.socket, address: str, *lines: str) -> None:
    """Send these assignments in one datagram to a Unix socket; `@` begins a name outside of the file system.

    Raises `OSError`, and `BlockingIOError` among them if nobody reads there and its queue is full.
    """
    name = "\0" + address[1:] if address.startswith("@") else address
    sender.sendto("\n".join(lines).encode(), name)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """How often the manager wants to hear at the least; 0 if it doesn't, or wants it of another process."""
    try:
        if int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid():
            return int(environment.get("WATCHDOG_USEC", "0")) / 1_000_000
    except ValueError:
        pass
    return 0.0
