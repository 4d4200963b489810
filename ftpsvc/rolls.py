"""The entries of one folder, kept small: of a large one each entry is a few bytes, and no objects."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator

from ftpsvc.model import Entry, Kind, decode_name, encode_name

#: How many entries may be objects at a time, in all the folders that are being looked at: some 10 MB. Objects are
#: quicker at hand; what comes beyond them is packed.
MAX_PLAIN = 25_000

#: Behind a name: what an entry is, its size, its modify time, its mode. Behind that, of a folder: what is `unique` of
#: it, without which nobody would see that a link leads back to a folder that it is in.
_FACTS = struct.Struct(">BQqH")
_LENGTH = struct.Struct(">H")
_KINDS = tuple(Kind)
_LINK = 0x80

#: The largest number that fits. A server may say any, such as a time in the year 9999.
_LATEST = 2**63 - 1


def _packed(entry: Entry) -> bytes:
    kind = _KINDS.index(entry.kind) | _LINK * entry.is_link
    # A name can't hold NUL, so it sorts and is found by its own bytes.
    modified = max(-_LATEST, min(entry.modified, _LATEST))
    facts = _FACTS.pack(kind, min(entry.size, _LATEST), modified, entry.mode)
    unique = encode_name(entry.unique) if entry.is_directory else b""
    return b"".join((encode_name(entry.name), b"\0", facts, unique))


def _unpacked(packed: bytes) -> Entry:
    at = packed.index(b"\0")
    name = decode_name(packed[:at])
    kind, size, modified, mode = _FACTS.unpack_from(packed, at + 1)
    unique = decode_name(packed[at + 1 + _FACTS.size :])
    return Entry(name, _KINDS[kind & ~_LINK], size, modified, mode, unique=unique, is_link=bool(kind & _LINK))


class Shelf:
    """How many more entries may be objects."""

    def __init__(self, left: int = MAX_PLAIN) -> None:
        self.left = left


class Pile:
    """Entries in the order in which they came. Of the packed ones, files forget `unique`."""

    def __init__(self, shelf: Shelf) -> None:
        self._place = _Place(shelf)
        self._plain: list[Entry] = []
        self._packed = bytearray()

    def add(self, entry: Entry) -> None:
        if self._place.is_had():
            self._plain.append(entry)
        else:
            packed = _packed(entry)
            self._packed += _LENGTH.pack(len(packed))
            self._packed += packed

    def entries(self) -> Iterator[Entry]:
        yield from self._plain
        at = 0
        while at < len(self._packed):
            (length,) = _LENGTH.unpack_from(self._packed, at)
            at += _LENGTH.size
            yield _unpacked(bytes(self._packed[at : at + length]))
            at += length

    def close(self) -> None:
        """Make room for others."""
        self._place.give_back()


class Roll:
    """Entries by their names. First all are added, then they are taken. Of the packed ones, files forget `unique`."""

    def __init__(self, shelf: Shelf) -> None:
        self._place = _Place(shelf)
        self._plain: dict[str, Entry] = {}
        self._packed: list[bytes] = []
        self._taken = bytearray()

    def add(self, entry: Entry) -> None:
        """Of a name that comes twice one entry is found."""
        if self._place.is_had():
            self._plain[entry.name] = entry
        else:
            self._packed.append(_packed(entry))

    def seal(self) -> None:
        """No more are added."""
        self._packed.sort()
        self._taken = bytearray(len(self._packed))

    def __len__(self) -> int:
        return len(self._plain) + len(self._packed)

    def take(self, name: str) -> Entry | None:
        """The entry of that name, which isn't among the `rest` any more."""
        entry = self._plain.pop(name, None)
        if not self._packed:
            return entry
        key = encode_name(name) + b"\0"
        at = bisect_left(self._packed, key)
        # A name may come twice, as one does that is replaced while the folder is read: then both are taken.
        while at < len(self._packed) and self._packed[at].startswith(key):
            if not self._taken[at]:
                self._taken[at] = True
                entry = entry or _unpacked(self._packed[at])
            at += 1
        return entry

    def rest(self) -> Iterator[Entry]:
        """Those that nobody took."""
        yield from self._plain.values()
        for at, packed in enumerate(self._packed):
            if not self._taken[at]:
                yield _unpacked(packed)

    def close(self) -> None:
        """Make room for others."""
        self._place.give_back()


class _Place:
    """How much of the shelf one folder takes."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._taken = 0

    def is_had(self) -> bool:
        """Take a place for one more, if there is one."""
        if self._shelf.left <= 0:
            return False
        self._shelf.left -= 1
        self._taken += 1
        return True

    def give_back(self) -> None:
        self._shelf.left += self._taken
        self._taken = 0
