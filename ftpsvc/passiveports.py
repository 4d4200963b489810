"""The passive ports that wait for their client, of all sessions together: no more than the limit allows."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.logger import Logger

from ftpsvc.commons import Common
from ftpsvc.model import NoDataConnection, TransferError

#: What they are counted as.
PORTS = "passive ports"

#: For how many seconds a port is left to who asked for it, while others ask too. A client connects at once, and a lost
#: packet or two are made up for in this time.
GRACE = 5.0


class Port(Protocol):
    """A port, as far as it matters here."""

    def close(self, why: TransferError | None = None) -> None:
        """Give it up. A transfer that is meant to use it fails for this reason."""


class PassivePorts:
    """Those of one server."""

    _log = Logger()

    def __init__(self, most: int, clock: Any, common: Common | None = None) -> None:
        """`most`: how many may wait; 0 for any number. `common`: where they are counted."""
        self.most = most
        self._common = common or Common()
        self._clock = clock
        self._since: dict[Port, float] = {}  #: in the order in which they were opened

    def __len__(self) -> int:
        return len(self._since)

    def demand_room(self) -> None:
        """See to it that there is room for one more. Raises `NoDataConnection`.

        The port that has waited longest for a connection is given up for it: who asks for ports and does not use them
        is not to keep others from theirs.
        """
        if not self.most or self._common.counts.count(PORTS) < self.most or self.make_room():
            return
        self._common.make_room(PORTS)
        self._log.info("{limit} One more was refused (max-passive)", limit=self._limit)
        raise NoDataConnection(f"{self._limit} Try again in a moment.")

    @property
    def _limit(self) -> str:
        return f"All {self.most} ports that may wait for data connections are in use."

    def make_room(self) -> bool:
        """Give up the oldest, if it has waited for long enough; whether it has."""
        oldest, since = next(iter(self._since.items()), (None, 0.0))
        if oldest is None or self._clock.seconds() - since < GRACE:
            return False
        self._log.info("{limit} The oldest was given up (max-passive)", limit=self._limit)
        oldest.close(NoDataConnection(f"{self._limit} Yours was given up: nobody had connected. Ask for another."))
        return True

    def opened(self, port: Port) -> None:
        """It waits from now on."""
        self._since[port] = self._clock.seconds()
        self._common.counts.more(PORTS)

    def closed(self, port: Port) -> None:
        """It waits no more: its client has come, or never will."""
        if self._since.pop(port, None) is not None:
            self._common.counts.less(PORTS)
