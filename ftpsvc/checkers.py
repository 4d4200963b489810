"""Twisted's own ways to check a password: what `--auth` names (twisted.cred.strcred)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from ftpsvc.model import decode_name, encode_name


class Checkers:
    """Asks one checker after the other. They run where they choose to: whether they make others wait is theirs."""

    _log = Logger()

    def __init__(self, checkers: Sequence[Any]) -> None:
        """`checkers`: of `ICredentialsChecker`, for a name and a password."""
        self._checkers = checkers
        for checker in checkers:
            if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
                # --auth memory: fills this one with text, while all of them are asked with bytes.
                checker.users = {_bytes(name): _bytes(password) for name, password in checker.users.items()}

    async def name_of(self, user: str, password: str) -> str:
        """Under which name the first checker that knows them lets somebody in; empty if none does."""
        credentials: Any = UsernamePassword(encode_name(user), encode_name(password))
        for checker in self._checkers:
            try:
                found: object = await maybeDeferred(checker.requestAvatarId, credentials)
            except LoginFailed:
                continue
            except Exception:
                # It may be the work of anybody, and what it says may have the password in it.
                self._log.error("{checker} failed, and lets nobody in", checker=type(checker).__name__)
                continue
            if found:
                return decode_name(found) if isinstance(found, bytes) else str(found)
        return ""


def _bytes(text: str | bytes) -> bytes:
    return encode_name(text) if isinstance(text, str) else text
