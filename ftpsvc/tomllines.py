"""TOML files that people write: read whole, with the number of the line on which each thing stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from ftpsvc import wholefile


class Unreadable(Exception):
    """The file can't be read, or is no TOML. One line for people, with the file's name and the line's number in it."""


def read(file: Path, most: int) -> str:
    """The text of a file of at most so many bytes. Raises `Unreadable`."""
    try:
        data = wholefile.read(file, most)
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror}") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"{file}, line {line}: it is not UTF-8") from error


_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def parse(text: str, file: Path) -> dict[str, Any]:
    """What a text says that is, or is to be, in this file. Raises `Unreadable`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = str(error)
        position = _POSITION.search(why)
        line = position[1] if position and position[1] else str(text.count("\n") + 1)
        raise Unreadable(f"{file}, line {line}: {why[: position.start()] if position else why}") from error
    except RecursionError as error:
        raise Unreadable(f"{file}: lists or tables in it are nested too deeply") from error
    except ValueError as error:  # Python reads no number of thousands of digits, and tomllib says it as Python does
        raise Unreadable(f"{file}: a number in it is too long") from error


_HEADER = re.compile(r"\s*\[([^\[].*)\]\s*(?:#.*)?")
_KEY = re.compile(r"\s*((?:[A-Za-z0-9_.\s-]|\"(?:[^\"\\]|\\.)*\"|'[^']*')+?)\s*=")


def line_numbers(text: str) -> dict[tuple[str, ...], int]:
    """On which line each table begins and each key stands. What isn't found is to be looked for one level higher."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.fullmatch(line):
            table = _names(header[1])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_names(key[1])), number)
    return found


def _names(dotted: str) -> tuple[str, ...]:
    """`a."b.c"` as its parts, unquoted."""
    try:
        nested: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    names: list[str] = []
    while isinstance(nested, dict):
        ((name, nested),) = nested.items()
        names.append(name)
    return tuple(names)
