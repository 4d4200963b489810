"""Data connections with TLS, on the client's side: when a download is whole, and with whom it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import support
from authority import HOST, Authority
from links import RawPeer
from meeting import Meeting
from OpenSSL import SSL
from support import Started, read_all, start
from twisted.internet.defer import Deferred, succeed

from ftpsvc import model
from ftpsvc.limits import HANDSHAKE_LIMIT
from ftpsvc.tls import ServerTLS

PASSIVE = "229 Entering Extended Passive Mode (|||2001|)"


class Far:
    """A server without MODE I, with TLS, and the last data connection that was made to it."""

    def __init__(self, folder: Path, tls: ServerTLS, *answers: str) -> None:
        self.meeting = meeting = Meeting(folder)
        work = meeting.begin(expected=tls.fingerprint)
        meeting.say("220 x")
        meeting.say("500 x")
        meeting.agree(tls)
        meeting.say("500 x")
        self.remote = work.result()
        self.remote._dial = lambda port: self  # type: ignore[assignment,return-value]
        self.data = RawPeer()
        self.login = start(self.remote.login())
        meeting.heard()
        for answer in answers or ("331 x", "230 x", "500 x", "200 x", "200 x", "200 x"):
            meeting.say(answer)

    def connect(self, factory: Any) -> Deferred[Any]:
        """As an endpoint."""
        protocol = factory.buildProtocol(None)
        self.data = RawPeer()
        self.link = support.linked(self.meeting.clock, self.data, protocol)
        return succeed(protocol)

    def download(self) -> Started:
        """A download whose 150 has come, and nothing more."""
        self.login.result()
        self.meeting.heard()
        work = start(read(self))
        for answer in ("550 x", '257 "/"', "550 x", PASSIVE):
            self.meeting.say(answer)
        self.meeting.heard()
        self.link.pump()
        assert bytes(self.data.received) == b""  # the handshake waits for the 150
        self.meeting.say("150 x")
        return work

    def secure(self, tls: ServerTLS) -> SSL.Connection:
        self.link.server_end.startTLS(tls)
        handle = self.link.server_end.getHandle()
        assert isinstance(handle, SSL.Connection)
        self.pump()
        return handle

    def pump(self) -> None:
        for _ in range(3):
            self.link.pump()
            self.meeting.link.pump()


async def read(far: Far) -> bytes:
    return await read_all(await far.remote.open_read("/f"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "authority").mkdir()
    return Authority(tmp_path / "authority")


@pytest.fixture
def tls(authority: Authority) -> ServerTLS:
    return authority.server(HOST)


def test_the_session_of_the_control_connection_is_resumed(tmp_path: Path, tls: ServerTLS) -> None:
    tls._context.set_max_proto_version(SSL.TLS1_2_VERSION)  # in 1.3 nothing tells; vsftpd demands it there
    far = Far(tmp_path, tls)
    secret = far.meeting.link.server_end.getHandle().master_key()
    for _ in range(3):
        work = far.download()
        assert far.secure(tls).master_key() == secret
        far.link.server_end.write(b"hello")
        far.link.server_end.loseConnection()
        far.pump()
        assert not work.is_over
        far.meeting.say("226 x")
        far.pump()
        assert work.result() == b"hello"


@pytest.mark.parametrize("reply", ["226 x", "426 Cut."])
def test_a_download_without_the_end_of_tls_is_none(tmp_path: Path, tls: ServerTLS, reply: str) -> None:
    far = Far(tmp_path, tls)
    work = far.download()
    far.secure(tls)
    far.link.server_end.write(b"hello")
    far.pump()
    far.link.server_end.is_closing = True  # TCP's end, and not that of TLS
    far.pump()
    far.meeting.say(reply)
    far.pump()
    kind, said = (model.Aborted, "close_notify") if reply == "226 x" else (model.ConnectionFailed, "426 Cut")
    with pytest.raises(kind, match=said):
        work.result()
    assert far.remote.lost is None


def test_a_data_connection_that_leads_elsewhere_is_none(tmp_path: Path, tls: ServerTLS, authority: Authority) -> None:
    far = Far(tmp_path, tls)
    work = far.download()
    far.secure(authority.server(HOST))
    far.pump()
    far.meeting.say("226 x")
    with pytest.raises(model.HandshakeFailed, match="leads to another server"):
        work.result()
    assert far.data.is_lost and bytes(far.data.received) == b""


def test_a_data_connection_whose_certificate_cannot_be_read_is_none(
    tmp_path: Path, tls: ServerTLS, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Far(tmp_path, tls)
    work = far.download()

    def illegible(side: SSL.Connection, **how: bool) -> None:
        raise ValueError("error parsing asn1 value")

    monkeypatch.setattr(SSL.Connection, "get_peer_certificate", illegible)
    far.secure(authority.server(HOST))
    far.pump()
    far.meeting.say("226 x")
    with pytest.raises(model.HandshakeFailed, match="breaks the rules"):
        work.result()


def test_the_servers_word_about_a_handshake_that_failed(tmp_path: Path, tls: ServerTLS) -> None:
    far = Far(tmp_path, tls)
    work = far.download()
    far.link.server_end.write(b"this is no handshake at all")
    far.pump()
    far.meeting.say("522 No TLS there.")
    far.pump()
    with pytest.raises(model.HandshakeFailed, match="522 No TLS there"):
        work.result()


def test_a_handshake_that_does_not_come_costs_the_transfer_and_no_more(tmp_path: Path, tls: ServerTLS) -> None:
    far = Far(tmp_path, tls)
    work = far.download()
    far.meeting.clock.advance(HANDSHAKE_LIMIT)
    far.pump()
    far.meeting.say("425 x")
    far.pump()
    with pytest.raises(model.NoDataConnection, match="425"):
        work.result()
    later = start(far.remote.make_dir("/d"))
    far.meeting.say('257 "/d"')
    assert later.is_over


def test_files_do_not_go_in_clear_because_a_server_refuses_prot(tmp_path: Path, tls: ServerTLS) -> None:
    far = Far(tmp_path, tls, "331 x", "230 x", "500 x", "200 x", "200 x", "534 No.")
    with pytest.raises(model.Unprotected, match=r"no TLS for its data connections \(534 No"):
        far.login.result()
    assert far.meeting.heard().endswith("PBSZ 0\r\nPROT P\r\n")
