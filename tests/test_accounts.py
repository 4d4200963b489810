"""Who gets in and who doesn't, and what those who don't can learn from that."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argon2
import pytest
import support
from support import Conversation, frames
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.logger import globalLogPublisher

from ftpsvc import passwords
from ftpsvc.accountfile import PERMISSIONS, BadAccounts
from ftpsvc.accounts import GUESTS, MAX_AT_ONCE, WRONG, Anonymous, AnonymousOnly, Doors, KeptFile, Members
from ftpsvc.addresses import Origin
from ftpsvc.admission import admitted
from ftpsvc.checkers import Checkers
from ftpsvc.homes import Homes
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import ANONYMOUS, EVERYTHING, Permission
from ftpsvc.proxied import origin_of
from ftpsvc.session import Visitor

#: The same as the real ones, and made in no time.
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = QUICK.hash(b"secret")

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
HERE = IPv4Address("TCP", "127.0.0.1", 40000)
ELSEWHERE = IPv4Address("TCP", "192.0.2.7", 40000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", QUICK)


@pytest.fixture
def log() -> Any:
    """What is logged, as text."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_format" in event:
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


class Place:
    """A root, homes beside it, and an accounts' file that is none of theirs."""

    def __init__(self, folder: Path, run: Any = support.at_once) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        (folder / "etc").mkdir()
        self.file = folder / "etc" / "accounts.toml"
        self.now = NOW
        self.run = run
        self.homes = Homes(lambda home, owner: LocalDisk(home, support.at_once, owner=owner), support.at_once, float)
        support.LEFT_OPEN.append(self.homes)
        self.checkers: Checkers | None = None
        self.guests: AnonymousOnly | None = None
        self._doors: Doors | None = None

    def account(self, name: str, **settings: str) -> None:
        """Add one to the file; what isn't said is as usual. Its home is made, if it has one."""
        settings = {"password": f'"{HASH}"', "permissions": '["all"]', "home": f'"{self.folder / name}"', **settings}
        lines = [f"{key} = {value}" for key, value in settings.items() if value]
        self.write(f"\n[{name}]\n" + "\n".join(lines) + "\n", append=True)
        (self.folder / name).mkdir(exist_ok=True)

    def write(self, text: str, append: bool = False) -> None:
        before = self.file.read_text() if append and self.file.exists() else ""
        self.file.write_text(before + text)
        self.moment = getattr(self, "moment", 1_000_000_000) + 1
        os.utime(self.file, (self.moment, self.moment))  # the clock of a file system may be a coarse one

    def doors(self) -> Doors:
        if self._doors is None:
            kept = KeptFile(self.file) if self.file.exists() else None
            members = Members(kept, self.checkers, self.homes, str(self.root), self.run, lambda: self.now)
            self._doors = Doors(self.guests, members)
        return self._doors

    def talk(self, address: IAddress | None = HERE) -> Conversation:
        talk = Conversation(None, accounts=self.doors(), address=address)
        assert talk.codes() == [220]
        return talk

    def login(self, user: str, password: str = "secret", address: IAddress | None = HERE) -> str:
        """What the server says at the end of it."""
        talk = self.talk(address)
        talk.send(f"USER {user}\r\nPASS {password}\r\n".encode())
        user_reply, reply = talk.take()
        assert user_reply == "331 Name received; send the password with PASS."
        assert isinstance(reply, str)
        return reply


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# -- where a connection comes from


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        (HERE, ("127.0.0.1:40000", True)),
        (IPv4Address("TCP", "127.8.8.8", 1), ("127.8.8.8:1", True)),
        (IPv6Address("TCP", "::1", 1), ("[::1]:1", True)),
        (IPv6Address("TCP", "::ffff:127.0.0.1", 1), ("[::ffff:127.0.0.1]:1", True)),
        (IPv6Address("TCP", "::ffff:192.0.2.7", 1), ("[::ffff:192.0.2.7]:1", False)),
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


def test_the_start_is_refused_with_a_file_that_is_wrong(place: Place) -> None:
    place.write("[alice\n")
    with pytest.raises(BadAccounts, match="line 1"):
        place.doors()


# -- homes


