"""A storage under test: what it can, where its files really are, and how its coroutines are driven."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import collected, parts_in, read_all

from ftpsvc import model
from ftpsvc.model import Facts, Stored
from ftpsvc.storage import Storage


class Can(enum.Flag):
    """What a storage may lack. Where it does, the contract is that it says so at once, and changes nothing."""

    LINK = enum.auto()  #: one file with several names, and names that lead to others
    HOLD_SPECIAL_FILES = enum.auto()
    BEAR_ANY_NAME = enum.auto()  #: also one that is no UTF-8
    KEEP_A_MODE = enum.auto()  #: that of the file which is replaced
    GO_ON = enum.auto()  #: from a byte of an upload
    ADD = enum.auto()
    SET_FACTS = enum.auto()
    TELL_SPACE = enum.auto()


EVERYTHING = ~Can(0)


@dataclass
class Place:
    storage: Storage
    folder: Any  #: where its files really are: a `Path`, or what has as much of one as is needed here
    run: Callable[[Any], Any]
    can: Can = EVERYTHING

    def lacks(self, ability: Can) -> bool:
        return ability not in self.can

    def set_time(self, name: str, modified: int) -> None:
        path = self.folder / name
        if isinstance(path, Path):
            os.utime(path, ns=(0, modified))
        else:
            path.set_time(modified)

    def parts(self) -> list[Any]:
        """What is there of uploads that aren't complete."""
        return parts_in(self.folder) if isinstance(self.folder, Path) else self.folder.parts()

    def make_fifo(self) -> set[str]:
        """Make one, if it can be; what is there then."""
        if self.lacks(Can.HOLD_SPECIAL_FILES):
            return set()
        os.mkfifo(self.folder / "fifo")
        return {"fifo"}

    def write(self, path: str, data: bytes, facts: Facts = model.NO_FACTS, digest: str | None = None) -> Stored:
        async def write() -> Stored:
            file = await self.storage.open_write(path)
            await file.write(data)
            return await file.commit(facts, digest)

        return self.run(write())

    def read(self, path: str, offset: int = 0) -> bytes:
        async def read() -> bytes:
            return await read_all(await self.storage.open_read(path, offset), 100_000)

        return self.run(read())

    def names(self, path: str = "/") -> set[str]:
        return {entry.name for entry in self.run(collected(self.storage.list(path)))}
