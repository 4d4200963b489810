"""A session, and `admit`, the one gate that every command passes. No Twisted in here."""

from __future__ import annotations

import enum
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from ftpsvc import model
from ftpsvc.addresses import IP, SOMEBODY, Address, Origin
from ftpsvc.channel import Channel, Received
from ftpsvc.model import Account, Facts, Permission
from ftpsvc.records import Change, Record
from ftpsvc.states import (
    Greeted,
    Marker,
    Mode,
    Parameters,
    Range,
    Ready,
    Renaming,
    Required,
    Restart,
    Security,
    Seen,
    State,
    Told,
)
from ftpsvc.storage import Storage
from ftpsvc.wire import Command, Reply

T = TypeVar("T")

# -- the session ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who wants to log in, as far as the connection tells: from where, with TLS or without, with which certificate."""

    origin: Origin
    is_secure: bool = False
    certificate: str = ""  #: its SHA-256, if the client has shown one and has its key
    session: int = 0  #: the session's number


class Accounts(Protocol):
    """Who may log in, and with what."""

    def refusal(self, origin: Origin) -> str:
        """Why nobody may log in from there, and what can be done about it; empty if somebody may."""

    async def recognise(self, user: str, visitor: Visitor) -> tuple[Account, Storage] | None:
        """The account with this name, if the visitor's certificate is enough for it."""

    async def login(self, user: str, password: str, visitor: Visitor) -> tuple[Account, Storage]:
        """Raises `NotLoggedIn`, with the same text whatever was wrong."""


class Data(Protocol):
    """The way of the next transfer's data in MODE S, while it is prepared."""

    @property
    def local(self) -> IP:
        """The server's address on the control connection. Raises `NoDataConnection`."""

    def listen(self, tells_address: bool = True) -> Address:
        """Wait for the client, and say where. Raises `NoDataConnection`, and `NotImplementedHere` where it could never
        come: behind a balancer, if the server knows no address of its own, or only the port is told."""

    def connect_to(self, address: Address) -> None:
        """Connect there for the next transfer. Raises `BadParameter`."""

    def forget(self) -> bool:
        """Give up what was prepared; whether there was any."""


class Control(Protocol):
    """What a verb may ask of the control connection."""

    @property
    def data(self) -> Data:
        """Where data connections are prepared."""

    @property
    def certificate(self) -> str:
        """The SHA-256 of the client's certificate in hexadecimal digits; empty if it has shown none."""

    @property
    def server_name(self) -> str:
        """The server's name in the client's TLS handshake (SNI); empty where there is none."""

    @property
    def idle_limit(self) -> float:
        """For how many seconds a client who is logged in may say nothing."""

    @property
    def has_more(self) -> bool:
        """Whether more has arrived behind the command that is carried out."""

    @property
    def lost(self) -> model.TransferError | None:
        """Why there is no connection any more; None while there is one."""

    def reply(self, reply: Reply) -> None:
        """Send a reply in its turn."""

    async def attempt(
        self, name: str, examine: Callable[[], Awaitable[tuple[Account, Storage]]]
    ) -> tuple[Account, Storage]:
        """Have a login examined, under the limits on how many and how fast.

        Raises what it raises, and `OverLimit`, which ends the session.
        """

    async def settled(self) -> None:
        """Wait until whatever is being committed for this session is in its place, and answered."""

    async def to_its_end(self, work: Coroutine[Any, Any, None], /) -> None:
        """Clean up, or change the tree, even if the connection is lost meanwhile."""

    async def enter(self, account: Account) -> None:
        """Somebody has logged in, in whatever way. Raises `OverLimit`, if they have too many sessions already."""

    def channel(self) -> Channel:
        """The current way of the data."""

    def receive_whole(self) -> tuple[bytes, Received] | None:
        """All of a small upload on the current way, if it is here already."""

    @property
    def record(self) -> Callable[[Record], None]:
        """Takes what has become of a transfer, and what was changed."""

    def aside(self, function: Callable[..., T], /, *args: Any) -> Awaitable[T]:
        """Run what takes the processor's time where no other session waits for it."""

    def digesting(self) -> AbstractContextManager[None]:
        """To be held while a digest is computed. Raises `Busy` while too many are."""


class Moving(Protocol):
    """A transfer under way, for those who look on."""

    verb: str
    path: str
    began: float  #: by the session's clock
    total: int | None  #: how many bytes it will have, where that is known

    @property
    def moved(self) -> int:
        """How many bytes have been sent or received by now."""


#: For how long NOOP alone keeps a session, in seconds. Who has left a client open for that long is not there any more,
#: and the place that the session takes may be somebody else's.
NOOP_TIME = 3600


