"""The line-then-raw machine: what arrives is lines, until a line says how many raw bytes follow.

This is the whole of the receiving side of MODE I (docs/protocol.md), pure and without I/O. The server reads uploads
with it and the client reads downloads; neither can be confused by how the bytes were cut into segments, because
nothing here knows about segments.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from functools import lru_cache
from typing import NamedTuple

import xxhash

from ftpsvc.model import NO_FACTS, BadArgument, Damaged, Facts, ProtocolViolation, decode_name, encode_name

#: The longest line in either direction, its end included. Enough for a path of 4,096 bytes with every byte
#: doubled by Telnet, and small enough that an endless line costs nothing.
MAX_LINE = 8192

#: The longest DATA frame. It bounds how long an ABOR can wait for the frame under way.
MAX_FRAME = 16 * 1024 * 1024


#: Whose line it is that is too long, for a person who has sent none.
THEIRS = "A line that the server sends"


class Incoming:
    """Bytes that arrived and were not taken yet: taken as lines, or as raw bytes.

    Both ways of taking leave what follows untouched, so a line, a name and data in one segment come out the same
    as one byte at a time.
    """

    __slots__ = ("_at", "_base", "_data", "_max_line", "_searched", "_whose")

    def __init__(self, max_line: int = MAX_LINE, whose: str = "A line") -> None:
        """`whose` begins what is said of a line that is too long."""
        self._max_line = max_line
        self._whose = whose
        self._data = b""
        self._at = 0
        self._searched = 0
        self._base = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Take in what a transport delivered."""
        self._base += self._at
        if self._at == len(self._data):
            self._data = data
        else:
            self._data = self._data[self._at :] + data
        self._searched = max(0, self._searched - self._at)
        self._at = 0

    def line(self) -> bytes | None:
        """The next line without its end (CRLF, or LF alone), or None until it is here whole.

        Raises `ProtocolViolation` for a line that is longer than may be.
        """
        end = self._data.find(b"\n", max(self._at, self._searched))
        if end < 0:
            self._searched = len(self._data)
            if len(self._data) - self._at >= self._max_line:
                raise self._too_long()
            return None
        start, self._at = self._at, end + 1
        if self._at - start > self._max_line:
            raise self._too_long()
        if end > start and self._data[end - 1] == 13:
            end -= 1
        return self._data[start:end]

    def _too_long(self) -> ProtocolViolation:
        return ProtocolViolation(f"{self._whose} can't be longer than {self._max_line} bytes.")

    def raw(self, most: int) -> memoryview:
        """Up to `most` of the bytes that are here, without a copy; empty if there are none."""
        start, self._at = self._at, min(self._at + most, len(self._data))
        return memoryview(self._data)[start : self._at]

    def small_file(self) -> Small | None:
        """The whole answer to RETR of a small file, if it is the next thing here.

        A short cut past `line`, `raw`, `parse_frame` and `read_facts`, which would find the same: in a tree of small
        files most answers arrive in one piece. Whatever is not exactly that is left alone, for the careful way.
        """
        return self._small(_SMALL_BEGIN, _SMALL_END)

    def small_sequence(self) -> Small | None:
        """The same for the sequence behind the STOR of a small file."""
        return self._small(_SMALL_DATA, _SMALL_DONE)

    def _small(self, beginning: re.Pattern[bytes], ending: re.Pattern[bytes]) -> Small | None:
        begin = beginning.match(self._data, self._at)
        if begin is None:
            return None
        start = begin.end()
        end = ending.match(self._data, start + int(begin[1]))
        if end is None:
            return None
        digest, second, fraction, octal = end.groups()
        try:
            modified = _nanoseconds(second.decode(), fraction.decode() if fraction else None)
        except BadArgument:
            return None
        self._at = end.end()
        return self._data[start : end.start()], digest.decode(), Facts(modified, int(octal, 8))

    def clear(self) -> None:
        """Throw away all that wasn't taken."""
        self._at = len(self._data)

    @property
    def taken(self) -> int:
        """How many bytes have been taken since the beginning: the position of the next one."""
        return self._base + self._at

    def peek(self, position: int) -> tuple[bytes, int] | None:
        """The line that begins at a position not yet taken, and the position behind it; None until it is here whole.

        For looking ahead only: nothing is taken.
        """
        end = self._data.find(b"\n", position - self._base)
        if end < 0:
            return None
        return self._data[position - self._base : end].removesuffix(b"\r"), self._base + end + 1


