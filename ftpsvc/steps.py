"""The words in which two trees are compared: the sides, the rules, and the steps that make the one like the other."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from ftpsvc.filters import Filter
from ftpsvc.model import MAX_COMPONENT, PART_PREFIX, Entry, TransferError, encode_name
from ftpsvc.storage import Storage, TellsTimes, Times


class Side(NamedTuple):
    """A tree: where it is, and its top."""

    storage: Storage
    top: str
    via: Storage | None = None  #: what its files are read from instead, at a rate

    @property
    def read(self) -> Storage:
        return self.via or self.storage

    def at(self, path: str) -> str:
        """The storage's path of a path inside the tree; the empty one is its top."""
        return f"{self.top.rstrip('/')}/{path}" if path else self.top

    @property
    def times(self) -> Times:
        return self.storage.times if isinstance(self.storage, TellsTimes) else Times()


@dataclass(frozen=True, slots=True)
class Rules:
    """How two trees are compared, and what is to be done about their differences."""

    wanted: Filter = field(default_factory=Filter)
    by_digest: bool = False  #: compare what is in files of the same size, not their times
    only_newer: bool = False  #: replace no file that is newer than its source
    delete: bool = False  #: remove what the source doesn't have
    follow_links: bool = True  #: copy what a link leads to; else leave links out


class Do(enum.Enum):
    """What a step does; the values are for people."""

    MAKE = "make"
    COPY = "copy"
    REPLACE = "replace"
    COMPARE = "compare"  #: the digests of two files of the same size, and replace if they differ
    TOUCH = "set mode of"
    EXCHANGE = "exchange"  #: a file where a folder should be, or the other way round: what is there goes first
    REMOVE = "remove"
    REMOVE_FOLDER = "remove folder"
    SKIP = "skip"
    FAIL = "fail"


class Step(NamedTuple):
    """One thing to do. `path` is inside the tree; `entry` is the source's, or for a removal the target's."""

    do: Do
    path: str
    entry: Entry
    why: str = ""
    cause: TransferError | None = None  #: of a failure


def impossible(name: str) -> str:
    """Why a name can't be a file's at the other end; empty if it can. It is never changed into one that can."""
    if any(letter in name for letter in "\0\r\n/") or name in ("", ".", ".."):
        return "a name with such letters can't be sent, or not be held."
    if name.startswith(PART_PREFIX):
        return f"names that begin with {PART_PREFIX} are those of unfinished files."
    if len(name) * 4 > MAX_COMPONENT and len(encode_name(name)) > MAX_COMPONENT:
        return f"its name has more than {MAX_COMPONENT} bytes."
    return ""
