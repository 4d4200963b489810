"""The two places that files are carried between, here and there: a storage each, and the folder that short names mean.

Both are told apart only where it matters to people: in how a path is typed, and in what is said when something is
wrong with one.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Iterable
from typing import TypeVar

from ftpsvc import display, model
from ftpsvc.model import (
    ConnectionFailed,
    Entry,
    Kind,
    ServiceClosing,
    TransferError,
    Unavailable,
    parent_and_name,
    resolve,
)
from ftpsvc.patterns import Pattern, is_pattern
from ftpsvc.remote import Remote
from ftpsvc.storage import Storage
from ftpsvc.streamclient import REFUSALS
from ftpsvc.targets import Target
from ftpsvc.words import quote

#: How many entries of a folder are looked through for a name like the one that isn't there. More would make the
#: person who mistyped a name wait for the answer.
MAX_LOOKED_THROUGH = 20_000

#: How many names completion offers: more than anybody reads.
MAX_OFFERED = 500

#: For how many seconds completion believes a listing that it has made ahead. Every command ends that at once.
BELIEVED = 15.0

#: How many names are said to be close.
MAX_CLOSE = 3


T = TypeVar("T")

#: What the listing of something that is no folder is answered: by RFC 3659, section 7.2.1, that of a file with 501.
_UNLISTED = (Unavailable, model.BadArgument)

#: A server's reply, perhaps behind the path that it is about (`display.naming`). What looks like a code behind the code
#: is a part of what it says, or of a name; in front of it a name is quoted, and has no spaces.
_REPLY = re.compile(r"(?:.*?: )??([45][0-9]{2})\b")


class Place:
    """A storage and a current folder. All paths that its methods return are absolute."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self.storage = storage
        self.folder = folder
        self._ahead: tuple[str, float, list[Entry]] | None = None
        self._changes = 0  #: how often something may have changed

    def path(self, typed: str) -> str:
        """What a typed path means. Raises `InvalidName`, and `BadArgument` for none.

        That would be the current folder, with all that is in it, where most often something else was meant.
        """
        if not typed:
            raise model.BadArgument("an empty word is no name.")
        try:
            return resolve(self.folder, typed)
        except model.InvalidName as error:  # it may be one of many
            raise model.InvalidName(f"{quote(typed)}: {error}") from error

    # -- looking

    async def entry(self, path: str, refusal: Unavailable | None = None) -> Entry:
        """What there is. Raises `Unavailable`, with the names that are close to it; where there are none, `refusal`."""
        try:
            return await self.storage.stat(path)
        except Unavailable as error:
            raise await self._explained(path, refusal or error) from error

    async def enter(self, typed: str) -> None:
        """Make a folder the current one. Raises `Unavailable`."""
        path = self.path(typed)
        if not await self.has_folder(path):
            await self.entry(path, await self._refusal(path))  # raises, with the names that are close
            raise model.NotADirectory(f"{quote(path)} is a file, not a folder.")
        self.folder = path

    async def entries(self, typed: str) -> list[Entry]:
        """A folder's entries, or the one entry of a file. Raises `Unavailable`."""
        path = self.path(typed)
        try:
            return [entry async for entry in self.storage.list(path)]
        except _UNLISTED as error:
            # What is no file is a folder, and why it can't be listed is the answer, not why it has no size.
            refusal = error if isinstance(error, Unavailable) else None
            entry = await self.entry(path, refusal)
            if not entry.is_directory:
                return [entry]
            if refusal is None:
                raise
            raise type(refusal)(display.named(path, self.reason(path, refusal))) from refusal

    async def matching(self, typed: str) -> list[tuple[str, Entry]]:
        """What a path means in which `*`, `?` and `[a-z]` may stand in the last part. Raises `Unavailable` for nothing.

        Something that bears exactly that name wins.
        """
        path = self.path(typed)
        folder, name = parent_and_name(path)
        if not is_pattern(name):
            return [(path, await self.entry(path))]
        try:
            return [(path, await self.storage.stat(path))]
        except (Unavailable, model.InvalidName):
            pattern = Pattern(name)
        found = [entry for entry in await self.entries(folder) if pattern.matches(entry.name)]
        if not found:
            raise model.NotFound(f"nothing in {quote(folder)} matches {quote(name)}.")
        return _by_name((f"{folder.rstrip('/')}/{entry.name}", entry) for entry in found)

    async def removable(self, typed: str) -> list[tuple[str, Entry]]:
        """The same, also for a link that leads nowhere: that is listed, and asked for it, a server knows of nothing."""
        try:
            return await self.matching(typed)
        except Unavailable:
            path = self.path(typed)
            folder, name = parent_and_name(path)
            with contextlib.suppress(*_UNLISTED):
                async with self._listing(folder) as listing:
                    async for entry in listing:
                        if entry.name == name and entry.kind is Kind.LINK:
                            return [(path, entry)]
            raise

    async def offers(self, typed: str, now: float) -> list[tuple[str, Entry]]:
        """The paths that what was typed may be the beginning of, written in the same way; folders end with `/`."""
        folder, slash, beginning = typed.rpartition("/")
        found = [
            (folder + slash + entry.name + "/" * entry.is_directory, entry)
            for entry in await self._known(self.path(folder + slash or "."), now)
            if entry.name.startswith(beginning) and (beginning or not entry.name.startswith("."))
        ]
        return _by_name(found)[:MAX_OFFERED]

    async def _known(self, path: str, now: float) -> list[Entry]:
        """A folder's entries for completion, from a listing of a moment ago where there is one."""
        if self._ahead is not None and self._ahead[0] == path and now - self._ahead[1] < BELIEVED:
            return self._ahead[2]
        entries: list[Entry] = []
        changes = self._changes
        async with self._listing(path) as listing:
            async for entry in listing:
                entries.append(entry)
                if len(entries) >= MAX_LOOKED_THROUGH:
                    break
        if changes == self._changes:  # else a command has begun meanwhile, and may have made what isn't in it
            self._ahead = (path, now, entries)
        return entries

    async def lacks(self, path: str) -> bool:
        """Whether the folder's listing shows that nothing has this name."""
        folder, name = parent_and_name(path)
        names = await self._names(folder)
        return names is not None and name not in names

    def forget(self) -> None:
        """Something may have changed: what was listed ahead is not believed any more."""
        self._ahead = None
        self._changes += 1

    async def doing(self, path: str, work: Awaitable[T], is_new: bool = False) -> T:
        """Do something with a path. Raises what that raises, with the names that are close where it isn't there.

        `is_new`: it needn't be there, because the work makes it.
        """
        try:
            return await work
        except Unavailable as error:
            raise await self._explained(path, error, is_new) from error

    def _listing(self, path: str) -> contextlib.aclosing[AsyncGenerator[Entry, None]]:
        # Closed at once when it isn't read to its end: an abandoned listing holds up what is asked after it.
        return contextlib.aclosing(self.storage.list(path))

    # -- free space, and what is said

    async def space(self, path: str) -> int | None:
        """How many bytes a folder has room for; None if that can't be told."""
        raise NotImplementedError

    async def takes_files(self, folder: str) -> bool:
        """Whether new files may be made in a folder, as far as that can be told without trying."""
        raise NotImplementedError

    def reason(self, path: str, error: TransferError) -> str:
        """What went wrong with a path, in this place's words."""
        raise NotImplementedError

    async def _explained(self, path: str, error: Unavailable, is_new: bool = False) -> TransferError:
        """The same error, saying what would have been there.

        A server has one code, 550, for what is missing and for what is forbidden; the folder's listing tells them
        apart.
        """
        folder, name = parent_and_name(path)
        names = await self._names(folder)
        if names is None and folder != path and await self._is_no_folder(folder):
            return model.NotFound(f"there is no folder {quote(folder)}{self._code(error)}.")
        if is_new or names is None or name in names:
            return type(error)(self.reason(path, error))
        close = difflib.get_close_matches(name, names, MAX_CLOSE)
        close = close or sorted(other for other in names if other.startswith(name))[:MAX_CLOSE]
        hint = f" Close: {', '.join(map(quote, close))}." if close else ""
        return model.NotFound(f'no "{name}" in {quote(folder)}{self._code(error)}.{hint}')

    async def has_folder(self, path: str) -> bool:
        """Whether a path is a folder, perhaps one that can't be looked at."""
        try:
            return (await self.storage.stat(path)).is_directory
        except Unavailable:
            return await self.can_be_entered(path)

    async def can_be_entered(self, path: str) -> bool:
        """Whether a path that can't be looked at is a folder all the same."""
        return False

    async def _is_no_folder(self, path: str) -> bool:
        """Whether there is none of that name: it may be one that can neither be looked at nor entered."""
        try:
            return not (await self.storage.stat(path)).is_directory
        except Unavailable:
            above, name = parent_and_name(path)
            return not await self.can_be_entered(path) and name not in (await self._names(above) or ())

    async def _refusal(self, path: str) -> Unavailable | None:
        """Why a path can't be entered, where that says more than why it can't be looked at."""
        return None

    def _code(self, error: TransferError) -> str:
        return ""

    async def _names(self, folder: str) -> list[str] | None:
        names: list[str] = []
        try:
            async with self._listing(folder) as listing:
                async for entry in listing:
                    names.append(entry.name)
                    if len(names) >= MAX_LOOKED_THROUGH:
                        return None
        except _UNLISTED:
            return None
        return names


