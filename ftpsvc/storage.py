"""What a storage is: local disk, the far side of a connection, an object store.

Paths are absolute virtual paths as `model.resolve` makes them: `/`, `/a/b`. Every method raises the domain errors of
`model` and no others. What implements this is finished when the shared contract suite passes on it
(tests/storage_contract.py, tests/tree_contract.py).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import NamedTuple, Protocol, cast, runtime_checkable

from ftpsvc.model import NO_FACTS, NOTHING, Entry, Facts, Permission, Stored, Whole

#: How much `ReadFile.read` is asked for at once, and the most that a storage keeps in memory for one file.
CHUNK = 1024 * 1024

#: A file of at most this size may be moved whole, in memory: `Storage.fetch` and `put`.
SMALL = 64 * 1024

Buffer = bytes | memoryview


class ReadFile(Protocol):
    """A file that is open for reading, from the offset that it was opened at."""

    @property
    def entry(self) -> Entry:
        """The file as it was when it was opened. Its size is that of the whole file."""

    @property
    def facts(self) -> Facts:
        """Modify time and mode, as far as they are known: for what comes over the wire, when all was read."""

    def fileno(self) -> int | None:
        """A descriptor that `sendfile` and `pread` can use, where there is one.

        The one capability that is asked for: an object store has none.
        """

    async def read(self, size: int) -> Buffer:
        """The next bytes, at most `size`; empty at the end, and only there.

        Raises `LocalFault` if the file can't be read any further or is shorter than it was, `Damaged` if the bytes are
        not those that were sent. A caller who read up to the end without an error has the file as it is.
        """

    async def close(self) -> None:
        """Give everything back. Never raises, and may be called twice."""


class WriteFile(Protocol):
    """A file that is being written. Nothing bears its name before `commit`."""

    async def write(self, chunk: Buffer) -> None:
        """Take the next bytes. May return before they are written, and raise what went wrong later."""

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        """Put the file into place, whole and on stable storage, with these facts.

        `digest` is the XXH3-128 that what was given to `write` must have; if it differs, `Damaged` is raised. When
        this returns the bytes survive a power cut and every reader sees the new file; until then every reader saw the
        old one. If it raises, nothing was changed, but for one case: a directory that can't be synced after the rename
        has the new file, and whether that survives a power cut isn't known.
        """

    async def abort(self, keep: bool = False) -> None:
        """End without a commit; the old file stays. `keep`: the part may be gone on from later.

        Does nothing after a commit or another abort. Never raises.
        """


class Storage(Protocol):
    """A tree of files."""

    async def stat(self, path: str) -> Entry:
        """What is known of one name, with links followed. Raises `NotFound`."""

    def list(self, path: str) -> AsyncGenerator[Entry, None]:
        """The entries of a directory, streamed and in no order; without `.`, `..` and the server's own parts."""

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        """Open a plain file. Raises `NotFound`, `NotAFile`, or `BadParameter` if the offset lies behind its end."""

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> WriteFile:
        """Begin a file that will replace or create `path`; without `replace`, create it and nothing else.

        What has that name by the time of the commit is then left as it is, and `AlreadyExists` raised.

        With an offset it begins with that many bytes of the part that an earlier, broken attempt left, or of
        the file itself. Raises what stands in the way now; what appears in the way later is raised by `commit`.
        """

    async def open_append(self, path: str) -> WriteFile:
        """Begin to add to a file in place; created if missing. An abort cuts it back to what it was."""

    def fetch(self, path: str) -> Awaitable[Whole]:
        """A small plain file, all at once, as `open_read` and `read` would give it. Raises `TooLarge` beside theirs."""

    async def put(self, path: str, whole: Whole) -> Stored:
        """Store a small file, all at once, with the promises of `open_write` and `commit`."""

    async def make_dir(self, path: str) -> None:
        """Make one directory; its parent must be there. Raises `AlreadyExists`."""

    async def remove(self, path: str) -> None:
        """Remove a file or a link, never a directory."""

    async def remove_dir(self, path: str) -> None:
        """Remove an empty directory. Raises `NotEmpty`."""

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        """Give an entry another name, in one step. A file there is replaced, a directory is not.

        Without `replace` nothing is, whatever has that name by then: raises `AlreadyExists`.
        """

    async def set_facts(self, path: str, facts: Facts) -> None:
        """Set modify time and mode, whichever are given."""

    async def space(self, path: str) -> int:
        """How many bytes can still be stored at this place."""


