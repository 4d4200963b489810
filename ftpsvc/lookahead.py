"""Seeing an ABOR or a STAT that waits behind a transfer, before its turn has come.

ABOR takes effect at once, while its reply keeps its place (docs/protocol.md, "Download"). To find it, the lines that
wait are read without being taken; the frames of uploads among them are skipped, because their bytes may look like
anything.
"""

from __future__ import annotations

from collections.abc import Callable

from ftpsvc.channel import Channel
from ftpsvc.frames import Data, Incoming, parse_frame
from ftpsvc.model import Aborted, BadCommand, ProtocolViolation
from ftpsvc.wire import Reply, parse_command

ABORTED = "The client has aborted the transfer."


class LookAhead:
    """Remembers how far it has looked, so that each line is looked at once."""

    def __init__(self, incoming: Incoming, uploads: frozenset[str]) -> None:
        """`uploads`: the verbs behind which a sequence follows in MODE I."""
        self._incoming = incoming
        self._uploads = uploads
        self._at = 0
        self._abort_at = -1
        self._is_inline = False
        self._in_sequence = False
        self._is_at_rein = False
        self._only_status = True
        self._behind_statuses = 0

    def heed(self, transfer: Channel, reply: Callable[[Reply], None], is_clogged: Callable[[], bool]) -> None:
        """Let those that wait take effect on a transfer that has a connection of its own: this one is free for replies.

        Once the transfer has begun, too. They may have come while its file was opened, or with the command itself.
        `is_clogged`: whether the client doesn't read what it was told. Then its STATs wait, as other commands do.
        """
        if not self._incoming:
            return  # most often so, and a small file takes long enough
        while not is_clogged() and self.take_status():
            # 213 and a number are what clients take for progress.
            reply(Reply(213, f"Status: {transfer.moved} bytes transferred"))
        if self.finds_abort(False):
            transfer.fail(Aborted(ABORTED))

    def take_status(self) -> bool:
        """Take a STAT about the transfer, if one has come with no other command before it; whether one has.

        It is answered at once, which an answer in its place would be too late for. It doesn't wait for that place
        either: who asks every second would fill within hours what may wait.
        """
        self.finds_abort(False)
        at = self._incoming.taken
        if at >= self._behind_statuses or (found := self._incoming.peek(at)) is None:
            return False
        self._incoming.raw(found[1] - at)  # `line` is for those whose turn it is: it may refuse one
        return True

    def finds_abort(self, is_inline: bool) -> bool:
        """Whether an ABOR waits. `is_inline`: the mode of the command that is being carried out."""
        if self._at <= self._incoming.taken:
            self._at = self._incoming.taken
            self._is_inline, self._in_sequence, self._only_status = is_inline, False, not is_inline
            self._is_at_rein = False
        while not self._is_at_rein and (found := self._incoming.peek(self._at)) is not None:
            line, self._at = found
            if self._in_sequence:
                self._skip_frame(line)
            else:
                self._look_at(line)
        return self._abort_at >= self._incoming.taken

    def _skip_frame(self, line: bytes) -> None:
        try:
            frame = parse_frame(line)
        except ProtocolViolation:
            return  # the session will end when it comes to this line
        if isinstance(frame, Data):
            self._at += frame.length
        else:
            self._in_sequence = False

    def _look_at(self, line: bytes) -> None:
        try:
            command = parse_command(line)
        except BadCommand:
            self._only_status = False
            return
        self._only_status = self._only_status and command.verb == "STAT" and not command.argument
        if self._only_status:
            self._behind_statuses = self._at
        elif command.verb == "ABOR" and not command.argument:  # else it is refused when its turn comes
            self._abort_at = self._at
        elif command.verb == "MODE" and (command.argument or "").upper() in ("I", "S"):
            self._is_inline = (command.argument or "").upper() == "I"
        elif command.verb == "REIN":
            # It may be refused, and then the mode stays: how to read what is behind it is known when its turn has come.
            self._is_at_rein = True
        elif command.verb in self._uploads:
            self._in_sequence = self._is_inline
