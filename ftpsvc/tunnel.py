"""TLS of one data connection as bytes in and bytes out: it knows of no socket and no reactor.

In place of Twisted's, which passes on every record of 16 KiB for itself, through several layers, and comes to 0.45 GB/s
with that. By the hundred kilobytes the same OpenSSL does 1.4, which is no less than on the socket's own descriptor.
"""

from __future__ import annotations

import contextlib

from OpenSSL import SSL

#: As much as one record holds (RFC 8446, section 5.1): OpenSSL never gives more at once.
RECORD = 16 * 1024

#: How much is encrypted in one go: it stays in the processor's cache until the system has it. With what TLS adds it
#: just fits in two segments of loopback's TCP (65,483 bytes each). A rest would be a packet of its own: 1.1 GB/s to
#: curl with 128 KiB, and 1.4 with this.
PIECE = 127 * 1024

# A record's header, its authentication and the type within: at most so much for each (RFC 8446, section 5.2), and room
# for what the handshake has to say.
OVERHEAD = 256 * (PIECE // RECORD + 1)

#: How many bytes of answers to what TLS itself says may wait to be sent. Who asks for more than it reads, as by
#: thousands of KeyUpdates (RFC 8446, section 4.6.3), has nothing else in mind.
MAX_ANSWERS = 64 * 1024


class Tunnel:
    """One end. Whatever is called, `outgoing` afterwards gives what has to be sent to the other end."""

    def __init__(self, connection: SSL.Connection) -> None:
        """`connection` has no socket, and knows whether it accepts or connects."""
        self._connection = connection
        self._speaks_first = False  #: as the end that connects does
        self._held = b""
        self.has_begun = False  #: the other end has said something
        self.has_greeted = False  #: the handshake is done
        self.has_ended = False  #: the other end has said that there is no more data
        self.failure: SSL.Error | None = None  #: why what came is not TLS, or not that of this connection

    def received(self, data: bytes) -> bytes:
        """What is within these bytes for us; nothing, often enough. Not to be called once it is over."""
        clear: list[bytes] = []
        self.has_begun = True
        try:
            self._connection.bio_write(data)
            if not self.has_greeted:
                self._connection.do_handshake()
                self.has_greeted = True
                self._hold_tickets()
            while True:
                clear.append(self._connection.recv(RECORD))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError as error:
            # Nothing else is the end of data. A fatal alert ends TLS too, and OpenSSL's own flags show it like an end.
            self.has_ended = self.has_greeted
            self.failure = None if self.has_greeted else error
        except SSL.Error as error:
            self.failure = error
        return clear[0] if len(clear) == 1 else b"".join(clear)

    @property
    def is_over(self) -> bool:
        """Whether nothing can come any more."""
        return self.has_ended or self.failure is not None

    def begin(self) -> None:
        """Say the first words, if it is this end that connects."""
        with contextlib.suppress(SSL.WantReadError):
            self._connection.do_handshake()

    def protect(self, data: bytes | memoryview) -> None:
        """Encrypt no more than `PIECE` bytes."""
        view = memoryview(data)
        while view:
            view = view[self._connection.send(view) :]

    def end(self) -> None:
        """Say that there is no more data."""
        self._connection.shutdown()

    def leave(self) -> None:
        """Nothing more will be said.

        OpenSSL takes the session of a connection that ends without the end of TLS for bad, and with TLS 1.2 it is the
        control connection's. Since RFC 5246, section 7.2.1, it is as good as before.
        """
        if self.has_greeted and self.failure is None:
            self._connection.set_shutdown(SSL.SENT_SHUTDOWN)

    def outgoing(self) -> bytes:
        """What is to be sent, in this order."""
        said = self._said()
        if said:
            said, self._held = self._held + said, b""
            self._speaks_first = self._speaks_first or not self.has_begun
        return said

    def _said(self) -> bytes:
        try:
            return self._connection.bio_read(PIECE + OVERHEAD)
        except SSL.WantReadError:
            return b""

    def _hold_tickets(self) -> None:
        """Keep what a server says behind the handshake of TLS 1.3, tickets to resume the session with (RFC 8446,
        section 4.6.1), until it has something else to say, be it the end.

        Who only uploads reads nothing: so does Go's TLS, and with it rclone. What nobody has read turns the close of a
        socket into a reset, and what that system has not sent yet is gone with it: the upload ends in its middle.
        """
        if not self._speaks_first and self._connection.get_protocol_version_name() == "TLSv1.3":
            self._held = self._said()
