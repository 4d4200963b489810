"""LIST lines -> entries, for servers without MLSD: the form of `ls -l`, and the one of Windows and IIS.

No standard says what LIST sends; these two are what nearly every server does. Times have no zone: UTC is assumed.
"""

from __future__ import annotations

import re
import time
from calendar import timegm

from ftpsvc.model import Entry, Kind, decode_name

_MONTHS = {name: number for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}

# The number of links and the group are missing on some servers, and owners may have spaces in them: what can be relied
# on is a size right before a date. One space before the name; any more are the name's own.
_UNIX = re.compile(
    rb"([-bcdlps])([-rwxsStTlL]{9})[+.@]?\s+(?:.{0,200}?\s)?([0-9]{1,19})\s+"
    rb"(?:([A-Za-z]{3})\s+([0-9]{1,2})|([0-9]{1,2})\s+([A-Za-z]{3})|([0-9]{4})-([0-9]{2})-([0-9]{2}))"
    rb"\s+(?:([0-9]{4})|([0-9]{1,2}):([0-9]{2})) (.+)",
    re.DOTALL,
)

_WINDOWS = re.compile(
    rb"([0-9]{2})-([0-9]{2})-([0-9]{4}|[0-9]{2})\s+([0-9]{2}):([0-9]{2})\s*([AaPp][Mm])?\s+(?:(<[A-Za-z]+>)|([0-9]{1,19}))"
    rb"\s+(.+)",
    re.DOTALL,
)

_KINDS = {b"-": Kind.FILE, b"d": Kind.DIRECTORY, b"l": Kind.LINK}

#: How far ahead of this machine's clock a server's may be, in seconds, its zone included. A date without a year that
#: lies further in the future is one of last year.
_AHEAD = 24 * 3600

_ARROW = b" -> "


def parse_list_line(line: bytes, now: float) -> Entry | None:
    """The entry in one line of LIST; None for `total 8`, for `.` and `..`, and for what is no entry at all.

    Lines that aren't understood are left out, as every client does: between the entries servers say what they like.
    """
    entry = _unix(line, now) or _windows(line)
    return None if entry is None or entry.name in (".", "..") else entry


def _unix(line: bytes, now: float) -> Entry | None:
    match = _UNIX.fullmatch(line)
    if match is None:
        return None
    kind, letters, size, month1, day1, day2, month2, iso_year, iso_month, iso_day, year, hour, minute, name = (
        match.groups()
    )
    month = int(iso_month) if iso_month else _MONTHS.get((month1 or month2).lower(), 0)
    day = int(iso_day or day1 or day2)
    given = iso_year or year
    moment = _moment(int(given) if given else None, month, day, int(hour or 0), int(minute or 0), now)
    if kind == b"l":
        name = name.partition(_ARROW)[0]
    mode = sum(0o400 >> at for at, letter in enumerate(letters) if letter not in b"-STlL")
    return Entry(decode_name(name), _KINDS.get(kind, Kind.OTHER), int(size), moment, mode)


def _windows(line: bytes) -> Entry | None:
    match = _WINDOWS.fullmatch(line)
    if match is None:
        return None
    month, day, year, hour, minute, half, folder, size, name = match.groups()
    number = int(year) + (0 if len(year) == 4 else 2000 if int(year) < 70 else 1900)
    hours = int(hour) % 12 + 12 * (half.lower() == b"pm") if half else int(hour)
    moment = _moment(number, int(month), int(day), hours, int(minute), 0)
    if folder is None:
        return Entry(decode_name(name), Kind.FILE, int(size), moment)
    if folder.lower() == b"<dir>":
        return Entry(decode_name(name), Kind.DIRECTORY, 0, moment)
    return Entry(decode_name(name.partition(b" [")[0]), Kind.LINK, 0, moment)  # <SYMLINK>, <JUNCTION>: `name [target]`


def _moment(year: int | None, month: int, day: int, hour: int, minute: int, now: float) -> int:
    """Nanoseconds since 1970; 0, which means unknown, for what is no date."""
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60):
        return 0
    if year is not None:
        return timegm((year, month, day, hour, minute, 0)) * 1_000_000_000 if 1970 <= year < 2200 else 0
    this_year = time.gmtime(now).tm_year
    moment = timegm((this_year, month, day, hour, minute, 0))
    if moment > now + _AHEAD:
        moment = timegm((this_year - 1, month, day, hour, minute, 0))
    return moment * 1_000_000_000