@dataclass(slots=True)
class Session:
    """One client, from its connection to its end. Verbs read and replace `state`, `parameters` and `security`."""

    control: Control
    accounts: Accounts
    verbs: Mapping[str, Verb]
    peer: str
    clock: Callable[[], float]
    state: State = field(default_factory=Greeted)
    parameters: Parameters = field(default_factory=Parameters)
    security: Security = field(default_factory=Security)
    origin: Origin = SOMEBODY
    committing: set[str] = field(default_factory=set)  #: the paths of uploads that have arrived, and wait for the disk
    noops_since: float | None = None  #: since when the client has sent NOOP and nothing else, if it has
    number: int = 0  #: which of the server's sessions it is
    time_of_day: Callable[[], float] = time.time  #: for records, in seconds since 1970 UTC
    verb: str = ""  #: the command that is carried out; empty between two of them
    moving: Moving | None = None  #: the transfer that has begun last and isn't over

    @property
    def visitor(self) -> Visitor:
        """Who is at the other end, for `Accounts`."""
        return Visitor(self.origin, self.security.is_on, self.control.certificate, self.number)

    def begin(self, verb: str) -> None:
        """A command is about to be carried out."""
        self.verb = verb
        if verb != "NOOP":
            self.noops_since = None
        elif self.noops_since is None:
            self.noops_since = self.clock()

    def idle_since(self, heard: float) -> float:
        """Since when the client has been idle, if something came at `heard` for the last time."""
        return heard if self.noops_since is None else min(heard, self.noops_since + NOOP_TIME)

    @property
    def ready(self) -> Ready:
        """The state, where `admit` has seen to it that somebody is logged in."""
        assert isinstance(self.state, Ready)
        return self.state

    @property
    def is_inline(self) -> bool:
        return self.parameters.mode is Mode.INLINE

    @property
    def is_text(self) -> bool:
        """Whether file data is converted. Never in MODE I, where it is the file's own bytes whatever TYPE says."""
        return self.parameters.ascii and not self.is_inline

    @property
    def is_protected(self) -> bool:
        """Whether data that moves now is protected by TLS."""
        return self.security.is_on if self.is_inline else self.parameters.is_protected

    def changed(self, account: str, verb: str, path: str, target: str = "") -> None:
        """The tree was changed, if for somebody who has gone meanwhile."""
        if isinstance(self.state, Ready):
            self.forget_told(path, target)
        self.control.record(Change(verb, account, self.peer, path, target, self.number, self.time_of_day()))

    def resolve(self, argument: str, needed: Permission) -> str:
        """The absolute virtual path that an argument means here, where the account has one of these permissions.

        No verb gets a path without saying what it is for. Raises `InvalidName`, and `Denied` before anything was looked
        at: the answer is the same whether something is there or not.
        """
        path = model.resolve(self.ready.cwd, argument)
        self.demand(needed, path)
        return path

    @property
    def asked_offset(self) -> int:
        """Where REST said that the next transfer is to begin, whether it can or not."""
        marker = self.ready.marker
        return marker.offset if isinstance(marker, Restart) else 0

    def take_offset(self) -> int:
        """The restart marker, which holds for one command. Raises `BadParameter` where it would have no meaning."""
        offset = self.asked_offset
        if offset and self.is_text:
            # In converted bytes the whole file would have to be read for it; in the file's own it would be wrong.
            raise model.BadParameter("REST needs TYPE I: in TYPE A the bytes that are sent are not the file's.")
        return offset

    def take_range(self) -> Range | None:
        """The range of RANG, which holds for one command."""
        marker = self.ready.marker
        return marker if isinstance(marker, Range) else None

    def take_declared(self) -> int | None:
        """The size that ALLO declared, which holds for one upload."""
        declared = self.ready.declared
        if declared is not None:
            self.state = replace(self.ready, declared=None)
        return declared

    def take_seen(self, path: str) -> Seen | None:
        """What SITE PART, a digest or SIZE has told something of, which holds for one upload of it."""
        seen = self.ready.seen
        if seen is None or seen.path != path:
            return None
        self.state = replace(self.ready, seen=None)
        return seen

    def forget_told(self, *paths: str) -> None:
        """The client itself changes these. What it was told of one before is no more to be held against it; but a part
        stays what it was."""
        seen = self.ready.seen
        if seen is not None and seen.told is not Told.PART and seen.path in paths:
            self.state = replace(self.ready, seen=None)

    def forget_marker(self, marker: Marker | None, verb: str) -> None:
        """After a command: the marker that it found is used up, whether it looked at it or not.

        Some clients send REST before PASV rather than behind it. They would take the whole file for the rest of it.
        """
        self.verb = ""
        if marker is None or not isinstance(self.state, Ready) or self.state.marker is not marker:
            return
        row = self.verbs.get(verb)
        if isinstance(marker, Renaming) or row is None or not row.keeps_marker:
            self.state = replace(self.state, marker=None)

    def demand(self, needed: Permission, path: str) -> None:
        """For permissions that depend on what is there. One of those that are needed is enough. Raises `Denied`."""
        if not self.ready.account.may(path).allows(needed):
            raise model.Denied(f"{path}: this account may not {_in_words(needed)} there.")

    def allowed_facts(self, facts: Facts, path: str) -> Facts:
        """The facts of an upload, as far as the account may set them."""
        return facts if self.ready.account.may(path).allows(Permission.SET_FACTS) else model.NO_FACTS


