"""The token by which an operator at the live page shows who they are: made at the first start, and kept."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from ftpsvc.certificates import write_private
from ftpsvc.securing import refuse

#: The file's name in the state folder.
NAME = "operator-token"

#: How many random bytes it is made of: nobody guesses 192 bits, however fast they are answered.
SIZE = 24

_TOKEN = re.compile(r"[\w-]{32}", re.ASCII)


class Token:
    """It never prints."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Token(...)"

    def reveal(self) -> str:
        """For the operator, and nobody else."""
        return self._text

    def is_same(self, given: bytes) -> bool:
        """In a time that doesn't depend on what was given."""
        return hmac.compare_digest(given, self._text.encode())


def ensure(folder: Path) -> Token:
    """The token that is kept in a folder; a new one where there is none, or one that others could have read.

    Raises `OSError`.
    """
    path = folder / NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    else:
        with open(descriptor, encoding="ascii", errors="replace") as file:
            status = os.fstat(descriptor)
            text = file.read(100).strip()
        if _TOKEN.fullmatch(text) and not stat.S_IMODE(status.st_mode) & 0o077 and status.st_uid == os.geteuid():
            return Token(text)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = secrets.token_urlsafe(SIZE)
    write_private(path, f"{token}\n".encode())
    return Token(token)


def kept_token(folder: Path) -> Token:
    """The same for the start, which it ends with one line if there can be none."""
    try:
        return ensure(folder)
    except OSError as error:
        refuse(f"can't keep the live page's token in {folder}: {error.strerror}. Choose another folder: --state DIR")
