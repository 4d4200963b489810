"""What a client may take of the server: time, connections, attempts, memory, bandwidth. All values, and why.

Each field of `Limits` is an option of the server too (`options`): its name, its text and its smallest value stand
beside its default. docs/limits.md tells what happens at each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from ftpsvc.frames import MAX_LINE

#: For a TLS handshake: four round trips at the most, and no work of a person in between.
HANDSHAKE_LIMIT = 10.0

#: For the other end's answer to the end of TLS, when everything has been sent. It owes that answer, but nothing hangs
#: on it: what there was to do is over.
FAREWELL_LIMIT = 5.0

#: Reading stops while this many bytes wait to be taken (docs/protocol.md, "Pipelining").
MAX_WAITING = 64 * 1024

Network = IPv4Network | IPv6Network

#: Where programs of this machine come from: proxies, tunnels and tests, each of which may stand for thousands. The rest
#: of 127.0.0.0/8 is left out, because nobody has such an address without having chosen it.
THIS_MACHINE = (ip_network("127.0.0.1"), ip_network("::1"))


def _limit(default: float, option: str, text: str, least: float = 0) -> Any:
    """`least`: what the option may be at the least. Where that is 0, 0 means that there is no such limit."""
    return field(default=default, metadata={"option": option, "text": text, "least": least})


@dataclass(slots=True)
class Limits:
    """What a server may be told to make larger or smaller. Times are in seconds, sizes in bytes, rates in both.

    A server has one of these, and who needs a limit looks it up there each time. So a reload changes it in one place.
    """

    # A session at rest takes less than 20 KiB, so these are 200 MB.
    connections: int = _limit(10_000, "max-connections", "Connections at once, of all clients.")
    # Twenty people behind one router, with clients that open ten connections each; and fifty such addresses, not one,
    # to take all that there are.
    per_address: int = _limit(200, "max-per-address", "Connections at once of one address (IPv6: of one /64).")
    # As for an address: an account may be a group's. Nobody in particular (anonymous) is not held to it, or one guest
    # could keep out all the others.
    per_account: int = _limit(100, "max-per-account", "Sessions at once of one account that has no limit of its own.")

    # A person mistypes twice; who fails three times looks the password up (RFC 2577, section 5, asks for 3 to 5).
    attempts: int = _limit(3, "max-login-attempts", "Failed logins, after which a connection is closed.", least=1)
    # With doubling, a person hardly notices the first, and three of them make it a second program's turn.
    delay: float = _limit(1.0, "login-delay", "Seconds that a first failed login's answer takes; each next twice that.")
    # What a household of people who mistype does not reach in ten minutes: 2,880 guesses a day from one address.
    ban_after: int = _limit(20, "ban-after", "Failed logins from one address, after which it is banned.")
    ban: float = _limit(600, "ban-time", "Seconds that a ban lasts, and that a failed login is remembered.", least=1)

    # For a person who types a name and a password.
    login: float = _limit(60, "login-time", "Seconds from the connection to the login.", least=1)
    # Clients that people use send NOOP every minute or so, or connect again by themselves.
    idle: float = _limit(300, "idle-time", "Seconds without a command, or in a transfer without a byte.", least=1)
    # One or two retransmissions.
    closing: float = _limit(5, "closing-time", "Seconds for a client to take the last reply.", least=1)
    # A few retransmissions of its first packet, and firewalls that drop it are noticed before the person gives up.
    connecting: float = _limit(30, "data-time", "Seconds for a data connection to come about.", least=1)

    # Where there is no balancer, nobody would notice.
    notice: float = _limit(0, "drain-notice", "Seconds that people are still let in when /readyz says 503 at the stop.")
    # Most transfers are over by then; and who wants to upgrade a server doesn't want to wait for an hour.
    drain: float = _limit(60, "drain-time", "Seconds for transfers to finish when the server stops.")

    line: int = _limit(MAX_LINE, "max-line", "The longest command line, in bytes.", least=512)
    waiting: int = _limit(
        MAX_WAITING, "max-waiting", "Bytes of commands that may wait, before reading stops.", least=512
    )
    # One is open for a moment for each transfer that is prepared: a thousand transfers that begin at once.
    passive: int = _limit(1000, "max-passive", "Passive ports that are open at once.")

    # There is no rate that is right for every line. Where one is wanted, it is so many bytes a second.
    session_up: int = _limit(0, "session-rate-up", "Bytes a second that a session may store, as 10M; 0: any.")
    session_down: int = _limit(0, "session-rate-down", "Bytes a second that a session may retrieve; 0: any.")
    account_up: int = _limit(
        0, "account-rate-up", "Bytes a second that all sessions of an account without rates of its own may store."
    )
    account_down: int = _limit(
        0, "account-rate-down", "Bytes a second that all sessions of an account without rates of its own may retrieve."
    )

    # As many as a small machine can run beside its transfers.
    hooks: int = _limit(4, "max-hooks", "Commands of hooks, and of the check, that run at once.", least=1)
    # A virus scanner takes ten seconds for a large archive; and a client's patience with the check ends at two minutes.
    hook_time: float = _limit(
        60, "hook-time", "Seconds that the command of a hook, or of the check, may take.", least=1
    )

    #: From here the limits per address don't hold: one address stands for many clients.
    exempt: tuple[Network, ...] = THIS_MACHINE

    def __post_init__(self) -> None:
        if self.line > self.waiting:
            raise ValueError("no line could be longer than what may wait (--max-line, --max-waiting)")

    def take_over(self, others: Limits) -> None:
        """Be the same as the others from now on, for everybody who holds to these."""
        for limit in fields(self):
            setattr(self, limit.name, getattr(others, limit.name))
