"""The hash algorithms that HASH and its older relatives compute. One table, by the names of draft-bryan-ftpext-hash."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Protocol

import xxhash

from ftpsvc.storage import Buffer


class Checksum(Protocol):
    """A digest that is being computed."""

    def update(self, data: Buffer, /) -> object: ...

    def hexdigest(self) -> str: ...


class Crc32:
    """CRC-32 as zip, PNG and Ethernet have it, in the form of hashlib's digests."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


#: In the order in which FEAT shows them. MD5 and SHA-1 are for comparing with what others have computed, and no
#: protection against anybody: `usedforsecurity` lets them work where the system's policy forbids them.
ALGORITHMS: dict[str, Callable[[], Checksum]] = {
    "SHA-256": hashlib.sha256,
    "SHA-512": hashlib.sha512,
    "SHA-1": lambda: hashlib.sha1(usedforsecurity=False),
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
    "CRC32": Crc32,
    "XXH3-128": xxhash.xxh3_128,
}
