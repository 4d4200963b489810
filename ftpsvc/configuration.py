"""The server's options in a file: one TOML key for each, with the same name and the same words for values.

What the file says becomes the words that would stand on the command line, so that every option is read by one code and
refused with one text, wherever it comes from. The file that `ftpsvc init` writes is made from the options themselves.
"""

from __future__ import annotations

import difflib
import enum
import json
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftpsvc import tomllines
from ftpsvc.objects.urls import is_address
from ftpsvc.tomllines import Unreadable

#: No file of options is larger, in bytes: the one with all of them and their texts has less than 10,000.
MAX_FILE = 1024 * 1024


class Takes(enum.Enum):
    """What may stand behind an option, in words for people."""

    TEXT = 'text in quotes, as in {name} = "..."'
    PATH = 'a path in quotes, as in {name} = "..."'
    NUMBER = 'a number, or one in quotes as "10k" or "10M"'
    LIST = 'a list, as in {name} = ["...", "..."]'


@dataclass(frozen=True, slots=True)
class Setting:
    """An option of the server's, as a file can have it."""

    name: str
    text: str
    default: str | float | Sequence[str]
    takes: Takes


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says."""

    file: Path
    values: Mapping[str, Sequence[str]]  #: for each option that is there what would stand behind it, once or more
    lines: Mapping[str, int]

    def words(self, given: set[str]) -> list[str]:
        """The options for the command line, without those that are given there."""
        return [f"--{name}={value}" for name, values in self.values.items() if name not in given for value in values]

    def located(self, why: str, given: set[str]) -> str:
        """Why an option was refused, with the line in front that it stands on, if it is one of these."""
        places = {name: re.search(rf"--{re.escape(name)}(?![a-z-])", why) for name in self.lines if name not in given}
        found = {place.start(): name for name, place in places.items() if place}
        if not found:
            return why
        return f"{self.file}, line {self.lines[found[min(found)]]}: {why}"


def read(file: Path, settings: Mapping[str, Setting]) -> Configuration:
    """What a file says. Relative paths in it begin at its own folder. Raises `Unreadable`."""
    file = Path(os.path.abspath(file))
    text = tomllines.read(file, MAX_FILE)
    table = tomllines.parse(text, file)
    lines = {path[0]: line for path, line in reversed(tomllines.line_numbers(text).items()) if path}
    values = {}
    for name, value in table.items():
        try:
            values[name] = [
                os.path.join(file.parent, word) if _is_path(word, settings[name]) else word
                for word in _words(name, value, settings)
            ]
        except ValueError as error:
            raise Unreadable(f"{file}, line {lines.get(name, 1)}: {error}") from error
    return Configuration(file, values, lines)


def _is_path(word: str, setting: Setting) -> bool:
    return bool(word) and setting.takes is Takes.PATH and not is_address(word)


def _words(name: str, value: object, settings: Mapping[str, Setting]) -> list[str]:
    """A value as the words behind its option. Raises `ValueError`."""
    if isinstance(value, dict):
        raise ValueError(f"[{name}] begins a table, and there are none here: each line is an option, as in port = 5000")
    if name not in settings:
        meant = name.replace("_", "-")
        close = [meant] if meant in settings else difflib.get_close_matches(meant, settings)
        those = f"Did you mean {' or '.join(close)}?" if close else f"Those there are: {', '.join(settings)}"
        raise ValueError(f"there is no option {name}. {those}")
    takes = settings[name].takes
    values = value if takes is Takes.LIST and isinstance(value, list) else [value]
    allowed = (str,) if takes in (Takes.TEXT, Takes.PATH) else (str, int, float)
    if not all(isinstance(one, allowed) and not isinstance(one, bool) and "\0" not in str(one) for one in values):
        raise ValueError(f"{name} takes {takes.value.format(name=name)}. {settings[name].text}")
    return [str(one) for one in values]


# -- the file that `ftpsvc init` writes ----------------------------------------------------------------------

_HEADER = """\
# What this ftpsvc server is told at its start:  twistd ftpsvc --config THIS-FILE
#
# All options of the command line are here, under the same names. Those with a # in front have the value that they have
# anyway. What stands on the command line as well counts there. Relative paths begin at this file's folder.
# A change takes effect at the next start; most do at a reload too (SIGHUP), and the log says which. Who may log in is
# in the accounts' file, where a change needs neither.
"""

#: The width of the file, in columns.
WIDTH = 120


def template(settings: Mapping[str, Setting], chosen: Mapping[str, str]) -> str:
    """A file with all options, each below what it means; without a # those that are chosen."""
    return "\n".join([_HEADER, *(_explained(setting, chosen) for setting in settings.values())])


def _explained(setting: Setting, chosen: Mapping[str, str]) -> str:
    value = chosen.get(setting.name, setting.default)
    mark = "" if setting.name in chosen else "# "
    return "\n".join([*_comment(setting.text), f"{mark}{setting.name} = {_toml(value)}", ""])


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False):
        yield f"# {line}"


def _toml(value: str | float | Sequence[str]) -> str:
    if isinstance(value, str | float | int):
        # A number as people write it. A text's JSON is its TOML too, for all that can stand in one.
        return f"{value:_.15g}" if not isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"[{', '.join(map(_toml, value))}]"
