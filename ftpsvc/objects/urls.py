"""Addresses of object storage, as s3://bucket/prefix."""

from __future__ import annotations

import re
from typing import NamedTuple

#: By scheme, what people call it, and where its keys come from.
ENGINES = {
    "s3": "S3",
    "gs": "Google Cloud Storage",
    "az": "Azure Blob Storage",
}

_URL = re.compile(r"([a-z0-9]+)://([^/?#\s]+)(?:/([^?#]*))?", re.DOTALL)


class Location(NamedTuple):
    """A place in an object storage. The prefix is empty, or ends with a slash."""

    scheme: str
    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"


def is_address(text: str) -> bool:
    """Whether this is the address of an object storage, and not a folder's path."""
    return text.partition("://")[0] in ENGINES and "://" in text


def location(text: str) -> Location:
    """What an address means. Raises `ValueError`, with the reason."""
    match = _URL.fullmatch(text)
    if match is None or match[1] not in ENGINES:
        raise ValueError(f"{text} is no address of object storage; one looks like s3://bucket/prefix")
    parts = [part for part in (match[3] or "").split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise ValueError(f"{text}: a prefix has no . or .. in it")
    return Location(match[1], match[2], "".join(f"{part}/" for part in parts))
