"""What stands behind `mirror`, `retrieve -r` and `store -r`: options, and the two folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ftpsvc.filters import Filter, Rule
from ftpsvc.model import BadArgument
from ftpsvc.steps import Rules
from ftpsvc.words import quote

#: The most connections that are made for one command. A server has other guests.
MAX_PARALLEL = 16

#: Options without a value, and the names of theirs that people know from elsewhere.
_FLAGS = {
    "-r": "recursive",
    "-R": "up",
    "--up": "up",
    "--delete": "delete",
    "-n": "dry_run",
    "--dry-run": "dry_run",
    "-c": "by_digest",
    "--checksum": "by_digest",
    "--newer": "only_newer",
    "--force": "force",
}
_VALUES = ("--exclude", "--include", "--links", "--parallel")

#: All of them, for completion and for who asks.
OPTIONS = (*_FLAGS, *_VALUES)


@dataclass(slots=True)
class TreeOptions:
    """The options of a command, as they were `given`, and the words that are none."""

    words: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    recursive: bool = False
    up: bool = False
    delete: bool = False
    dry_run: bool = False
    by_digest: bool = False
    only_newer: bool = False
    force: bool = False
    follow_links: bool = True
    parallel: int | None = None

    def comparison(self) -> Rules:
        """How the two trees are to be compared."""
        return Rules(Filter(self.rules), self.by_digest, self.only_newer, self.delete, self.follow_links)


def parse(words: Sequence[str]) -> TreeOptions:
    """Take options and words apart. Behind `--` everything is a word. Raises `BadArgument`."""
    options = TreeOptions()
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            options.words += left
            break
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            setattr(options, _FLAGS[word], True)
            options.given.append(word)
        elif name in _VALUES:
            if not equals and not left:
                raise BadArgument(f"{name} needs a value behind it.")
            value = value if equals else left.pop(0)
            _take(options, name, value)
            options.given.append(f"{name}={value}")
        elif word.startswith("-") and word != "-":
            raise BadArgument(
                f"there is no option {quote(word)}. There are: {' '.join(OPTIONS)}. "
                "A name that begins with a dash goes behind --."
            )
        else:
            options.words.append(word)
    return options


def _take(options: TreeOptions, name: str, value: str) -> None:
    if name in ("--exclude", "--include"):
        if not value.strip("/"):
            raise BadArgument(f"{name} needs a pattern, as in {name} '*.o'.")
        options.rules.append(Rule(name == "--include", value))
    elif name == "--links":
        if value not in ("follow", "skip"):
            raise BadArgument("--links is follow (copy what a link leads to) or skip (leave links out).")
        options.follow_links = value == "follow"
    elif re.fullmatch("[0-9]{1,4}", value) and 1 <= int(value) <= MAX_PARALLEL:
        options.parallel = int(value)
    else:
        raise BadArgument(f"--parallel is a number of connections, 1 to {MAX_PARALLEL}.")