def _by_name(found: Iterable[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    # By nothing else: a server may have two things of one name, and which kind comes first is not defined.
    return sorted(found, key=lambda item: item[0])


class Here(Place):
    """This machine."""

    def __init__(self, storage: Storage, folder: str, home: str) -> None:
        super().__init__(storage, folder)
        self.home = home

    def path(self, typed: str) -> str:
        if typed == "~" or typed.startswith("~/"):
            typed = self.home + typed[1:]
        return super().path(typed)

    async def space(self, path: str) -> int | None:
        try:
            return await self.storage.space(path)
        except TransferError:
            return None

    async def takes_files(self, folder: str) -> bool:
        return not os.path.isdir(folder) or os.access(folder, os.W_OK | os.X_OK)

    def reason(self, path: str, error: TransferError) -> str:
        return display.reason(error, path)


class There(Place):
    """A server."""

    #: Whether a job in the background has the connection, so that the next command needs another.
    is_lent = False

    def __init__(self, remote: Remote, target: Target, folder: str = "/") -> None:
        super().__init__(remote, folder)
        self.remote = remote
        self.target = target

    @property
    def host(self) -> str:
        return self.target.host

    @property
    def port(self) -> int:
        return self.target.port

    def adopt(self, remote: Remote) -> None:
        """Go on over another connection."""
        self.storage = self.remote = remote

    async def space(self, path: str) -> int | None:
        if "AVBL" not in self.remote.features:
            return None
        try:
            return await self.storage.space(path)
        except (*REFUSALS, model.ProtocolViolation):
            return None  # whatever else this means is said when the file is opened

    async def can_be_entered(self, path: str) -> bool:
        try:
            await self.remote.change_directory(path)  # a drop box shows nothing, and can be gone to
        except (ConnectionFailed, ServiceClosing):
            raise  # which says nothing of the folder
        except TransferError:
            return False
        return True

    async def _refusal(self, path: str) -> Unavailable | None:
        try:
            await self.remote.change_directory(path)
        except Unavailable as error:
            return error
        except TransferError:
            pass
        return None

    async def takes_files(self, folder: str) -> bool:
        # RFC 3659, section 7.5.5: c is to create files. A server that tells no permissions is asked by trying.
        permissions = await self.remote.permissions(folder)
        return permissions is None or "c" in permissions

    def reason(self, path: str, error: TransferError) -> str:
        return display.naming(path, str(error))

    def leaves(self, path: str) -> str:
        """What there is to say of a name for which an upload was meant that failed; nothing where that left nothing."""
        if self.remote.is_inline:
            return ""
        return f"Look what {quote(path)} is now: such a server may keep a part of it under its name."

    def _code(self, error: TransferError) -> str:
        reply = _REPLY.match(str(error))
        return f" ({reply[1]})" if reply else ""
