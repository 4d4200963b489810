"""What `set` changes: a table of names, each with how its value is read and what it means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ftpsvc import display
from ftpsvc.model import BadArgument

#: What may become of a file that is there already.
POLICIES = ("ask", "replace", "skip", "resume", "newer")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the shell does what it does."""

    limit_rate: int = 0  #: bytes a second; 0: as fast as it goes
    overwrite: str = "ask"


def rate(text: str) -> int:
    """Bytes a second: `500k`, `2.5M`, `off`. Raises `BadArgument`."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([kMG]?)(?:B?/s)?", text)
    if text == "off":
        return 0
    if match is None or not float(match[1]):
        raise BadArgument(f'"{text}" is no rate. Use bytes a second: 500k, 2.5M, off')
    return max(1, int(float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match[2]]))


def policy(text: str) -> str:
    """One of `POLICIES`. Raises `BadArgument`."""
    if text not in POLICIES:
        raise BadArgument(f'"{text}" is none of {", ".join(POLICIES)}.')
    return text


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table."""

    field: str
    read: Callable[[str], Any]
    shown: Callable[[Any], str]
    values: tuple[str, ...]  #: what completion offers
    meaning: str


SETTINGS: dict[str, Setting] = {
    "limit-rate": Setting(
        "limit_rate",
        rate,
        lambda value: f"{display.size(value)}/s" if value else "off",
        ("off", "500k", "1M", "10M"),
        "how much all transfers together may use of the network",
    ),
    "overwrite": Setting(
        "overwrite",
        policy,
        str,
        POLICIES,
        "what becomes of a file that is there already; where nobody can be asked, ask means replace",
    ),
}


def changed(settings: Settings, name: str, value: str) -> Settings:
    """The settings with another value. Raises `BadArgument`."""
    setting = known(name)
    return replace(settings, **{setting.field: setting.read(value)})


def shown(settings: Settings, name: str) -> str:
    """A value as it can be read."""
    setting = known(name)
    return setting.shown(getattr(settings, setting.field))


def known(name: str) -> Setting:
    """The row of this name. Raises `BadArgument`."""
    if name not in SETTINGS:
        raise BadArgument(f'there is no setting "{name}". There are: {", ".join(SETTINGS)}')
    return SETTINGS[name]
