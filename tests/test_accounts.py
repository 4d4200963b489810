"""Who gets in and who doesn't, and what those who don't can learn from that."""

from __future__ import annotations

import datetime
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import pytest
import support
from membership import ELSEWHERE, HERE, QUICK, Place, log, place, quick
from support import frames
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from ftpsvc import passwords, wholefile
from ftpsvc.accountfile import BadAccounts
from ftpsvc.accounts import MAX_AT_ONCE, WRONG
from ftpsvc.proxied import origin_of
from ftpsvc.session import Visitor

__all__ = ["log", "place", "quick"]


# -- accounts in a file


def test_an_account_has_its_home_and_sees_nothing_else(place: Place) -> None:
    place.account("alice")
    place.account("bob")
    (place.folder / "bob" / "secret").write_bytes(b"bob's")
    talk = place.talk()
    assert talk.codes(b"USER alice\r\nPASS secret\r\nMODE I\r\nTYPE I\r\n") == [331, 230, 200, 200]
    assert talk.codes(b"STOR mine\r\n", frames(b"x"), b"SIZE /mine\r\n") == [150, 226, 213]
    assert (place.folder / "alice" / "mine").read_bytes() == b"x"
    for path in ("/bob/secret", "../bob/secret", f"{place.folder}/bob/secret", "/../../bob/secret"):
        answers = talk.ask(f"RETR {path}\r\nCWD {path}\r\nMKD {path}/x/y\r\nMLST {path}\r\n".encode())
        assert all(isinstance(answer, str) and answer.startswith("550") for answer in answers)
        said = "".join(str(answer) for answer in answers)
        assert str(place.folder) not in said.replace(path, "")


def test_permissions_of_the_file_are_those_of_the_session(place: Place) -> None:
    place.account("alice", permissions='["list", "read"]', **{"paths": '{ "/in" = ["write"] }'})
    (place.folder / "alice" / "in").mkdir()
    talk = place.talk()
    talk.send(b"USER alice\r\nPASS secret\r\nMODE I\r\n")
    talk.take()
    assert talk.codes(b"STOR a\r\n", frames(b"x"), b"STOR in/a\r\n", frames(b"x"), b"RETR in/a\r\n") == [
        550, 150, 226, 550,
    ]  # fmt: skip


def test_an_account_without_a_home_has_the_root(place: Place) -> None:
    place.account("alice", home="")
    (place.root / "here").touch()
    talk = place.talk()
    assert talk.codes(b"USER alice\r\nPASS secret\r\nTYPE I\r\nSIZE here\r\n") == [331, 230, 200, 213]


