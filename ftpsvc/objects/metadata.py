"""Modify time, mode and digest of a file, as metadata of its object.

The names are rclone's where it has one: `mtime` is what it reads and writes for the time, and `mode` what it keeps with
--metadata. So what either has stored has its time in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ftpsvc.model import Facts

MODIFIED = "mtime"  #: seconds since 1970 UTC with a fraction of nine digits, as 1795356666.522815076
MODE = "mode"  #: the file's type and its permission bits, octal, as 100644
DIGEST = "xxh3128"  #: XXH3-128 of all bytes, 32 hex digits. Azure takes no hyphen in a name, and some proxies no _

_TIME = re.compile(r"(-?[0-9]{1,11})(?:\.([0-9]{1,18}))?")
_MODE = re.compile(r"[0-7]{1,7}")
_DIGEST = re.compile(r"[0-9a-f]{32}")
_PLAIN_FILE = 0o100000

#: What an object has besides, and a copy of it must not lose. Every other name is somebody's metadata.
HEADERS = frozenset(("cache-control", "content-disposition", "content-encoding", "content-language", "content-type"))


def from_facts(facts: Facts, digest: str = "") -> dict[str, str]:
    """The metadata for these facts, as far as they are known."""
    found = {}
    if facts.modified is not None:
        seconds, rest = divmod(abs(facts.modified), 1_000_000_000)
        found[MODIFIED] = f"{'-' * (facts.modified < 0)}{seconds}.{rest:09d}"
    if facts.mode is not None:
        found[MODE] = f"{_PLAIN_FILE | facts.mode:o}"
    if digest:
        found[DIGEST] = digest
    return found


def facts_of(metadata: Mapping[str, str]) -> Facts:
    """What an object's metadata says; whatever can't be understood is as if it weren't there."""
    found = {name.lower(): value for name, value in metadata.items()}
    time, mode = _TIME.fullmatch(found.get(MODIFIED, "")), found.get(MODE, "")
    modified = None
    if time is not None:
        fraction = int((time[2] or "").ljust(9, "0")[:9])
        modified = int(time[1]) * 1_000_000_000 + (-fraction if time[1].startswith("-") else fraction)
    return Facts(modified, int(mode, 8) & 0o777 if _MODE.fullmatch(mode) else None)


def digest_in(metadata: Mapping[str, str]) -> str:
    """The XXH3-128 that whoever stored the object has computed; empty where nobody has."""
    found = next((value for name, value in metadata.items() if name.lower() == DIGEST), "")
    return found if _DIGEST.fullmatch(found) else ""
