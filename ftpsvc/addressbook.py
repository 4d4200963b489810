"""Bookmarks, and the servers that were connected to: two small files, so that both are known the next time."""

from __future__ import annotations

import os
from pathlib import Path

from ftpsvc.model import decode_name, encode_name

#: How many servers are remembered.
MAX_RECENT = 100


class AddressBook:
    """Bookmarks (`name url` in each line) and recent servers (`url`, the newest last). No passwords are in either.

    A file that can't be read is as good as empty; one that can't be written costs what it would have kept.
    """

    def __init__(self, bookmarks: Path | None = None, recent: Path | None = None) -> None:
        """Without a path, what would be in it is forgotten at the end."""
        self._bookmarks_path = bookmarks
        self._recent_path = recent
        self._bookmarks: dict[str, str] = {}
        self._recent: list[str] = []

    # Both are read each time, because another shell may have written to them meanwhile.

    @property
    def bookmarks(self) -> dict[str, str]:
        """Names, and the URLs that they stand for."""
        if self._bookmarks_path is None:
            return dict(self._bookmarks)
        rows = (line.split(" ", 1) for line in _read(self._bookmarks_path))
        return {row[0]: row[1] for row in rows if len(row) == 2}

    @property
    def recent(self) -> list[str]:
        """URLs, the newest last."""
        return list(self._recent) if self._recent_path is None else _read(self._recent_path)

    def add(self, name: str, url: str) -> None:
        """Remember a bookmark. Raises `OSError` if it can't be kept."""
        self._keep_bookmarks({**self.bookmarks, name: url})

    def remove(self, name: str) -> None:
        """Forget a bookmark. Raises `OSError` if that can't be kept."""
        self._keep_bookmarks({other: url for other, url in self.bookmarks.items() if other != name})

    def _keep_bookmarks(self, bookmarks: dict[str, str]) -> None:
        self._bookmarks = bookmarks
        _write(self._bookmarks_path, [f"{name} {url}" for name, url in sorted(bookmarks.items())])

    def met(self, url: str) -> None:
        """Remember a server."""
        before = self.recent
        if before[-1:] == [url]:
            return
        self._recent = [*(other for other in before if other != url), url][-MAX_RECENT:]
        try:
            _write(self._recent_path, self._recent)
        except OSError:
            pass


def _read(path: Path) -> list[str]:
    try:
        return [decode_name(line) for line in path.read_bytes().splitlines() if line]
    except OSError:
        return []


def _write(path: Path | None, lines: list[str]) -> None:
    """Replace a file as a whole; nobody else may read it."""
    if path is None:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new-{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(b"".join(encode_name(line) + b"\n" for line in lines))
    new.replace(path)
