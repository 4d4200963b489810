"""What may stand behind the one-shot commands: their options, how many words, and what makes sense of those."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from ftpsvc import connecting, settings
from ftpsvc.model import BadArgument, parent_and_name
from ftpsvc.patterns import is_pattern
from ftpsvc.targets import is_url
from ftpsvc.words import quote

#: What a URL looks like.
URL = "ftp://user@host:port/path"


class _Parser(argparse.ArgumentParser):
    """One whose complaints are raised, as `BadArgument`, where a program wants to be told them."""

    is_for_program = False

    def error(self, message: str) -> NoReturn:
        if self.is_for_program:
            raise BadArgument(f"{message}. Use: {self.usage}")
        super().error(message)


def parsed(name: str, words: Sequence[str], usage: str, least: int, most: int, summary: str) -> argparse.Namespace:
    """What was typed behind the name of a command that takes so many words. Exits where it makes no sense.

    With --json it raises `BadArgument` instead. Behind `--` nothing is an option.
    """
    parser = _Parser(
        f"ftpsvc {name}",
        usage=f"ftpsvc {name} [options] {usage}",
        description=f"{summary} A URL is {URL}; FTPSVC_PASSWORD may hold the password.",
    )
    connecting.add_options(parser)
    parser.add_argument("words", nargs="*", metavar="word", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="say what happens as objects of JSON, one on a line")
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing of what goes well")
    parser.add_argument("--limit-rate", default="off", metavar="RATE", help="bytes a second at most: 500k, 2.5M")
    if name in ("get", "put"):
        policies = [policy for policy in settings.POLICIES if policy != "ask"]
        parser.add_argument(
            "--overwrite", default="replace", choices=policies, help="what becomes of a file that is there already"
        )
    if name in ("get", "put", "rm"):
        parser.add_argument("-r", action="store_true", help="folders with all that is in them, too")
    if name in ("get", "put", "mirror"):
        _add_tree_options(parser, name == "mirror")
    if name == "mkdir":
        parser.add_argument("-p", action="store_true", help="the folders above, too")
    if name == "hash":
        parser.add_argument("--algorithm", default="", metavar="NAME", help="SHA-256 unless told otherwise")
    end = words.index("--") if "--" in words else len(words)
    parser.is_for_program = "--json" in words[:end]
    given = parser.parse_intermixed_args(words[:end])  # which takes what is behind `--` for options all the same
    given.words += words[end + 1 :]
    if not least <= len(given.words) <= most:
        parser.error(f"it takes {usage}")
    return given


def _add_tree_options(parser: argparse.ArgumentParser, may_remove: bool) -> None:
    """Those of the shell's `mirror`, kept as they are typed: the shell takes them apart."""
    trees = parser.add_argument_group("folders", "the same as in the shell: help mirror")

    def add(*names: str, value: str = "", text: str) -> None:
        if value:
            trees.add_argument(
                *names, dest="tree", action="append", type=lambda given: f"{names[0]}={given}", metavar=value, help=text
            )
        else:
            trees.add_argument(*names, dest="tree", action="append_const", const=names[0], help=text)

    parser.set_defaults(tree=[])
    if may_remove:
        add("--delete", text="remove what the source doesn't have, behind everything else")
        add("--force", text="remove more than half, too")
    add("--dry-run", "-n", text="say what would be done, and do nothing")
    add("--exclude", value="PATTERN", text="leave out, and leave alone")
    add("--include", value="PATTERN", text="the opposite; the first pattern that matches decides")
    add("--newer", text="replace only what is older than its source")
    add("--checksum", "-c", text="compare digests, not times")
    add("--links", value="follow|skip", text="what links become: what they lead to, or nothing")
    add("--parallel", value="NUMBER", text="connections, where the server has no MODE I (default: 4)")


# -- the words that are no options ---------------------------------------------------------------------------


def goal(path: str, count: int) -> str:
    """Where so many things go. Several need a folder: as one name, each would take the place of the one before it."""
    return path if count == 1 or path.endswith("/") else f"{path}/"


def check_names(words: Iterable[str], path_of: Callable[[str], str], are_trees: bool) -> None:
    """Raises `BadArgument` for two that would get the same name: the second would take the first one's place.

    What patterns of files match is compared when it is known (`names_given`).
    """
    named: dict[str, str] = {}
    for word in words:
        name = parent_and_name(path_of(word).rstrip("/"))[1]
        if name and (are_trees or not is_pattern(name)) and (other := named.setdefault(name, word)) != word:
            raise BadArgument(f"{quote(other)} and {quote(word)} would both become {quote(name)}.")


def as_it_is(path: str) -> str:
    """A path here that is neither an option nor the home folder: all that was seen to before this command began."""
    return f"./{path}" if path.startswith(("~", "-")) else path


def tree_words(given: argparse.Namespace) -> list[str]:
    """What stands before the names of what is carried."""
    if given.tree and not given.r:
        raise BadArgument(f"{given.tree[0].partition('=')[0]} is for folders, with -r.")
    if not given.r:
        return []
    if given.overwrite == "skip":
        raise BadArgument("with -r, what isn't the same is replaced; --overwrite newer keeps what is newer.")
    return ["-r", *given.tree, *(["--newer"] if given.overwrite == "newer" else []), "--"]


def check_urls(urls: Iterable[str]) -> None:
    for url in urls:
        if not is_url(url):
            typed = "what stands there" if ":" in url.rpartition("@")[0] else quote(url)  # that may be a password
            raise BadArgument(f"{typed} is no URL. Those look like this: {URL}")
