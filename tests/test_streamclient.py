"""The client in stream mode, against a server that is played: when a transfer is over, and what a broken one leaves."""

from __future__ import annotations

from typing import Any

import pytest
import support
from links import RawPeer
from support import ScriptedServer, Started, collected, read_all, result_of, start
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError

from ftpsvc import model
from ftpsvc.model import Facts

PASSIVE = b"229 Entering Extended Passive Mode (|||2001|)\r\n"


class Far(ScriptedServer):
    """A server without MODE I, and the data connections that the client has made to it."""

    def __init__(self, *features: str) -> None:
        super().__init__(silence=60)
        self.ports: list[int] = []
        self.refuses = False
        self.remote._dial = lambda port: Dialled(self, port)  # type: ignore[assignment,return-value]
        self.remote.features = dict.fromkeys(("SIZE", *features), "")
        login = start(self.remote.login())
        for reply in (b"331 x", b"230 x", b"200 x"):
            self.say(reply + b"\r\n")
        login.result()
        self.heard()

    def connected(self, protocol: Any) -> None:
        self.data = RawPeer()
        self.data_link = support.linked(self.clock, self.data, protocol)

    def send(self, data: bytes) -> None:
        self.data_link.server_end.write(data)
        self.pump()

    def end_data(self) -> None:
        self.data_link.server_end.loseConnection()
        self.pump()

    def pump(self) -> None:
        for _ in range(3):
            self.data_link.pump()
            self.link.pump()

    def say(self, data: bytes) -> None:
        super().say(data)
        if hasattr(self, "data_link"):
            self.pump()

    def download(self) -> Started:
        """A download whose 150 has come."""
        work = start(read(self))
        for reply in (b"213 5\r\n", b"213 20260101000000\r\n", PASSIVE, b"150 x\r\n"):
            self.say(reply)
        assert self.heard() == b"SIZE /f\r\nMDTM /f\r\nEPSV\r\nRETR /f\r\n"
        return work

    def upload(self, modified: int | None = None) -> Started:
        work = start(store(self, modified))
        for reply in (PASSIVE, b"150 x\r\n"):
            self.say(reply)
        assert self.heard() == b"EPSV\r\nSTOR /f\r\n"
        self.pump()
        return work


class Dialled:
    """In place of an endpoint."""

    def __init__(self, far: Far, port: int) -> None:
        self.far, self.port = far, port

    def connect(self, factory: Any) -> Deferred[Any]:
        self.far.ports.append(self.port)
        if self.far.refuses:
            return fail(ConnectionRefusedError())
        protocol = factory.buildProtocol(None)
        self.far.connected(protocol)
        return succeed(protocol)


async def read(far: Far) -> bytes:
    return await read_all(await far.remote.open_read("/f"))


async def store(far: Far, modified: int | None = None) -> Any:
    file = await far.remote.open_write("/f")
    try:
        await file.write(b"hello")
        return await file.commit(Facts(modified, None))
    finally:
        await file.abort()


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ("type*;perm*;size*;modify*;unique;unix.mode;", b"OPTS MLST type;perm;size;modify;unix.mode;\r\n"),
        ("Type;Size;Modify;", b"OPTS MLST Type;Size;Modify;\r\n"),
        ("type*;size*;modify*;UNIX.mode*;unique", b""),
        ("", b""),
    ],
)
def test_facts_that_are_not_told_yet_are_asked_for(facts: str, asked: bytes) -> None:
    server = ScriptedServer()
    server.remote._dial = lambda port: None  # type: ignore[assignment,return-value]
    server.remote.features = {"MLST": facts}
    login = start(server.remote.login())
    server.say(b"331 x\r\n230 x\r\n")
    if asked:
        server.say(b"501 no\r\n")
    assert server.heard() == b"USER anonymous\r\nPASS ftpsvc@\r\n" + asked + b"TYPE I\r\n"
    server.answered(login, b"200 x\r\n")


