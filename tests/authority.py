"""An authority that makes certificates, good ones and others."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from ftpsvc.tls import ServerTLS

#: The host of all tests that need one.
HOST = "files.example.org"

DAY = datetime.timedelta(days=1)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """Its own certificate is in `path`: who reads that as SSL_CERT_FILE trusts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = folder / "authority.pem"
        self.path.write_bytes(pem(self._signed("Authority", self.key, 365, is_authority=True)))

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        days: int,
        is_authority: bool,
        others: x509.ExtensionType | None = None,
    ) -> x509.Certificate:
        end = datetime.datetime.now(datetime.UTC) + days * DAY
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("Authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 400 * DAY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if others is not None:
            builder = builder.add_extension(others, critical=False)
        return builder.sign(self.key, SHA256())

    def server(self, *names: str, days: int = 100, encoded: bytes = b"") -> ServerTLS:
        """A server's side, whose certificate has these names and is valid for this many days more.

        `encoded` stands in it in the place of all names but the first.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        others: x509.ExtensionType = x509.SubjectAlternativeName(list(map(general, names)))
        if encoded:
            others = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, encoded)
        certificate = self._signed(names[0], key, days, is_authority=False, others=others)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.folder / f"{len(list(self.folder.iterdir()))}.pem"
        path.write_bytes(pem(certificate) + secret)
        return ServerTLS(path, path)


def general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
