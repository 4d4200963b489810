"""What the shell and the one-shot commands are put together from: this machine, and connections to servers."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from ftpsvc.addressbook import AddressBook
from ftpsvc.commands.base import Ask
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import NotLoggedIn
from ftpsvc.places import Here
from ftpsvc.remote import Remote
from ftpsvc.targets import ANONYMOUS, Target
from ftpsvc.threads import pool_of
from ftpsvc.words import quote

#: Where a script puts a password. The words of a command can be seen by everybody on the machine.
PASSWORD_VARIABLE = "FTPSVC_PASSWORD"


def open_streams() -> None:
    """Open what this program was started without (`<&-`, `>&-`): else the next file or socket would be taken for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this locale has no letters for still lists


def here_of(reactor: Any) -> Here:
    """This machine, in the current folder."""
    home = os.path.expanduser("~")
    try:
        folder = os.getcwd()
    except OSError:
        folder = home  # the one it was started in is gone
    return Here(LocalDisk("/", pool_of(reactor)), folder, home)


def wants_colour() -> bool:
    """Whether a terminal may be sent colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def state_folder() -> Path:
    """What is remembered (XDG Base Directory Specification: state)."""
    return _folder("XDG_STATE_HOME", ".local/state")


def settings_folder() -> Path:
    """What the user decides (XDG Base Directory Specification: config)."""
    return _folder("XDG_CONFIG_HOME", ".config")


def _folder(variable: str, usual: str) -> Path:
    named = os.environ.get(variable, "")
    return (Path(named) if os.path.isabs(named) else Path.home() / usual) / "ftpsvc"


def address_book() -> AddressBook:
    return AddressBook(settings_folder() / "bookmarks", state_folder() / "servers")


class Dialling:
    """Connects to servers, and logs in. A password is asked for once, and kept in memory for the next connection."""

    def __init__(self, reactor: Any, ask: Ask | None) -> None:
        self._reactor = reactor
        self._ask = ask
        self._passwords: dict[tuple[str, int, str], str] = {}

    async def __call__(self, target: Target) -> Remote:
        """Raises `ConnectionFailed` and `NotLoggedIn`."""
        remote = await Remote.connect(self._reactor, target.host, target.port)
        try:
            if target.user == ANONYMOUS:
                await remote.login()
            else:
                whom = (target.host, target.port, target.user)
                password = self._passwords.get(whom) or await self._password(target)
                await remote.login(target.user, password)
                self._passwords[whom] = password
        except BaseException:
            remote.close()
            raise
        return remote

    async def _password(self, target: Target) -> str:
        if target.password is not None:
            return target.password
        if (password := os.environ.get(PASSWORD_VARIABLE)) is not None:
            return password
        if self._ask is None:
            raise NotLoggedIn(f"{quote(target.user)} needs a password. Put it into ${PASSWORD_VARIABLE}.")
        return await self._ask(f"Password of {quote(target.user)} at {target.host}: ", is_secret=True)