def test_a_download_is_over_after_the_end_of_the_data_and_the_226() -> None:
    for first in ("data", "reply"):
        far = Far()
        work = far.download()
        far.send(b"hello")
        steps = [far.end_data, lambda far=far: far.say(b"226 x\r\n")]
        for step in steps if first == "data" else steps[::-1]:
            assert not work.is_over
            step()  # type: ignore[no-untyped-call]
        assert work.result() == b"hello"
        assert far.remote.checked == "size"


@pytest.mark.parametrize("reply", [b"426 Broken.\r\n", b"451 Disk.\r\n"])
def test_a_refusal_behind_the_data_is_an_error(reply: bytes) -> None:
    far = Far()
    work = far.download()
    far.send(b"hello")
    far.end_data()
    far.say(reply)
    with pytest.raises(model.TransferError, match=reply[:3].decode()):
        work.result()


@pytest.mark.parametrize("rest", [b"", b" world"])
def test_an_upload_that_is_confirmed_before_its_end_was_not_stored(rest: bytes) -> None:
    far = Far()
    work = start(far.remote.open_write("/f"))
    for reply in (PASSIVE, b"150 x\r\n"):
        far.say(reply)
    file = work.result()
    result_of(file.write(b"hello"))
    far.say(b"226 x\r\n")
    if rest:
        result_of(file.write(rest))
    with pytest.raises(model.Aborted, match="before all of it was sent"):
        result_of(file.commit())
    far.pump()
    assert far.data.is_lost
    asking = start(far.remote.working_directory())
    assert far.heard() == b"EPSV\r\nSTOR /f\r\nPWD\r\n"
    assert far.answered(asking, b'257 "/x"\r\n') == "/x"


def test_an_early_end_is_seen_by_the_size() -> None:
    far = Far()
    work = far.download()
    far.send(b"hell")
    far.end_data()
    far.say(b"226 x\r\n")
    with pytest.raises(model.Damaged, match="4 bytes"):
        work.result()


def test_more_than_was_said_is_not_read_to_an_end_that_may_never_come() -> None:
    far = Far()
    work = far.download()
    far.send(b"hello")
    assert not work.is_over
    far.send(b"!")
    far.say(b"426 x\r\n")
    with pytest.raises(model.Damaged, match="6 bytes came, and the server had said that there are 5"):
        work.result()


def test_a_reset_is_an_error_whatever_the_server_says() -> None:
    far = Far()
    work = far.download()
    far.send(b"hello")
    far.data_link.lose()
    assert not work.is_over
    far.say(b"226 x\r\n")
    with pytest.raises(model.ConnectionFailed, match="lost"):
        work.result()
    assert far.remote.lost is None


def test_an_upload_is_over_after_the_226_and_the_size_is_compared() -> None:
    for size in (5, 4):
        far = Far()
        work = far.upload()
        assert bytes(far.data.received) == b"hello" and far.data.is_lost
        assert not work.is_over
        far.say(b"226 x\r\n")
        assert far.heard() == b"SIZE /f\r\n"
        far.say(b"213 %d\r\n" % size)
        if size == 5:
            assert work.result().size == 5
        else:
            with pytest.raises(model.Damaged, match="4 bytes of the 5"):
                work.result()


@pytest.mark.parametrize("size", [b"5", b"9"])
def test_what_was_gone_on_from_is_looked_at_in_a_listing_where_there_is_no_size(size: bytes) -> None:
    far = Far()
    far.remote.features.clear()

    async def go_on() -> Any:
        file = await far.remote.open_write("/f", 4)
        await file.write(b"hello")
        return await file.commit()

    work = start(go_on())
    for reply in (PASSIVE, b"350 x\r\n", b"150 x\r\n", b"226 x\r\n", b"500 SIZE?\r\n"):
        far.say(reply)
    for reply in (b'257 "/"', b"550 x", b'257 "/"', b"250 x", PASSIVE[:-2], b"150 x"):
        far.say(reply + b"\r\n")
    far.send(b"-rw-r--r-- 1 a b %b Jan 01 2020 f\r\n" % size)
    far.end_data()
    for reply in (b"226 x\r\n", b"250 x\r\n"):
        far.say(reply)
    if size == b"9":
        assert work.result().size == 9
    else:
        with pytest.raises(model.Damaged, match="5 bytes of the 9"):
            work.result()


