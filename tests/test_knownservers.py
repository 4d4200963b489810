"""The file of known servers: what is found in it again, and what becomes of what others have written there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ftpsvc import knownservers
from ftpsvc.knownservers import VALID, KnownServers
from ftpsvc.model import LocalFault

ONE, OTHER = ":".join(["AB"] * 32), ":".join(["CD"] * 32)


@pytest.fixture
def known(tmp_path: Path) -> KnownServers:
    return KnownServers(tmp_path / "state" / "ftpsvc" / "known_servers")


def test_what_was_remembered_is_found(known: KnownServers) -> None:
    assert known.find("a", 1) is None
    known.remember("Files.Example.org.", 21, ONE)
    known.remember("files.example.org", 2121, VALID)
    known.remember("2001:db8::1", 21, OTHER)
    again = KnownServers(known.path)
    assert again.find("files.example.org", 21) == ONE
    assert again.find("FILES.example.org", 2121) == VALID
    assert again.find("2001:db8::1", 21) == OTHER
    assert again.find("example.org", 21) is None


def test_a_server_has_one_line(known: KnownServers) -> None:
    for what in (ONE, OTHER, VALID):
        known.remember("a", 21, what)
    assert known.path.read_text() == "a 21 valid\n"


def test_nobody_else_reads_it_and_nothing_else_is_left(known: KnownServers) -> None:
    before = os.umask(0)
    try:
        known.remember("a", 21, ONE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(known.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(known.path.parent.stat().st_mode) == 0o700
    assert os.listdir(known.path.parent) == ["known_servers"]


def test_lines_that_are_not_understood_are_kept(known: KnownServers) -> None:
    known.path.parent.mkdir(parents=True)
    known.path.write_bytes(b"# a note\n\nb 21\na 21 x y\ncaf\xe9 21 " + ONE.encode() + b"\nc 21 " + ONE.encode())
    assert known.find("b", 21) is None and known.find("c", 21) == ONE
    known.remember("c", 21, OTHER)
    assert known.path.read_bytes() == (
        b"# a note\n\nb 21\na 21 x y\ncaf\xe9 21 " + ONE.encode() + b"\nc 21 " + OTHER.encode() + b"\n"
    )


def test_what_can_not_be_read_or_written_is_said(known: KnownServers) -> None:
    known.path.mkdir(parents=True)
    with pytest.raises(LocalFault, match=f"{known.path}, which can't be read: Is a directory"):
        known.find("a", 21)
    blocked = KnownServers(known.path.parent / "file" / "known_servers")
    blocked.path.parent.touch()
    with pytest.raises(LocalFault, match="can't be written: File exists"):
        blocked.remember("a", 21, ONE)


def test_without_a_home_nothing_was_met_and_nothing_can_be_kept() -> None:
    known = KnownServers(Path("/dev/null/.local/state/ftpsvc/known_servers"))
    assert known.find("h", 21) is None
    with pytest.raises(LocalFault, match="can't be written"):
        known.remember("h", 21, VALID)


def test_a_file_that_is_far_too_long_is_not_read(known: KnownServers) -> None:
    known.path.parent.mkdir(parents=True)
    with open(known.path, "wb") as file:
        file.truncate(10 * knownservers.MAX_SIZE)
    with pytest.raises(LocalFault, match="more than"):
        known.find("a", 21)


@pytest.mark.parametrize(
    "typed",
    [
        ONE,
        ONE.lower(),
        "ab" * 32,
        f"SHA256:{ONE}",
        f"sha-256 {ONE}",
        f"SHA256={'AB' * 32}",
        f" {ONE} ",
        f"sha256 Fingerprint={ONE}\n",
    ],
)
def test_a_fingerprint_however_it_is_typed(typed: str) -> None:
    assert knownservers.fingerprint(typed) == ONE


@pytest.mark.parametrize("typed", ["", "AB", ONE + ":AB", ONE[:-1] + "G", "MD5:" + ONE])
def test_what_is_no_fingerprint(typed: str) -> None:
    assert knownservers.fingerprint(typed) is None
