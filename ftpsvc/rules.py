"""Permissions by path: `/incoming`, `/projects/*/drafts`, `/**/*.exe`.

A pattern is components: `*`, `?` and `[a-z]` stand for parts of one, `**` for any number of them, none too. Case
counts, and hidden names are names like others. A rule is for what its pattern means and for all below that.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field

from ftpsvc.model import Permission, Progress

ANY_NUMBER = "**"


@dataclass(frozen=True, slots=True)
class PathRule:
    """A pattern, and what may be done where it leads. Raises `ValueError` for a pattern that could mean nothing."""

    pattern: str
    permissions: Permission
    _components: tuple[re.Pattern[str] | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        components = [component for component in self.pattern.split("/") if component]
        if not self.pattern.startswith("/") or any(component in (".", "..") for component in components):
            raise ValueError("a path begins with / and has no . or .. in it")
        # fnmatch's own patterns never try the same place twice, so hostile names can't keep them busy.
        compiled = tuple(None if c == ANY_NUMBER else re.compile(fnmatch.translate(c)) for c in components)
        object.__setattr__(self, "_components", compiled)  # the one way in a frozen class

    def progress(self, path: str) -> Progress:
        """Whether the rule is for this path; whether it could be for one below; and where in the pattern that is."""
        places = self._reached({0})
        end = len(self._components)
        for component in path.split("/"):
            if end in places:
                break  # it is for what is above, and so for this
            if component:
                places = self._reached({place for at in places for place in self._behind(at, component)})
        if end in places:
            return True, False, frozenset()
        return False, bool(places), frozenset(places)

    def _behind(self, at: int, component: str) -> set[int]:
        """Where in the pattern one component of the path leads."""
        pattern = self._components[at]
        if pattern is None:
            return {at}
        return {at + 1} if pattern.match(component) else set()

    def _reached(self, places: set[int]) -> set[int]:
        """With those that `**` reaches without any component."""
        for place in sorted(places):
            while place < len(self._components) and self._components[place] is None:
                place += 1
                places.add(place)
        return places
