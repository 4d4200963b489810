"""Which names of a tree a command is about: `--exclude` and `--include`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ftpsvc.patterns import members_of


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, and whether what it means is wanted.

    `*.o` is about a name anywhere in the tree, `build/*.o` and `/build` about a path from its top, in which `*` ends at
    a slash and `**` doesn't. With a slash at its end a pattern is about folders only.
    """

    includes: bool
    pattern: str


class Filter:
    """Rules in the order in which they were given: the first that matches decides.

    What none of them matches is wanted, unless there are only rules that include: then it isn't, if it is no folder.
    """

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = [(rule.includes, rule.pattern.endswith("/"), _compiled(rule.pattern)) for rule in rules]
        self._wants_others = not rules or not all(rule.includes for rule in rules)
        #: Whether everything is wanted, so that nobody needs to ask.
        self.is_open = not rules

    def admits(self, path: str, is_folder: bool) -> bool:
        """Whether the rules want an entry. `path` begins at the tree's top, without a slash."""
        for includes, only_folders, pattern in self._rules:
            if (is_folder or not only_folders) and pattern.fullmatch(path):
                return includes
        return self._wants_others or is_folder


def _compiled(pattern: str) -> re.Pattern[str]:
    text = pattern.rstrip("/")
    parts = text.lstrip("/").split("/")
    is_rooted = "/" in text
    middle = "".join(_part(part, at == len(parts) - 1) for at, part in enumerate(parts))
    return re.compile(middle if is_rooted else f"(?:.*/)?{middle}", re.DOTALL)


_TOKEN = re.compile(r"\*+|\?|\[([!^]?)(\]?[^\]]*)\]|.", re.DOTALL)


def _part(part: str, is_last: bool) -> str:
    if part == "**":
        return ".*" if is_last else "(?:[^/]+/)*"
    return "".join(map(_token, _TOKEN.finditer(part))) + ("" if is_last else "/")


def _token(token: re.Match[str]) -> str:
    if token[0].startswith("*"):
        return "[^/]*"
    if token[0] == "?":
        return "[^/]"
    if token[2]:
        members = re.escape(members_of(token[2]))
        return f"[^/{members}]" if token[1] else f"(?!/)[{members}]"
    return re.escape(token[0])
