"""Patterns of names, as clients send them in LIST and NLST: `*.txt`, `photo?.[jp]*`.

The time that a match takes grows with the length of the name alone, whatever the pattern: every way of matching is
followed at once, as the bits of one number. A matcher that tries one way after the other can be kept busy for years by
one line such as `a*a*a*a*a*b`.
"""

from __future__ import annotations

import re
from itertools import chain

_TOKEN = re.compile(r"\*+|\?|\[([!^]?)(\]?[^\]]*)\]|.", re.DOTALL)

# The same behind the last bracket that closes one. Each that opens there would be followed to the end in vain.
_LAST_TOKEN = re.compile(r"(?:\*+|\?|.)()()", re.DOTALL)

#: For how many different characters of names the answer is kept. Beyond that they are looked at again.
MAX_KNOWN = 4096


def is_pattern(name: str) -> bool:
    """Whether a name could be meant as a pattern."""
    return any(character in name for character in "*?[")


class Pattern:
    """A pattern, ready to be matched against many names.

    Its places are the single characters that it asks for. Bit `n` of a state says: what was read so far can be the
    first `n` places, with the stars before them.
    """

    def __init__(self, text: str) -> None:
        self._hidden = text.startswith(".")
        self._places: list[tuple[str, bool] | None] = []  # characters, and whether these are the wrong ones; or any
        self._stars = 0
        closed = text.rfind("]") + 1
        for token in chain(_TOKEN.finditer(text, 0, closed), _LAST_TOKEN.finditer(text, closed)):
            if token[0].startswith("*"):
                self._stars |= 1 << len(self._places)
            elif token[0] == "?":
                self._places.append(None)
            elif token[2]:
                self._places.append((members_of(token[2]), bool(token[1])))
            else:
                self._places.extend((character, False) for character in token[0])
        self._end = 1 << len(self._places)
        self._known: dict[str, int] = {}

    def matches(self, name: str) -> bool:
        """Whether a name is one of those that the pattern means. Hidden names have to be asked for by their dot."""
        if name.startswith(".") and not self._hidden:
            return False
        if len(name) < len(self._places):
            return False  # so that thousands of places are never looked at
        state = 1
        for character in name:
            state = (state & self._accepting(character)) << 1 | state & self._stars
        return bool(state & self._end)

    def _accepting(self, character: str) -> int:
        """The places that take this character."""
        places = self._known.get(character)
        if places is None:
            places = sum(1 << n for n, place in enumerate(self._places) if _takes(place, character))
            if len(self._known) < MAX_KNOWN:
                self._known[character] = places
        return places


def _takes(place: tuple[str, bool] | None, character: str) -> bool:
    return place is None or (character in place[0]) is not place[1]


#: The most characters that a range such as `a-z` stands for. A longer one is taken for its two ends and the dash.
_MAX_RANGE = 256


def members_of(text: str) -> str:
    """The characters between the brackets, ranges written out. What is no range, such as `4-0`, is its letters."""
    members = ""
    while text:
        first, last = ord(text[0]), ord(text[2]) if text[1:2] == "-" and len(text) > 2 else -1
        if 0 <= last - first < _MAX_RANGE:
            members += "".join(chr(code) for code in range(first, last + 1))
            text = text[3:]
        else:
            members += text[0]
            text = text[1:]
    return members
