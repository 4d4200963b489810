"""The domain: entries, accounts, permissions, paths inside a root, and what can go wrong.

Everything may import this module; it imports the standard library only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

#: Names are bytes on disk and on the wire, and str in between. surrogateescape carries the bytes that are
#: not UTF-8 through unharmed, so that a name from 1998 still lists and retrieves.
NAME_ERRORS = "surrogateescape"

#: What every part file's name begins with. No listing shows such a name and no path reaches it.
PART_PREFIX = ".ftpsvc-"

#: In nanoseconds, as all times of files are: what everybody tells of one.
SECOND = 1_000_000_000


def encode_name(name: str) -> bytes:
    """A name or path as the bytes that disk and wire know it by."""
    return name.encode("utf-8", NAME_ERRORS)


def decode_name(name: bytes) -> str:
    """The inverse of `encode_name`, for any bytes whatever."""
    return name.decode("utf-8", NAME_ERRORS)


# -- what can go wrong ---------------------------------------------------------------------------------------


class TransferError(Exception):
    """The base of all that ftpsvc raises on purpose. Its text is fit for people: what failed, and why."""

    is_answer = False  #: a server said so in a reply, whatever it was told


class BadCommand(TransferError):
    """The line is no command at all."""


class NotImplementedHere(TransferError):
    """A known command, or a known form of one, that this server does not carry out."""


class BadArgument(TransferError):
    """A command whose argument can't be understood."""


class BadSequence(TransferError):
    """A good command at the wrong moment."""


class BadParameter(TransferError):
    """An argument that is understood, and asks for what isn't offered."""


class BadOffset(TransferError):
    """A restart marker that lies behind the end of what there is."""


class WrongType(TransferError):
    """The command counts bytes, and the transfer type or mode in force doesn't."""


class NotLoggedIn(TransferError):
    """The command needs an account first."""


class NoHome(NotLoggedIn):
    """Whoever it is may log in, and their files can't be opened."""


class ServiceClosing(TransferError):
    """The other end ends the session, and says so."""


class OverLimit(ServiceClosing):
    """One of the server's limits is reached, and the session can't begin or go on. The text names it for people."""

    def __init__(self, text: str, limit: str = "") -> None:
        """`limit`: the option that sets it, for the log."""
        super().__init__(text)
        self.limit = limit


class NoDataConnection(TransferError):
    """The data connection could not be had."""


class HandshakeFailed(NoDataConnection):
    """There was to be TLS on the data connection, and there was none. Not a byte of data has moved."""


class Unprotected(TransferError):
    """The data would travel in clear, and may not."""


class NotProtected(TransferError):
    """The command needs a protected connection, and this one isn't."""


class RefusedByPolicy(TransferError):
    """The command asks for less protection than the server is ready to give."""


class UnsupportedProtection(TransferError):
    """A level of protection that the RFCs name and TLS does not have."""


class Aborted(TransferError):
    """The transfer ended before its data did: a lost connection, ABOR, FAIL."""


class Busy(TransferError):
    """Not now; the same request may succeed later."""


class LocalFault(TransferError):
    """Something failed at this end: a read error, a file that shrank, an internal error."""


class Changed(LocalFault):
    """A file that was written to while it was sent, so that what was read is neither the old one nor the new one."""


class Damaged(TransferError):
    """The bytes that arrived are not the bytes that were sent."""


class NoSpace(TransferError):
    """The storage is full."""


class OverQuota(TransferError):
    """The account has had its share of the storage."""


class InvalidName(TransferError):
    """A name that can't be a file's name here."""


class Unavailable(TransferError):
    """The file can't be had in this way; the subclasses say why."""


class NotFound(Unavailable):
    """Nothing has that name."""


class NotListed(NotFound):
    """No listing shows it, and nothing else can be asked."""


class AlreadyExists(Unavailable):
    """Something has that name."""


class NotAFile(Unavailable):
    """A directory or a special file where a plain file is needed."""


class NotADirectory(Unavailable):
    """Not a directory, where one is needed."""


class NotEmpty(Unavailable):
    """A directory that still holds something."""


class TooLarge(Unavailable):
    """A file that was to be taken whole, and is no small one."""


class Denied(Unavailable):
    """The account, or the operating system, does not allow it."""


class ProtocolViolation(TransferError):
    """What arrived can't be understood, and where the next command begins isn't known any more.

    The only way on is to close the connection.
    """


class ConnectionFailed(TransferError):
    """No connection, or no more: the cause is in the text."""


class Stopping(ConnectionFailed):
    """The server stops, and this session with it. What has come of an upload is kept, as behind a lost connection."""

    def __init__(self, text: str = "The server is stopping. Connect again in a moment.") -> None:
        super().__init__(text)


class NoSuchHost(ConnectionFailed):
    """The name of a host that there is none of."""


class ConnectionRefused(ConnectionFailed):
    """There was no connection: nothing listens there, nobody answers, or no way leads there."""


class NoTLS(ConnectionFailed):
    """There was to be TLS with somebody who is trusted, and there is none. The next try would end in the same way."""


class TimedOut(ConnectionFailed):
    """The other end was silent for too long."""


# -- entries -------------------------------------------------------------------------------------------------


