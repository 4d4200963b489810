"""Entries <-> listing lines: LIST in the form of `ls -l`, MLSD and MLST facts (RFC 3659, section 7)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache

from ftpsvc.frames import (
    FIRST_SECOND,
    LAST_SECOND,
    THEIRS,
    Incoming,
    format_milliseconds,
    format_time,
    parse_facts,
    parse_time,
)
from ftpsvc.model import BadArgument, Entry, Kind, Permission, ProtocolViolation, decode_name, encode_name

# -- MLSD and MLST -------------------------------------------------------------------------------------------

_TYPES = {Kind.FILE: "file", Kind.DIRECTORY: "dir", Kind.LINK: "OS.unix=symlink", Kind.OTHER: "OS.unix=other"}
_KINDS = {"file": Kind.FILE, "dir": Kind.DIRECTORY, "cdir": Kind.DIRECTORY, "pdir": Kind.DIRECTORY}

#: The facts that this server knows, as FEAT shows them.
FACTS = ("type", "size", "modify", "perm", "unique", "UNIX.mode", "X.link")


def machine_line(entry: Entry, permissions: Permission, facts: tuple[str, ...] = FACTS, exact: bool = True) -> str:
    """One entry with these of its facts, for an account that may do this much. Without a line's end."""
    return machine_lines(permissions, facts, exact)(entry)


@lru_cache(maxsize=256)
def machine_lines(
    permissions: Permission, facts: tuple[str, ...] = FACTS, exact: bool = True
) -> Callable[[Entry], str]:
    """The same for many entries: a listing is this ten thousand times, and what is alike in all is made once.

    `exact`: with the modify time's every digit. RFC 3659 allows any number of them, but with more than three Apache's
    commons-net drops the whole entry and other clients the time, and fewer than three are milliseconds to them.
    """
    told = format_time if exact else format_milliseconds
    if facts != FACTS:
        return lambda entry: f"{_chosen_facts(entry, permissions, facts, told)} {entry.name}"
    of_a_file = f";perm={_perm(Kind.FILE, permissions.value)};unique="

    def line(entry: Entry) -> str:
        name, kind, size, modified, mode, _, unique, is_link = entry
        if kind is Kind.FILE:
            start, perm = f"type=file;size={size}", of_a_file
        else:
            start = f"type={_TYPES[kind]}"
            perm = f";perm={_perm(kind, permissions.value)};unique="
        link = "X.link=1;" if is_link else ""
        return f"{start};modify={told(modified)}{perm}{unique}{_mode_fact(mode)}{link} {name}"

    return line


@lru_cache(maxsize=512)
def _mode_fact(mode: int) -> str:
    return f";UNIX.mode={mode:04o};"


def _chosen_facts(entry: Entry, permissions: Permission, facts: tuple[str, ...], told: Callable[[int], str]) -> str:
    values = {
        "type": _TYPES[entry.kind],
        "size": str(entry.size) if entry.kind is Kind.FILE else "",
        "modify": told(entry.modified),
        "perm": _perm(entry.kind, permissions.value),
        "unique": entry.unique,
        "UNIX.mode": f"{entry.mode:04o}",
        "X.link": "1" if entry.is_link else "",  # a fact of our own (RFC 3659, section 7.5): a link leads there
    }
    return "".join(f"{fact}={values[fact]};" for fact in facts if values[fact])


#: What the perm fact can say of each kind, and the permission that each letter takes.
_PERM: dict[Kind, tuple[tuple[str, Permission], ...]] = {
    Kind.FILE: (
        ("a", Permission.APPEND),
        ("d", Permission.DELETE),
        ("f", Permission.RENAME),
        ("r", Permission.READ),
        ("w", Permission.OVERWRITE),
    ),
    Kind.DIRECTORY: (
        ("c", Permission.WRITE),
        ("d", Permission.DELETE),
        ("e", Permission(0)),
        ("f", Permission.RENAME),
        ("l", Permission.LIST),
        ("m", Permission.MAKE_DIRECTORY),
        ("p", Permission.DELETE),
    ),
    # RNFR looks at what a link leads to, and this one leads nowhere.
    Kind.LINK: (("d", Permission.DELETE),),
    Kind.OTHER: (("d", Permission.DELETE), ("f", Permission.RENAME)),
}


@lru_cache(maxsize=1024)
def _perm(kind: Kind, permissions: int) -> str:
    """The perm fact (RFC 3659, section 7.5.5): what this account may do with such an entry."""
    may = Permission(permissions)
    return "".join(letter for letter, needed in _PERM[kind] if needed in may)


# What our own server sends of files and folders, which is to be quick. Other lines are taken apart fact by fact.
_USUAL_LINE = re.compile(
    rb"type=(file|dir);(?:size=([0-9]{1,19});)?modify=([0-9.]{14,24});perm=(?P<perm>[a-z]*);"
    rb"unique=([0-9a-g]*);UNIX\.mode=0([0-7]{3}); (.+)",
    re.DOTALL,
)


