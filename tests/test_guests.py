"""Who comes from where, and what those may do who have no account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import support
from membership import ELSEWHERE, HERE, Place, log, place, quick
from support import Conversation, frames
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from ftpsvc.accountfile import PERMISSIONS
from ftpsvc.accounts import GUESTS, WRONG, Anonymous, AnonymousOnly
from ftpsvc.addresses import Origin
from ftpsvc.admission import admitted
from ftpsvc.homes import Homes
from ftpsvc.model import ANONYMOUS, EVERYTHING, Permission
from ftpsvc.proxied import origin_of
from ftpsvc.session import Visitor

__all__ = ["log", "place", "quick"]


# -- where a connection comes from


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        (HERE, ("127.0.0.1:40000", True)),
        (IPv4Address("TCP", "127.8.8.8", 1), ("127.8.8.8:1", True)),
        (IPv6Address("TCP", "::1", 1), ("[::1]:1", True)),
        (IPv6Address("TCP", "::ffff:127.0.0.1", 1), ("127.0.0.1:1", True)),
        (IPv6Address("TCP", "::ffff:192.0.2.7", 1), ("192.0.2.7:1", False)),
        (IPv6Address("TCP", "2001:db8:0:0:0:0:0:5", 1), ("[2001:db8::5]:1", False)),
        (ELSEWHERE, ("192.0.2.7:40000", False)),
        (IPv4Address("TCP", "0.0.0.0", 1), ("0.0.0.0:1", False)),
        (IPv4Address("TCP", "10.0.0.1", 1), ("10.0.0.1:1", False)),
        (UNIXAddress(b"/run/x"), ("a local socket", True)),
        (UNIXAddress(None), ("a local socket", True)),
        (None, ("somebody", False)),
    ],
)
def test_what_is_here_and_what_is_elsewhere(peer: IAddress | None, origin: tuple[str, bool]) -> None:
    found = origin_of(peer)
    assert (found.name, found.is_local) == origin


# -- protected mode


def protected(folder: Path, **options: Any) -> Any:
    (folder / "root").mkdir()
    homes = Homes(lambda home, owner: support.local_disk(home, owner=owner), support.at_once, lambda: 0.0)
    return admitted({"root": str(folder / "root"), "accounts": "", "anonymous": "", **options}, homes, support.at_once)


@pytest.mark.parametrize("peer", [ELSEWHERE, IPv6Address("TCP", "2001:db8::1", 5), None])
def test_without_accounts_others_are_told_what_the_operator_has_to_do(
    tmp_path: Path, peer: IAddress | None, log: list[str]
) -> None:
    admission = protected(tmp_path)
    talk = Conversation(None, accounts=admission.accounts, address=peer)
    talk.send(b"USER anonymous\r\nPASS x\r\nMODE I\r\nSTOR x\r\n", frames(b"x"))
    (greeting,) = talk.take()
    assert isinstance(greeting, str)
    assert greeting.startswith("421 This server has no accounts yet, so it serves the machine it runs on and no other.")
    assert "ftpsvc user add" in greeting and "--accounts FILE" in greeting and "--anonymous" in greeting
    assert talk.is_closed
    assert os.listdir(tmp_path / "root") == []
    talk.factory.records.flush()
    assert any("refused: This server has no accounts yet" in line for line in log)
    (announcement,) = admission.announcements
    assert "only this machine is served" in announcement and "--accounts FILE" in announcement


@pytest.mark.parametrize("peer", [HERE, IPv6Address("TCP", "::1", 5), UNIXAddress(b"/run/x")])
def test_without_accounts_this_machine_is_served_all_the_same(tmp_path: Path, peer: IAddress) -> None:
    talk = Conversation(None, accounts=protected(tmp_path).accounts, address=peer).log_in()
    assert talk.codes(b"STOR a\r\n", frames(b"a"), b"STOR a\r\n", frames(b"b"), b"RETR a\r\nLIST\r\nMKD d\r\n") == [
        150, 226, 150, 226, 150, "DONE", 226, 150, "DONE", 226, 257,
    ]  # fmt: skip
    assert talk.codes(b"RNFR a\r\nRNTO b\r\nDELE b\r\nRMD d\r\n") == [350, 250, 250, 250]


def test_the_gate_of_protected_mode_stands_at_the_login_too(tmp_path: Path) -> None:
    accounts = protected(tmp_path).accounts
    with pytest.raises(Exception, match="Login failed"):
        support.result_of(accounts.login("anonymous", "x", Visitor(Origin("192.0.2.7:1"))))


ATTEMPTS: dict[str, tuple[bytes, ...]] = {
    "list": (b"MLSD\r\n",),
    "see": (b"SIZE old\r\n",),
    "read": (b"RETR old\r\n",),
    "write": (b"STOR new\r\n", frames(b"new")),
    "overwrite": (b"STOR old\r\n", frames(b"new")),
    "append": (b"APPE old\r\n", frames(b"new")),
    "delete": (b"DELE old\r\n",),
    "mkdir": (b"MKD d\r\n",),
    "facts": (b"SITE CHMOD 600 old\r\n",),
}


@pytest.mark.parametrize(
    ("mode", "may"),
    [("read", {"list", "see", "read"}), ("drop", {"write"}), ("write", set(ATTEMPTS))],
)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_the_operator_opens_on_purpose(tmp_path: Path, mode: str, may: set[str], attempt: str) -> None:
    accounts = protected(tmp_path, anonymous=mode).accounts
    (tmp_path / "root" / "old").write_bytes(b"old")
    talk = Conversation(None, accounts=accounts, address=ELSEWHERE).log_in()
    talk.send(b"TYPE I\r\n")
    talk.take()
    codes = talk.codes(*ATTEMPTS[attempt])
    assert (codes[-1] != 550) is (attempt in may)
    if attempt not in may:
        assert (tmp_path / "root" / "old").read_bytes() == b"old"
        assert os.listdir(tmp_path / "root") == ["old"]


def test_with_none_nobody_is_anonymous_from_this_machine_either(tmp_path: Path) -> None:
    accounts = protected(tmp_path, anonymous="none").accounts
    talk = Conversation(None, accounts=accounts, address=HERE)
    assert talk.ask(b"USER anonymous\r\nPASS x\r\n")[-1] == f"530 {WRONG}"


# -- guests beside accounts


def test_guests_and_accounts_side_by_side(place: Place) -> None:
    place.account("alice")
    (place.root / "public").touch()
    place.guests = AnonymousOnly(place.homes.storage(str(place.root), ANONYMOUS, ""), GUESTS[Anonymous.READ])
    assert place.login("anonymous", "x", ELSEWHERE) == "230 Logged in as anonymous."
    assert place.login("FTP", "", ELSEWHERE).startswith("230")
    assert place.login("alice").startswith("230")
    assert place.login("bob") == f"530 {WRONG}"


def test_the_words_of_the_permissions_are_all_there_are() -> None:

    assert {permission for word, permission in PERMISSIONS.items() if word != "all"} == set(Permission)
    assert GUESTS[Anonymous.WRITE] == EVERYTHING
