"""The server's certificate: read from files, or made at the first start and kept."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ftpsvc import wholefile

#: What TLS 1.2 and 1.3 sign with.
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

#: How long a certificate that was made here is valid. Who connects trusts its fingerprint and not its date, and a new
#: one would look like another server; so it is long.
VALIDITY = datetime.timedelta(days=3650)

#: A clock of a client may be behind by this much.
TOLERANCE = datetime.timedelta(days=1)

#: No file with a certificate, those that lead from it to one that is known, and a key is larger, in bytes: each has
#: some thousand.
MAX_FILE = 1024 * 1024

#: The longest name that fits a certificate's common name (RFC 5280, appendix A.1). Longer ones stand among the others.
MAX_COMMON_NAME = 64


class BadCertificate(Exception):
    """The files can't be used; the text says why, and never what is in them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, those that lead from it to one that clients trust, and its key, which never prints."""

    chain: tuple[x509.Certificate, ...]
    key: Key

    def __repr__(self) -> str:
        return f"Pair({self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """That of the first certificate, which is the server's own."""
        return fingerprint_of(self.chain[0])


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, as browsers and openssl show it."""
    digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def read(certificate: Path, key: Path) -> Pair:
    """The pair in two PEM files, which may be one and the same. Raises `BadCertificate`."""
    try:
        chain = x509.load_pem_x509_certificates(wholefile.read(certificate, MAX_FILE))
        private = serialization.load_pem_private_key(wholefile.read(key, MAX_FILE), None)
        public = chain[0].public_key()
    except OSError as error:
        raise BadCertificate(f"{error.filename}: {error.strerror}") from error
    except TypeError as error:
        raise BadCertificate(f"{key}: the key is encrypted; nobody is there to type its password") from error
    except ValueError as error:
        raise BadCertificate(f"{certificate} and {key} are no certificate and key in PEM form") from error
    except UnsupportedAlgorithm as error:
        raise BadCertificate(f"{certificate} and {key} have a kind of key that is not known here") from error
    if private.public_key() != public:
        raise BadCertificate(f"the key in {key} does not belong to the certificate in {certificate}")
    if not isinstance(private, Key):
        raise BadCertificate(f"{key}: TLS has no use for this kind of key")
    return Pair(tuple(chain), private)


def ensure(folder: Path, owner: int | None = None) -> tuple[Path, Path]:
    """The files of the certificate that is kept in a folder; it is made if there is none. Raises `OSError`.

    `owner`: the user whose all that is made is to be, if not the one who makes it.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not (certificate.exists() and key.exists()):
        is_new = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_new and owner is not None:
            os.chown(folder, owner, -1, follow_symlinks=False)
        with wholefile.alone_in(folder):  # another server may start in the same moment
            if not (certificate.exists() and key.exists()):
                _make(certificate, key, owner)
    return certificate, key


def _make(certificate: Path, key: Path, owner: int | None) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    signed = _signed(private)
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(key, secret, owner=owner)
    write_private(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644, owner)


def _signed(private: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    host = socket.gethostname()
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:MAX_COMMON_NAME] or "ftpsvc")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - TOLERANCE)
        .not_valid_after(now + VALIDITY)
        .add_extension(_names(host), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(private, SHA256())


def _names(host: str) -> x509.SubjectAlternativeName:
    """What clients on this machine and near it call it."""
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    with contextlib.suppress(ValueError):  # a host may have a name that is none in DNS
        if host and host != "localhost":
            names.append(x509.DNSName(host))
    addresses = [ipaddress.ip_address(text) for text in ("127.0.0.1", "::1")]
    return x509.SubjectAlternativeName([*names, *(x509.IPAddress(address) for address in addresses)])


def write_private(path: Path, data: bytes, mode: int = 0o600, owner: int | None = None) -> None:
    """Put a file in its place, whole; it is nobody else's to read, not even while it is written. Raises `OSError`."""
    part = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        if owner is not None:
            os.fchown(descriptor, owner, -1)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    part.rename(path)