def parse_machine_line(line: bytes) -> tuple[Entry, dict[str, str]]:
    """The entry in one line of MLSD or MLST, and its facts where they may say more. Raises `ProtocolViolation`."""
    if usual := _USUAL_LINE.fullmatch(line):
        return _usual_entry(*usual.groups()), {"perm": usual["perm"].decode()}
    text, space, name = line.partition(b" ")
    if not space or not name:
        raise ProtocolViolation("The server sent a listing line without a name.")
    facts = parse_facts(decode_name(text))
    kind = facts.get("type", "file").lower()
    size, unique = facts.get("size", ""), facts.get("unique", "")
    entry = Entry(
        decode_name(name),
        _KINDS.get(kind) or (Kind.LINK if "link" in kind else Kind.OTHER),
        int(size) if _is_number(size) else 0,
        _time(facts.get("modify", "")),
        _mode(facts.get("unix.mode", "")),
        unique=unique if unique.isascii() and unique.isprintable() else "",
        is_link="x.link" in facts,
    )
    return entry, facts


#: The most entries that a server may list of one folder: a gigabyte of memory, where all are shown at once. It bounds
#: a listing that never ends.
MAX_ENTRIES = 5_000_000


class ListedLines(Incoming):
    """The lines of a server's listing."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        super().__init__(whose=THEIRS)
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Take in what has come of it. Raises `ProtocolViolation` if that is more lines than may be."""
        super().feed(data)
        self._count += data.count(b"\n")
        if self._count > MAX_ENTRIES:
            raise ProtocolViolation(
                f"The server lists more than {MAX_ENTRIES} entries in one folder, and no more are read:"
                " it may never end."
            )


def harmless(entry: Entry) -> Entry:
    """An entry whose name is a name. A server that sends `../x` or `/etc` must not reach outside of a folder here."""
    if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
        raise ProtocolViolation(f"The server sent {entry.name!r} as the name of an entry.")
    return entry


def _usual_entry(
    kind: bytes, size: bytes | None, modify: bytes, _perm: bytes, unique: bytes, octal: bytes, name: bytes
) -> Entry:
    what = Kind.FILE if kind == b"file" else Kind.DIRECTORY
    modified = _time(modify.decode())
    return Entry(decode_name(name), what, int(size or 0), modified, int(octal, 8), unique=unique.decode())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


@lru_cache(maxsize=1024)
def _mode(text: str) -> int:
    # Some servers send the file's type with it, as in 100644, or 0o644.
    digits = text.removeprefix("0o")
    return int(digits, 8) & 0o777 if digits and len(digits) < 9 and not digits.strip("01234567") else 0


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except BadArgument:
        return 0


# -- LIST ----------------------------------------------------------------------------------------------------

#: `ls` shows a time of day for half a year, and then the year instead.
_RECENT = 182 * 24 * 3600

# In English whatever the server's locale: every client's parser expects these.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LETTERS = {Kind.FILE: "-", Kind.DIRECTORY: "d", Kind.LINK: "l", Kind.OTHER: "p"}


def long_line(entry: Entry, now: float) -> str:
    """One entry as `ls -l` shows it, in the only form that every client's parser reads. Without a line's end."""
    start = f"{_LETTERS[entry.kind]}{_mode_letters(entry.mode)} {entry.links:3d} ftp      ftp      {entry.size:12d}"
    return f"{start} {_list_time(entry.modified // 1_000_000_000, int(now) // 60)} {entry.name}"


@lru_cache(maxsize=512)
def _mode_letters(mode: int) -> str:
    return "".join(letter if mode & (0o400 >> i) else "-" for i, letter in enumerate("rwxrwxrwx"))


@lru_cache(maxsize=1024)
def _list_time(modified: int, minute: int) -> str:
    moment = time.gmtime(min(max(modified, FIRST_SECOND), LAST_SECOND))
    day = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:2d}"
    # What lies behind this minute is in the future, and a client that is told no year takes it for a time of last year.
    if -60 < minute * 60 - modified < _RECENT:
        return f"{day} {moment.tm_hour:02d}:{moment.tm_min:02d}"
    return f"{day}  {moment.tm_year:04d}"


def joined(lines: list[str]) -> bytes:
    """These lines with their ends. An entry whose name has CR or LF in it is left out: it would forge another."""
    block = "\r\n".join([*lines, ""])
    if not block.count("\n") == block.count("\r") == len(lines):
        block = "".join(f"{line}\r\n" for line in lines if is_listable(line))
    return encode_name(block)


def is_listable(name: str) -> bool:
    """Whether a name can stand on a line of its own: one with CR or LF would forge another."""
    return "\n" not in name and "\r" not in name
