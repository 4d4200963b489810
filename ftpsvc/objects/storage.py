"""A home in an object storage: a bucket, or a part of one, as a tree of files."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass

from ftpsvc import model
from ftpsvc.frames import digest_of
from ftpsvc.model import MAX_COMPONENT, PART_PREFIX, Entry, Facts, Permission, Stored, Whole
from ftpsvc.objects import metadata
from ftpsvc.objects.calls import Calls
from ftpsvc.objects.engine import MOST_COPIED, Engine, Found, Page
from ftpsvc.objects.folders import Folders
from ftpsvc.objects.listed import Exact, entry_of, folder
from ftpsvc.objects.metadata import digest_in, facts_of
from ftpsvc.objects.reading import ObjectReadFile
from ftpsvc.objects.writing import PART, ObjectWriteFile
from ftpsvc.storage import SMALL, Times
from ftpsvc.usage import Used

#: The longest key that all engines take, in bytes.
MAX_KEY = 1024

#: What obstore takes in no key, and S3 in all.
_CONTROL = re.compile(r"[\0-\x1f\x7f]")


@dataclass
class Bucket:
    """What all homes in one bucket share."""

    engine: Engine
    calls: Calls
    folders: Folders
    exact: Exact | None  #: None: listings show when a file was stored
    part: int = PART


class ObjectStorage:
    """The `Storage` below a prefix. What it can't do it refuses at once; docs/object-storage.md has the whole list."""

    def __init__(self, bucket: Bucket, prefix: str = "") -> None:
        """`prefix`: empty, or with a slash at its end."""
        self._bucket = bucket
        self._engine = bucket.engine
        self._calls = bucket.calls
        self._home = prefix

    def close(self) -> None:
        """The bucket is everybody's, and closed by whoever opened it."""

    @property
    def times(self) -> Times:
        return Times(are_exact=self._bucket.exact is not None, are_kept=self._engine.rewrites)

    def lacks(self, is_directory: bool) -> Permission:
        """What nobody may do here with a file or a folder, because it can't be done."""
        if is_directory:
            return Permission.RENAME
        return Permission.APPEND if self._engine.rewrites else Permission.APPEND | Permission.SET_FACTS

    # -- looking

    def _key(self, path: str) -> str:
        if _CONTROL.search(path):
            raise model.InvalidName("The name of an object can't hold control characters here.")
        key = self._home + path[1:]
        try:
            length = len(key.encode())
        except UnicodeEncodeError:
            raise model.InvalidName(f"{path}: the name of an object is UTF-8, and this is not.") from None
        if length > MAX_KEY:
            raise model.InvalidName(f"{path}: with its folders the name of an object has {MAX_KEY} bytes at most.")
        return key

    def _prefix(self, path: str) -> str:
        return self._home if path == "/" else f"{self._key(path)}/"

    async def stat(self, path: str) -> Entry:
        name = path.rpartition("/")[2]
        if path == "/":
            return folder(name)
        found = await self._look(path)
        return folder(name) if found is None else entry_of(name, found, facts_of(found.metadata))

    async def _look(self, path: str) -> Found | None:
        """An object; None for a folder. Raises `NotFound` where neither is."""
        if path == "/":
            return None
        key = self._key(path)
        try:
            return await self._calls(path, self._engine.look, key)
        except model.NotFound:
            if not await self._calls(path, self._engine.has_below, f"{key}/"):
                raise
            return None

    async def _file(self, path: str) -> Found:
        found = await self._look(path)
        if found is None:
            raise model.NotAFile(f"{path} is not a plain file.")
        return found

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        prefix = self._prefix(path)
        after, is_empty = "", True
        while True:
            page: Page = await self._calls(path, self._engine.page, prefix, after)
            is_empty = is_empty and not page.objects and not page.folders
            if is_empty and path != "/" and not page.after:
                await self._file(path)
                raise model.NotADirectory(f"{path} is not a directory.")
            for name in page.folders:
                if _is_shown(name):
                    yield folder(name)
            # What bears the folder's own name, with the slash, is its mark.
            objects = [listed for listed in page.objects if _is_shown(listed.key[len(prefix) :])]
            exact = self._bucket.exact
            facts = [model.NO_FACTS] * len(objects) if exact is None else await exact.facts(path, objects)
            for listed, known in zip(objects, facts, strict=True):
                if known is not None:
                    yield entry_of(listed.key[len(prefix) :], listed, known)
            if not (after := page.after):
                return

    # -- reading

    async def open_read(self, path: str, offset: int = 0) -> ObjectReadFile:
        found = await self._file(path)
        if offset > found.size:
            raise model.BadOffset(f"{path} has {found.size} bytes; it can't be read from byte {offset}.")
        entry = entry_of(path.rpartition("/")[2], found, facts_of(found.metadata))
        return ObjectReadFile(self._engine, self._calls, path, self._key(path), found.tag, entry, offset)

    def fetch(self, path: str) -> Awaitable[Whole]:
        return self._fetch(path)

    async def _fetch(self, path: str) -> Whole:
        if path == "/":
            # The home's prefix is no key: without its slash, as obstore takes it, it is an object outside of the home.
            raise model.NotAFile(f"{path} is not a plain file.")
        try:
            found, data = await self._calls(path, self._engine.whole, self._key(path), SMALL)
        except (model.NotFound, model.InvalidName):
            await self._file(path)
            raise
        if data is None:
            raise model.TooLarge(f"{path} has more than {SMALL} bytes.")
        entry = entry_of("", found, facts_of(found.metadata))
        return Whole(bytes(data), Facts(entry.modified, entry.mode))

    async def known_digest(self, path: str) -> str:
        """The XXH3-128 of a file, as whoever stored it has computed it; empty where nobody has. Raises `NotFound`."""
        return digest_in((await self._file(path)).metadata)

    # -- writing

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> ObjectWriteFile:
        if offset:
            raise model.BadParameter(f"{path}: uploads can't go on from a byte in an object storage. Send all of it.")
        await self._demand_place(path)
        key = self._key(path)
        return ObjectWriteFile(self._engine, self._calls, path, key, replace, self._bucket.part)

    async def open_append(self, path: str) -> ObjectWriteFile:
        try:
            await self._file(path)
        except model.NotFound:
            return await self.open_write(path, replace=False)
        raise model.NotImplementedHere(f"{path}: nothing can be added to a file in an object storage. Store it anew.")

    async def put(self, path: str, whole: Whole) -> Stored:
        await self._demand_place(path)
        digest = digest_of(whole.data)
        facts = metadata.from_facts(whole.facts, digest)
        await self._calls(path, self._engine.put, self._key(path), whole.data, facts, True)
        return Stored(len(whole.data), digest)

    async def _demand_place(self, path: str) -> None:
        """Raises what keeps a file from being stored there: no folder, or one that has this name."""
        parent, name = model.parent_and_name(path)
        if not name:
            raise model.NotAFile(f"{path} is a folder.")
        key = self._key(path)
        # Other tools couldn't get a file with a longer name down to a disk.
        if len(name.encode()) > MAX_COMPONENT:
            raise model.InvalidName(f"A name can't be longer than {MAX_COMPONENT} bytes.")
        known = await self._bucket.folders.demand(parent, self._prefix(parent), self._home)
        is_folder = name in known.folders if known.folders is not None else await self._is_folder(path, key)
        if is_folder:
            raise model.NotAFile(f"{path} is there, and is not a plain file.")

    async def _is_folder(self, path: str, key: str) -> bool:
        return await self._calls(path, self._engine.has_below, f"{key}/")

    # -- changing the tree

    async def make_dir(self, path: str) -> None:
        parent = model.parent_and_name(path)[0]
        try:
            await self._look(path)
        except model.NotFound:
            pass
        else:
            raise model.AlreadyExists(f"{path} is there already.")
        await self._bucket.folders.demand(parent, self._prefix(parent), self._home)
        await self._calls(path, self._engine.make_folder, self._prefix(path))
        self._bucket.folders.forget(self._prefix(parent))

    async def remove(self, path: str) -> None:
        await self._file(path)
        await self._calls(path, self._engine.remove, self._key(path))
        await self._keep_folder(path)

    async def _keep_folder(self, path: str) -> None:
        """A folder is there as long as something is in it. It is not to vanish with its last file."""
        prefix = self._prefix(model.parent_and_name(path)[0])
        if prefix != self._home and not await self._calls(path, self._engine.has_below, prefix):
            await self._calls(path, self._engine.make_folder, prefix)

    async def remove_dir(self, path: str) -> None:
        if path == "/":
            raise model.Denied("The root can't be removed.")
        if await self._look(path) is not None:
            raise model.NotADirectory(f"{path} is not a directory.")
        prefix = self._prefix(path)
        page: Page = await self._calls(path, self._engine.page, prefix)
        if page.folders or page.after or any(_is_shown(listed.key[len(prefix) :]) for listed in page.objects):
            raise model.NotEmpty(f"{path} is not empty.")
        await self._calls(path, self._engine.remove_folder, prefix)
        self._bucket.folders.forget(prefix, self._prefix(model.parent_and_name(path)[0]))
        await self._keep_folder(path)

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        """A copy, looked at, and the removal of the old: three requests, and at no moment is there neither."""
        found = await self._look(source)
        if found is None:
            raise model.NotImplementedHere(
                f"{source}: an object storage has no way to rename a folder. Store it anew, or rename file by file."
            )
        if found.size > MOST_COPIED:
            raise model.NotImplementedHere(f"{source}: it is too large to be renamed in an object storage.")
        await self._demand_place(target)
        if source == target:
            return
        old, new = self._key(source), self._key(target)
        if not replace:
            await self._demand_nothing_there(target, new)
        await self._calls(source, self._engine.copy, old, new)
        copied = await self._calls(target, self._engine.look, new)
        still = await self._calls(source, self._engine.look, old)
        if copied.size != found.size or still.tag != found.tag:
            raise model.LocalFault(f"{source} was replaced while it was copied to {target}; both are there now.")
        await self._calls(source, self._engine.remove, old)
        await self._keep_folder(source)

    async def _demand_nothing_there(self, path: str, key: str) -> None:
        # Engines have no condition for copies. What comes between this look and the next request is replaced.
        try:
            await self._calls(path, self._engine.look, key)
        except model.NotFound:
            return
        raise model.AlreadyExists(f"{path} is there already.")

    async def set_facts(self, path: str, facts: Facts) -> None:
        found = await self._look(path)
        if found is None:
            raise model.BadParameter(f"{path}: a folder in an object storage has neither time nor mode.")
        if not self._engine.rewrites or found.size > MOST_COPIED:
            raise model.NotImplementedHere(f"{path}: its time and mode can't be changed any more.")
        changed = {**found.metadata, **metadata.from_facts(facts)}
        await self._calls(path, self._engine.rewrite, self._key(path), changed, found.tag)

    async def space(self, path: str) -> int:
        raise model.NotImplementedHere("An object storage doesn't say how much space is left.")

    async def count(self) -> Used:
        """What lies in it, object by object: a request for each thousand. Folders don't count, only their marks do."""
        pages = self._engine.everything(self._home)
        used = Used()
        while (page := await self._calls("/", next, pages, None)) is not None:
            used = Used(used.size + sum(listed.size for listed in page), used.files + len(page))
        return used

    async def sweep(self, before: float, run: str = "") -> int:
        """Abort the uploads in parts that began before this time of day; how many there were. Of a `run` nothing is
        known here: what a worker leaves that dies is as old as any other."""
        return await self._calls("/", self._engine.sweep, self._home, before)


def _is_shown(name: str) -> bool:
    """Whether a part of a key can be a name in a listing. Some tools' keys have two slashes in a row, or dots."""
    return bool(name) and not name.startswith(PART_PREFIX) and name not in (".", "..") and not _CONTROL.search(name)
