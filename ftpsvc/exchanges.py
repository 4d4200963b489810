"""Exchanges: a command of the client's, and what answers it.

An exchange takes from `incoming` what belongs to it: its replies, and for a download the sequence between them. It
never runs the code of who waits for it: the protocol does, when all that is here has been looked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from ftpsvc.frames import (
    MAX_FRAME,
    Digest,
    Done,
    Fail,
    Incoming,
    SequenceReader,
    data_line,
    digest_of,
    done_line,
    fail_line,
    read_their_facts,
)
from ftpsvc.model import (
    NO_FACTS,
    Aborted,
    Damaged,
    Facts,
    ProtocolViolation,
    TooLarge,
    TransferError,
    Whole,
)
from ftpsvc.storage import SMALL, Buffer
from ftpsvc.wire import Command, Reply, ReplyReader, error_behind, error_for

if TYPE_CHECKING:
    from ftpsvc.client import ClientProtocol

#: How much of a download may wait for its reader before the connection is no longer read.
MAX_UNREAD = 1024 * 1024

DAMAGED = "The data was damaged on its way: its digest is not the one that the server sent."
NO_DIGEST = "The server sent the file without a digest, so nobody knows whether it arrived as it is."
TOO_LARGE = f"The file has more than {SMALL} bytes by now."
NOTHING_SENT = "The server said that it had sent everything, and had sent nothing."
TOO_EARLY = "The server said that it had stored the file before all of it was sent."


class Exchange:
    """A command and what answers it. The subclasses say what becomes of the answer."""

    __slots__ = ("command", "is_over")

    def __init__(self, command: Command | None) -> None:
        """No command: the greeting, which answers none."""
        self.command = command
        self.is_over = False

    def advance(self, incoming: Incoming, replies: ReplyReader) -> bool:
        """Take a piece of what is here, if it is all there. False: more has to arrive."""
        line = incoming.line()
        if line is None:
            return False
        reply = replies.line(line)
        if reply is not None:
            if reply.code < 200:
                self.begun(reply)
            else:
                self.is_over = True
                self.ended(reply)
        return True

    @property
    def may_be_silent(self) -> bool:
        """Whether the server has nothing to say now, so that its silence means nothing."""
        return False

    def sent(self) -> None:
        """The command has been written."""

    def begun(self, reply: Reply) -> None:
        """A preliminary reply has come."""

    def ended(self, reply: Reply) -> None:
        """The final reply has come."""

    def failed(self, error: TransferError) -> None:
        """No reply will come any more."""

    def _out_of_turn(self, text: str) -> ProtocolViolation:
        """For a final reply that can't be this one's. Whose are those that come next? It fails with all the others."""
        self.is_over = False
        return ProtocolViolation(text)


class Ask(Exchange):
    """A command whose answer is a reply. `finished` fires with it, or fails with the error that it means."""

    __slots__ = ("_protocol", "finished")

    def __init__(self, command: Command | None, protocol: ClientProtocol) -> None:
        super().__init__(command)
        self.finished: Deferred[Reply] = Deferred()
        self._protocol = protocol

    def ended(self, reply: Reply) -> None:
        self._protocol.heed(reply)
        self._protocol.fire(self.finished, error_for(reply) if reply.is_refusal else reply)

    def failed(self, error: TransferError) -> None:
        if not self.is_over:
            self.is_over = True
            self._protocol.fire(self.finished, error)


class Download(Exchange):
    """A command whose answer is a sequence: RETR, MLSD. Read with `read`, to the end or until `close`."""

    __slots__ = (
        "_change",
        "_chunks",
        "_digest",
        "_is_closed",
        "_is_whole",
        "_opening",
        "_outcome",
        "_protocol",
        "_reader",
        "_unread",
        "facts",
    )

    def __init__(self, command: Command, protocol: ClientProtocol) -> None:
        super().__init__(command)
        self.facts = ""
        self._protocol = protocol
        self._opening: Reply | None = None
        self._reader: SequenceReader | None = None
        self._digest = Digest()
        self._chunks: deque[memoryview] = deque()
        self._unread = 0
        self._change: Deferred[None] | None = None
        self._outcome: TransferError | None = None
        self._is_whole = False
        self._is_closed = False

    # -- what arrives

    def advance(self, incoming: Incoming, replies: ReplyReader) -> bool:
        if self._reader is None:
            return super().advance(incoming, replies)
        item = self._reader.next(incoming)
        if item is None:
            return False
        if isinstance(item, memoryview):
            self._arrived(item)
        else:
            self._reader = None
            self._sequence_ended(item)
        return True

    def begun(self, reply: Reply) -> None:
        if self._opening is None:
            self._opening = reply
            self._reader = SequenceReader()
            self._changed()

    def _arrived(self, chunk: memoryview) -> None:
        if self._is_closed:
            return
        self._digest.update(chunk)
        self._chunks.append(chunk)
        self._unread += len(chunk)
        self._changed()
        if self._unread > MAX_UNREAD:
            self._protocol.hold(self)

    def _sequence_ended(self, end: Done | Fail) -> None:
        if isinstance(end, Fail):
            self._outcome = Aborted(f"The server ended the transfer: {end.said}.")
        elif end.digest is None and self.command is not None and self.command.verb == "RETR":
            self._outcome = Damaged(NO_DIGEST)
        elif end.digest is not None and end.digest != self._digest.hexdigest():
            self._outcome = Damaged(DAMAGED)
        else:
            self.facts = end.facts
            self._is_whole = True

    def ended(self, reply: Reply) -> None:
        self._protocol.heed(reply)
        if reply.is_refusal:
            self._outcome = error_behind(reply, self._outcome)
        elif self._outcome is None and not self._is_whole:
            raise self._out_of_turn(NOTHING_SENT)
        self._changed()

    def failed(self, error: TransferError) -> None:
        if not self.is_over:
            self.is_over = True
            self._outcome = self._outcome or error
            self._changed()

    def _changed(self) -> None:
        if self._change is not None:
            waiter, self._change = self._change, None
            self._protocol.fire(waiter, None)

    # -- what is read

    async def opened(self) -> Reply:
        """The preliminary reply, once the server has accepted the command. Raises what it said if it hasn't."""
        while self._opening is None:
            if self._outcome is not None:
                raise self._outcome
            await self._wait()
        return self._opening

    async def read(self, size: int) -> Buffer:
        """The next bytes, at most `size`; empty at the end, once digest and final reply say that it is the end."""
        while not self._chunks:
            if self.is_over:
                if self._outcome is not None:
                    raise self._outcome
                return b""
            await self._wait()
        chunk = self._chunks.popleft()
        if len(chunk) > size:
            self._chunks.appendleft(chunk[size:])
            chunk = chunk[:size]
        self._unread -= len(chunk)
        if self._unread <= MAX_UNREAD:
            self._protocol.release(self)
        return chunk

    def _wait(self) -> Deferred[None]:
        self._change = Deferred()
        return self._change

    def close(self) -> None:
        """Read no more. What is still to come is thrown away, and the server told to stop if it harms nobody else."""
        if self._is_closed:
            return
        self._is_closed = True
        self._chunks.clear()
        self._unread = 0
        if not self.is_over:
            if self._protocol.is_only_download(self):
                self._protocol.submit(Exchange(Command("ABOR")))
            self._protocol.release(self)


