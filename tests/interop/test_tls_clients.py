"""curl, lftp and openssl over TLS: list, up and down, and the content compared.

A program that is missing is a skip, and in CI a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from secured import Server, serving

#: How long, in seconds, a client may take. Only failures take this long.
DEADLINE = 60

CONTENT = os.urandom(5_000_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose data has to be protected: what works here works in TLS."""
    with serving(tmp_path / "root", "--require-tls", "data") as server:
        yield server


def run(*command: str, given: str = "") -> str:
    if shutil.which(command[0]) is None:
        assert os.environ.get("CI") != "true", f"{command[0]} is not installed"
        pytest.skip(f"{command[0]} is not installed")
    ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=DEADLINE)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def by_curl(server: Server, url: str, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(CONTENT)
    curl = ("curl", "-sSk", "--ssl-reqd")
    run(*curl, "-T", str(tmp_path / "local"), f"{url}a%20file")
    assert (server.folder / "a file").read_bytes() == CONTENT
    run(*curl, "-o", str(tmp_path / "back"), f"{url}a%20file")
    assert (tmp_path / "back").read_bytes() == CONTENT
    assert "a file" in run(*curl, url)


def test_curl(server: Server, tmp_path: Path) -> None:
    by_curl(server, f"ftp://127.0.0.1:{server.port}/", tmp_path)


def test_curl_with_tls_from_the_first_byte(tmp_path: Path) -> None:
    with serving(tmp_path / "root", "--require-tls", "data", endpoint="tls:0:interface=127.0.0.1") as server:
        by_curl(server, f"ftps://127.0.0.1:{server.port}/", tmp_path)


@pytest.mark.parametrize("passive", ["on", "off"])
def test_lftp(server: Server, tmp_path: Path, passive: str) -> None:
    (tmp_path / "local").write_bytes(CONTENT)
    (tmp_path / "empty").touch()
    settings = (
        "set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set net:max-retries 1"
    )
    commands = (
        f"{settings}; set ftp:passive-mode {passive}; open -u anonymous,x ftp://127.0.0.1:{server.port}",
        f"put '{tmp_path}/local' -o 'a file'; put '{tmp_path}/empty'; get 'a file' -o '{tmp_path}/back'",
        f"get empty -o '{tmp_path}/nothing'; cls -1",
    )
    listed = run("lftp", "--norc", "-c", "; ".join(commands))
    assert (server.folder / "a file").read_bytes() == (tmp_path / "back").read_bytes() == CONTENT
    assert (tmp_path / "nothing").read_bytes() == b""
    assert sorted(listed.split("\n")) == ["", "a file", "empty"]


def test_openssl_sees_the_announced_fingerprint(server: Server) -> None:
    shown = run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-starttls", "ftp", given="QUIT\r\n")
    assert run("openssl", "x509", "-noout", "-fingerprint", "-sha256", given=shown).strip().endswith(server.fingerprint)
