r"""A line of input <-> words, by the rules that people know from their shell.

Quotes and backslashes, and nothing else: `;`, `|`, `>` and `*` are letters of a name here, because a file client that
gives them a meaning can't fetch the file `a;b`. Names that can't be shown are written `$'caf\xe9'`, as bash does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ftpsvc.model import BadArgument, decode_name, encode_name

_PIECE = re.compile(
    r"""
      (?P<space> \s+ )
    | \$'(?P<coded> (?: \\.? | [^'\\] )* ) (?P<coded_end> '? )
    | '(?P<single> [^']* ) (?P<single_end> '? )
    | "(?P<double> (?: \\.? | [^"\\] )* ) (?P<double_end> "? )
    | \\(?P<escaped> .? )
    | (?P<plain> \$ | [^\s$'"\\]+ )
    """,
    re.VERBOSE | re.DOTALL,
)

_OPENED = {"coded": "$'", "single": "'", "double": '"'}


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line: what it means, from where to where it stands, and the quote that isn't closed, if any."""

    text: str
    start: int
    end: int
    quote: str = ""


def split(line: str) -> list[str]:
    """The words of a line. Raises `BadArgument` if a quote isn't closed."""
    words = list(_words(line))
    if words and (quote := words[-1].quote):
        raise BadArgument(f"A quote ({quote}) is not closed.")
    return [word.text for word in words]


def without_ampersand(line: str) -> tuple[str, bool]:
    """A line without the spaces around it and the `&` at its end, and whether there was one.

    Behind a backslash both are letters of a name. Without it the line would mean the file of another name.
    """
    words = list(_words(line))
    is_behind = len(words) > 1 and line[words[-1].start : words[-1].end] == "&"
    return line[words[0].start : words[-1 - is_behind].end] if words else "", is_behind


def last_word(line: str) -> tuple[list[str], Word]:
    """The words before the one that a line ends with, and that one: empty after a space. For completion."""
    words = list(_words(line))
    if not words or words[-1].end < len(line):
        words.append(Word("", len(line), len(line)))
    return [word.text for word in words[:-1]], words[-1]


def _words(line: str) -> Iterator[Word]:
    word: Word | None = None
    for piece in _PIECE.finditer(line):
        kind, text = next((name, text) for name, text in piece.groupdict().items() if text is not None)
        if kind == "space":
            if word is not None:
                yield word
            word = None
            continue
        is_open = kind in _OPENED and not piece[f"{kind}_end"]
        before = word or Word("", piece.start(), piece.start())
        word = Word(before.text + _meaning(kind, text), before.start, piece.end(), _OPENED[kind] if is_open else "")
    if word is not None:
        yield word


def _meaning(kind: str, text: str) -> str:
    if kind == "double":
        return re.sub(r'\\(["\\])', r"\1", text)
    if kind == "coded":
        return decode_name(_CODE.sub(lambda match: _decoded(match[1]), encode_name(text)))
    return text


_CODE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _decoded(code: bytes) -> bytes:
    if len(code) == 3:
        return bytes.fromhex(code[1:].decode("ascii"))
    return _LETTERS.get(code, code)


def quote(name: str, style: str = "") -> str:
    r"""A name as it can be typed, in the style of quotes that was begun: `'`, `"`, or none, which is backslashes.

    A name that can't be shown becomes `$'…'` in any style.
    """
    if not name.isprintable() or style == "$'":
        return f"$'{escape(name, also=_CODED_SPECIALS)}'"
    if style == "'" and "'" not in name:
        return f"'{name}'"
    if style in ("'", '"'):
        return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return re.sub(r"""([\s'"\\$]|^&$)""", r"\\\1", name) or "''"


_CODED_SPECIALS = "'\\"


def escape(text: str, also: str = "") -> str:
    r"""Text with everything that a terminal might obey, or can't show, as `\xNN`; with a backslash before `also`."""
    if text.isprintable() and not also:
        return text
    return "".join(_escaped(letter, also) for letter in text)


def _escaped(letter: str, also: str) -> str:
    if letter in also:
        return "\\" + letter
    return letter if letter.isprintable() else "".join(f"\\x{byte:02x}" for byte in encode_name(letter))
