"""How things look: sizes, times, durations, listings."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, takewhile
from typing import Any

from ftpsvc.model import Entry, Kind, TransferError
from ftpsvc.words import quote

#: Behind a name, so that what it is can be seen without colour too. As `ls -F` has it.
_MARKS = {Kind.FILE: "", Kind.DIRECTORY: "/", Kind.LINK: "@", Kind.OTHER: "?"}

_BLUE, _GREEN, _RED = "34;1", "32", "31"


def named(path: str, text: str) -> str:
    """What is wrong with a path, with the path."""
    return text if path in text else f"{quote(path)}: {text}"


def naming(path: str, text: str) -> str:
    """The same of a server's reply, as many don't repeat the path; what is said here does."""
    return named(path, text) if text[:3].isdigit() else text


def reason(error: TransferError, path: str = "") -> str:
    """Why something failed; in this machine's words, and with the path, where its own disk is to blame.

    A disk's errors are worded for those at the other end of a connection. Here one is at the machine itself.
    """
    cause = error.__cause__
    if not isinstance(cause, OSError) or cause.errno is None:
        return str(error)
    named = f"{quote(path)} " if path else ""
    return f"{named}on this machine: {os.strerror(cause.errno)}."


def size(count: float) -> str:
    """`512 B`, `1.2 kB`, `47.7 MB`: powers of 1000, as disks are sold and networks are measured."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        count /= 1000
        if round(count, 1) < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} EB"


def part(done: int, total: int) -> str:
    """How far something got: `19.3 MB of 47.7 MB (40 %)`."""
    return f"{size(done)} of {size(total)} ({percent(done, total)} %)"


def percent(done: int, total: int) -> int:
    """Rounded down: 100 is reached by the last byte only."""
    return min(100, done * 100 // total) if total else 100


def duration(seconds: float) -> str:
    """`20 ms`, `0.8 s`, and what is longer as a clock shows it: `0:12`, `1:02:03`."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else clock(seconds)


def clock(seconds: float) -> str:
    """`0:12`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(count: int, thing: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


#: In which order a listing can be. The names decide where the rest is the same.
_ORDERS: dict[str, Callable[[Entry], Any]] = {
    "name": lambda entry: 0,
    "time": lambda entry: -entry.modified,
    "size": lambda entry: -entry.size if entry.is_file else 0,
}


def listing(
    entries: Iterable[Entry], colour: bool = False, order: str = "name", is_reversed: bool = False
) -> Iterator[str]:
    """A folder's entries, a line for each, sorted and aligned, and a last line that counts them."""
    rank = _ORDERS[order]
    ordered = sorted(entries, key=lambda entry: (rank(entry), entry.name.casefold(), entry.name), reverse=is_reversed)
    sizes = [size(entry.size) if entry.is_file else "" for entry in ordered]
    width = max(map(len, sizes), default=0)
    for entry, its_size in zip(ordered, sizes, strict=True):
        yield f"{its_size:>{width}}  {moment(entry.modified):16}  {_marked(entry, colour)}"
    yield _total(ordered)


def _marked(entry: Entry, colour: bool) -> str:
    # A name that a terminal would obey is shown as it can be typed.
    name = entry.name if entry.name.isprintable() else quote(entry.name)
    shade = (_BLUE if entry.is_directory else _GREEN if entry.mode & 0o100 else "") if colour else ""
    return (painted(name, shade) if shade else name) + _MARKS[entry.kind]


def moment(nanoseconds: int) -> str:
    """A time, in this machine's zone; `-` where it isn't known."""
    if not nanoseconds:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(nanoseconds // 1_000_000_000))
    except (OverflowError, OSError, ValueError):
        return "-"  # before or after what this system's calendar knows


def _total(entries: list[Entry]) -> str:
    folders = sum(entry.is_directory for entry in entries)
    others = len(entries) - folders
    if not entries:
        return "The folder is empty."
    counts = [counted(folders, "folder")] * bool(folders) + [counted(others, "file")] * bool(others)
    return ", ".join([*counts, *[size(sum(entry.size for entry in entries if entry.is_file))] * bool(others)])


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(letter) else 1 + _is_wide(letter) for letter in text)


def clipped(text: str, most: int) -> str:
    """As much of a text as fits into so many columns, with an ellipsis for the rest."""
    if columns(text) <= most:
        return text
    if most < 1:
        return ""
    # Letter by letter, because a server's words may be long, and are drawn again and again.
    widths = accumulate(map(columns, text))
    return text[: sum(1 for _ in takewhile(lambda width: width < most, widths))] + "…"


#: What stands before the words that a longer row of a table goes on beneath: a name, and at least two spaces.
_BEFORE_TEXT = re.compile(r" +\S.*?  +")


def fitted(text: str, width: int) -> str:
    """Help for a terminal of so many columns, broken between words.

    Lines of a paragraph are filled anew. A row of a table begins with two spaces, and goes on in its last column.
    """
    joined: list[str] = []
    for row in text.split("\n"):
        indent = len(row) - len(row.lstrip(" "))
        before = joined[-1] if joined else ""
        is_paragraph = indent == 0 and not before.startswith(" ") and not row.startswith("Example:")
        if row and before and (indent > 2 or is_paragraph):
            joined[-1] = f"{before} {row.lstrip(' ')}"
        else:
            joined.append(row)
    return "\n".join(part for row in joined for part in _broken(row, width))


def _broken(row: str, width: int) -> Iterator[str]:
    table = _BEFORE_TEXT.match(row)
    indent = table.end() if table and table.end() <= width // 2 else 4 if row.startswith(" ") else 0
    while len(row) > width:
        first = table.end() if table and indent == table.end() else len(row) - len(row.lstrip(" "))
        at = max(row.rfind(" ", first + 1, width + 1), row.find(" ", first + 1))
        if at < 0:
            break  # a word that is longer than the terminal is wide
        yield row[:at].rstrip(" ")
        row = " " * indent + row[at:].lstrip(" ")
    yield row


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def painted(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def warning(text: str) -> str:
    """Text in the colour of what went wrong."""
    return painted(text, _RED)