#: Data, digest and facts of a small file.
Small = tuple[bytes, str, Facts]

# One frame of at most 99,999 bytes, with digest and facts; and the same between the 150 and the 226 of a RETR.
_SMALL_DATA = re.compile(rb"DATA ([1-9][0-9]{0,4})\r\n")
_SMALL_DONE = re.compile(rb"DONE ([0-9a-f]{32}) modify=([0-9]{14})(?:\.([0-9]{1,9}))?;unix\.mode=0([0-7]{3});\r\n")
_SMALL_BEGIN = re.compile(rb"150 [^\r\n]{0,4096}\r\n" + _SMALL_DATA.pattern)
_SMALL_END = re.compile(_SMALL_DONE.pattern + rb"226 [^\r\n]{0,4096}\r\n")


# -- frame lines ---------------------------------------------------------------------------------------------


class Data(NamedTuple):
    """`DATA n`: n raw bytes follow."""

    length: int


class Done(NamedTuple):
    """The sequence is complete. The digest is as it was received, right or wrong; None if there was none."""

    digest: str | None = None
    facts: str = ""


class Fail(NamedTuple):
    """The sequence is not complete, and why."""

    reason: str = ""

    @property
    def said(self) -> str:
        """The reason as the end of a sentence."""
        return self.reason.rstrip(".") or "it gave no reason"


Frame = Data | Done | Fail

# A frame's length is matched, never given to int() unseen: int() takes "+5", " 5", "1_0" and Arabic digits.
_LENGTH = re.compile(rb"[1-9][0-9]{0,7}")
_DONE = re.compile(rb"DONE(?: ([^ ]*)(?: ((?:[A-Za-z0-9._-]+=[^;]*;)+))?)?", re.IGNORECASE)
_FAIL = re.compile(rb"FAIL(?: (.*))?", re.IGNORECASE)


def parse_frame(line: bytes) -> Frame:
    """What a frame line says. Raises `ProtocolViolation` for a line that is no frame."""
    if line[:5].upper() == b"DATA ":
        if _LENGTH.fullmatch(line, 5) is None or (length := int(line[5:])) > MAX_FRAME:
            raise ProtocolViolation(f"A frame's length is a number from 1 to {MAX_FRAME}.")
        return Data(length)
    if match := _DONE.fullmatch(line):
        digest, facts = match[1], match[2]
        return Done(None if digest is None else decode_name(digest), decode_name(facts or b""))
    if match := _FAIL.fullmatch(line):
        return Fail(decode_name(match[1] or b""))
    raise ProtocolViolation("Expected a frame: DATA, DONE or FAIL.")


def is_frame(line: bytes) -> bool:
    """Whether a line begins as a frame does, well-formed or not."""
    return line[:4].upper() in (b"DATA", b"DONE", b"FAIL") and line[4:5] in (b"", b" ")


def data_line(length: int) -> bytes:
    return b"DATA %d\r\n" % length


def done_line(digest: str, facts: Facts = NO_FACTS) -> bytes:
    text = format_facts(facts)
    return f"DONE {digest} {text}\r\n".encode() if text else f"DONE {digest}\r\n".encode()


#: A reason is for people; longer ones are cut so that the line stays far below MAX_LINE.
MAX_REASON = 500


def fail_line(reason: str) -> bytes:
    plain = "".join(c if c.isprintable() else "?" for c in reason[:MAX_REASON])
    return b"FAIL " + encode_name(plain) + b"\r\n"


