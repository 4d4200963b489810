"""TLS on the client's side: with which servers, and whether the one that answers is the one that is meant.

A certificate that an authority vouches for, with the name of the host in it, needs no question. Any other is known by
its fingerprint, or is `UnknownServer` for a person to decide on; and once known, it is that one or none.
"""

from __future__ import annotations

import datetime
import enum
import ipaddress
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from ftpsvc.certificates import fingerprint_of
from ftpsvc.knownservers import VALID, KnownServers
from ftpsvc.model import HandshakeFailed, NoTLS, TransferError
from ftpsvc.wire import ALPN

#: How many of a certificate's names are shown, and how long one may be. More would push the fingerprint off the screen.
MAX_NAMES = 6
MAX_NAME = 80

#: What OpenSSL finds wrong with a certificate, by its number (X509_STORE_CTX_get_error), in words that help.
_PROBLEMS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself",
    19: "it is signed by an authority that this machine doesn't know",
    20: "it is signed by an authority that this machine doesn't know",
    21: "it is signed by an authority that this machine doesn't know",
    23: "its authority has revoked it",
    26: "it is not meant for servers",
}


#: What may come of a certificate that somebody has made by hand, or by a program of their own.
_ILLEGIBLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


class Protection(enum.Enum):
    """How much TLS is wanted."""

    OFFERED = "with TLS where the server offers it"
    REQUIRED = "with TLS, or not at all"
    IMPLICIT = "with TLS from the first byte"
    NONE = "without TLS, so that anybody on the way can read along"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a person decides by. Names and times are what the certificate claims, and `problems` why nobody need
    believe it; empty, if an authority vouches for it."""

    fingerprint: str
    names: tuple[str, ...]
    begins: datetime.datetime
    ends: datetime.datetime
    problems: tuple[str, ...]


class UnknownServer(NoTLS):
    """The server's certificate proves nothing, and it is not known here. Nothing has been sent to it."""

    def __init__(self, text: str, certificate: PeerCertificate) -> None:
        self.certificate = certificate
        super().__init__(text)


class ChangedServer(NoTLS):
    """The certificate is not the one that was trusted. Nothing has been sent to whoever bears it."""


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS:
    """TLS for one connection to one server. Given to `Remote.connect`, which asks it what to do and whom to trust."""

    def __init__(
        self,
        host: str,
        port: int,
        known: KnownServers,
        protection: Protection = Protection.OFFERED,
        expected: str = "",
        may_be_clear_here: bool = False,
    ) -> None:
        """`expected` is the fingerprint that a person has named, as `knownservers.fingerprint` gives it.

        `may_be_clear_here`: a server on this machine is spoken to in clear. There is no way to it that anybody could
        stand on, and a question about its certificate would teach people to say yes.

        Where TLS was only to be used if it is offered, a fingerprint makes it needed.
        """
        is_needed = bool(expected) and protection is Protection.OFFERED
        self.protection = Protection.REQUIRED if is_needed else protection
        self._host = host
        self._port = port
        self._known = known
        self._expected = expected
        self._may_be_clear_here = may_be_clear_here
        self._context: SSL.Context | None = None
        self._control: SSL.Connection | None = None
        self._problems: list[str] = []

    # -- whether there is TLS

    def check_choice(self) -> None:
        """Raises `NoTLS` if clear text is wanted and the server is known to have TLS."""
        if self.protection is Protection.NONE and self._was_met:
            raise NoTLS(
                f"{self._host}, port {self._port}, was met with TLS before, and is not to be met without any more. "
                f"If that has to be, take it out of {self._known.path}"
            )

    @property
    def _was_met(self) -> bool:
        return self._known.find(self._host, self._port) is not None

    def is_to_be_tried(self, offers: bool | None, is_here: bool = False) -> bool:
        """Whether to send AUTH, given that FEAT offers it, or doesn't, or that nothing is known of that.

        `is_here`: the server is on this machine.
        """
        if self.protection is Protection.OFFERED:
            return self._was_met or (offers is not False and not (is_here and self._may_be_clear_here))
        return self.protection is Protection.REQUIRED

    def refused(self, refusal: TransferError, offers: bool | None) -> None:
        """The server has refused AUTH. Raises `NoTLS`, unless it may go on in clear."""
        if self._was_met:
            raise self._downgraded(f"and refuses it now ({refusal})") from refusal
        if offers or self.protection is not Protection.OFFERED:
            raise NoTLS(
                f"The server refuses TLS ({refusal}). Nothing was sent in clear. To do without TLS, so that anybody on "
                f"the way can read along, use: connect --clear {self._host} {self._port}"
            ) from refusal

    def _downgraded(self, what: str) -> NoTLS:
        return NoTLS(
            f"{self._host}, port {self._port}, had TLS before, {what}. Somebody may stand between, to read along; "
            f"nothing was sent in clear. If it is to be without TLS from now on, take it out of {self._known.path}"
        )

    # -- with whom

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """The control connection's TLS."""
        self._problems = []
        self._control = self.connection()
        self._control.set_verify(SSL.VERIFY_PEER, self._noted)
        return self._control

    def connection(self) -> SSL.Connection:
        """A side of TLS that has not begun yet, and trusts whoever answers."""
        if self._context is None:
            self._context = _context()
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        if (name := _dns_name(self._host)) is not None:
            connection.set_tlsext_host_name(name.encode("ascii"))
        return connection

    def _noted(self, connection: SSL.Connection, certificate: Any, error: int, depth: int, is_good: int) -> bool:
        # Nothing is refused in here: that would end the handshake before there is a fingerprint to ask about. Nothing
        # is sent either, until `verify` has looked at what was noted.
        if not is_good:
            problem = _PROBLEMS.get(error, f"its chain is not in order (OpenSSL's error {error})")
            if problem not in self._problems:
                self._problems.append(problem)
        return True

    def verify(self) -> None:
        """Whether the server is the one that is meant, once TLS stands. Raises `UnknownServer`, `ChangedServer`."""
        certificate = self._certificate()
        if self._expected:
            if certificate.fingerprint != self._expected:
                raise ChangedServer(self._changed("should have been", self._expected, certificate))
            self._remember(certificate.fingerprint)
            return
        known = self._known.find(self._host, self._port)
        if not certificate.problems:
            if known != VALID:
                self._remember(VALID)
        elif known is None:
            raise UnknownServer(self._unknown(certificate), certificate)
        elif known == VALID:
            raise ChangedServer(self._changed("was", "one that an authority vouches for", certificate))
        elif known != certificate.fingerprint:
            raise ChangedServer(self._changed("was", known, certificate))

    def trust(self, certificate: PeerCertificate) -> None:
        """A person trusts this one from now on. Raises `LocalFault` if that can't be kept."""
        self._known.remember(self._host, self._port, certificate.fingerprint)

    def _remember(self, what: str) -> None:
        try:
            self._known.remember(self._host, self._port, what)
        except TransferError:
            pass  # it isn't needed to go on: the server has proven itself just now, and can do so again

    def _certificate(self) -> PeerCertificate:
        assert self._control is not None
        try:
            certificate = self._control.get_peer_certificate(as_cryptography=True)
            assert certificate is not None, "TLS without a certificate is offered by nobody's default ciphers"
            problems = [*self._problems, *_wrong_name(certificate, self._host)]
            return PeerCertificate(
                fingerprint_of(certificate),
                _names(certificate),
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
                tuple(problems),
            )
        except _ILLEGIBLE as error:
            raise NoTLS("The server's certificate can't be read: it breaks the rules of X.509.") from error

    def _unknown(self, certificate: PeerCertificate) -> str:
        return (
            f"{self._host}, port {self._port}, is not known here, and its certificate proves nothing: "
            f"{', '.join(certificate.problems)}. Nothing was sent. Its SHA-256 fingerprint: {certificate.fingerprint}. "
            f"If the one who runs the server confirms that, use: {self._again(certificate)}"
        )

    def _again(self, certificate: PeerCertificate) -> str:
        option = "--implicit " if self.protection is Protection.IMPLICIT else ""
        return f"connect {option}--fingerprint {certificate.fingerprint} {self._host} {self._port}"

    def _changed(self, how: str, before: str, certificate: PeerCertificate) -> str:
        why = f" ({', '.join(certificate.problems)})" if certificate.problems else ""
        return (
            f"THE CERTIFICATE OF {self._host}, PORT {self._port}, IS ANOTHER ONE. It {how} {before}; it is "
            f"{certificate.fingerprint}{why}. Somebody may stand between, or the server has a new one: ask the one who "
            f"runs it. Nothing was sent. If the new one is right, use: {self._again(certificate)}"
        )

    # -- data connections

    @property
    def data(self) -> DataTLS:
        """TLS for the data connections beside this control connection."""
        assert self._control is not None
        return DataTLS(self, self._control)


