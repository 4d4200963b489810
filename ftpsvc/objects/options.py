"""What can be said of object storage on the command line and in a configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.python import usage

from ftpsvc import wholefile
from ftpsvc.objects.urls import is_address, location

_MIB = 1024 * 1024

#: The sizes that a part may have, in MiB: S3 takes none below 5 MiB, but for the last, and each transfer holds six.
PARTS = range(5, 1025)

#: No file of credentials is larger, in bytes.
MAX_FILE = 1024 * 1024


@dataclass(frozen=True)
class ObjectOptions:
    """What the options say. The environment has secrets in it, and never shows."""

    endpoint: str = ""
    region: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    exact_times: bool = True
    part: int = 8 * _MIB


OBJECT_PARAMETERS = (
    ("object-endpoint", None, "", "Where the object storage is, as https://host:port. [default: the provider's own]"),
    ("object-region", None, "", "The object storage's region. [default: $AWS_REGION, or us-east-1]"),
    (
        "object-credentials",
        None,
        "",
        "A file of lines like AWS_ACCESS_KEY_ID=name; what it says counts more than the environment.",
    ),
    ("object-part", None, "8", "MiB in a part of a large upload: it can have 10,000 of them, and holds 6 in memory."),
    (
        "object-times",
        None,
        "exact",
        "exact: listings show modify times, for a request each. stored: those of the uploads, for none.",
    ),
)


def object_options(options: Mapping[str, Any]) -> ObjectOptions:
    """What these come to. Raises `UsageError`."""
    try:
        if is_address(options["root"]):
            location(options["root"])
    except ValueError as error:
        raise usage.UsageError(f"--root: {error}") from error
    endpoint, times, part = options["object-endpoint"], options["object-times"], options["object-part"]
    if endpoint and not re.fullmatch(r"https?://[^/?#\s@]+", endpoint.rstrip("/")):
        raise usage.UsageError("--object-endpoint is an address without a path, as https://storage.example.org:8080")
    if times not in ("exact", "stored"):
        raise usage.UsageError("--object-times is exact or stored")
    if not re.fullmatch(r"[0-9]{1,4}", part) or int(part) not in PARTS:
        raise usage.UsageError(f"--object-part is a number of MiB, from {PARTS[0]} to {PARTS[-1]}")
    found = environment(options["object-credentials"])
    return ObjectOptions(endpoint.rstrip("/"), options["object-region"], found, times == "exact", int(part) * _MIB)


_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)")


def environment(file: str) -> dict[str, str]:
    """The process's environment, with what a file of NAME=value lines says. Raises `UsageError`."""
    found = dict(os.environ)
    try:
        text = wholefile.read(Path(file), MAX_FILE).decode("utf-8") if file else ""
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is no UTF-8"
        raise usage.UsageError(f"--object-credentials: can't read {file}: {why}") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            match = _LINE.fullmatch(line.strip())
            if match is None:  # without the line: there may be a secret in it
                raise usage.UsageError(
                    f"--object-credentials: {file}, line {number}: each is a variable, as AWS_ACCESS_KEY_ID=name"
                )
            found[match[1]] = match[2].strip("\"'")
    return found