class SequenceReader:
    """Reads one sequence out of an `Incoming`: chunks of data, then its end."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = 0

    def next(self, incoming: Incoming) -> memoryview | Done | Fail | None:
        """A chunk (never empty), or the end of the sequence, or None until more has arrived.

        Raises `ProtocolViolation` for anything but a frame.
        """
        if not self._left:
            line = incoming.line()
            if line is None:
                return None
            frame = parse_frame(line)
            if not isinstance(frame, Data):
                return frame
            self._left = frame.length
        chunk = incoming.raw(self._left)
        if not chunk:
            return None
        self._left -= len(chunk)
        return chunk


# -- digests and facts ---------------------------------------------------------------------------------------

#: XXH3-128: 23 GB/s on one core, so that checking every byte costs next to nothing.
Digest = xxhash.xxh3_128


def digest_of(data: bytes | memoryview) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def verified(found: str, said: str | None) -> str:
    """The digest of an upload, if it is the one that the client has sent, or that has sent none. Raises `Damaged`."""
    if said is not None and said != found:
        raise Damaged(f"The data was damaged on its way: it has the digest {found}. Nothing was stored.")
    return found


#: The first and the last second that have a year of four digits. A disk can hold others: those become the nearest.
FIRST_SECOND, LAST_SECOND = -62135596800, 253402300799


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    year, *rest = time.gmtime(min(max(seconds, FIRST_SECOND), LAST_SECOND))[:6]
    return f"{year:04d}" + "".join(f"{part:02d}" for part in rest)


def format_time(nanoseconds: int) -> str:
    """A UTC time as RFC 3659, section 2.3 writes it, with as many digits of fraction as it has."""
    text = _second(nanoseconds // 1_000_000_000)
    fraction = nanoseconds % 1_000_000_000
    # Twice as fast as an f-string with a width in it, and once for each line of a listing.
    return ("%s.%09d" % (text, fraction)).rstrip("0") if fraction else text  # noqa: UP031


def format_milliseconds(nanoseconds: int) -> str:
    """The same with three digits of fraction or none, for those who take no other number of them."""
    milliseconds = nanoseconds // 1_000_000
    return _second(milliseconds // 1000) + _MILLISECONDS[milliseconds % 1000]


# Looked up, not written: a listing shows one in each of its lines, and `%` would take twice as long.
_MILLISECONDS = ("", *(f".{fraction:03d}" for fraction in range(1, 1000)))


_TIME = re.compile(r"([0-9]{14})(?:\.([0-9]{1,30}))?")


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 UTC. Raises `BadArgument` for what is no date: 29 February 2001, a 13th month."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise BadArgument("A time is written YYYYMMDDHHMMSS, in UTC, with a fraction if wanted.")
    return _nanoseconds(match[1], match[2])


def _nanoseconds(second: str, fraction: str | None) -> int:
    try:
        seconds = _seconds(second)
    except ValueError:
        raise BadArgument("There is no such date.") from None
    return seconds * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))


@lru_cache(maxsize=1024)
def _seconds(digits: str) -> int:
    parsed = time.strptime(digits, "%Y%m%d%H%M%S")
    if parsed.tm_sec > 59:
        raise ValueError("leap second")
    return timegm(parsed)


def format_facts(facts: Facts) -> str:
    """`modify=...;unix.mode=...;`, leaving out what is not known."""
    modified = "" if facts.modified is None else f"modify={format_time(facts.modified)};"
    # Plain octal: lftp reads "0o644" as mode 0.
    mode = "" if facts.mode is None else f"unix.mode={facts.mode:04o};"
    return modified + mode


def parse_facts(text: str) -> dict[str, str]:
    """`fact=value;...` as a dict with lower-case names; what has no `=` is left out."""
    facts = {}
    for fact in text.split(";"):
        name, equals, value = fact.partition("=")
        if equals:
            facts[name.lower()] = value
    return facts


# What our own server sends behind every file.
_USUAL_FACTS = re.compile(r"modify=([0-9]{14})(?:\.([0-9]{1,9}))?;unix\.mode=0([0-7]{3});")
_MODE = re.compile(r"0{0,2}[0-7]{1,3}")


def read_facts(text: str) -> Facts:
    """The facts that travel with a file. Raises `BadArgument` if one of them is malformed; others are ignored."""
    if usual := _USUAL_FACTS.fullmatch(text):
        second, fraction, octal = usual.groups()
        return Facts(_nanoseconds(second, fraction), int(octal, 8))
    modified = mode = None
    for fact in text.split(";"):
        name, _, value = fact.partition("=")
        name = name.lower()
        if name == "modify":
            modified = parse_time(value)
        elif name == "unix.mode":
            mode = parse_mode(value)
    return Facts(modified, mode)


def read_their_facts(text: str) -> Facts:
    """The same of a server's. Raises `ProtocolViolation`: it was nobody here who has written them."""
    try:
        return read_facts(text)
    except BadArgument as error:
        raise ProtocolViolation(f"The server sent facts that can't be read: {error}") from error


def parse_mode(text: str) -> int:
    """Permission bits from octal digits, with or without leading zeros. Raises `BadArgument`."""
    if _MODE.fullmatch(text) is None:
        raise BadArgument("A mode is three octal digits.")
    return int(text, 8)
