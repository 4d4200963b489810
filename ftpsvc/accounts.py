"""Who may log in."""

from __future__ import annotations

from dataclasses import dataclass

from ftpsvc.model import ANONYMOUS, Account, NotLoggedIn
from ftpsvc.storage import Storage

#: The names that mean "nobody in particular", in every FTP client.
ANONYMOUS_NAMES = frozenset({"anonymous", "ftp"})


@dataclass(frozen=True, slots=True)
class AnonymousOnly:
    """Everybody shares one storage, with any password."""

    storage: Storage

    async def login(self, user: str, password: str) -> tuple[Account, Storage]:
        if user.lower() not in ANONYMOUS_NAMES:
            raise NotLoggedIn("Login failed: wrong name or password.")
        return ANONYMOUS, self.storage
