"""Who logs in, and where the password comes from: never from a line that is typed, kept or shown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ftpsvc import netrc, xdg
from ftpsvc.model import BadArgument, LocalFault, NotLoggedIn
from ftpsvc.words import escape, quote

#: How many seconds the command that prints the password may take. A person may have to unlock something meanwhile.
COMMAND_TIME = 120.0

PASSWORD = "FTPSVC_PASSWORD"
COMMAND = "FTPSVC_PASSWORD_COMMAND"

ANONYMOUS = "anonymous"

#: Runs a function in a thread.
Run = Callable[..., "Deferred[Any]"]


class Person(Protocol):
    """Somebody who can be asked."""

    async def answer(self, question: str) -> str:
        """What is typed, seen; empty if nothing was."""

    async def secret(self, question: str) -> str:
        """What is typed, unseen, and kept nowhere; empty if nothing was."""


@dataclass(frozen=True, slots=True)
class Login:
    """A name, a password that never prints, and where that came from, for those who have to correct it."""

    user: str
    password: str = field(repr=False)
    source: str = ""


async def login_for(
    user: str,
    host: str,
    run: Run,
    person: Person | None = None,
    is_protected: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> Login:
    """The login for a host: as `user`, or without one as ~/.netrc says, or anonymous.

    `is_protected`: whether there is TLS, which a person is told before they type.

    Raises `NotLoggedIn` if there is no password, `BadArgument` if it can't be one, `Denied` if others can read it in
    ~/.netrc, and `LocalFault`.
    """
    path = Path(environment.get("HOME") or xdg.home()) / ".netrc"
    known = netrc.find(path, host, user)
    if known is not None and known.user and not user:
        return Login(known.user, _whole(known.password, "~/.netrc"), "~/.netrc")
    if user in ("", ANONYMOUS):
        return Login(ANONYMOUS, "ftpsvc@")
    if PASSWORD in environment:
        return Login(user, _whole(environment[PASSWORD], PASSWORD), PASSWORD)
    if command := environment.get(COMMAND):
        asking = {**environment, "FTPSVC_HOST": host, "FTPSVC_USER": user}
        return Login(user, _whole(await run(_printed, command, asking), COMMAND), COMMAND)
    if known is not None and known.password:
        return Login(user, _whole(known.password, "~/.netrc"), "~/.netrc")
    if person is None:
        raise NotLoggedIn(
            f"there is no password for {quote(user)}, and nobody to ask. Give it in {PASSWORD}, let the command in "
            f"{COMMAND} print it, or put it into ~/.netrc."
        )
    clear = "" if is_protected else ", sent in clear"
    password = await person.secret(f"Password of {escape(user)} on {host}{clear}: ")
    if not password:
        raise NotLoggedIn("no password was typed, so nobody was logged in.")
    return Login(user, _whole(password, "what was typed"))


def _whole(password: str, source: str) -> str:
    if any(letter in password for letter in "\r\n\0"):
        raise BadArgument(f"the password from {source} has more than one line, which can't be sent.")
    return password


def _printed(command: str, environment: Mapping[str, str]) -> str:
    """The first line that a command of the shell prints. What it says on stderr is for the person to see."""
    try:
        done = subprocess.run(
            command,
            shell=True,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=COMMAND_TIME,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalFault(f"the command in {COMMAND} has printed no password for {COMMAND_TIME:g} s.") from error
    if done.returncode:
        raise LocalFault(f"the command in {COMMAND} has failed, with exit status {done.returncode}.")
    line = done.stdout.partition(b"\n")[0].removesuffix(b"\r").decode("utf-8", "surrogateescape")
    if not line:
        raise LocalFault(f"the command in {COMMAND} has printed nothing.")
    return line
