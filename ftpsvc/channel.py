"""The ways of the data. One interface; what a verb sends or receives does not depend on which it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from ftpsvc.model import Facts, TransferError, Whole
from ftpsvc.storage import ReadFile, WriteFile


class Sent(NamedTuple):
    """What a download has sent."""

    size: int
    digest: str


class Received(NamedTuple):
    """The end of an upload whose data is complete: what the client says it has sent."""

    digest: str | None
    facts: Facts


class Channel(Protocol):
    """One transfer's way. Each method moves one transfer, and raises `Aborted` when it ends before its data does."""

    @property
    def mode(self) -> str:
        """Which way it is: inline, passive or active."""

    @property
    def moved(self) -> int:
        """How many bytes of data have been sent or received by now."""

    async def send_file(self, file: ReadFile, offset: int) -> Sent:
        """Send an open file, which is at this offset, up to its end."""

    async def send_whole(self, whole: Whole) -> Sent:
        """Send a small file, all at once."""

    async def send_lines(self, blocks: AsyncIterator[bytes]) -> None:
        """Send a listing, as it is made."""

    async def receive_file(self, file: WriteFile) -> Received:
        """Receive a file up to its positive end. It is not committed here."""

    def give_up(self) -> None:
        """Let go of what was prepared, for a transfer that has not begun and won't."""

    def fail(self, why: TransferError) -> None:
        """Break the transfer off, as soon as both ends stay in step with each other. It raises this."""
