"""TYPE A: lines end in CRLF on the wire and in LF on disk. Streaming, with the state that a chunk's border needs."""

from __future__ import annotations

from ftpsvc.storage import Buffer


class ToWire:
    """LF becomes CRLF. A CRLF stays as it is: a text from Windows would else arrive with every line's end doubled."""

    def __init__(self) -> None:
        self._ended_in_cr = False

    def convert(self, chunk: Buffer) -> bytes:
        data = bytes(chunk)
        # The CR of this LF has left with the chunk before.
        head = data[:1] if self._ended_in_cr and data[:1] == b"\n" else b""
        if data:
            self._ended_in_cr = data.endswith(b"\r")
        return head + data[len(head) :].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class FromWire:
    """CRLF becomes LF; a CR alone is kept, as is a LF."""

    def __init__(self) -> None:
        self._held = b""

    def convert(self, chunk: Buffer) -> bytes:
        """What is certain by now: a CR at the end waits for what follows it."""
        data = self._held + bytes(chunk)
        self._held = b"\r" if data.endswith(b"\r") else b""
        return (data[:-1] if self._held else data).replace(b"\r\n", b"\n")

    def rest(self) -> bytes:
        """What was waiting when the data ended."""
        held, self._held = self._held, b""
        return held