_WORDS = {
    Permission.LIST: "list folders",
    Permission.READ: "retrieve files",
    Permission.WRITE: "store files",
    Permission.OVERWRITE: "replace files",
    Permission.APPEND: "append to files",
    Permission.DELETE: "delete",
    Permission.RENAME: "rename",
    Permission.MAKE_DIRECTORY: "make folders",
    Permission.SET_FACTS: "set times and modes",
}


def _in_words(needed: Permission) -> str:
    return "do anything" if needed == model.EVERYTHING else " or ".join(_WORDS[permission] for permission in needed)


# -- verbs and the gate --------------------------------------------------------------------------------------


class Takes(enum.Enum):
    """How a verb's argument is read."""

    NOTHING = enum.auto()
    MAYBE = enum.auto()  #: may be left out; the handler gets ""
    TEXT = enum.auto()  #: must be there, and not empty


#: The reply, or the wait for a reply that comes later: the next upload may begin meanwhile.
Outcome = Reply | Awaitable[Reply]


@dataclass(frozen=True, slots=True)
class Verb:
    """One command as data: `admit` reads it, and FEAT, HELP and the documentation are made from it."""

    name: str
    run: Callable[[Session, str], Awaitable[Outcome]]
    takes: Takes
    usage: str
    before_login: bool = False
    permission: Permission | None = None  #: one of these has to be there somewhere, or nothing is looked at
    feature: str | Callable[[Session], str] = ""  #: its lines in FEAT, with | between them
    moves_data: bool = False  #: in MODE S it takes the data connection that was prepared, even when it is refused
    keeps_marker: bool = False  #: what REST or RANG said still holds behind it
    uploads: bool = False  #: in MODE I one sequence follows the command line, whatever becomes of the command


#: Commands of the RFCs that this server knows of and does not carry out: 502, where others get 500.
KNOWN_ELSEWHERE = frozenset("CONF ENC LPRT LPSV MIC SMNT XSEM XSEN".split())


def admit(session: Session, command: Command) -> Verb:
    """The verb for a command, if it is legal in this state, for this account, with this argument.

    Raises `NotLoggedIn` before anything that looks at the argument: who isn't logged in learns nothing.
    """
    verb = session.verbs.get(command.verb)
    state = session.state
    if not isinstance(state, Ready) and not (verb is not None and verb.before_login):
        raise model.NotLoggedIn("Log in first, with USER and PASS.")
    if verb is None:
        if command.verb in KNOWN_ELSEWHERE:
            raise model.NotImplementedHere("This server does not carry out that command. HELP lists those it does.")
        raise model.BadCommand("There is no such command. HELP lists those there are.")
    _demand_protection(session, verb)
    if verb.takes is Takes.TEXT and not command.argument:
        raise model.BadArgument(f"It takes an argument: {verb.usage}")
    if verb.takes is Takes.NOTHING and command.argument:
        raise model.BadArgument(f"It takes no argument: {verb.usage}")
    if verb.permission is not None and isinstance(state, Ready) and not state.account.anywhere.allows(verb.permission):
        raise model.Denied(f"This account may not {_in_words(verb.permission)}.")
    return verb


#: What bears a name or a secret.
LOGIN_VERBS = frozenset({"USER", "PASS", "ACCT"})


def _demand_protection(session: Session, verb: Verb) -> None:
    """Hold the session to the TLS that is required. Raises `NotLoggedIn` and `Unprotected`."""
    security = session.security
    if verb.name in LOGIN_VERBS and security.required is not Required.NONE and not security.is_on:
        raise model.NotLoggedIn("A login needs TLS here: send AUTH TLS first.")
    # In MODE I the data has the protection of the control connection, which was demanded for the login.
    is_protected = session.parameters.is_protected or session.is_inline
    is_demanded = security.required is Required.DATA
    if isinstance(session.state, Ready):
        is_demanded = is_demanded or session.state.account.require_tls
    if is_demanded and verb.moves_data and not is_protected:
        raise model.Unprotected("Data has to be protected here: send PBSZ 0 and PROT P first.")
