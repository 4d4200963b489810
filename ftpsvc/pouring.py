"""A file's bytes poured out, as `cat` does: what has gone to a pipe can't be taken back when the connection is lost.

It is gone on with, from the next byte, only if what was poured out is still how the file begins: same size and time,
and where the source tells digests, the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from ftpsvc.checksums import ALGORITHMS
from ftpsvc.lines import Line
from ftpsvc.model import Aborted, Entry
from ftpsvc.resuming import PIECE, common_algorithm
from ftpsvc.storage import CHUNK, Buffer, Storage, TellsDigests, TellsTimes
from ftpsvc.words import quote


async def pour(
    source: Storage,
    path: str,
    entry: Entry,
    line: Line,
    put: Callable[[Buffer], None],
    via: Storage | None = None,
) -> None:
    """Give all bytes of a file to `put`, each once; `line` may break and be mended meanwhile.

    `via` is read in the source's place. Raises `Aborted` if the file isn't any more as `entry` says when it is to be
    gone on with.
    """
    poured = _Poured(source, path, entry)

    async def attempt() -> None:
        if poured.size:
            await poured.check()
        file = await (via or source).open_read(path, poured.size)
        try:
            while chunk := await file.read(CHUNK):
                put(chunk)
                poured.add(chunk)
        finally:
            await file.close()

    await line.through(attempt, lambda: poured.size)


class _Poured:
    """What has gone out, and can be compared with the file. `size` is in bytes."""

    def __init__(self, source: Storage, path: str, entry: Entry) -> None:
        self.size = 0
        self._source = source
        self._path = path
        self._entry = entry
        self._algorithm = common_algorithm(source, source) if isinstance(source, TellsDigests) else None
        self._digests: list[str] = []  #: those of the whole pieces
        self._begin_piece()

    def _begin_piece(self) -> None:
        self._piece = ALGORITHMS[self._algorithm]() if self._algorithm else None

    def add(self, chunk: Buffer) -> None:
        while chunk:
            taken = chunk[: PIECE - self.size % PIECE]
            chunk = chunk[len(taken) :]
            self.size += len(taken)
            if self._piece is not None:
                self._piece.update(taken)
                if self.size % PIECE == 0:
                    self._digests.append(self._piece.hexdigest())
                    self._begin_piece()

    async def check(self) -> None:
        """Raises `Aborted` unless what went out is how the file begins now."""
        now = await self._source.stat(self._path)
        # LIST, from which the entry may be, tells minutes or days, and MDTM the second: those are no proof of anything.
        is_exact = isinstance(self._source, TellsTimes) and self._source.times.are_exact
        if now.size != self._entry.size or (is_exact and now.modified != self._entry.modified):
            raise Aborted(f"{quote(self._path)} was changed after {self.size} bytes of it had gone out.")
        if isinstance(self._source, TellsDigests) and self._algorithm is not None and self._piece is not None:
            mine = [*self._digests, self._piece.hexdigest()]
            for first, digest in zip(range(0, self.size, PIECE), mine, strict=False):
                end = min(first + PIECE, self.size)
                if digest != await self._source.digest(self._path, self._algorithm, first, end):
                    raise Aborted(f"{quote(self._path)} doesn't begin with the {self.size} bytes that had gone out.")
        elif not now.modified or not is_exact:
            raise Aborted(
                f"the connection was lost after {self.size} bytes had gone out, and this server tells nothing by which "
                "one could know that the rest fits them. Use: get"
            )