class Kind(enum.Enum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "dir"
    LINK = "link"  #: a symbolic link that leads nowhere inside the root
    OTHER = "other"  #: a FIFO, a socket, a device: shown, never opened


class Entry(NamedTuple):
    """One name in a directory and what is known of it.

    `modified` is in nanoseconds since 1970 UTC. `mode` has the permission bits only. `unique` is the same for
    two names of one file, and empty where that is not known. `is_link`: a link leads there, where the storage says so.
    """

    name: str
    kind: Kind
    size: int = 0
    modified: int = 0
    mode: int = 0
    links: int = 1
    unique: str = ""
    is_link: bool = False

    @property
    def is_directory(self) -> bool:
        return self.kind is Kind.DIRECTORY

    @property
    def is_file(self) -> bool:
        return self.kind is Kind.FILE


class Facts(NamedTuple):
    """What travels with a file's bytes: modify time in nanoseconds, permission bits. None: not said."""

    modified: int | None = None
    mode: int | None = None


NO_FACTS = Facts()


class Whole(NamedTuple):
    """A small file, all of it."""

    data: bytes
    facts: Facts = NO_FACTS


class Stored(NamedTuple):
    """What a commit put into place: the size of the whole file, and the digest of what was written now."""

    size: int
    digest: str


# -- accounts ------------------------------------------------------------------------------------------------


class Permission(enum.Flag):
    """What an account may do. One gate asks for these: `session.admit`."""

    LIST = enum.auto()
    READ = enum.auto()
    WRITE = enum.auto()  #: a file that isn't there yet
    OVERWRITE = enum.auto()
    APPEND = enum.auto()
    DELETE = enum.auto()
    RENAME = enum.auto()
    MAKE_DIRECTORY = enum.auto()
    SET_FACTS = enum.auto()  #: modify time and mode

    def allows(self, needed: Permission) -> bool:
        """Whether one of those is among these. Asked some times for each file; `&` makes a flag of it first."""
        return self._value_ & needed._value_ != 0


NOTHING = Permission(0)
EVERYTHING = ~NOTHING

#: To be told of one entry, its size and its times: for those who may list it, and for those who may retrieve it.
SEE = Permission.LIST | Permission.READ


class Rule(Protocol):
    """Permissions for a part of the tree (`rules`)."""

    @property
    def permissions(self) -> Permission:
        """What may be done there."""

    def progress(self, path: str) -> Progress:
        """How far the rule's pattern is on the way to this path."""


#: What is known of a rule at a path, and enough to know it of every path below: whether the rule is for it, and whether
#: it still can be for some of those below. Two paths with the same progress have the same permissions below them.
Progress = tuple[bool, bool, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Account:
    """Who is logged in, and what for. None is no limit."""

    name: str
    permissions: Permission = field(default=EVERYTHING)
    rules: tuple[Rule, ...] = ()  #: where other permissions hold; the first that is for a path decides
    quota_bytes: int | None = None  #: how many bytes the home may hold; what is above that is refused
    quota_files: int | None = None  #: the same for files and folders
    rate_up: int | None = None  #: bytes per second that all of the account's sessions together may store
    rate_down: int | None = None  #: the same for what they retrieve
    max_sessions: int | None = None  #: how many may be logged in at once

    require_tls: bool = False  #: for the login, and for its data connections

    def may(self, path: str) -> Permission:
        """What the account may do with this path and, where no rule says otherwise, with all below it."""
        for rule in self.rules:
            if rule.progress(path)[0]:
                return rule.permissions
        return self.permissions

    @property
    def anywhere(self) -> Permission:
        """What it may do somewhere."""
        permissions = self.permissions
        for rule in self.rules:
            permissions |= rule.permissions
        return permissions

    def would_gain(self, source: str, target: str, is_directory: bool) -> bool:
        """Whether something would come under more permissions if it bore another name, or what is below it would."""
        before, after = ([rule.progress(path) for rule in self.rules] for path in (source, target))
        if before == after:
            return False
        if is_directory and any(open_below for _, open_below, _ in (*before, *after)):
            return True  # to know, all that is below would have to be looked at
        return bool(self.may(target) & ~self.may(source))


ANONYMOUS = Account("anonymous")


# -- paths ---------------------------------------------------------------------------------------------------

#: Most file systems end a component here; a longer one could never be created.
MAX_COMPONENT = 255


def resolve(cwd: str, argument: str) -> str:
    """The absolute virtual path that `argument` means for a session in `cwd`.

    `..` is taken by the text alone and stops at the root (RFC 3659, section 6): what symbolic links make of the
    result is the storage's business, which never leaves its root. Raises `InvalidName`.
    """
    if "\n" in argument or "\r" in argument or "\0" in argument:
        raise InvalidName("A name can't hold NUL, CR or LF.")
    components: list[str] = []
    for component in (argument if argument.startswith("/") else f"{cwd}/{argument}").split("/"):
        if component == "..":
            del components[-1:]
        elif component not in ("", "."):
            _check_component(component)
            components.append(component)
    return "/" + "/".join(components)


def _check_component(component: str) -> None:
    if len(component) * 4 > MAX_COMPONENT and len(encode_name(component)) > MAX_COMPONENT:
        raise InvalidName(f"A name can't be longer than {MAX_COMPONENT} bytes.")
    if component.startswith(PART_PREFIX):
        raise InvalidName(f"Names that begin with {PART_PREFIX} are the server's own.")


def parent_and_name(path: str) -> tuple[str, str]:
    """`/a/b` as (`/a`, `b`); the root's name is empty."""
    parent, _, name = path.rpartition("/")
    return parent or "/", name