class Fetch(Exchange):
    """RETR of a file that is known to be small. `whole` fires with all of it at once.

    In a tree of small files every microsecond counts: here a file costs one wait, where `Download` has several.
    """

    __slots__ = ("_data", "_outcome", "_protocol", "_reader", "whole")

    def __init__(self, path: str, protocol: ClientProtocol) -> None:
        super().__init__(Command("RETR", path))
        self.whole: Deferred[Whole] = Deferred()
        self._protocol = protocol
        self._reader: SequenceReader | None = None
        self._data = b""
        self._outcome: Whole | TransferError | None = None

    def advance(self, incoming: Incoming, replies: ReplyReader) -> bool:
        if self._reader is None:
            if (found := incoming.small_file()) is None:
                return super().advance(incoming, replies)
            data, digest, facts = found
            self.is_over = True
            if digest != digest_of(data):
                self._outcome = Damaged(DAMAGED)
            elif len(data) > SMALL:
                self._outcome = TooLarge(TOO_LARGE)
            else:
                self._outcome = Whole(data, facts)
            self._protocol.fire(self.whole, self._outcome)
            return True
        item = self._reader.next(incoming)
        if item is None:
            return False
        if isinstance(item, memoryview):
            # Past the limit nothing is kept, but the sequence has to be read to its end.
            self._data = self._data + item if len(self._data) <= SMALL else self._data
        else:
            self._reader = None
            self._outcome = self._judge(item)
        return True

    def begun(self, reply: Reply) -> None:
        if self._outcome is None:
            self._reader = SequenceReader()

    def _judge(self, end: Done | Fail) -> Whole | TransferError:
        if isinstance(end, Fail):
            return Aborted(f"The server ended the transfer: {end.said}.")
        if len(self._data) > SMALL:
            return TooLarge(TOO_LARGE)
        if end.digest != digest_of(self._data):
            return Damaged(DAMAGED if end.digest else NO_DIGEST)
        try:
            return Whole(self._data, read_their_facts(end.facts))
        except ProtocolViolation as error:
            return error  # where the frame ends is known, so the files behind it are as good as ever

    def ended(self, reply: Reply) -> None:
        self._protocol.heed(reply)
        if reply.is_refusal:
            self._outcome = error_behind(reply, self._outcome if isinstance(self._outcome, TransferError) else None)
        elif self._outcome is None:
            raise self._out_of_turn(NOTHING_SENT)
        self._protocol.fire(self.whole, self._outcome)

    def failed(self, error: TransferError) -> None:
        if not self.is_over:
            self.is_over = True
            self._protocol.fire(self.whole, self._outcome if isinstance(self._outcome, TransferError) else error)


