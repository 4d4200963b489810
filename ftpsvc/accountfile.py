"""The accounts' file: one TOML table for each account (docs/accounts.md), read with the line of whatever is wrong."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from ftpsvc import passwords, tomllines
from ftpsvc.addresses import network_of
from ftpsvc.model import EVERYTHING, NOTHING, Account, Permission
from ftpsvc.objects.urls import is_address, location
from ftpsvc.rules import PathRule
from ftpsvc.tomllines import Unreadable

#: The names that mean "nobody in particular", in every FTP client. No account of a person can have them.
ANONYMOUS_NAMES = frozenset({"anonymous", "ftp"})

#: The words for permissions, in the file and on the command line.
PERMISSIONS = {
    "list": Permission.LIST,
    "read": Permission.READ,
    "write": Permission.WRITE,
    "overwrite": Permission.OVERWRITE,
    "append": Permission.APPEND,
    "delete": Permission.DELETE,
    "rename": Permission.RENAME,
    "mkdir": Permission.MAKE_DIRECTORY,
    "facts": Permission.SET_FACTS,
    "all": EVERYTHING,
}

#: No file of accounts is larger, and none that is has to be held in memory, in bytes.
MAX_FILE = 4 * 1024 * 1024


#: How many problems are told in one line: a slip of a script's is in each of a thousand accounts.
MAX_TOLD = 5


class BadAccounts(Exception):
    """The file can't be used: each problem is one line for people, with the number of the file's line in it."""

    def __init__(self, problems: list[str]) -> None:
        more = len(problems) - MAX_TOLD
        others = [f"and {more} more, which ftpsvc user check tells"] if more > 0 else []
        super().__init__("; ".join(problems[:MAX_TOLD] + others))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Record:
    """An account, and what it takes to log in as it."""

    account: Account
    password: str = field(default="", repr=False)  #: its argon2id hash; without one no password is right
    certificates: frozenset[str] = frozenset()  #: SHA-256 fingerprints of clients' certificates that do as well
    home: str = ""  #: an absolute path, or an address of object storage; without one it is the server's --root
    networks: tuple[IPv4Network | IPv6Network, ...] = ()  #: from where it may be used; none is everywhere
    expires: datetime.datetime | None = None  #: from then on it can't be used


def read(file: Path) -> dict[str, Record]:
    """The accounts in a file, by name. Raises `BadAccounts`, for a file that can't be read too."""
    try:
        text = tomllines.read(file, MAX_FILE)
    except Unreadable as error:
        raise BadAccounts([str(error)]) from error
    return parse(text, file)


def parse(text: str, file: Path) -> dict[str, Record]:
    """The accounts in a text that is, or is to be, in this file. Raises `BadAccounts`."""
    try:
        tables = tomllines.parse(text, file)
    except Unreadable as error:
        raise BadAccounts([str(error)]) from error
    lines = tomllines.line_numbers(text)
    problems: list[tuple[int, str]] = []
    records: dict[str, Record] = {}
    for name, table in tables.items():

        def complain(why: str, *keys: str, name: str = name) -> None:
            line = next((lines[path] for n in range(len(keys), -1, -1) if (path := (name, *keys[:n])) in lines), 1)
            where = " ".join(["account", name, *keys])
            problems.append((line, f"{file}, line {line}: {where}: {why}"))

        if why := _wrong_with_name(name):
            complain(why)
        elif not isinstance(table, dict):
            complain(f"an account is a table, as in [{name}]")
        else:
            records[name] = _record(name, table, file, complain)
    if problems:
        raise BadAccounts([problem for _, problem in sorted(problems)])
    return records


def _wrong_with_name(name: str) -> str:
    if name.lower() in ANONYMOUS_NAMES:
        return "this name is for those who have no account; --anonymous says what they may do"
    if not name or name != name.strip() or not name.isprintable():
        return "a name is not empty, and has no control characters and no spaces around it"
    return ""


