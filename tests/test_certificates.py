"""The certificate: made, kept, read again, and refused with a reason."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LoggedErrors
from cryptography import x509
from twisted.scripts.twistd import ServerOptions

from ftpsvc import certificates, wholefile
from ftpsvc.certificates import BadCertificate
from ftpsvc.securing import secured
from ftpsvc.tls import ServerTLS


def test_one_that_is_made_is_for_this_machine_and_its_key_for_its_owner_only(tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path / "a" / "b")
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert {str(one) for one in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}
    assert made.public_key().curve.name == "secp256r1"  # type: ignore[union-attr]
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["certificate.pem", "key.pem"]


def test_it_is_made_once(tmp_path: Path) -> None:
    first = ServerTLS(*certificates.ensure(tmp_path)).fingerprint
    assert ServerTLS(*certificates.ensure(tmp_path)).fingerprint == first


def test_all_that_is_made_belongs_to_whom_twistd_makes_of_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no reload could read the key again, and no worker."""
    given: list[tuple[str, int]] = []

    def give(to: int | Path, owner: int, _: int, **__: bool) -> None:
        given.append((Path(os.readlink(f"/proc/self/fd/{to}") if isinstance(to, int) else to).name, owner))

    monkeypatch.setattr(os, "chown", give)
    monkeypatch.setattr(os, "fchown", give)
    options = ServerOptions()
    options.parseOptions(["-n", "--uid", "4711", "ftpsvc", "--state", str(tmp_path / "state")])
    words = options.subOptions
    secured(words["certificate"], words["key"], words["state"], words.runs_as)
    assert given == [("state", 4711), (f".key.pem-{os.getpid()}", 4711), (f".certificate.pem-{os.getpid()}", 4711)]
    secured(words["certificate"], words["key"], words["state"], words.runs_as)
    assert len(given) == 3, "what is there is its owner's"


def test_two_servers_that_start_in_the_same_moment_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone_in, made = wholefile.alone_in, []

    @contextlib.contextmanager
    def waiting(folder: Path) -> Iterator[None]:
        """While the one waits for its turn, the other comes and goes."""
        monkeypatch.setattr(wholefile, "alone_in", alone_in)
        made.append(ServerTLS(*certificates.ensure(folder)).fingerprint)
        with alone_in(folder):
            yield

    monkeypatch.setattr(wholefile, "alone_in", waiting)
    assert ServerTLS(*certificates.ensure(tmp_path)).fingerprint == made[0]


def test_its_fingerprint_is_what_others_compute(tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert certificates.read(certificate, key).fingerprint.replace(":", "").lower() == hashlib.sha256(der).hexdigest()


def test_a_pair_shows_nothing_of_its_key(tmp_path: Path) -> None:
    pair = certificates.read(*certificates.ensure(tmp_path))
    assert repr(pair) == f"Pair({pair.fingerprint})"


def test_both_may_be_in_one_file(tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    assert certificates.read(both, both).fingerprint == certificates.read(certificate, key).fingerprint


def test_what_can_not_be_used_is_refused_with_the_reason(tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path / "one")
    _, other = certificates.ensure(tmp_path / "two")
    with pytest.raises(BadCertificate, match="does not belong"):
        certificates.read(certificate, other)
    with pytest.raises(BadCertificate, match="No such file"):
        certificates.read(tmp_path / "missing", key)
    with pytest.raises(BadCertificate, match="PEM"):
        certificates.read(key, certificate)
    os.mkfifo(tmp_path / "pipe")  # whose writer never comes
    with pytest.raises(BadCertificate, match="is a pipe"):
        certificates.read(certificate, tmp_path / "pipe")
    with pytest.raises(BadCertificate, match="is larger than"):
        certificates.read(Path("/dev/zero"), key)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path)
    locked = tmp_path / "locked"
    command = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", str(key), "-out", str(locked)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    with pytest.raises(BadCertificate, match="encrypted"):
        certificates.read(certificate, locked)


#: Of a curve that the library has no use for (secp160r1).
ODD = """\
-----BEGIN EC PRIVATE KEY-----
MFECAQEEFQCC86qY3zLVWr/B6yJk7GvAk9ZnD6AHBgUrgQQACKEsAyoABLxr3whZ
lBwjyXbIZrigtQyFKuYO1TzP9vbSjQE3fWBfYctM+jrErAw=
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBOjCB+KADAgECAhQ7TYmttM1kBeg7B4XKvg7BE1iYkjAKBggqhkjOPQQDAjAM
MQowCAYDVQQDDAF4MB4XDTI2MTEyMzEzMTcwOVoXDTI2MTIwMzEzMTcwOVowDDEK
MAgGA1UEAwwBeDA+MBAGByqGSM49AgEGBSuBBAAIAyoABLxr3whZlBwjyXbIZrig
tQyFKuYO1TzP9vbSjQE3fWBfYctM+jrErAyjUzBRMB0GA1UdDgQWBBRFYE3zA/wn
/MSk/05FycFSSfXXjDAfBgNVHSMEGDAWgBRFYE3zA/wn/MSk/05FycFSSfXXjDAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCAzEAMC4CFQCMratPc18CEwbJKt5Q
k1XkUpYCwQIVAIkY0L40tAH4FmIlBvyAS6FS01gT
-----END CERTIFICATE-----
"""


def test_a_kind_of_key_that_is_not_known_is_refused_and_changes_nothing(
    tmp_path: Path, logged_errors: LoggedErrors
) -> None:
    certificate, key = certificates.ensure(tmp_path)
    tls = ServerTLS(certificate, key)
    odd = tmp_path / "odd"
    odd.write_text(ODD)
    for files in ((odd, odd), (odd, key), (certificate, odd)):
        with pytest.raises(BadCertificate, match="not known here"):
            certificates.read(*files)
    odd.rename(certificate)
    tls.serverConnectionForTLS(None)
    assert len(logged_errors.events) == 1
    logged_errors.take()


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path / "old")
    tls = ServerTLS(certificate, key)
    before = tls.fingerprint
    for new, old in zip(certificates.ensure(tmp_path / "new"), (certificate, key), strict=True):
        new.rename(old)
    tls.serverConnectionForTLS(None)
    assert tls.fingerprint != before
    assert tls.fingerprint == certificates.read(certificate, key).fingerprint


def test_files_that_could_not_be_read_are_read_when_they_were_given_to_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_errors: LoggedErrors
) -> None:
    certificate, key = certificates.ensure(tmp_path / "old")
    tls = ServerTLS(certificate, key)

    def refused(file: Path, most: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    for new, old in zip(certificates.ensure(tmp_path / "new"), (certificate, key), strict=True):
        new.rename(old)
    with monkeypatch.context() as not_ours:
        not_ours.setattr(wholefile, "read", refused)
        tls.serverConnectionForTLS(None)
    time.sleep(0.02)  # the system's clock for files ticks only so often
    key.chmod(0o640)
    tls.serverConnectionForTLS(None)
    assert tls.fingerprint == certificates.read(certificate, key).fingerprint
    logged_errors.take()


def test_broken_files_change_nothing(tmp_path: Path, logged_errors: LoggedErrors) -> None:
    certificate, key = certificates.ensure(tmp_path)
    tls = ServerTLS(certificate, key)
    before = tls.fingerprint
    certificate.write_text("rubbish")
    for _ in range(3):
        tls.serverConnectionForTLS(None)
    assert tls.fingerprint == before
    assert len(logged_errors.events) == 1
    logged_errors.take()
