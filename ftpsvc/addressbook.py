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
        rows = (line.split(" ", 1) for line in _read(bookmarks))
        self.bookmarks: dict[str, str] = {row[0]: row[1] for row in rows if len(row) == 2}
        self.recent: list[str] = _read(recent)

    def add(self, name: str, url: str) -> None:
        """Remember a bookmark. Raises `OSError` if it can't be kept."""
        self.bookmarks[name] = url
        self._keep_bookmarks()

    def remove(self, name: str) -> None:
        """Forget a bookmark. Raises `OSError` if that can't be kept."""
        del self.bookmarks[name]
        self._keep_bookmarks()

    def _keep_bookmarks(self) -> None:
        _write(self._bookmarks_path, [f"{name} {url}" for name, url in sorted(self.bookmarks.items())])

    def met(self, url: str) -> None:
        """Remember a server."""
        if self.recent[-1:] == [url]:
            return
        self.recent = [*(other for other in self.recent if other != url), url][-MAX_RECENT:]
        try:
            _write(self._recent_path, self.recent)
        except OSError:
            pass


def _read(path: Path | None) -> list[str]:
    if path is None:
        return []
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