@implementer(IOpenSSLClientConnectionCreator)
class DataTLS:
    """Data connections resume the session of their control connection: to some servers (vsftpd, ProFTPD) that is the
    proof that it is the same client, and it saves half of the handshake."""

    def __init__(self, tls: ClientTLS, control: SSL.Connection) -> None:
        self._tls = tls
        self._control = control

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection = self._tls.connection()
        session = self._control.get_session()  # at this moment: in TLS 1.3 it comes after the handshake
        if session is not None:
            connection.set_session(session)
        return connection

    def check(self, connection: SSL.Connection) -> None:
        """Raises `HandshakeFailed` if a data connection leads to somebody else than the control connection."""
        try:
            ours, theirs = (side.get_peer_certificate(as_cryptography=True) for side in (self._control, connection))
        except _ILLEGIBLE as error:
            raise HandshakeFailed(
                "The data connection leads to another server: its certificate breaks the rules of X.509."
            ) from error
        if ours is None or ours != theirs:
            raise HandshakeFailed(
                "The data connection leads to another server: its certificate is not that of the control connection."
            )


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_default_verify_paths()
    context.set_alpn_protos([ALPN])
    return context


def _address(host: str) -> str | None:
    """The address, if a host is given by one, without the network interface that one of IPv6 may bear."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def _dns_name(host: str) -> str | None:
    """A host's name as DNS and certificates have it; None for an address."""
    if _address(host) is not None:
        return None
    try:
        return host.rstrip(".").encode("idna").decode("ascii")
    except UnicodeError:
        return None  # no such name is ever resolved, so this is not the one that answered


def _wrong_name(certificate: x509.Certificate, host: str) -> tuple[str, ...]:
    address, name = _address(host), _dns_name(host)
    try:
        if address is not None:
            verify_certificate_ip_address(certificate, address)
        else:
            verify_certificate_hostname(certificate, name or "")
    except (VerificationError, CertificateError, ValueError):
        return (f"it is not one for {host}",)
    return ()


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Whom a certificate claims to be for."""
    found = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        others = x509.SubjectAlternativeName([])
    found += others.get_values_for_type(x509.DNSName)
    found += map(str, others.get_values_for_type(x509.IPAddress))
    named = [name[:MAX_NAME] for name in dict.fromkeys(found)]
    return (*named[:MAX_NAMES], f"and {len(named) - MAX_NAMES} more") if len(named) > MAX_NAMES else tuple(named)
