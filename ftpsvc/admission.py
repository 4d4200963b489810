"""Who may log in, as the options say it; and what the start says of that."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ftpsvc.accountfile import BadAccounts
from ftpsvc.accounts import GUESTS, Anonymous, AnonymousOnly, Doors, KeptFile, Members
from ftpsvc.addresses import Origin
from ftpsvc.checkers import Checkers
from ftpsvc.homes import Homes
from ftpsvc.model import ANONYMOUS, Account
from ftpsvc.objects.urls import is_address
from ftpsvc.securing import refuse
from ftpsvc.session import Accounts, Visitor
from ftpsvc.storage import Storage
from ftpsvc.threads import Run


class Admission(NamedTuple):
    """Who may log in, whether certificates are of use for that, and what to tell whoever starts the server."""

    accounts: Accounts
    wants_certificates: Callable[[], bool]
    announcements: list[str]
    has_guests: bool  #: whether anybody needs no name
    homes: Callable[[], list[str]]  #: where files are, whether they were ever used or not
    file: KeptFile | None = None


class Entrance:
    """Where all sessions ask who may log in, so that a reload may have another say for those that are there too."""

    def __init__(self, now: Admission) -> None:
        self.now = now

    def refusal(self, origin: Origin) -> str:
        return self.now.accounts.refusal(origin)

    async def recognise(self, user: str, visitor: Visitor) -> tuple[Account, Storage] | None:
        return await self.now.accounts.recognise(user, visitor)

    async def login(self, user: str, password: str, visitor: Visitor) -> tuple[Account, Storage]:
        return await self.now.accounts.login(user, password, visitor)


def admitted(options: Mapping[str, Any], homes: Homes, run: Run) -> Admission:
    """What --accounts, --auth and --anonymous come to. Without any of them only this machine may connect."""
    root: str = options["root"]
    file, checkers = _accounts_file(options["accounts"]), _checkers(options.get("credCheckers", ()))
    if file is None and checkers is None and not options["anonymous"]:
        guests = AnonymousOnly(_guests_storage(homes, root), only_from_here=True)
        return Admission(guests, lambda: False, [_PROTECTED], True, lambda: [root])
    mode = Anonymous(options["anonymous"] or "none")
    members = Members(file, checkers, homes, root, run, lambda: datetime.datetime.now(datetime.UTC))
    if file is not None:
        _keep_out_of_reach(options["accounts"], root)
    guests_or_none = None
    if mode is not Anonymous.NONE:
        guests_or_none = AnonymousOnly(_guests_storage(homes, root), GUESTS[mode])
    told = [_told(file, checkers), *_TOLD[mode]]
    doors = Doors(guests_or_none, members)
    announcements = [line for line in told if line]
    return Admission(
        doors,
        lambda: members.wants_certificates,
        announcements,
        guests_or_none is not None,
        lambda: [root, *members.homes()],
        file,
    )


def _guests_storage(homes: Homes, root: str) -> Storage:
    try:
        return homes.storage(root, ANONYMOUS, "")
    except OSError as error:
        refuse(f"can't serve {root}: {error.strerror}. Choose a folder that is there and may be read: --root DIR")


def _accounts_file(path: str) -> KeptFile | None:
    if not path:
        return None
    try:
        return KeptFile(Path(path))
    except BadAccounts as error:
        advice = "" if os.path.exists(path) else ". ftpsvc user add makes it, with the first account in it"
        refuse(f"can't use the accounts: {error}{advice}")


def _checkers(checkers: Any) -> Checkers | None:
    return Checkers(checkers) if checkers else None


def _keep_out_of_reach(file: str, root: str) -> None:
    """Refuse to start where the root has the accounts' file in it, and with it all hashes: if nobody is served the root
    by now, the next account may be."""
    if not is_address(root) and Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root)):
        refuse(f"{file} lies in {root}, where others could reach it. Keep it elsewhere, or serve another --root.")


_PROTECTED = (
    "Protected mode: nobody has said who may log in, so only this machine is served, as anonymous; others are told so."
    " To serve others, make an account (ftpsvc user add NAME --accounts FILE) and start with --accounts FILE, or open"
    " the folder to everybody with --anonymous read. ftpsvc init DIR makes all that a server for others needs"
)

_TOLD = {
    Anonymous.NONE: [],
    Anonymous.READ: ["Anybody may list and retrieve, without an account"],
    Anonymous.DROP: ["Anybody may store new files, without an account"],
    Anonymous.WRITE: ["Anybody may read, change and delete everything, without an account"],
}


def _told(file: KeptFile | None, checkers: Checkers | None) -> str:
    if file is None:
        return "Whom --auth knows may log in" if checkers is not None else ""
    also = "; --auth checks the passwords of those who have none there" if checkers is not None else ""
    return f"Accounts that may log in: {len(file.records())}{also}"
