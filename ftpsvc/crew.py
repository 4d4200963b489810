"""Several connections to one server, as one `Storage`: without MODE I each does one thing at a time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ftpsvc.healing import HealingRemote, Lasting, Redial, Tell
from ftpsvc.model import NO_FACTS, Entry, Facts, Stored, TransferError, Whole
from ftpsvc.places import There
from ftpsvc.remote import Remote
from ftpsvc.storage import Buffer, ReadFile, Times, WriteFile

T = TypeVar("T")


class Crew(Lasting):
    """Gives each thing that is asked to the connection that has the least to do."""

    def __init__(self, hands: Sequence[HealingRemote], clock: Any) -> None:
        super().__init__(clock)
        self._hands = [_Hand(remote) for remote in hands]
        self._announced: dict[str, Facts] = {}

    async def healed(self, error: TransferError) -> None:
        for hand in self._hands:
            if hand.remote.remote.lost is not None:
                await hand.remote.healed(error)

    def got_on(self) -> None:
        for hand in self._hands:
            hand.remote.got_on()

    def _free(self) -> _Hand:
        return min(self._hands, key=lambda hand: hand.tasks)

    async def _do(self, work: Callable[[HealingRemote], Awaitable[T]]) -> T:
        hand = self._free()
        with hand:
            return await work(hand.remote)

    # -- the storage

    @property
    def times(self) -> Times:
        return self._hands[0].remote.times

    @property
    def algorithms(self) -> tuple[str, ...]:
        return self._hands[0].remote.algorithms

    async def digest(self, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
        return await self._do(lambda remote: remote.digest(path, algorithm, first, end, of_part))

    async def kept(self, path: str) -> int:
        return await self._do(lambda remote: remote.kept(path))

    async def stat(self, path: str) -> Entry:
        return await self._do(lambda remote: remote.stat(path))

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        hand = self._free()
        with hand:
            async for entry in hand.remote.list(path):
                yield entry

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        hand = self._free()
        with hand:
            file = await hand.remote.open_read(path, offset)
        return _Reading(file, hand)

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> WriteFile:
        hand = self._free()
        with hand:
            if (facts := self._announced.pop(path, None)) is not None:
                hand.remote.announce(path, facts)
            file = await hand.remote.open_write(path, offset, replace)
        return _Writing(file, hand)

    def announce(self, path: str, facts: Facts) -> None:
        self._announced[path] = facts  # it goes to the connection that the file will go to

    async def open_append(self, path: str) -> WriteFile:
        hand = self._free()
        with hand:
            file = await hand.remote.open_append(path)
        return _Writing(file, hand)

    def fetch(self, path: str) -> Awaitable[Whole]:
        return self._do(lambda remote: remote.fetch(path))

    async def put(self, path: str, whole: Whole) -> Stored:
        return await self._do(lambda remote: remote.put(path, whole))

    async def make_dir(self, path: str) -> None:
        await self._do(lambda remote: remote.make_dir(path))

    async def remove(self, path: str) -> None:
        await self._do(lambda remote: remote.remove(path))

    async def remove_dir(self, path: str) -> None:
        await self._do(lambda remote: remote.remove_dir(path))

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        await self._do(lambda remote: remote.rename(source, target, replace))

    async def set_facts(self, path: str, facts: Facts) -> None:
        await self._do(lambda remote: remote.set_facts(path, facts))

    async def space(self, path: str) -> int:
        return await self._do(lambda remote: remote.space(path))


#: A server as a storage that heals.
Healing = HealingRemote | Crew


@contextlib.asynccontextmanager
async def lasting(there: There, redial: Redial, clock: Any, tell: Tell, wanted: int = 1) -> AsyncIterator[Healing]:
    """A server as a storage that heals, over the connection that there is, or that and as many more as are wanted."""

    async def again() -> Remote:
        there.adopt(await redial())
        return there.remote

    hands = [HealingRemote(there.remote, again, clock, tell)]
    try:
        for _ in range(wanted - 1):
            try:
                hands.append(HealingRemote(await redial(), redial, clock, tell))
            except TransferError:
                break  # the server lets nobody in more often: then with those that there are
        yield hands[0] if len(hands) == 1 else Crew(hands, clock)
    finally:
        for hand in hands:
            hand.close()
        for hand in hands[1:]:
            hand.remote.close()


class _Hand:
    """A connection, and how many things it has to do."""

    def __init__(self, remote: HealingRemote) -> None:
        self.remote = remote
        self.tasks = 0

    def __enter__(self) -> None:
        self.tasks += 1

    def __exit__(self, *error: object) -> None:
        self.tasks -= 1


class _Task:
    """Something that a connection is busy with, until it is ended, once or more often."""

    def __init__(self, hand: _Hand) -> None:
        self._hand: _Hand | None = hand
        hand.tasks += 1

    def end(self) -> None:
        if self._hand is not None:
            self._hand.tasks -= 1
            self._hand = None


class _Reading:
    """A file that is read from one of the connections, which is busy with it until it is closed."""

    def __init__(self, file: ReadFile, hand: _Hand) -> None:
        self._file = file
        self._task = _Task(hand)

    @property
    def entry(self) -> Entry:
        return self._file.entry

    @property
    def facts(self) -> Facts:
        return self._file.facts

    def fileno(self) -> int | None:
        return self._file.fileno()

    async def read(self, size: int) -> Buffer:
        return await self._file.read(size)

    async def close(self) -> None:
        self._task.end()
        await self._file.close()


class _Writing:
    """The same for one that is written."""

    def __init__(self, file: WriteFile, hand: _Hand) -> None:
        self._file = file
        self._task = _Task(hand)

    async def write(self, chunk: Buffer) -> None:
        await self._file.write(chunk)

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        try:
            return await self._file.commit(facts, digest)
        finally:
            self._task.end()

    async def abort(self, keep: bool = False) -> None:
        self._task.end()
        await self._file.abort(keep)
