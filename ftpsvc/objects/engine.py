"""What is asked of an object storage: calls that wait for its answer, and so are made in threads.

Keys are those of the whole bucket. A folder's key is its prefix: empty, or with a slash at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from ftpsvc.storage import Buffer

#: The largest object that engines copy in one request: S3's limit, and the lowest of the three.
MOST_COPIED = 5 * 1024**3

#: How many entries a page of a listing has at most: S3's limit.
PAGE = 1000


class Listed(NamedTuple):
    """An object, as a listing tells of it. `modified` is when it was stored, in nanoseconds since 1970 UTC."""

    key: str
    size: int
    modified: int
    tag: str


class Found(NamedTuple):
    """An object, with its metadata and those headers that are a part of it."""

    size: int
    modified: int
    tag: str
    metadata: Mapping[str, str]


class Page(NamedTuple):
    """A piece of a folder's listing. `after`: where the next begins; empty at the end."""

    objects: list[Listed]
    folders: list[str]  #: their names
    after: str


class Upload(Protocol):
    """An object that is stored in parts, and isn't there before `complete`."""

    #: How many parts may be sent at once. With 1 their order is kept.
    at_once: int

    def send(self, number: int, data: bytes) -> None:
        """Send a part; the first has the number 1."""

    def complete(self, replace: bool) -> str:
        """Put it into place. When this returns, the engine has confirmed. Its tag; empty where that isn't told."""

    def abort(self) -> None:
        """Leave nothing of it."""


class Engine(Protocol):
    """A bucket. Raises what its library raises; `calls.told` says what that means."""

    #: Whether metadata can be changed behind an upload.
    rewrites: bool

    def look(self, key: str) -> Found:
        """What is known of an object."""

    def whole(self, key: str, most: int) -> tuple[Found, Buffer | None]:
        """An object with its bytes; without them if they are more than so many. One request."""

    def read(self, key: str, first: int, end: int, tag: str) -> memoryview:
        """A range of an object that still has this tag."""

    def put(self, key: str, data: Buffer, metadata: Mapping[str, str], replace: bool) -> None:
        """Store an object in one request; without `replace`, only where none is."""

    def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Upload:
        """Begin one of any size, in parts of so many bytes; the last may have fewer."""

    def remove(self, key: str) -> None:
        """Remove an object."""

    def copy(self, source: str, target: str) -> None:
        """Copy one with its metadata, inside the engine. At most `MOST_COPIED` bytes."""

    def rewrite(self, key: str, metadata: Mapping[str, str], tag: str) -> None:
        """Give one that still has this tag other metadata; the headers among them are kept as such."""

    def page(self, prefix: str, after: str = "") -> Page:
        """Some of what is in a folder."""

    def has_below(self, prefix: str) -> bool:
        """Whether there is any object below this prefix, markers among them."""

    def everything(self, prefix: str) -> Iterator[list[Listed]]:
        """All objects below a prefix, in pieces."""

    def make_folder(self, prefix: str) -> None:
        """Mark a folder, so that it is there while nothing is in it."""

    def remove_folder(self, prefix: str) -> None:
        """Take the mark away, if there is one."""

    def sweep(self, prefix: str, before: float) -> int:
        """Abort the uploads of parts below a prefix that began before this time of day; how many there were."""

    def first_look(self, prefix: str) -> int:
        """The HTTP status of a look, made once and without threads; 0 where that can't be had."""

    def close(self) -> None:
        """Give connections back."""