def _record(name: str, table: dict[str, Any], file: Path, complain: Callable[..., None]) -> Record:
    """One account. What is wrong is complained of, and left out."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "paths":
            values["rules"] = _rules(value, complain)
            continue
        read_value = _KEYS.get(key)
        if read_value is None:
            complain(f"there is no such setting; those there are: {', '.join([*_KEYS, 'paths'])}", key)
            continue
        try:
            values[key] = read_value(value)
        except ValueError as error:
            complain(str(error), key)
    if "permissions" not in table:
        complain('say what it may do, as in permissions = ["list", "read"]')
    home = values.pop("home", "")
    if home and not is_address(home):
        home = os.path.join(file.absolute().parent, home)
    if home and not is_address(home) and _is_inside(file, home):
        complain("whoever uses this account could reach the accounts' file itself; keep it elsewhere", "home")
    own = {key: values.pop(key) for key in _OF_THE_LOGIN & values.keys()}
    return Record(Account(name, **{"permissions": NOTHING, **values}), home=home, **own)


#: The settings that are of no interest any more once somebody has logged in.
_OF_THE_LOGIN = {"password", "certificates", "networks", "expires"}


def _is_inside(file: Path, folder: str) -> bool:
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))


def _rules(table: object, complain: Callable[..., None]) -> tuple[PathRule, ...]:
    if not isinstance(table, dict):
        complain('they are a table, as in "/incoming" = ["write"]', "paths")
        return ()
    rules = []
    for pattern, words in table.items():
        try:
            rules.append(PathRule(pattern, permissions(words)))
        except ValueError as error:
            complain(str(error), "paths", pattern)
    return tuple(rules)


# -- values --------------------------------------------------------------------------------------------------


def permissions(words: object) -> Permission:
    """`["list", "read"]` as what it means. Raises `ValueError`."""
    found = NOTHING
    for word in _strings(words):
        if word not in PERMISSIONS:
            raise ValueError(f"there is no permission {word!r}; those there are: {', '.join(PERMISSIONS)}")
        found |= PERMISSIONS[word]
    return found


_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kMGT", 1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))? ?([A-Za-z]*)")


def size(value: object) -> int:
    """`1500000`, `"1.5 MB"` or `"1 GiB"` in bytes. Raises `ValueError`."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        unit = {name.lower(): factor for name, factor in _UNITS.items()}.get(match[3].lower())
        if unit is not None:
            fraction = match[2] or ""
            return int(int(match[1] + fraction) * unit // 10 ** len(fraction))
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise ValueError('a number of bytes, as 1500000, "1.5 MB" or "2 GiB"')


def _rate(value: object) -> int:
    if (rate := size(value)) == 0:
        raise ValueError("with no bytes per second nothing would ever arrive; leave it out for no limit")
    return rate


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number")
    return value


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('a list of words, as in ["one", "two"]')
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("text in quotes, and not empty")
    return value


def _home(value: object) -> str:
    home = _text(value)
    if is_address(home):
        location(home)
    return home


def _hash(value: object) -> str:
    return passwords.check_hash(_text(value))


def fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as openssl and browsers show it, without its colons. Raises `ValueError`."""
    digits = re.sub("^sha-?256 fingerprint=|:", "", text.strip().lower())
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise ValueError("a certificate's SHA-256 fingerprint: 64 hexadecimal digits, with colons or without")
    return digits


def _fingerprints(value: object) -> frozenset[str]:
    return frozenset(fingerprint(text) for text in _strings(value))


def _networks(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    networks = tuple(network_of(text) for text in _strings(value))
    if not networks:
        raise ValueError("nobody could log in from nowhere; leave it out for everywhere")
    return networks


def _moment(value: object) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    if isinstance(value, datetime.date):
        return datetime.datetime.combine(value, datetime.time(), datetime.UTC)
    raise ValueError("a date, as 2030-12-31, or a time, as 2030-12-31T18:00:00Z; without quotes")


_KEYS: dict[str, Callable[[object], object]] = {
    "password": _hash,
    "certificates": _fingerprints,
    "home": _home,
    "permissions": permissions,
    "quota_bytes": size,
    "quota_files": _count,
    "rate_up": _rate,
    "rate_down": _rate,
    "max_sessions": _count,
    "networks": _networks,
    "expires": _moment,
    "require_tls": _yes_or_no,
}
