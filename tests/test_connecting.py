"""The command `connect`: its words, its questions, and what it never shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import support
from authority import HOST, Authority
from conftest import LoggedErrors
from desk import Desk
from meeting import PORT, Meeting, meeting_ours
from test_credentials import SECRET, Somebody
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent
from twisted.python.failure import Failure

from ftpsvc import connecting, model
from ftpsvc.clienttls import Protection, UnknownServer
from ftpsvc.connecting import Target, target_of
from ftpsvc.knownservers import KnownServers
from ftpsvc.limits import Limits
from ftpsvc.model import (
    BadArgument,
    ConnectionFailed,
    NotLoggedIn,
    ProtocolViolation,
    ServiceClosing,
    TransferError,
)
from ftpsvc.remote import Remote
from ftpsvc.terminal import LineHistory
from ftpsvc.tls import ServerTLS

FINGERPRINT = ":".join(["AB"] * 32)


# -- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h", Target("h")),
        ("h 21", Target("h", 21)),
        ("mia@h 21", Target("h", 21, "mia")),
        ("mia@work@h", Target("h", user="mia@work")),
        ("mia@::1 21", Target("::1", 21, "mia")),
        ("fe80::1%eth0.100 21", Target("fe80::1%eth0.100", 21)),
        ("fe80::1%br-lan", Target("fe80::1%br-lan")),
        ("h:21 21", Target("h", 21)),
        ("--tls h", Target("h", protection=Protection.REQUIRED)),
        ("--implicit mia@h 990", Target("h", 990, "mia", Protection.IMPLICIT)),
        ("--clear h", Target("h", protection=Protection.NONE)),
        (f"--fingerprint {FINGERPRINT.lower()} h", Target("h", fingerprint=FINGERPRINT)),
        (f"--implicit --fingerprint {FINGERPRINT} h", Target("h", 5000, "", Protection.IMPLICIT, FINGERPRINT)),
    ],
)
def test_what_is_meant(typed: str, meant: Target) -> None:
    target = target_of(typed.split())
    assert target == meant
    if not target.fingerprint:
        assert target_of(target.typed.split()) == target


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "a word is missing. Use: connect"),
        ("--tls", "a word is missing"),
        ("h 1 2", "too many words"),
        ("h:1 2", "two ports, 1 and 2"),
        ("h 0065535999", "no port; those are 1 to 65535"),
        ("a/b", "a/b is no name that a host can have"),
        ("--frobnicate h", "no option --frobnicate"),
        ("--fingerprint", "no option --fingerprint that could stand there"),
        ("--fingerprint AB h", "AB is no SHA-256 fingerprint"),
        ("--tls --clear h", "exclude each other"),
        (f"--clear --fingerprint {FINGERPRINT} h", "without TLS there is no certificate"),
    ],
)
def test_what_makes_no_sense(typed: str, why: str) -> None:
    with pytest.raises(BadArgument, match=why):
        target_of(typed.split())


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("ftp://h/a;type=i", "/a"),
        ("ftp://h/a;type=D", "/a"),
        ("ftp://h/;type=i", "/"),
        ("ftp://h/a%3Btype=i", "/a;type=i"),
        ("ftp://h/a;type=im", "/a;type=im"),
        ("ftp://h/a;b", "/a;b"),
        ("ftp://h/i", "/i"),
    ],
)
def test_how_a_url_wants_its_file_sent_is_no_part_of_the_name(url: str, path: str) -> None:
    assert target_of([url]).path == path


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("ftp://mia@[fe80::1%25eth0]/a", Target("fe80::1%eth0", user="mia", path="/a")),
        ("ftp://[fe80::1%eth0]:21", Target("fe80::1%eth0", 21)),
    ],
)
def test_a_url_may_name_the_interface_of_an_address(url: str, meant: Target) -> None:
    assert target_of([url]) == meant
    assert target_of([meant.url]) == meant


def test_no_file_is_sent_as_text() -> None:
    with pytest.raises(BadArgument, match="not as text"):
        target_of(["ftp://h/a;type=a"])


@pytest.mark.parametrize("typed", ["ftp://mia:s3cr3t", "mia:s3cr3t", "ftp://mia:s3cr3t/x@h/"])
def test_what_may_be_a_password_is_not_repeated_as_a_port(typed: str) -> None:
    with pytest.raises(BadArgument, match="what stands behind the colon is no port"):
        target_of([typed])


@pytest.mark.parametrize("typed", ["mia:s3:cr3t", "mia:s3/cr3t@h", "ftp://mia:s3:cr/3t@h/", "mia:s3cr3t 21"])
def test_what_may_be_a_password_is_not_repeated_in_any_other_way(typed: str) -> None:
    with pytest.raises(BadArgument) as refusal:
        target_of(typed.split())
    assert "s3" not in str(refusal.value)


@pytest.mark.parametrize("typed", ["mia:{}@h", "ftp://mia:{}@h/", "--tls mia:{}@h 21", "mia:a@{}@h", "'mia:a {}@h'"])
def test_a_password_among_the_words_is_refused_and_not_repeated_or_kept(
    stranger: Desk, tmp_path: Path, typed: str
) -> None:
    secret = "s3cr3t"
    line = f"connect {typed.format(secret)}"
    said = stranger.type(line)
    assert "a password has no place in a line" in said and secret not in said
    history = LineHistory(tmp_path / "history")
    history.append_string(line)
    history.append_string("connect ftp://mia@h")
    assert list(history.load_history_strings()) == history.get_strings() == ["connect ftp://mia@h"]


def test_how_to_come_back_says_all_that_it_takes(stranger: Desk) -> None:
    stranger.type("connect --implicit mia@h 990")
    stranger.link.lose()
    stranger.refuses = model.ConnectionRefused("nothing listens there.")
    assert stranger.type("list").endswith("Use: connect --implicit mia@h 990\n")


@pytest.mark.parametrize("kind", [model.ConnectionFailed, model.ServiceClosing])
def test_a_server_that_ends_it_is_named(stranger: Desk, kind: type[model.TransferError]) -> None:
    stranger.refuses = kind("421 Too many connections.")
    assert stranger.type("connect h 21") == "connect: h 21: 421 Too many connections.\n"


# -- questions -----------------------------------------------------------------------------------------------


class Visit:
    """Connecting in memory to a server of ours."""

    def __init__(self, folder: Path, tls: ServerTLS | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.tls = folder, tls
        self.known = KnownServers(folder / "state" / "known_servers")
        self.meetings: list[Meeting] = []
        monkeypatch.setattr(Remote, "connect", self._connect)
        monkeypatch.setenv("HOME", str(folder))

    async def _connect(self, reactor: Any, host: str, port: int, tls: Any) -> Remote:
        self.meetings.append(meeting_ours(self.folder, self.tls))
        return await Remote.connect_endpoint(self.meetings[-1].clock, self.meetings[-1], tls=tls)  # type: ignore[arg-type]

    def connect(self, person: Somebody | None, target: Target | None = None) -> Remote:
        work = support.start(connecting.connected(None, target or Target(HOST), self.known, support.at_once, person))
        for meeting in self.meetings:  # a second one is added meanwhile, where there is a second try
            meeting.link.pump()
            meeting.clock.advance(Limits().delay)  # a login that is refused is answered that late
            meeting.link.pump()
        remote = work.result()
        assert isinstance(remote, Remote)
        return remote


@pytest.fixture
def tls(tmp_path: Path) -> ServerTLS:
    (tmp_path / "authority").mkdir()
    return Authority(tmp_path / "authority").server("a\x1b[2Jb", "localhost")


@pytest.fixture
def visit(tmp_path: Path, tls: ServerTLS, monkeypatch: pytest.MonkeyPatch) -> Visit:
    return Visit(tmp_path, tls, monkeypatch)


def test_an_unknown_certificate_is_asked_about_once(visit: Visit, tls: ServerTLS) -> None:
    person = Somebody("Yes")
    remote = visit.connect(person)
    assert remote.is_protected and remote.is_inline and remote.user == "anonymous"
    (question,) = person.asked
    assert f"SHA-256  {tls.fingerprint}\n" in re.sub(r"\n {11}", "", question)
    assert "names    a\\x1b[2Jb, localhost\n" in question
    assert "signed by an authority that this machine doesn't know, it is not one for files.example.org" in question
    assert visit.known.find(HOST, PORT) == tls.fingerprint
    assert len(visit.meetings) == 2
    visit.connect(person)
    assert len(person.asked) == 1


@pytest.mark.parametrize("typed", ["", "no", "n", "yess"])
def test_anything_but_yes_is_no(visit: Visit, typed: str) -> None:
    with pytest.raises(ConnectionFailed, match="was not trusted"):
        visit.connect(Somebody(typed))
    assert visit.known.find(HOST, PORT) is None
    assert len(visit.meetings) == 1


def test_without_a_person_it_is_an_error_that_names_the_fingerprint(visit: Visit, tls: ServerTLS) -> None:
    with pytest.raises(UnknownServer, match=f"use: connect --fingerprint {tls.fingerprint} {HOST} {PORT}"):
        visit.connect(None)
    target = target_of(["--fingerprint", tls.fingerprint, HOST])
    assert visit.connect(None, target).is_protected
    assert visit.connect(None).is_protected


def test_another_server_than_the_one_that_was_trusted_is_not_talked_to(
    visit: Visit, tls: ServerTLS, tmp_path: Path
) -> None:
    class Slow(Somebody):
        async def answer(self, question: str) -> str:
            visit.tls = Authority(tmp_path / "authority").server(HOST)
            return await super().answer(question)

    with pytest.raises(ConnectionFailed, match="IS ANOTHER ONE"):
        visit.connect(Slow("yes"))
    assert visit.known.find(HOST, PORT) == tls.fingerprint


def test_a_password_that_is_refused_says_where_it_came_from(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, tls: ServerTLS
) -> None:
    monkeypatch.setenv("FTPSVC_PASSWORD", SECRET)
    with pytest.raises(NotLoggedIn, match=r"530 .*from FTPSVC_PASSWORD") as raised:
        visit.connect(None, target_of(["--fingerprint", tls.fingerprint, f"mia@{HOST}"]))
    assert SECRET not in str(raised.value)


def test_a_password_is_not_said_or_logged_when_a_login_breaks_down(
    stranger: Desk, visit: Visit, tls: ServerTLS, monkeypatch: pytest.MonkeyPatch, logged_errors: LoggedErrors
) -> None:
    async def login(remote: Remote, user: str, password: str) -> None:
        raise ZeroDivisionError

    async def dial(target: Target) -> Remote:
        return await connecting.connected(None, target, visit.known, support.at_once)

    monkeypatch.setenv("FTPSVC_PASSWORD", SECRET)
    monkeypatch.setattr(Remote, "login", login)
    stranger.shell._dial = dial
    work = stranger.start(f"connect --fingerprint {tls.fingerprint} mia@{HOST}")
    visit.meetings[-1].link.pump()
    assert work.result() is False
    assert SECRET not in stranger.said()
    (event,) = logged_errors.events
    assert SECRET not in repr(event) + formatEvent(event) + event["log_failure"].getTraceback(detail="default")
    assert [type(error) for error in logged_errors.take()] == [ZeroDivisionError]


def test_a_question_about_a_password_comes_behind_the_one_about_the_server(visit: Visit) -> None:
    person = Somebody("yes")
    with pytest.raises(NotLoggedIn):
        visit.connect(person, Target(HOST, user="mia"))
    assert [question.splitlines()[-1] for question in person.asked] == [
        "Trust it from now on? [y/N] ",
        f"Password of mia on {HOST}: ",
    ]


# -- round trips ---------------------------------------------------------------------------------------------

FEATURES = ("211-x", " AUTH TLS", " MODE I", "211 End")


def test_no_answer_is_waited_for_that_decides_nothing(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    began = meeting.begin(Protection.NONE)
    meeting.say("220 x")
    remote = began.result()
    login = support.start(remote.login())
    assert meeting.heard() == "FEAT\r\nUSER anonymous\r\nPASS ftpsvc@\r\n"
    meeting.say(*FEATURES, "331 x", "230 x")
    looking = support.start(remote.stat("/pub"))
    assert login.is_over and meeting.heard() == "MODE I\r\nMLST /pub\r\n"
    meeting.say("200 x", "250-x", " type=dir; /pub", "250 End")
    assert looking.result().is_directory


def test_auth_goes_behind_feat_where_it_is_sent_in_any_case(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    began = meeting.begin(Protection.REQUIRED)
    meeting.say("220 x")
    assert meeting.heard() == "FEAT\r\nAUTH TLS\r\n"
    meeting.say(*FEATURES, "502 no")
    with pytest.raises(ConnectionFailed, match="refuses TLS"):
        began.result()


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [("504 no", ProtocolViolation, "offers MODE I and has none"), ("421 Closing.", ServiceClosing, "^421 Closing")],
)
def test_a_server_that_has_not_what_it_offers_is_left(
    tmp_path: Path, reply: str, kind: type[TransferError], said: str
) -> None:
    meeting = Meeting(tmp_path)
    began = meeting.begin(Protection.NONE)
    meeting.say("220 x")
    meeting.say(*FEATURES)
    remote = began.result()
    support.start(remote.login())
    meeting.say("331 x", "230 x")
    looking = support.start(remote.stat("/pub"))
    meeting.say(reply)
    with pytest.raises(kind, match=said):
        looking.result()
    assert remote.lost is not None


def test_a_good_bye_needs_no_answer(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    began = meeting.begin(Protection.NONE)
    meeting.say("220 x")
    meeting.say(*FEATURES)
    began.result().leave()
    assert meeting.heard().endswith("QUIT\r\n") and meeting.peer.is_lost


def test_a_link_local_address_keeps_its_interface() -> None:
    reactor = MemoryReactorClock()
    connecting = support.start(Remote.connect(reactor, "fe80::1%lo", PORT))
    assert [call[:2] for call in reactor.tcpClients] == [("fe80::1%lo", PORT)]
    reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
    with pytest.raises(model.ConnectionRefused, match="fe80::1%lo answered"):
        connecting.result()
