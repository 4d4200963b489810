"""Tables in memory that the workers of a server share: counts, and notes of a few numbers.

The memory is a file without a name that all of them have mapped. A row belongs to a key, and lies among the `WINDOW`
rows that the key's hash leads to; the hash has a secret of this start, so that nobody can choose keys that crowd one
place. Every access holds a lock on the file for some microseconds. The system takes that back from a process that
dies, and whatever the process was about leaves a table that still can be used: a key is written last, and removed
first.

Each worker counts in a column of its own, and it is their sum that matters. So what a dead worker had counted is taken
back by clearing its column.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from ftpsvc.commons import MAX_NUMBERS, Note

#: How many rows are looked at for a key. With a quarter of a table in use, that all of them are taken happens to no
#: one in a server's life.
WINDOW: Final = 64

#: The bytes of a key in its row. What is longer (a path) is there as its hash.
KEY: Final = 48

#: How many keys' places are remembered. Each takes two hashes to find.
PLACES: Final = 4096

# No key that is written out has this byte anywhere else, so it is found at the beginning of a row and nowhere else.
_MARK = b"\x01"
_HASHED = "#"
_CELL = 8
_SECRET = 16


class Memory:
    """The bytes that are shared, and the lock on them."""

    def __init__(self, descriptor: int) -> None:
        """The memory that `create` has made in another process, or in this one. The descriptor is this object's."""
        self.descriptor = descriptor
        self.bytes = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self.secret = self.bytes[:_SECRET]
        self.free = _SECRET  #: where the next table begins; all who map it lay them out in the same order
        self._views: list[memoryview] = []

    @classmethod
    def create(cls, size: int) -> Memory:
        """New memory, with room for tables of this many bytes in all. Only what is used takes up any."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("ftpsvc", os.MFD_CLOEXEC)
        else:
            descriptor, path = tempfile.mkstemp()
            os.unlink(path)
        os.ftruncate(descriptor, _SECRET + size)
        os.pwrite(descriptor, os.urandom(_SECRET), 0)
        return cls(descriptor)

    def cells(self, size: int, kind: str) -> Any:
        """The next bytes, as numbers."""
        view: memoryview = memoryview(self.bytes)[self.free : self.free + size].cast(kind)  # type: ignore[call-overload]
        self.free += size
        self._views.append(view)
        return view

    def __enter__(self) -> None:
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        for view in self._views:
            view.release()
        self.bytes.close()
        os.close(self.descriptor)


class _Rows:
    """Where which key is. The lock has to be held."""

    def __init__(self, memory: Memory, rows: int, width: int, kind: str) -> None:
        assert rows >= WINDOW
        self._memory = memory
        self._bytes = memory.bytes
        self.rows = rows
        self._at = memory.free
        memory.free += rows * KEY
        self.cells = memory.cells(rows * width * _CELL, kind)

        self.place = lru_cache(PLACES)(self._place)

    def _place(self, text: str) -> tuple[bytes, int]:
        """What stands for a key in its row, and the first of the rows in which it may be."""
        data = text.encode("utf-8", "surrogateescape")
        if len(data) >= KEY or not text.isprintable() or text.startswith(_HASHED):
            data = _HASHED.encode() + blake2b(data, digest_size=16, key=self._memory.secret).hexdigest().encode()
        key = (_MARK + data).ljust(KEY, b"\0")
        digest = blake2b(key, digest_size=8, key=self._memory.secret).digest()
        return key, int.from_bytes(digest, "little") % (self.rows - WINDOW + 1)

    def find(self, key: bytes, window: int) -> int:
        """The row of a key; -1 if it has none."""
        begin = self._at + window * KEY
        at = self._bytes.find(key, begin, begin + WINDOW * KEY)
        return -1 if at < 0 else (at - self._at) // KEY

    def first_free(self, window: int) -> int:
        """A row of the window that no key has; -1 if there is none."""
        for row in range(window, window + WINDOW):
            if not self._bytes[self._at + row * KEY]:
                return row
        return -1

    def take(self, row: int, key: bytes) -> None:
        """Let a key have a row, whose numbers are right already."""
        # The mark last: without it nobody finds the key, or takes the row for somebody's.
        at = self._at + row * KEY
        self._bytes[at + 1 : at + KEY] = key[1:]
        self._bytes[at] = key[0]

    def give_back(self, row: int) -> None:
        self._bytes[self._at + row * KEY] = 0

    def taken(self) -> Iterator[tuple[int, str]]:
        """Each row that a key has, and the key as text."""
        at = self._bytes.find(_MARK, self._at, self._at + self.rows * KEY)
        while at >= 0:
            row = (at - self._at) // KEY
            if (at - self._at) % KEY == 0:
                yield row, self._bytes[at + 1 : at + KEY].rstrip(b"\0").decode("utf-8", "surrogateescape")
            at = self._bytes.find(_MARK, self._at + (row + 1) * KEY, self._at + self.rows * KEY)


class SharedCounts:
    """The `Counts` of several workers."""

    def __init__(self, memory: Memory, rows: int, workers: int, mine: int) -> None:
        """`mine`: the column that this process counts in."""
        self._memory = memory
        self._rows = _Rows(memory, rows, workers, "q")
        self._cells = self._rows.cells
        self._workers = workers
        self._mine = mine
        self._none = memoryview(bytes(workers * _CELL)).cast("q")

    @staticmethod
    def size(rows: int, workers: int) -> int:
        return rows * (KEY + workers * _CELL)

    def more(self, key: str, most: int | None = None) -> bool:
        """As in `Counts`; and where there is no row left for a key, nothing more of it is let in."""
        rows = self._rows
        name, window = rows.place(key)
        with self._memory:
            row = rows.find(name, window)
            if row >= 0:
                if most is not None and self._sum(row) >= most:
                    return False
            else:
                row = rows.first_free(window) if most is None or most > 0 else -1
                if row < 0:
                    return False
                self._cells[row * self._workers : (row + 1) * self._workers] = self._none
                rows.take(row, name)
            self._cells[row * self._workers + self._mine] += 1
            return True

    def _sum(self, row: int) -> int:
        return sum(self._cells[row * self._workers : (row + 1) * self._workers])

    def less(self, key: str) -> None:
        rows = self._rows
        name, window = rows.place(key)
        with self._memory:
            row = rows.find(name, window)
            if row < 0:
                return
            cell = row * self._workers + self._mine
            if self._cells[cell]:
                self._cells[cell] -= 1
            if not self._sum(row):
                rows.give_back(row)

    def count(self, key: str) -> int:
        return sum(self.columns(key))

    def columns(self, key: str) -> list[int]:
        """How many each worker has counted. Asked for often, to compare, and so without the lock: each number is right,
        and was so a moment ago."""
        rows = self._rows
        row = rows.find(*rows.place(key))
        return list(self._cells[row * self._workers : (row + 1) * self._workers]) if row >= 0 else []

    def forget(self, worker: int) -> None:
        """Take back all that a worker had counted, which is dead."""
        with self._memory:
            for row, _ in list(self._rows.taken()):
                self._cells[row * self._workers + worker] = 0
                if not self._sum(row):
                    self._rows.give_back(row)


# The numbers of a note, and when it was written.
_WIDTH = MAX_NUMBERS + 1


class SharedNotes:
    """The `Notes` of several workers. Where the rows for a key are all taken, it gets that of the oldest there."""

    def __init__(self, memory: Memory, rows: int, numbers: int) -> None:
        """`numbers`: how many each note has."""
        self._memory = memory
        self._rows = _Rows(memory, rows, _WIDTH, "d")
        self._cells = self._rows.cells
        self._numbers = numbers

    @staticmethod
    def size(rows: int) -> int:
        return rows * (KEY + _WIDTH * _CELL)

    def get(self, key: str) -> Note | None:
        rows = self._rows
        name, window = rows.place(key)
        with self._memory:
            row = rows.find(name, window)
            return self._read(row) if row >= 0 else None

    def _read(self, row: int) -> Note:
        return tuple(self._cells[row * _WIDTH : row * _WIDTH + self._numbers])

    def change(self, key: str, how: Callable[[Note | None], Note | None]) -> Note | None:
        rows = self._rows
        name, window = rows.place(key)
        with self._memory:
            row = rows.find(name, window)
            note = how(self._read(row) if row >= 0 else None)
            if note is None:
                if row >= 0:
                    rows.give_back(row)
                return None
            if row >= 0:
                self._write(row, note)
            else:
                row = rows.first_free(window)
                if row < 0:
                    row = min(range(window, window + WINDOW), key=lambda row: self._cells[row * _WIDTH + MAX_NUMBERS])
                    rows.give_back(row)
                self._write(row, note)
                rows.take(row, name)
            return note

    def _write(self, row: int, note: Note) -> None:
        at = row * _WIDTH
        for cell, number in enumerate(note, at):
            self._cells[cell] = number
        self._cells[at + MAX_NUMBERS] = time.monotonic()

    def clear(self) -> None:
        with self._memory:
            for row, _ in list(self._rows.taken()):
                self._rows.give_back(row)

    def items(self) -> Iterable[tuple[str, Note]]:
        with self._memory:
            return [(key, self._read(row)) for row, key in self._rows.taken()]

    def change_all(self, how: Callable[[Note], Note]) -> None:
        """Replace every note by what `how` makes of it."""
        with self._memory:
            for row, _ in list(self._rows.taken()):
                self._write(row, how(self._read(row)))
