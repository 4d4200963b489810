"""An object storage by obstore, as far as obstore has a call for it: S3, Google Cloud, Azure, and in memory."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError

from ftpsvc.model import PART_PREFIX
from ftpsvc.objects.engine import PAGE, Found, Listed, Page, Upload
from ftpsvc.storage import Buffer

#: The name of an object that marks a folder, where a key can't end with a slash. No listing of ours shows it.
FOLDER_MARK = f"{PART_PREFIX}folder"

#: How many parts obstore has under way for one upload.
IN_FLIGHT = 4

# Behind all keys that begin with what stands before it.
_LAST = "\U0010ffff"


class ObstoreEngine:
    """The calls of `Engine`, by one of obstore's stores."""

    rewrites = False

    def __init__(self, store: Any) -> None:
        self._store = store

    def first_look(self, prefix: str) -> int:
        return 0

    def close(self) -> None:
        """Its connections end with it."""

    # -- objects

    def look(self, key: str) -> Found:
        return _found(self._store.get(key, options={"head": True}))

    def whole(self, key: str, most: int) -> tuple[Found, Buffer | None]:
        result = self._store.get(key)
        found = _found(result)
        if found.size > most:
            return found, None  # what of it was under way is dropped with the result
        return found, bytes(result.bytes())

    def read(self, key: str, first: int, end: int, tag: str) -> memoryview:
        options = {"range": (first, end), **({"if_match": tag} if tag else {})}
        return memoryview(self._store.get(key, options=options).bytes())

    def put(self, key: str, data: Buffer, metadata: Mapping[str, str], replace: bool) -> None:
        mode = "overwrite" if replace else "create"
        self._store.put(key, bytes(data), attributes=dict(metadata), mode=mode, use_multipart=False)

    def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Upload:
        writer = obstore.open_writer(
            self._store, key, attributes=dict(metadata), buffer_size=part, max_concurrency=IN_FLIGHT
        )
        return ObstoreUpload(self._store, key, writer)

    def remove(self, key: str) -> None:
        self._store.delete(key)

    def copy(self, source: str, target: str) -> None:
        self._store.copy(source, target)

    def rewrite(self, key: str, metadata: Mapping[str, str], tag: str) -> None:
        raise NotImplementedError("obstore has no call for it")

    # -- folders

    def page(self, prefix: str, after: str = "") -> Page:
        # obstore's list with a delimiter gives a folder at once, however many entries it has. This one walks through
        # what is in sub-folders too, and leaps to the end of each that goes on behind a page.
        stream = self._store.list(prefix or None, offset=after or None, chunk_size=PAGE)
        batch: Sequence[Any] = next(stream, [])
        objects, folders = [], list[str]()
        for meta in batch:
            listed = _listed(meta)
            name, slash, _ = listed.key[len(prefix) :].partition("/")
            if not slash:
                objects.append(listed)
            elif folders[-1:] != [name]:
                folders.append(name)
        if len(batch) < PAGE:
            return Page(objects, folders, "")
        last = batch[-1]["path"]
        name, slash, _ = last[len(prefix) :].partition("/")
        return Page(objects, folders, f"{prefix}{name}/{_LAST}" if slash else last)

    def has_below(self, prefix: str) -> bool:
        return bool(next(self._store.list(prefix or None, chunk_size=1), []))

    def everything(self, prefix: str) -> Iterator[list[Listed]]:
        for batch in self._store.list(prefix or None, chunk_size=PAGE):
            yield [_listed(meta) for meta in batch]

    def make_folder(self, prefix: str) -> None:
        with contextlib.suppress(AlreadyExistsError):
            self._store.put(prefix + FOLDER_MARK, b"", mode="create")

    def remove_folder(self, prefix: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._store.delete(prefix + FOLDER_MARK)

    def sweep(self, prefix: str, before: float) -> int:
        return 0  # obstore can't list them; docs/object-storage.md says what rids a bucket of them


class ObstoreUpload:
    """obstore's own buffered writer: it has several parts under way, and takes one after the other."""

    at_once = 1

    def __init__(self, store: Any, key: str, writer: Any) -> None:
        self._store = store
        self._key = key
        self._writer: Any = writer

    def send(self, number: int, data: bytes) -> None:
        self._writer.write(data)

    def complete(self, replace: bool) -> str:
        if not replace:
            self._refuse_what_is_there()
        writer, self._writer = self._writer, None  # one that has failed here can't be aborted any more
        writer.close()
        return ""

    def _refuse_what_is_there(self) -> None:
        # obstore has no condition for uploads in parts. What comes between this look and the next line is replaced.
        with contextlib.suppress(FileNotFoundError):
            self._store.head(self._key)
            raise AlreadyExistsError(self._key)

    def abort(self) -> None:
        if self._writer is not None:
            # To leave its block by an error is how one tells it to abort.
            self._writer.__exit__(RuntimeError, RuntimeError("given up"), None)


def _found(result: Any) -> Found:
    meta = result.meta
    metadata = {name: str(value) for name, value in result.attributes.items()}
    return Found(meta["size"], _nanoseconds(meta["last_modified"]), meta["e_tag"] or "", metadata)


def _listed(meta: Any) -> Listed:
    return Listed(meta["path"], meta["size"], _nanoseconds(meta["last_modified"]), meta["e_tag"] or "")


_BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def _nanoseconds(moment: datetime.datetime) -> int:
    return (moment - _BEGINNING) // datetime.timedelta(microseconds=1) * 1000