def test_times_are_set_in_whole_seconds_because_many_servers_refuse_a_fraction() -> None:
    far = Far("MFMT")
    work = far.upload(1_577_836_800_911_072_851)
    far.say(b"226 x\r\n")
    far.say(b"213 5\r\n")
    assert far.heard() == b"SIZE /f\r\nMFMT 20200101000000 /f\r\n"
    far.say(b"213 x\r\n")
    assert work.result().size == 5
    touched = start(far.remote.set_facts("/f", Facts(1_577_836_800_500_000_000)))
    assert far.heard() == b"MFMT 20200101000000 /f\r\n"
    far.say(b"213 x\r\n")
    touched.result()


def test_an_upload_that_is_refused_at_its_end_was_none() -> None:
    far = Far()
    work = far.upload()
    far.say(b"452 Full.\r\n")
    with pytest.raises(model.NoSpace, match="Full"):
        work.result()


def test_one_thing_at_a_time() -> None:
    far = Far()
    work = far.download()
    others = [start(far.remote.make_dir("/d")), start(collected(far.remote.list("/")))]
    far.send(b"hello")
    far.end_data()
    assert far.heard() == b""
    far.say(b"226 x\r\n")
    assert work.result() == b"hello"
    assert far.heard() == b"MKD /d\r\n"
    far.say(b'257 "/d"\r\n')
    assert others[0].is_over
    for reply in (b'257 "/x"\r\n', b"250 x\r\n", PASSIVE, b"150 x\r\n"):
        far.say(reply)
    far.send(b"total 1\r\n-rw-r--r-- 1 0 0 9 Jan  1  2020 a b\r\ndrwxr-xr-x 1 0 0 9 Jan  1  2020 last")
    far.end_data()
    far.say(b"226 x\r\n")
    assert [entry.name for entry in others[1].result()] == ["a b", "last"]
    assert far.heard() == b"PWD\r\nCWD /\r\nEPSV\r\nLIST -a\r\nCWD /x\r\n"


def test_a_download_that_is_left_gives_everything_back() -> None:
    far = Far()
    opening = start(far.remote.open_read("/f"))
    for reply in (b"213 5\r\n", b"213 20260101000000\r\n", PASSIVE, b"150 x\r\n"):
        far.say(reply)
    start(opening.result().close()).result()
    far.pump()
    assert far.data.is_lost
    far.heard()
    later = start(far.remote.make_dir("/d"))
    assert far.heard() == b""
    far.say(b"426 x\r\n")
    assert far.heard() == b"MKD /d\r\n"
    far.say(b'257 "/d"\r\n')
    assert later.is_over


def test_a_server_that_falls_silent_is_given_up() -> None:
    far = Far()
    work = far.download()
    for _ in range(3):
        far.clock.advance(50)
        far.send(b"x")
    assert not work.is_over
    far.clock.advance(61)
    far.pump()
    with pytest.raises(model.TimedOut, match="60 seconds"):
        work.result()
    far.say(b"426 x\r\n")


def test_a_server_that_begins_again_behind_the_data_has_to_say_when_it_is_over_all_the_same() -> None:
    far = Far()
    work = far.download()
    far.send(b"hello")
    far.end_data()
    far.say(b"150 Still here.\r\n")
    far.clock.advance(61)
    with pytest.raises(model.TimedOut, match="60 seconds"):
        work.result()


def test_a_lost_control_connection_ends_the_transfer() -> None:
    for work_of in (Far.download, Far.upload):
        far = Far()
        work = work_of(far)
        far.link.lose()
        far.pump()
        with pytest.raises(model.ConnectionFailed, match="gone"):
            work.result()


def test_a_name_that_is_no_name_is_refused() -> None:
    far = Far("MLST")
    work = start(collected(far.remote.list("/")))
    for reply in (PASSIVE, b"150 x\r\n"):
        far.say(reply)
    far.send(b"type=file; ../../etc/passwd\r\n")
    far.say(b"426 x\r\n")
    with pytest.raises(model.ProtocolViolation, match="name of an entry"):
        work.result()