# -- what a storage may be able to do besides: asked for with isinstance, and never demanded


@runtime_checkable
class KeepsParts(Protocol):
    """A storage of which the parts can be read that broken attempts have left."""

    async def open_part(self, path: str, offset: int = 0) -> ReadFile:
        """What `open_write` with an offset would go on from. Raises `NotFound` where there is none, or it is in use."""

    async def open_begun(self, path: str) -> ReadFile:
        """The same, also while an upload writes to it: as much as it has by now. Raises `NotFound`."""


@runtime_checkable
class RemovesParts(Protocol):
    """A storage in whose folders parts may lie that nobody sees."""

    async def remove_dir_and_parts(self, path: str) -> int:
        """The same as `remove_dir`; how many bytes of parts went with it."""


@runtime_checkable
class ShowsPart(Protocol):
    """A `WriteFile` that can be looked at before anything bears its name."""

    async def opened_part(self, digest: str | None = None) -> int:
        """A descriptor to read all that was written, from its beginning; the caller's to close.

        To be asked for when all was written, and before `commit`. `digest` is as there. Raises `LocalFault` where there
        is none after all.
        """


@runtime_checkable
class TellsDigests(Protocol):
    """A storage that says what its bytes are without handing them out. It is asked, instead of being read."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Those of `checksums.ALGORITHMS` that it computes of any range; none, if it can't tell digests after all."""

    async def digest(self, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
        """The digest of the bytes from `first` up to `end`, of a file or its part. Raises `BadOffset` for more."""

    async def kept(self, path: str) -> int:
        """How many bytes of a broken attempt to write `path` it has. Raises `NotFound`."""


class Times(NamedTuple):
    """What a storage makes of modify times: whether it tells them to the second, and keeps those it is given.

    And whether a file's mode comes with it, in both directions; else it has to be set behind it at the other end.
    """

    are_exact: bool = True
    are_kept: bool = True
    with_modes: bool = True


@runtime_checkable
class TellsTimes(Protocol):
    """A storage that may be no good at times."""

    @property
    def times(self) -> Times: ...


@runtime_checkable
class LacksSome(Protocol):
    """A storage that can't do all that an account may."""

    def lacks(self, is_directory: bool) -> Permission:
        """What nobody may do there with a file, or with a folder, because it can't be done."""


def lacking(storage: object, is_directory: bool) -> Permission:
    """What a storage can't do with a file, or with a folder."""
    lacks = getattr(storage, "lacks", None)  # a look at a protocol would take longer, and this is asked for each MLST
    return NOTHING if lacks is None else cast(LacksSome, storage).lacks(is_directory)


@runtime_checkable
class RemembersDigests(Protocol):
    """A storage that keeps the digest of each file that was stored there."""

    async def known_digest(self, path: str) -> str:
        """The XXH3-128 of a whole file; empty where it isn't known. Raises `NotFound`."""


async def known_digest(storage: object, path: str) -> str:
    """What a storage knows of a file's XXH3-128 without reading it; empty if that is nothing."""
    return await storage.known_digest(path) if isinstance(storage, RemembersDigests) else ""


@runtime_checkable
class SyncsEarly(Protocol):
    """A `WriteFile` whose commit takes long for what was written, which can be made durable before."""

    async def sync(self) -> None:
        """Make durable what was written so far. It may still be committed, or be given up."""


@runtime_checkable
class TakesFactsEarly(Protocol):
    """A `WriteFile` for which it is cheaper to know before the first byte what `commit` will be told."""

    def expect(self, facts: Facts) -> None:
        """Facts that the commit will bring, most likely."""


@runtime_checkable
class AnnouncesFacts(Protocol):
    """A storage that passes such facts on to another. The next `open_write` of the same name is meant."""

    def announce(self, path: str, facts: Facts) -> None:
        """Say what the commit will bring, and don't wait."""


def timed(facts: Facts, listed: int) -> Facts:
    """These with the time that a listing told, 0 if none did, where nothing else tells one, as without MDTM."""
    return facts._replace(modified=listed) if facts.modified is None and listed else facts


def announce(storage: object, path: str, facts: Facts) -> None:
    """Tell a storage early with which facts a file will come, if it wants to know."""
    if facts != NO_FACTS and isinstance(storage, AnnouncesFacts):
        storage.announce(path, facts)