class Upload(Ask):
    """A command that a sequence follows: STOR. What is written waits for its turn on the connection."""

    __slots__ = ("_digest", "_is_sent", "_last_frame", "_turn")

    def __init__(self, command: Command, protocol: ClientProtocol) -> None:
        super().__init__(command, protocol)
        self._digest = Digest()
        self._is_sent = False
        self._turn: Deferred[None] | None = None
        self._last_frame = b""  # set before its turn has come, or when it is written

    def sent(self) -> None:
        self._is_sent = True
        if self._last_frame:
            self._finish()
        elif self._turn is not None:
            self._protocol.fire(self._turn, None)

    @property
    def may_be_silent(self) -> bool:
        return not (self._last_frame or self._protocol.is_clogged)  # it waits for what there is to send

    async def write(self, chunk: Buffer) -> None:
        """Send the next bytes. Raises what the server said, if it has refused the upload meanwhile."""
        await self._my_turn()
        for at in range(0, len(chunk), MAX_FRAME):
            frame = chunk[at : at + MAX_FRAME]
            self._digest.update(frame)
            self._protocol.write(data_line(len(frame)), bytes(frame))
        if self._protocol.is_clogged:
            await self._protocol.drained()

    async def complete(self, facts: Facts = NO_FACTS) -> tuple[Reply, str]:
        """End the sequence. The server's final reply, and the digest of what was sent."""
        await self._my_turn()
        digest = self._digest.hexdigest()
        self._end(done_line(digest, facts))
        return await self.finished, digest

    async def _my_turn(self) -> None:
        if not self._is_sent and not self.is_over:
            self._turn = Deferred()
            await self._turn
        if self.is_over:
            await self.finished

    def stop(self, reason: str) -> None:
        """End the sequence without completing it; nothing will be stored."""
        self.finished.addErrback(lambda _: None)
        self._end(fail_line(reason))

    def _end(self, line: bytes) -> None:
        if not self._last_frame:
            self._last_frame = line
            if self._is_sent:
                self._finish()

    def _finish(self) -> None:
        self._protocol.write(self._last_frame)
        self._protocol.upload_ended(self)

    def ended(self, reply: Reply) -> None:
        if not self._last_frame and not reply.is_refusal:
            raise self._out_of_turn(TOO_EARLY)
        super().ended(reply)
        if not self._last_frame:  # it was refused before the sequence's end
            self._end(fail_line("refused"))

    def failed(self, error: TransferError) -> None:
        super().failed(error)
        if self._turn is not None and not self._is_sent:
            self._protocol.fire(self._turn, None)
