"""An object that is being written: small ones in one request at the commit, others in parts as they come."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from ftpsvc import model
from ftpsvc.frames import Digest
from ftpsvc.model import NO_FACTS, Facts, Stored
from ftpsvc.objects import metadata
from ftpsvc.objects.calls import Calls
from ftpsvc.objects.engine import MOST_COPIED, Engine, Upload
from ftpsvc.storage import Buffer

#: How large a part is, unless the options say otherwise. An upload holds the one that is being filled, and those under
#: way: five parts and a copy, 48 MiB. A file that has no more than one part is stored in one request.
PART = 8 * 1024 * 1024

#: The most parts that an upload can have: S3's limit.
MOST_PARTS = 10_000


class ObjectWriteFile:
    """A `WriteFile`. Nobody sees anything of it before the engine has confirmed the whole."""

    _log = Logger()

    def __init__(self, engine: Engine, calls: Calls, path: str, key: str, replace: bool, part: int) -> None:
        self._engine = engine
        self._calls = calls
        self._path = path
        self._key = key
        self._replace = replace
        self._part = part
        self._digest = Digest()
        self._size = 0
        self._held = bytearray()
        self._expected = NO_FACTS
        self._beginning: Deferred[Any] | None = None
        self._upload: Upload | None = None
        self._parts = 0
        self._sending: deque[Deferred[None]] = deque()
        self._is_over = False

    def expect(self, facts: Facts) -> None:
        """Told before the first byte what the facts will be: then an upload in parts begins with them."""
        self._expected = facts

    async def write(self, chunk: Buffer) -> None:
        self._digest.update(chunk)
        self._size += len(chunk)
        self._held += chunk
        # More than a part, and not as much: what is not yet a part's end may be the end of a small file.
        while len(self._held) > self._part:
            await self._send(self._part)

    async def _send(self, size: int) -> None:
        if self._upload is None:
            self._upload = await self._begin()
        if self._parts == MOST_PARTS:
            most = self._part * MOST_PARTS
            raise model.OverQuota(f"{self._path}: with these parts it can have {most} bytes; see --object-part.")
        while len(self._sending) >= self._upload.at_once:
            await self._first_part_sent()
        data = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        self._parts += 1
        self._sending.append(self._calls.begin(self._upload.send, self._parts, data))

    async def _begin(self) -> Upload:
        facts = metadata.from_facts(self._expected)
        self._beginning = self._calls.begin(self._engine.upload, self._key, facts, self._part)
        return await self._calls.wait(self._beginning, self._path)

    async def _first_part_sent(self) -> None:
        # It stays in the queue until it is done: whoever gives up meanwhile has to wait for it.
        await self._calls.wait(self._sending[0], self._path)
        self._sending.popleft()

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        found = self._digest.hexdigest()
        try:
            if digest is not None and digest != found:
                raise model.Damaged(f"{self._path}: what arrived is not what was sent; its digest is {found}.")
            tag = ""
            if self._upload is None:
                data, self._held = bytes(self._held), bytearray()
                whole = metadata.from_facts(facts, found)
                await self._calls(self._path, self._engine.put, self._key, data, whole, self._replace)
            else:
                tag = await self._complete(self._upload)
        except BaseException:
            await self.abort()
            raise
        self._is_over = True
        is_late = self._upload is not None and facts != self._expected
        if is_late and self._engine.rewrites and self._size <= MOST_COPIED:
            await self._say_late(metadata.from_facts(facts, found), tag)
        return Stored(self._size, found)

    async def _complete(self, upload: Upload) -> str:
        if self._held:
            await self._send(len(self._held))
        while self._sending:
            await self._first_part_sent()
        return await self._calls(self._path, upload.complete, self._replace)

    async def _say_late(self, facts: dict[str, str], tag: str) -> None:
        """Metadata goes with the beginning of an upload in parts; what was told at its end needs a copy in place."""
        try:
            await self._calls(self._path, self._engine.rewrite, self._key, facts, tag)
        except model.TransferError as error:
            # The bytes are all there, and that is what the reply is about.
            self._log.warn("{path} was stored without its time: {why}", path=self._path, why=error)

    async def abort(self, keep: bool = False) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._held.clear()
        # Behind what is under way, and not waited for: an engine that is down takes its time.
        if (upload := self._upload) is not None:
            ended = DeferredList(list(self._sending), consumeErrors=True)
            ended.addCallback(lambda _: self._calls.begin(upload.abort))
            ended.addErrback(self._not_aborted)
        elif self._beginning is not None:
            self._beginning.addCallback(self._abort_begun)
            self._beginning.addErrback(self._not_aborted)

    def _abort_begun(self, upload: Upload | None) -> Deferred[None] | None:
        """For what the engine has begun after whoever wanted it had gone."""
        return None if upload is None else self._calls.begin(upload.abort)

    def _not_aborted(self, _: object) -> None:
        self._log.warn("Parts of {path} could not be removed at once; the daily sweep does it", path=self._path)
