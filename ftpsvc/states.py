"""The states of a session, and the parameters that commands set.

What exists only in a state lives in that state: there is no current folder before a login, and no restart marker
but between REST and the command behind it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ftpsvc import listing
from ftpsvc.model import Account, Entry, Facts
from ftpsvc.storage import Storage


@dataclass(frozen=True, slots=True)
class Greeted:
    """Connected; nobody yet."""


@dataclass(frozen=True, slots=True)
class Authenticating:
    """USER was given; PASS is due."""

    user: str


@dataclass(frozen=True, slots=True)
class Restart:
    """REST was given: the next transfer begins at this byte."""

    offset: int


@dataclass(frozen=True, slots=True)
class Range:
    """RANG was given: the next RETR or HASH is of these bytes only, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Renaming:
    """RNFR was given: RNTO is due."""

    source: str


#: What one command leaves for the next. Only one of them can: REST takes RANG back, and RANG takes back REST.
Marker = Restart | Range | Renaming


@dataclass(frozen=True, slots=True)
class Seen:
    """SITE PART was given: what was there of a file and of its part. An upload may go on from those, and no others."""

    path: str
    file: Entry | None
    part: Entry | None


@dataclass(frozen=True, slots=True)
class Ready:
    """Logged in. `marker` is what the command before left for this one; a data connection may be prepared in between.

    `declared` is the size that ALLO announced. It waits for the next upload, because clients send PASV in between.
    `expected` are the facts that SITE FACTS said of an upload, with its path.
    """

    account: Account
    storage: Storage
    cwd: str = "/"
    marker: Marker | None = None
    declared: int | None = None
    expected: tuple[str, Facts] | None = None
    seen: Seen | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """Over; the reply that ended it has been sent."""


State = Greeted | Authenticating | Ready | Closed


class Mode(enum.Enum):
    """Transmission modes: RFC 959, section 3.4, and docs/protocol.md."""

    STREAM = "S"
    INLINE = "I"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What TYPE, MODE and OPTS set. They may be set before the login, and REIN puts them back."""

    ascii: bool = True  # RFC 959, section 5.1: the default type is A
    mode: Mode = Mode.STREAM
    facts: tuple[str, ...] = listing.FACTS  #: what MLSD and MLST tell
    algorithm: str = "SHA-256"  #: what HASH computes
    only_extended: bool = False  # EPSV ALL was given (RFC 2428, section 4)
    has_buffer_size: bool = False  #: PBSZ was given (RFC 2228, section 3)
    is_protected: bool = False  #: PROT P was given: data connections speak TLS


class Required(enum.Enum):
    """For what the server demands TLS."""

    NONE = "none"
    LOGIN = "login"
    DATA = "data"  #: for the login too: without TLS there can be no PROT P


@dataclass(frozen=True, slots=True)
class Security:
    """Whether the server has a certificate, what it demands, and whether the control connection speaks TLS by now."""

    is_offered: bool = False
    required: Required = Required.NONE
    is_on: bool = False