FAILURES: dict[str, Callable[[Place], None]] = {
    "an unknown name": lambda place: place.account("other"),
    "no accounts at all": lambda place: place.write("# nobody yet\n"),
    "a wrong password": lambda place: place.account("alice", password=f'"{QUICK.hash("another")}"'),
    "no password": lambda place: place.account("alice", password=""),
    "only a certificate": lambda place: place.account("alice", password="", certificates=f'["{"ab" * 32}"]'),
    "expired": lambda place: place.account("alice", expires="2030-01-01"),
    "another network": lambda place: place.account("alice", networks='["198.51.100.0/24", "2001:db8::/32"]'),
    "without TLS": lambda place: place.account("alice", require_tls="true"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_is_answered_alike_and_costs_one_comparison(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    FAILURES[name](place)
    place.doors()
    compared: list[str] = []
    matches = passwords.matches

    def counting(hash_: str, password: str) -> bool:
        compared.append(hash_)
        return matches(hash_, password)

    monkeypatch.setattr(passwords, "matches", counting)
    assert place.login("alice") == f"530 {WRONG}"
    assert len(compared) == 1 and compared[0].startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert any("127.0.0.1:40000: login as alice failed: " in line for line in log)
    assert not any("secret" in line for line in log)


def test_a_name_that_nobody_has_costs_what_the_accounts_cost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    dear = argon2.PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash("x")
    place.account("alice", password=f'"{dear}"')
    place.doors()
    compared: list[str] = []
    monkeypatch.setattr(passwords, "matches", lambda hash_, _: compared.append(hash_) or True)
    assert place.login("nobody").startswith("530")  # though the comparison said yes
    assert place.login("anonymous").startswith("530")
    assert compared == [dear, dear]


def test_passwords_are_compared_in_threads_and_few_at_once(tmp_path: Path) -> None:
    run = support.by_hand()
    place = Place(tmp_path, run)
    place.account("alice")
    talks = [place.talk() for _ in range(MAX_AT_ONCE + 3)]
    for talk in talks:
        talk.send(b"USER alice\r\nPASS secret\r\n")
    assert len(run.jobs) == MAX_AT_ONCE
    assert [talk.codes() for talk in talks] == [[331]] * len(talks)
    while run.jobs:
        assert len(run.jobs) <= MAX_AT_ONCE
        run.fire()
    for talk in talks:
        talk.link.pump()
    assert [talk.codes() for talk in talks] == [[230]] * len(talks)


def test_who_hangs_up_during_the_comparison_is_not_logged_in(tmp_path: Path) -> None:
    run = support.by_hand()
    place = Place(tmp_path, run)
    place.account("alice")
    talk = place.talk()
    talk.send(b"USER alice\r\nPASS secret\r\n")
    talk.link.lose()
    run.fire()
    assert talk.is_closed


@pytest.mark.parametrize("password", ["", " leading and trailing ", "%s%n", "-dash", "pässwörd", "a" * 900])
def test_a_password_is_any_text(place: Place, password: str) -> None:
    place.account("alice", password=f'"{passwords.hashed(password)}"')
    assert place.login("alice", password) == "230 Logged in as alice."
    assert place.login("alice", password + "x").startswith("530")


def test_names_are_told_apart_by_case_and_by_every_character(place: Place) -> None:
    place.account("alice")
    for name in ("Alice", "alice ", "ALICE", "alice\x00", "alice/"):
        assert place.login(name).startswith("530")


def test_a_name_from_outside_forges_no_line_in_the_log(place: Place, log: list[str]) -> None:
    place.account("alice")
    place.login("x\x1b[2J\x85y")
    assert any("login as x\\x1b[2J" in line for line in log)
    assert not any("\x1b" in line for line in log)


@pytest.mark.parametrize(
    ("networks", "peer", "gets_in"),
    [
        ('["192.0.2.0/24"]', ELSEWHERE, True),
        ('["192.0.2.0/24"]', HERE, False),
        ('["192.0.2.0/24"]', IPv6Address("TCP", "::ffff:192.0.2.7", 5), True),
        ('["192.0.2.7"]', ELSEWHERE, True),
        ('["2001:db8::/32"]', IPv6Address("TCP", "2001:db8::9", 5), True),
        ('["2001:db8::/32"]', ELSEWHERE, False),
        ('["127.0.0.0/8"]', UNIXAddress(b"/run/x"), False),
        ('["0.0.0.0/0", "::/0"]', ELSEWHERE, True),
    ],
)
def test_networks(place: Place, networks: str, peer: IAddress, gets_in: bool) -> None:
    place.account("alice", networks=networks)
    assert place.login("alice", address=peer).startswith("230" if gets_in else "530")


def test_an_account_ends_at_its_moment(place: Place) -> None:
    place.account("alice", expires="2030-01-01T00:00:01Z")
    assert place.login("alice").startswith("230")
    place.now += datetime.timedelta(seconds=1)
    assert place.login("alice").startswith("530")


# -- changes


def test_a_change_is_for_the_next_login_and_needs_no_restart(place: Place) -> None:
    place.account("alice")
    assert place.login("alice").startswith("230")
    assert place.login("bob").startswith("530")
    place.account("bob")
    assert place.login("bob").startswith("230")
    place.write("# nobody\n")
    assert place.login("alice").startswith("530")


def test_a_file_that_is_wrong_changes_nothing_and_the_log_says_where(
    place: Place, log: list[str], logged_errors: Any
) -> None:
    place.account("alice")
    assert place.login("alice").startswith("230")
    place.write("permisions = []\n", append=True)
    assert place.login("alice").startswith("230")
    assert place.login("alice").startswith("230")
    problem = f"The accounts stay as they were: {place.file}, line 6: account alice permisions: there is no such"
    assert len([line for line in log if line.startswith(problem)]) == 1
    place.file.unlink()
    assert place.login("alice").startswith("230")
    assert any("accounts.toml: No such file" in line for line in log)
    place.account("carol")
    assert place.login("carol").startswith("230")
    assert place.login("alice").startswith("530")
    logged_errors.events.clear()


def test_a_file_that_could_not_be_read_is_read_when_it_was_given_to_us(
    place: Place, monkeypatch: pytest.MonkeyPatch, logged_errors: Any
) -> None:
    """As chown does behind an editor that has replaced the file: neither its size nor its time of change is another."""
    place.account("alice")
    assert place.login("alice").startswith("230")
    place.account("bob")

    def refused(file: Path, most: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    with monkeypatch.context() as not_ours:
        not_ours.setattr(wholefile, "read", refused)
        assert place.login("bob").startswith("530")
    time.sleep(0.02)  # the system's clock for files ticks only so often
    place.file.chmod(0o640)
    assert place.login("bob").startswith("230")
    logged_errors.take()


def test_the_start_is_refused_with_a_file_that_is_wrong(place: Place) -> None:
    place.write("[alice\n")
    with pytest.raises(BadAccounts, match="line 1"):
        place.doors()


# -- certificates


class TestCertificates:
    """What is known of one here is its fingerprint; how it comes from a handshake is in test_client_certificates."""

    MINE = "ab" * 32

    def recognised(self, place: Place, user: str, certificate: str, secure: bool = True) -> bool:
        visitor = Visitor(origin_of(HERE), secure, certificate)
        return support.result_of(place.doors().recognise(user, visitor)) is not None

    def test_a_certificate_is_for_its_accounts_only(self, place: Place) -> None:
        place.account("alice", certificates=f'["{self.MINE.upper()}"]')
        place.account("bob")
        assert place.doors().members.wants_certificates
        assert self.recognised(place, "alice", self.MINE)
        assert not self.recognised(place, "bob", self.MINE)
        assert not self.recognised(place, "nobody", self.MINE)
        assert not self.recognised(place, "alice", "cd" * 32)
        assert not self.recognised(place, "alice", "")

    def test_what_holds_for_passwords_holds_for_certificates(self, place: Place) -> None:
        place.account("alice", certificates=f'["{self.MINE}"]', networks='["192.0.2.0/24"]')
        place.account("carol", certificates=f'["{self.MINE}"]', expires="2029-01-01")
        assert not self.recognised(place, "alice", self.MINE)
        assert not self.recognised(place, "carol", self.MINE)

    def test_nobody_is_asked_for_one_that_is_of_no_use(self, place: Place) -> None:
        place.account("alice")
        assert not place.doors().members.wants_certificates


# -- one session, and what is done to it


def test_two_accounts_in_one_session_share_nothing(place: Place) -> None:
    for name in ("alice", "bob"):
        place.account(name)
        (place.folder / name / name).mkdir()
        (place.folder / name / "file").write_bytes(name.encode())
    talk = place.talk()
    talk.send(b"USER alice\r\nPASS secret\r\nMODE I\r\nTYPE I\r\nCWD alice\r\nRNFR /file\r\nUSER bob\r\n")
    talk.take()
    assert talk.codes(b"PWD\r\nRETR /file\r\nRNTO /stolen\r\n") == [530, 530, 530]
    talk.send(b"PASS secret\r\n")
    talk.take()
    assert talk.ask(b"PWD\r\nRNTO /stolen\r\nCWD /alice\r\n")[0] == '257 "/" is the current folder.'
    (_, data, _) = talk.ask(b"RETR /file\r\n")
    assert data.data == b"bob"
    assert sorted(os.listdir(place.folder / "alice")) == ["alice", "file"]


def test_a_login_that_fails_ends_the_one_before(place: Place) -> None:
    place.account("alice")
    talk = place.talk()
    assert talk.codes(b"USER alice\r\nPASS secret\r\nUSER alice\r\nPASS wrong\r\nPWD\r\n") == [331, 230, 331, 530, 530]


def test_a_password_of_a_megabyte_is_not_compared(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.account("alice")
    place.doors()
    monkeypatch.setattr(passwords, "matches", lambda *_: pytest.fail("it was compared"))
    talk = place.talk()
    talk.send(b"USER alice\r\nPASS " + b"x" * 1_000_000 + b"\r\nNOOP\r\n")
    assert [code for code in talk.codes() if code not in (331, 200)] == [500]
