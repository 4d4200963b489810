"""A bucket in memory, and one that is looked at as if it were a folder."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import support
from obstore.exceptions import PreconditionError
from obstore.store import MemoryStore
from storage_place import EVERYTHING, Can, Place

from ftpsvc.objects import metadata
from ftpsvc.objects.calls import Calls
from ftpsvc.objects.folders import Folders
from ftpsvc.objects.listed import Exact
from ftpsvc.objects.obstored import FOLDER_MARK, ObstoreEngine
from ftpsvc.objects.storage import Bucket, ObjectStorage

#: What no object storage can do, and what those can't do besides where metadata is for ever.
OBJECTS = EVERYTHING & ~(
    Can.LINK | Can.HOLD_SPECIAL_FILES | Can.BEAR_ANY_NAME | Can.KEEP_A_MODE | Can.GO_ON | Can.ADD | Can.TELL_SPACE
)
FIXED_OBJECTS = OBJECTS & ~Can.SET_FACTS

#: A part that makes many of the tests' larger files.
PART = 256 * 1024

# obstore's own threads begin with the first call, and stay: here, where no test is under way.
MemoryStore().put("warm", b"")


class MemoryEngine(ObstoreEngine):
    """A bucket in memory of which metadata can be changed, as those of S3 can."""

    rewrites = True

    def rewrite(self, key: str, metadata: Mapping[str, str], tag: str) -> None:
        if tag not in ("", self.look(key).tag):
            raise PreconditionError(key)
        self._store.put(key, bytes(self._store.get(key).bytes()), attributes=dict(metadata))


class Counting(MemoryEngine):
    """Counts its calls, by name."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("look", "whole", "read", "put", "upload", "remove", "copy", "rewrite", "page", "has_below"):
            self.calls.append(name)
        return super().__getattribute__(name)

    def took(self) -> list[str]:
        calls, self.calls[:] = list(self.calls), []
        return calls


class Incomplete(MemoryEngine):
    """Takes the parts of an upload, and is never done with the whole; notes what it is asked for."""

    def __init__(self, at_once: int) -> None:
        super().__init__(MemoryStore())
        self.at_once = at_once
        self.done: list[str] = []

    def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Any:
        return self

    def send(self, number: int, data: bytes) -> None:
        self.done.append(f"part {number}")

    def complete(self, replace: bool) -> str:
        raise OSError("no answer")

    def abort(self) -> None:
        self.done.append("aborted")


@dataclass
class BucketPath:
    """As much of a `Path` as the contract needs, of what really is in a bucket."""

    engine: Any
    key: str
    home: str

    def __truediv__(self, name: str) -> BucketPath:
        return BucketPath(self.engine, f"{self.key}/{name}" if self.key else self.home + name, self.home)

    def write_bytes(self, data: bytes) -> None:
        self.engine.put(self.key, data, {}, True)

    def touch(self) -> None:
        self.write_bytes(b"")

    def read_bytes(self) -> bytes:
        return bytes(self.engine.whole(self.key, 1 << 40)[1])

    def exists(self) -> bool:
        try:
            self.engine.look(self.key)
        except FileNotFoundError:
            return self.is_dir()
        return True

    def is_dir(self) -> bool:
        return bool(self.engine.has_below(f"{self.key}/"))

    def mkdir(self) -> None:
        self.engine.make_folder(f"{self.key}/")

    def unlink(self) -> None:
        self.engine.remove(self.key)

    def stat(self) -> SimpleNamespace:
        facts = metadata.facts_of(self.engine.look(self.key).metadata)
        return SimpleNamespace(st_mtime_ns=facts.modified, st_mode=stat.S_IFREG | (facts.mode or 0))

    def _add(self, added: dict[str, str]) -> None:
        found, data = self.engine.whole(self.key, 1 << 40)
        self.engine.put(self.key, data, {**found.metadata, **added}, True)

    def chmod(self, mode: int) -> None:
        self._add({metadata.MODE: f"{0o100000 | mode:o}"})

    def set_time(self, modified: int) -> None:
        seconds, rest = divmod(modified, 10**9)
        self._add({metadata.MODIFIED: f"{seconds}.{rest:09d}"})

    def parts(self) -> list[str]:
        return []


def bucket(engine: Any, run: Any = support.at_once, clock: Any = None, exact: bool = True, part: int = PART) -> Bucket:
    """A bucket whose calls are made where a test wants it."""
    clock = clock or support.make_clock()
    calls = Calls(run, clock, "memory://")
    return Bucket(engine, calls, Folders(engine, calls, clock.seconds), Exact(engine, calls) if exact else None, part)


@pytest.fixture
def engine() -> Counting:
    return Counting()


@pytest.fixture
def storage(engine: Counting) -> ObjectStorage:
    return ObjectStorage(bucket(engine))


def place(engine: Any = None, home: str = "", can: Can = OBJECTS, part: int = PART) -> Place:
    engine = engine or MemoryEngine(MemoryStore())
    storage = ObjectStorage(bucket(engine, part=part), home)
    return Place(storage, BucketPath(engine, "", home), support.result_of, can)


def names_in(engine: Any) -> set[str]:
    """All keys, but for those that mark folders."""
    keys = {listed.key for page in engine.everything("") for listed in page}
    return {key for key in keys if not key.endswith((FOLDER_MARK, "/"))}