def test_a_home_that_is_not_there_is_told_to_the_operator(place: Place, log: list[str], logged_errors: Any) -> None:
    place.account("alice", home='"/nowhere/at/all"')
    reply = place.login("alice")
    assert reply.startswith("530 This account's files can't be opened")
    assert "nowhere" not in reply
    assert any("the home /nowhere/at/all can't be opened: No such file" in line for line in log)
    logged_errors.events.clear()
    assert place.login("alice", "wrong") == f"530 {WRONG}"


def test_a_home_that_is_replaced_is_opened_again(place: Place) -> None:
    place.account("alice")
    (place.folder / "alice" / "old").touch()
    talk = place.talk()
    assert talk.codes(b"USER alice\r\nPASS secret\r\nTYPE I\r\nSIZE old\r\n") == [331, 230, 200, 213]
    (place.folder / "alice").rename(place.folder / "before")
    (place.folder / "alice").mkdir()
    (place.folder / "alice" / "new").touch()
    other = place.talk()
    assert other.codes(b"USER alice\r\nPASS secret\r\nTYPE I\r\nSIZE new\r\n") == [331, 230, 200, 213]
    assert talk.codes(b"SIZE old\r\n") == [213]


def test_the_sweep_goes_through_all_homes(place: Place) -> None:
    place.account("alice")
    place.account("bob")
    place.account("gone", home='"/nowhere"')
    place.login("alice")
    place.homes.known = place.doors().members.homes
    for name in ("alice", "bob"):
        part = place.folder / name / ".ftpsvc-part"
        part.touch()
        os.utime(part, (1, 1))
    before = len(os.listdir("/proc/self/fd"))
    assert support.result_of(place.homes.sweep(100.0)) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_shares_a_home_shares_no_parts(place: Place) -> None:
    for name in ("alice", "bob"):
        place.account(name, home=f'"{place.root}"')
    talk = place.talk()
    talk.send(b"USER alice\r\nPASS secret\r\nMODE I\r\nSTOR a\r\n", frames(b"x" * 500)[:-60])
    talk.link.lose()
    other = place.talk()
    other.send(b"USER bob\r\nPASS secret\r\nMODE I\r\nTYPE I\r\n")
    other.take()
    assert other.codes(b"REST 10\r\nSTOR a\r\n", frames(b"y")) == [350, 554]
    assert set(support.take_part(place.root)) == {ord("x")}


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


# -- Twisted's checkers


def checkers(**known: str) -> Checkers:
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    for name, password in known.items():
        checker.addUser(name.encode(), password.encode())
    return Checkers([checker])


def test_whom_a_checker_knows_has_the_root(place: Place) -> None:
    place.checkers = checkers(dora="pässword")
    talk = place.talk()
    assert talk.codes("USER dora\r\nPASS pässword\r\nMKD d\r\n".encode()) == [331, 230, 257]
    assert (place.root / "d").is_dir()
    assert place.login("dora", "wrong") == place.login("nobody", "x") == f"530 {WRONG}"


def test_the_file_says_what_those_may_do_whom_a_checker_knows(place: Place) -> None:
    place.account("dora", password="", permissions='["list"]')
    place.account("alice")
    place.checkers = checkers(dora="d", stranger="s", alice="a")
    talk = place.talk()
    assert talk.codes(b"USER dora\r\nPASS d\r\nMKD d\r\n") == [331, 230, 550]
    assert place.login("stranger", "s") == f"530 {WRONG}"
    assert place.login("alice", "a") == f"530 {WRONG}"  # the file has a password for her
    assert place.login("alice") == "230 Logged in as alice."


def test_several_checkers_are_asked_one_after_the_other(place: Place) -> None:
    place.checkers = Checkers([*checkers(a="1")._checkers, *checkers(b="2")._checkers])
    assert place.login("b", "2").startswith("230")
    assert place.login("a", "1").startswith("230")
    assert place.login("a", "2").startswith("530")


def test_a_checker_that_breaks_lets_nobody_in_and_tells_no_secrets(
    place: Place, log: list[str], logged_errors: Any
) -> None:
    class Broken:
        def requestAvatarId(self, credentials: Any) -> Any:
            raise RuntimeError(f"no idea of {credentials.password!r}")

    place.checkers = Checkers([Broken(), *checkers(a="secret1")._checkers])
    assert place.login("a", "secret1").startswith("230")
    assert any("Broken failed, and lets nobody in" in line for line in log)
    assert not any("secret1" in line for line in log)
    logged_errors.events.clear()


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
