"""The client's TLS in memory: whom it trusts, what it remembers, and what it makes of those who stand in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from authority import HOST, Authority
from meeting import PORT, Meeting, meeting_ours
from support import Started, collected, result_of

from ftpsvc import model
from ftpsvc.clienttls import ChangedServer, Protection, UnknownServer
from ftpsvc.knownservers import VALID
from ftpsvc.limits import FAREWELL_LIMIT, HANDSHAKE_LIMIT
from ftpsvc.model import ConnectionFailed, NoTLS, ProtocolViolation, Whole

FEATURES = ("211-x", " AUTH TLS", " MODE I", "211 x")


def offered(folder: Path) -> tuple[Meeting, Started]:
    """A client that has been offered TLS, and that has asked for it."""
    meeting = Meeting(folder)
    work = meeting.begin()
    meeting.say("220 x")
    meeting.say(*FEATURES)
    return meeting, work


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "authority").mkdir()
    return Authority(tmp_path / "authority")


@pytest.fixture
def is_trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))


# -- whom it trusts ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("is_trusted")
def test_what_an_authority_vouches_for_needs_no_question_and_is_remembered(
    tmp_path: Path, authority: Authority
) -> None:
    meeting = meeting_ours(tmp_path, authority.server("localhost", "*.example.org"))
    remote = meeting.begin().result()
    assert remote.is_protected
    assert meeting.known.find(HOST, PORT) == VALID
    result_of(remote.login(), meeting.link)
    assert remote.is_inline
    result_of(remote.put("/a", Whole(b"x" * 300_000)), meeting.link)
    assert (tmp_path / "root" / "a").read_bytes() == b"x" * 300_000
    assert [entry.name for entry in result_of(collected(remote.list("/")), meeting.link)] == ["a"]
    result_of(remote.quit(), meeting.link)


@pytest.mark.usefixtures("is_trusted")
@pytest.mark.parametrize(
    ("host", "names", "days", "problem"),
    [
        (HOST, ("other.example.org",), 100, f"it is not one for {HOST}"),
        (HOST, ("192.0.2.1",), 100, f"it is not one for {HOST}"),
        ("192.0.2.1", (HOST, "192.0.2.2"), 100, "it is not one for 192.0.2.1"),
        (HOST, (HOST,), -1, "it has expired"),
        (HOST, (HOST,), 401, "it is not valid yet"),
    ],
)
def test_what_is_wrong_with_a_certificate(
    tmp_path: Path, authority: Authority, host: str, names: tuple[str, ...], days: int, problem: str
) -> None:
    meeting = meeting_ours(tmp_path, authority.server(*names, days=days))
    with pytest.raises(UnknownServer, match=problem) as raised:
        meeting.begin(host=host).result()
    assert raised.value.certificate.problems == (problem,)
    assert meeting.known.find(host, PORT) is None


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(b"\x30\x04\xa3\x02\x05\x00", id="an X.400 address"),
        pytest.param(b"\x30\x04\x82\x02\xff\xfe", id="no ASCII"),
        pytest.param(b"\x01\x02\x03", id="no list"),
    ],
)
def test_a_certificate_that_cannot_be_read_is_refused(tmp_path: Path, authority: Authority, names: bytes) -> None:
    meeting = meeting_ours(tmp_path, authority.server(HOST, encoded=names))
    with pytest.raises(NoTLS, match="certificate can't be read"):
        meeting.begin().result()


@pytest.mark.usefixtures("is_trusted")
def test_addresses_are_names_too(tmp_path: Path, authority: Authority) -> None:
    for address in ("192.0.2.1", "2001:db8::1"):
        assert meeting_ours(tmp_path, authority.server(address)).begin(host=address).result().is_protected


def test_a_stranger_is_asked_about_and_nothing_is_sent_to_it(tmp_path: Path, authority: Authority) -> None:
    tls = authority.server(HOST, *(f"{number}.example.org" for number in range(9)))
    meeting, work = offered(tmp_path)
    assert meeting.heard() == "FEAT\r\nAUTH TLS\r\n"
    meeting.agree(tls)
    with pytest.raises(UnknownServer, match=f"--fingerprint {tls.fingerprint} {HOST} {PORT}") as raised:
        work.result()
    assert meeting.heard() == ""
    assert meeting.peer.is_lost
    certificate = raised.value.certificate
    assert certificate.fingerprint == tls.fingerprint
    assert certificate.names[0] == HOST and certificate.names[-1] == "and 4 more"
    assert certificate.problems == ("it is signed by an authority that this machine doesn't know",)


def test_a_fingerprint_that_was_trusted_is_trusted_whatever_else_is_wrong(tmp_path: Path, authority: Authority) -> None:
    tls = authority.server("other.example.org", days=-1)
    with pytest.raises(UnknownServer) as raised:
        (meeting := meeting_ours(tmp_path, tls)).begin().result()
    meeting.tls.trust(raised.value.certificate)
    assert meeting_ours(tmp_path, tls).begin().result().is_protected


def test_another_certificate_stops_it_and_names_both(tmp_path: Path, authority: Authority) -> None:
    old, new = authority.server(HOST), authority.server(HOST)
    meeting = meeting_ours(tmp_path, new)
    meeting.known.remember(HOST, PORT, old.fingerprint)
    with pytest.raises(ChangedServer, match="IS ANOTHER ONE") as raised:
        meeting.begin().result()
    assert old.fingerprint in str(raised.value)
    assert f"connect --fingerprint {new.fingerprint} {HOST} {PORT}" in str(raised.value)
    assert meeting.known.find(HOST, PORT) == old.fingerprint


def test_what_nobody_vouches_for_does_not_take_the_place_of_what_somebody_did(
    tmp_path: Path, authority: Authority
) -> None:
    meeting = meeting_ours(tmp_path, authority.server(HOST))
    meeting.known.remember(HOST, PORT, VALID)
    with pytest.raises(ChangedServer, match="that an authority vouches for"):
        meeting.begin().result()


@pytest.mark.usefixtures("is_trusted")
def test_what_an_authority_vouches_for_takes_the_place_of_a_fingerprint(tmp_path: Path, authority: Authority) -> None:
    meeting = meeting_ours(tmp_path, authority.server(HOST))
    meeting.known.remember(HOST, PORT, "AA")
    assert meeting.begin().result().is_protected
    assert meeting.known.find(HOST, PORT) == VALID


@pytest.mark.usefixtures("is_trusted")
def test_a_fingerprint_that_is_named_is_the_only_one_taken(tmp_path: Path, authority: Authority) -> None:
    tls, other = authority.server(HOST), authority.server(HOST)
    with pytest.raises(ChangedServer, match=f"should have been {other.fingerprint}; it is {tls.fingerprint}"):
        meeting_ours(tmp_path, tls).begin(expected=other.fingerprint).result()
    meeting = meeting_ours(tmp_path, tls)
    meeting.known.remember(HOST, PORT, other.fingerprint)
    assert meeting.begin(expected=tls.fingerprint).result().is_protected
    assert meeting.known.find(HOST, PORT) == tls.fingerprint


# -- whether there is TLS ------------------------------------------------------------------------------------


def test_clear_text_where_nothing_else_is_offered_or_wanted(tmp_path: Path, authority: Authority) -> None:
    assert not meeting_ours(tmp_path, None).begin().result().is_protected
    assert not meeting_ours(tmp_path, authority.server(HOST)).begin(Protection.NONE).result().is_protected
    for wanted, expected in ((Protection.REQUIRED, ""), (Protection.OFFERED, "AA")):
        with pytest.raises(NoTLS, match=r"refuses TLS.*connect --clear"):
            meeting_ours(tmp_path, None).begin(wanted, expected).result()


def test_no_way_back_to_clear_text(tmp_path: Path) -> None:
    for protection in (Protection.OFFERED, Protection.REQUIRED):
        meeting = meeting_ours(tmp_path, None)
        meeting.known.remember(HOST, PORT, VALID)
        with pytest.raises(NoTLS, match=f"had TLS before, and refuses it now.*{meeting.known.path}"):
            meeting.begin(protection).result()
    meeting = Meeting(tmp_path)
    with pytest.raises(NoTLS, match="was met with TLS before"):
        meeting.begin(Protection.NONE).result()
    assert not hasattr(meeting, "link")


def test_a_known_server_that_hides_its_tls_hears_no_name(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    meeting.known.remember(HOST, PORT, VALID)
    work = meeting.begin()
    meeting.say("220 x")
    meeting.say("211-x", " MODE I", "211 x")
    meeting.say("500 x")
    with pytest.raises(NoTLS, match="had TLS before"):
        work.result()
    assert meeting.heard() == "FEAT\r\nAUTH TLS\r\n"


def test_tls_that_is_offered_and_then_refused_is_not_done_without(tmp_path: Path) -> None:
    meeting, work = offered(tmp_path)
    meeting.say("431 Not now.")
    with pytest.raises(NoTLS, match="431 Not now"):
        work.result()


def test_it_is_offered_too_where_each_line_of_feat_has_its_code(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    work = meeting.begin()
    meeting.say("220 x")
    meeting.say("211-x", "211-AUTH TLS", "211-SIZE", "211 x")
    assert meeting.heard() == "FEAT\r\nAUTH TLS\r\n"
    meeting.say("431 Not now.")
    with pytest.raises(NoTLS, match="431 Not now"):
        work.result()


def test_where_feat_says_nothing_it_is_tried(tmp_path: Path, authority: Authority) -> None:
    for has_tls in (True, False):
        meeting = Meeting(tmp_path)
        work = meeting.begin()
        meeting.say("220 x")
        meeting.say("500 x")
        assert meeting.heard() == "FEAT\r\nAUTH TLS\r\n"
        if has_tls:
            meeting.agree(authority.server(HOST))
            with pytest.raises(UnknownServer):
                work.result()
        else:
            meeting.say("502 x")
            assert not work.result().is_protected


@pytest.mark.usefixtures("is_trusted")
def test_what_was_offered_in_clear_is_forgotten(tmp_path: Path, authority: Authority) -> None:
    meeting, work = offered(tmp_path)
    meeting.agree(authority.server(HOST))
    assert meeting.heard() == "FEAT\r\nAUTH TLS\r\nFEAT\r\n"
    meeting.say("211-x", " SIZE", "211 x")
    assert "MODE I" not in work.result().features


# -- those in between ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("injected", ["230 Logged in.\r\n", "2", "211-x\r\n MODE I\r\n"])
def test_what_stands_behind_the_234_in_clear_ends_it(tmp_path: Path, injected: str) -> None:
    meeting, work = offered(tmp_path)
    meeting.link.server_end.write(b"234 x\r\n" + injected.encode())
    with pytest.raises(ProtocolViolation, match="in clear"):
        work.result()
    assert meeting.heard() == "FEAT\r\nAUTH TLS\r\n"
    assert meeting.peer.is_lost


def test_an_answer_to_auth_that_is_neither_yes_nor_no_ends_it(tmp_path: Path) -> None:
    meeting, work = offered(tmp_path)
    meeting.say("334 x")
    with pytest.raises(ProtocolViolation, match="334"):
        work.result()


def test_clear_text_in_place_of_a_handshake_is_no_reply(tmp_path: Path) -> None:
    meeting, work = offered(tmp_path)
    meeting.say("234 x")
    meeting.say("230 Logged in.")
    with pytest.raises(NoTLS, match="handshake failed: wrong version number"):
        work.result()


def test_a_handshake_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    meeting, work = offered(tmp_path)
    meeting.say("234 x")
    meeting.clock.advance(HANDSHAKE_LIMIT - 1)
    assert not work.is_over
    meeting.clock.advance(1)
    with pytest.raises(ConnectionFailed, match="handshake failed: the connection was closed, or nothing came"):
        work.result()


def test_a_connection_that_is_lost_in_the_handshake_says_so(tmp_path: Path) -> None:
    meeting, work = offered(tmp_path)
    meeting.say("234 x")
    meeting.link.lose()
    with pytest.raises(ConnectionFailed, match="The TLS handshake failed"):
        work.result()


# -- what it remembers ---------------------------------------------------------------------------------------


def test_a_memory_that_can_not_be_read_is_not_an_empty_one(tmp_path: Path, authority: Authority) -> None:
    meeting = meeting_ours(tmp_path, authority.server(HOST))
    meeting.known.path.mkdir(parents=True)
    with pytest.raises(model.LocalFault, match="can't be read: Is a directory"):
        meeting.begin().result()


# -- leaving -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("is_trusted")
def test_the_end_of_tls_is_sent_and_not_waited_for_too_long(tmp_path: Path, authority: Authority) -> None:
    meeting = meeting_ours(tmp_path, authority.server(HOST))
    remote = meeting.begin().result()
    meeting.link.server_end.is_reading = False
    remote.close()
    remote.close()
    meeting.link.pump()
    assert len(meeting.link.client_end.outgoing) > 0
    assert remote.lost is None
    meeting.clock.advance(FAREWELL_LIMIT)
    assert remote.lost is not None
