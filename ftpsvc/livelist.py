"""Who is connected and what they do, read from the sessions when somebody asks. Nothing is noted for each command."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ftpsvc.connections import Connections
from ftpsvc.model import OverLimit
from ftpsvc.session import Moving
from ftpsvc.states import Closed, Ready

if TYPE_CHECKING:
    from ftpsvc.server import ServerProtocol

#: How many characters of a path are shown: its end. A client may make them long, and a parent takes ten thousand rows
#: from a worker at a time (`workerlink.MAX_LINE`).
MAX_PATH = 500


class Row(NamedTuple):
    """A session as it is at this moment. What isn't known of a transfer, or where there is none, is None."""

    id: int
    account: str  #: empty before the login
    address: str
    seconds: float  #: since it began
    tls: bool
    state: str  #: login, idle, busy, sending, receiving or committing
    verb: str
    path: str | None = None
    moved: int | None = None  #: bytes
    total: int | None = None
    took: float | None = None  #: seconds since the transfer began
    rate: float | None = None  #: bytes a second


class LiveList:
    """The sessions of one server."""

    def __init__(self, connections: Connections, clock: Any, expected: Collection[object] = ()) -> None:
        """`expected`: those of the connections of which a proxy has yet to say for whom it calls: no sessions yet."""
        self._connections = connections
        self._clock = clock
        self._expected = expected

    def _guests(self) -> Iterator[Any]:
        return (guest for guest in self._connections if guest not in self._expected)

    def moving(self) -> Iterator[Moving]:
        """The transfers under way."""
        return (moving for guest in self._guests() if (moving := guest.session.moving) is not None)

    def present(self) -> list[ServerProtocol]:
        """Those that have not ended, in the order in which they came."""
        return [guest for guest in self._guests() if not isinstance(guest.session.state, Closed)]

    def rows(self, rate: Callable[[Moving], float]) -> Iterator[Row]:
        """A row for each of them, which is read when it is asked for."""
        return (self.row(guest, rate) for guest in self.present())

    def find(self, number: int) -> ServerProtocol | None:
        """The session with this number, while it is there."""
        return next((guest for guest in self.present() if guest.visit.number == number), None)

    def row(self, guest: ServerProtocol, rate: Callable[[Moving], float]) -> Row:
        """How it is at this moment; `rate` tells how fast a transfer is."""
        session, visit = guest.session, guest.visit
        now: float = self._clock.seconds()
        state, moving = session.state, session.moving
        account = state.account.name if isinstance(state, Ready) else ""
        word = "busy" if session.verb else "idle" if account else "login"
        row = Row(visit.number, account, session.peer, now - visit.since, session.security.is_on, word, session.verb)
        if moving is None:
            return row
        word = "committing" if session.verb != moving.verb else "sending" if moving.verb == "RETR" else "receiving"
        return row._replace(
            state=word,
            verb=moving.verb,
            path=moving.path if len(moving.path) <= MAX_PATH else f"…{moving.path[-MAX_PATH:]}",
            moved=moving.moved,
            total=moving.total,
            took=now - moving.began,
            rate=rate(moving),
        )


def dismiss(guest: ServerProtocol, why: str, order: str) -> None:
    """End a session in an operator's name. It is told with a 421, once that can't be taken for a part of the data.

    `order`: what the operator has said, for the log.
    """
    over = OverLimit(why, order)
    guest.visit.ends(why, order)
    if guest.stream is not None:
        guest.stream.fail(over)  # what its command is answered with is the 421, and then the session ends
    elif guest.is_transferring:
        guest.stalled(over)
    elif guest.is_at_work:
        guest.drop()
    else:
        guest.give_way(over)
