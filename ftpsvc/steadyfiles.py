"""Files that have to stay as they are while they are read: those that the client sends.

A server sends a file that grows as long as it was when it was opened, because that is what it has announced. Whoever
stores a copy elsewhere wants the file as it was at one moment, and no mixture of two.
"""

from __future__ import annotations

import os

from ftpsvc import display
from ftpsvc.diskfiles import DiskReadFile
from ftpsvc.model import Changed, LocalFault
from ftpsvc.storage import Buffer


class SteadyReadFile(DiskReadFile):
    """A `ReadFile` whose end comes only if the file is still as it was when it was opened. Else raises `Changed`."""

    async def read(self, size: int) -> Buffer:
        try:
            chunk = await super().read(size)
        except LocalFault:
            self._demand()
            raise
        if not chunk:
            self._demand()
        return chunk

    def _demand(self) -> None:
        demand_unchanged(self._entry.name, self._descriptor, self._entry.size, self._entry.modified)


def demand_unchanged(path: str, descriptor: int, size: int, modified: int) -> None:
    """Raises `Changed` unless an open file still has this size and modify time, in nanoseconds.

    A system counts its files' times in ticks of up to 10 ms. What is written in the same tick as the last change before
    the file was opened, and leaves the size as it is, can't be seen.
    """
    now = os.fstat(descriptor)
    if now.st_size != size:
        what = f"it had {display.size(size)}, and has {display.size(now.st_size)}"
        if display.size(size) == display.size(now.st_size):
            what = f"it had {size} bytes, and has {now.st_size}"
    elif now.st_mtime_ns != modified:
        what = "somebody has written to it"
    else:
        return
    name = path.rpartition("/")[2]
    raise Changed(f"{name} was changed while it was read: {what}. Try again when it rests, or send a copy of it.")
