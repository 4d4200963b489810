"""TLS on the server's side: which versions and options, with which certificate, and when that is read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from zope.interface import implementer

from ftpsvc import certificates
from ftpsvc.certificates import BadCertificate, Pair
from ftpsvc.wire import ALPN

#: For how many seconds a session can be resumed: as many as may be (RFC 8446, section 4.6.1). A control connection
#: gets its tickets at the beginning, and clients that have seen them taken insist on that for each file.
SESSION_LIFE = 7 * 24 * 3600

#: What pages are asked for by, as ALPN names it.
HTTP = b"http/1.1"

# OpenSSL's SSL_MODE_ENABLE_PARTIAL_WRITE: pyOpenSSL sets it, and has no name for it.
_PARTIAL_WRITE = 0x1


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """Makes the TLS side of each connection, control and data alike, so that a client may resume its session on both.

    Sessions that are there keep what they began with, their data connections too; a new certificate is for those that
    come.
    """

    _log = Logger()

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises `BadCertificate`."""
        self._files = (certificate, key)
        self._seen = self._look()
        pair = certificates.read(certificate, key)
        self._context = _context_for(pair)
        self.fingerprint = pair.fingerprint
        #: Whether clients are asked for a certificate. Some of them bother people with that, so it is done if it helps.
        self.wants_certificates: Callable[[], bool] = lambda: False

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        self.refresh()
        return self._side(self._context)

    def accepting(self, control: SSL.Connection) -> SSL.Connection:
        """The server's side of a data connection, before its handshake.

        With the certificate of its control connection, whose session can be resumed on it: clients compare the one and
        insist on the other, to know that the same server is behind both.
        """
        connection = self._side(control.get_context())
        connection.set_accept_state()
        return connection

    def for_pages(self) -> SSL.Connection:
        """The side of somebody who comes for the monitor's pages. What certificates they have is of no interest."""
        self.refresh()
        return _ForPages(self._context, None)

    def _side(self, context: SSL.Context) -> SSL.Connection:
        connection = SSL.Connection(context, None)
        if self.wants_certificates():
            # Any will do, signed by whomever: it is known by its fingerprint, and the handshake proves that the client
            # has its key. One without a certificate goes on with a password.
            connection.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        return connection

    def refresh(self) -> None:
        """Read the certificate again if its files have changed."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._read_again()

    def _read_again(self) -> None:
        """One that can't be used is logged, and the old one stays."""
        try:
            pair = certificates.read(*self._files)
            self._context = _context_for(pair)
        except BadCertificate as error:
            self._log.error("The certificate was not replaced: {error}", error=error)
            return
        self.fingerprint = pair.fingerprint
        self._log.info(
            "The certificate was read again; SHA-256 fingerprint {fingerprint}", fingerprint=pair.fingerprint
        )

    def take_over(self, other: ServerTLS) -> None:
        """Use the other's certificate from now on, and its files."""
        self._files, self._seen, self._context = other._files, other._seen, other._context
        self.fingerprint = other.fingerprint

    def _look(self) -> tuple[object, ...]:
        """What changes when somebody puts other files in their place, or lets us read them (`chown`)."""
        found: list[object] = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        return tuple(found)


class _ForPages(SSL.Connection):
    """One on which HTTP is spoken, as browsers ask by ALPN."""


@implementer(IOpenSSLServerConnectionCreator)
class PagesTLS:
    """The same certificate where pages are served, and no FTP."""

    def __init__(self, tls: ServerTLS) -> None:
        self._tls = tls

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return self._tls.for_pages()


def fingerprint_of_peer(transport: Any) -> str:
    """The SHA-256 of the certificate that the other end has shown, in hexadecimal digits; empty if there is none."""
    certificate = transport.getPeerCertificate()
    return "" if certificate is None else certificate.digest("sha256").decode("ascii").replace(":", "").lower()


def name_asked_for(transport: Any) -> str:
    """Which server the client has asked for in its handshake (SNI, RFC 6066, section 3); empty if it hasn't."""
    name = transport.getHandle().get_servername()
    return name.decode("ascii", "replace") if name else ""


def _context_for(pair: Pair) -> SSL.Context:
    # Twisted's annotations still ask for pyOpenSSL's own classes, and pyOpenSSL warns of them.
    key: Any = pair.key
    chain: Any = pair.chain
    # Sessions are kept by the clients, in tickets. OpenSSL's own memory of them has 20,480 places, each with a client's
    # certificates, which strangers fill with gigabytes; and the oldest, whose clients are still there, soon have to go.
    options = CertificateOptions(
        privateKey=key,
        certificate=chain[0],
        extraCertChain=chain[1:],
        raiseMinimumTo=TLSVersion.TLSv1_2,
        enableSessionTickets=True,
    )
    try:
        context: SSL.Context = options.getContext()
    except SSL.Error as error:
        raise BadCertificate("TLS does not take this certificate and key; perhaps the key is too short") from error
    # Each renegotiation costs the server more than the client, who may ask for as many as it likes (CVE-2011-1473).
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    # Else each call would send one record and no more, and sixteen times as many calls be made.
    context.clear_mode(_PARTIAL_WRITE)
    context.set_alpn_select_callback(_choose)
    context.set_timeout(SESSION_LIFE)
    return context


def _choose(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """A client that wants to speak something else was led here by somebody else (the ALPACA attack)."""
    spoken = HTTP if isinstance(connection, _ForPages) else ALPN
    if spoken not in offered:
        raise SSL.Error([("", "", "no application protocol in common")])
    return spoken
