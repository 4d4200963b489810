"""Names and passwords in ~/.netrc, as ftp(1) and curl read it; the standard library keeps one account per host only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ftpsvc.model import Denied, LocalFault, decode_name

#: How long the file may be. It bounds what a wrong file under that name costs.
MAX_SIZE = 1024 * 1024

_MACRO = re.compile(r"^[ \t]*macdef\b.*?(?:\n[ \t\r]*\n|\Z)", re.DOTALL | re.MULTILINE)

_VALUE = r'"(?:\\.|[^"\\])*"|[^\s"]\S*|"'

# What begins with # is a comment where a keyword could stand, also behind an entry; elsewhere it is a password.
_PIECE = re.compile(rf"#[^\n]*|(?P<default>default)(?!\S)|(?P<word>{_VALUE})(?:\s+(?P<value>{_VALUE}))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Known:
    """An account. `machine` is empty in the entry for all hosts."""

    machine: str
    user: str
    password: str = field(repr=False)


def find(path: Path, host: str, user: str = "") -> Known | None:
    """The first account for a host, with this name if one is given, in a file that need not be there.

    Raises `Denied` if it has a password that others can read too, and `LocalFault` if it can't be read.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            text = decode_name(file.read(MAX_SIZE))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LocalFault(f"can't read {path}: {error.strerror}.") from error
    for known in _entries(text):
        if known.machine.lower() in (host.lower(), "") and user in (known.user, ""):
            if known.password and (status.st_mode & 0o077 or status.st_uid not in (os.getuid(), 0)):
                raise Denied(
                    f"{path} has a password for {host}, and others may read it (mode {status.st_mode & 0o777:03o}). "
                    f"Use: chmod 600 {path}"
                )
            return known
    return None


def _entries(text: str) -> Iterator[Known]:
    machine: str | None = None
    values: dict[str, str] = {}
    for piece in _PIECE.finditer(_MACRO.sub("", text)):
        word, value = piece["word"], _meaning(piece["value"] or "")
        if word == "machine" or piece["default"]:
            if machine is not None:
                yield Known(machine, values.get("login", ""), values.get("password", ""))
            machine, values = value, {}
        elif word in ("login", "password", "account"):
            values[word] = value
    if machine is not None:
        yield Known(machine, values.get("login", ""), values.get("password", ""))


def _meaning(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if len(token) > 1 and token.startswith('"') else token
