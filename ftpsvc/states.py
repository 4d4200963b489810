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


class Told(enum.Enum):
    """What a client was told of a file that it may go on from."""

    SIZE = "its size"
    DIGEST = "its digest"  #: by HASH or one of its older relatives
    PART = "its part"  #: what SITE PART says of a broken upload


@dataclass(frozen=True, slots=True)
class Seen:
    """What was there of a file, and of its part, when something was told of it. An upload may go on from those, and no
    others."""

    path: str
    told: Told
    file: Entry | None
    part: Entry | None = None  #: unknown, unless SITE PART was given

    def is_still(self, now: Seen) -> bool:
        """Whether that is what is there by now."""
        return _which(self.file) == _which(now.file) and (
            self.told is not Told.PART or _which(self.part) == _which(now.part)
        )

    def goes_on_from_part(self, offset: int) -> bool:
        """Whether a storage that has both would take the part: unless the file ends just there."""
        return self.part is not None and self.part.size >= offset and (self.file is None or self.file.size != offset)


def _which(entry: Entry | None) -> tuple[str, int, int] | None:
    """What tells it from another of that name, and from itself before somebody has written to it."""
    return None if entry is None else (entry.unique, entry.size, entry.modified)


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
