"""TLS of a control connection by the hundred kilobytes: in MODE I the data travels there.

Twisted's passes on each record of 16 KiB for itself, both ways, which is good for commands: a GiB in MODE I took twice
as long with it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport
from twisted.python.failure import Failure

from ftpsvc.tunnel import MAX_ANSWERS, OVERHEAD, PIECE, RECORD


def move_in_bulk(transport: Any) -> None:
    """Have TLS that has just begun there move its bytes in bulk: either the transport of an endpoint with TLS, or one
    that was told `startTLS`. Nothing was written yet.

    Twisted has no place to say which class to use for that, and ours has the same attributes as its own.
    """
    within: Any = transport if isinstance(transport, BufferingTLSTransport) else transport.protocol
    if isinstance(within, BufferingTLSTransport):
        within.__class__ = BulkTLS
        del within.write  # which gathers what is written until the next turn of the reactor: we have done that


class BulkTLS(BufferingTLSTransport):
    """Twisted's, with larger pieces. What it calls its own by an underscore is replaced here, and nothing else."""

    _answers = 0  #: bytes of answers to TLS itself since the system had taken everything

    def writeSequence(self, sequence: Iterable[bytes]) -> None:
        self.write(b"".join(sequence))

    def _flushReceiveBIO(self) -> None:
        """All that has come for the protocol goes there at once."""
        clear: list[bytes] = []
        has_ended, failure = False, None
        try:
            while not self._lostTLSConnection:
                clear.append(self._tlsConnection.recv(RECORD))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            has_ended = True
        except SSL.Error:
            failure = Failure()
        self._flushSendBIO(are_answers=True)
        if self._answers > MAX_ANSWERS:
            return  # aborted
        if clear and not self._aborted:
            ProtocolWrapper.dataReceived(self, clear[0] if len(clear) == 1 else b"".join(clear))
        if failure is not None:
            self._tlsShutdownFinished(failure)
        elif has_ended:
            super()._flushReceiveBIO()  # to which it comes again

    def _write(self, data: bytes) -> None:
        if self._lostTLSConnection:
            return
        view = memoryview(data)
        while view:
            try:
                view = view[self._tlsConnection.send(view[:PIECE]) :]
            except SSL.WantReadError:  # there was no handshake yet
                self._bufferedWrite(bytes(view))
                break
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
                break
            self._flushSendBIO()

    def _flushSendBIO(self, are_answers: bool = False) -> None:
        """What TLS has to say goes to the system, and what that doesn't take to the transport: it would copy it.

        `are_answers`: it was said in answer to what has come, and to nothing that was written here.
        """
        try:
            data = self._tlsConnection.bio_read(PIECE + OVERHEAD)
        except SSL.WantReadError:
            return
        transport = _unwrapped(self.transport)
        is_socket = _is_socket(transport)
        if are_answers and self._handshakeDone:
            self._answers = len(data) + (self._answers if is_socket and _holds_some(transport) else 0)
            if self._answers > MAX_ANSWERS:
                self.abortConnection()
                return
        if rest := data[sent_at_once(transport, data) if is_socket else 0 :]:
            transport.write(rest)
        elif is_socket and not self._handshakeDone:
            acknowledge_at_once(transport.socket)


def sent_at_once(transport: Any, data: bytes | memoryview) -> int:
    """How much of this the system takes at once; nothing, if the transport holds something that goes before it.

    The transport is a socket's own. Whatever goes wrong here goes wrong once more when it is given the rest, and then
    it is dealt with.
    """
    if not transport.connected or transport.disconnecting or _holds_some(transport):
        return 0
    try:
        return int(transport.socket.send(data))
    except OSError:
        return 0


def _holds_some(transport: Any) -> bool:
    """Whether a socket's own transport has something that the system hasn't taken yet."""
    # The second of these is Twisted's own: nobody else knows what it still has to send.
    return bool(transport.dataBuffer or transport._tempDataBuffer)


def _unwrapped(transport: Any) -> Any:
    """Without what passes on all that is written as it is, such as `Proxied`: it has what its transport has, and
    doesn't know when that is gone."""
    while isinstance(transport, ProtocolWrapper) and not isinstance(transport, BufferingTLSTransport):
        transport = transport.transport
    return transport


def _is_socket(transport: Any) -> bool:
    """Whether it is a socket's own, or what `startTLS` puts in front of that."""
    return not isinstance(transport, ProtocolWrapper) and issubclass(
        getattr(transport, "_base", type(transport)), FileDescriptor
    )


def acknowledge_at_once(connected: socket.socket) -> None:
    """What comes next: a client that ends its handshake in two packets, as those with GnuTLS do, may hold the second
    back until the first is acknowledged, and the system puts that off for 40 ms."""
    if hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):  # no TCP, or gone
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
