"""Accounts for tests: a root, homes beside it, and the accounts' file, with hashes that take no time."""

from __future__ import annotations

import datetime
import getpass
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import pytest
import support
from support import Conversation
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress
from twisted.logger import globalLogPublisher

from ftpsvc import passwords
from ftpsvc.accounts import AnonymousOnly, Doors, KeptFile, Members
from ftpsvc.checkers import Checkers
from ftpsvc.homes import Homes
from ftpsvc.localdisk import LocalDisk

#: The same as the real ones, and made in no time.
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = QUICK.hash(b"secret")

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
HERE = IPv4Address("TCP", "127.0.0.1", 40000)
ELSEWHERE = IPv4Address("TCP", "192.0.2.7", 40000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", QUICK)


@pytest.fixture
def log() -> Any:
    """What is logged, as text."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_format" in event:
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


class Place:
    """A root, homes beside it, and an accounts' file that is none of theirs."""

    def __init__(self, folder: Path, run: Any = support.at_once) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        (folder / "etc").mkdir()
        self.file = folder / "etc" / "accounts.toml"
        self.now = NOW
        self.run = run
        self.homes = Homes(lambda home, owner: LocalDisk(home, support.at_once, owner=owner), support.at_once, float)
        support.LEFT_OPEN.append(self.homes)
        self.checkers: Checkers | None = None
        self.guests: AnonymousOnly | None = None
        self._doors: Doors | None = None

    def account(self, name: str, **settings: str) -> None:
        """Add one to the file; what isn't said is as usual. Its home is made, if it has one."""
        settings = {"password": f'"{HASH}"', "permissions": '["all"]', "home": f'"{self.folder / name}"', **settings}
        lines = [f"{key} = {value}" for key, value in settings.items() if value]
        self.write(f"\n[{name}]\n" + "\n".join(lines) + "\n", append=True)
        (self.folder / name).mkdir(exist_ok=True)

    def write(self, text: str, append: bool = False) -> None:
        before = self.file.read_text() if append and self.file.exists() else ""
        self.file.write_text(before + text)
        self.moment = getattr(self, "moment", 1_000_000_000) + 1
        os.utime(self.file, (self.moment, self.moment))  # the clock of a file system may be a coarse one

    def doors(self) -> Doors:
        if self._doors is None:
            kept = KeptFile(self.file) if self.file.exists() else None
            members = Members(kept, self.checkers, self.homes, str(self.root), self.run, lambda: self.now)
            self._doors = Doors(self.guests, members)
        return self._doors

    def talk(self, address: IAddress | None = HERE) -> Conversation:
        talk = Conversation(None, accounts=self.doors(), address=address)
        assert talk.codes() == [220]
        return talk

    def login(self, user: str, password: str = "secret", address: IAddress | None = HERE) -> str:
        """What the server says at the end of it."""
        talk = self.talk(address)
        talk.send(f"USER {user}\r\nPASS {password}\r\n".encode())
        user_reply, reply = talk.take()
        assert user_reply == "331 Name received; send the password with PASS."
        assert isinstance(reply, str)
        return reply


#: Runs a command with these words; `stdin` is its input, or else `typed` are the answers to what it asks at a terminal.
Run = Callable[..., int]


def answering(main: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A program for accounts, with whatever is said to it."""

    def run(*words: str, stdin: str = "", typed: tuple[str, ...] = ()) -> int:
        answers = iter(typed)
        source = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        monkeypatch.setattr(source, "isatty", lambda: bool(typed))
        monkeypatch.setattr(sys, "stdin", source)
        monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
        monkeypatch.setattr(getpass, "getpass", lambda prompt: next(answers))
        return main(list(words))

    return run


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)
