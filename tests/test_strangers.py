"""What accepts a connection and doesn't greet: named after a moment, if it can be told what it is."""

from __future__ import annotations

from typing import Any

import pytest
from links import RawPeer
from support import ScriptedServer, linked, make_clock, start
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from ftpsvc import model
from ftpsvc.remote import CONNECT_TIME
from ftpsvc.strangers import ANSWER_TIME, SILENT, what_answered, who_waits


class Door:
    """An endpoint in memory, behind which somebody answers with these bytes."""

    def __init__(self, clock: Clock, answer: bytes | None) -> None:
        self.clock = clock
        self.answer = answer
        self.heard: list[RawPeer] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.answer is None:
            return fail(ConnectionRefusedError())
        peer = RawPeer()
        self.heard.append(peer)
        protocol = factory.buildProtocol(None)
        self.link = linked(self.clock, peer, protocol)
        self.link.server_end.write(self.answer)
        self.clock.callLater(0, self.link.pump)
        return succeed(protocol)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "This is a web server, not an FTP server.",
        ),
        (
            b"\x15\x03\x01\x00\x02\x02\x46",
            "This server speaks TLS from the first byte. Use --implicit",
        ),
        (b"220 Hello.\r\n", ""),
        (b"\x15", ""),
        (None, ""),
    ],
)
def test_who_waits_is_told_by_the_answer(answer: bytes | None, kind: str) -> None:
    clock = make_clock()
    door = Door(clock, answer)
    asking = start(who_waits(clock, door))  # type: ignore[arg-type]
    for _ in range(2):  # there are two questions
        clock.advance(0)
        clock.advance(ANSWER_TIME)
    assert asking.result().startswith(kind) and bool(asking.result()) == bool(kind)
    asked = [bytes(peer.received[:3]) for peer in door.heard]
    assert asked == ([] if answer is None else [b"GET"] if kind else [b"GET", b"\x16\x03\x01"])


def greeted(server: ScriptedServer, answer: bytes | None) -> Any:
    return start(server.remote._greeted(server.clock, Door(server.clock, answer)))  # type: ignore[arg-type]


def test_a_web_server_is_named_after_a_moment() -> None:
    server = ScriptedServer(greeting=b"")
    greeting = greeted(server, b"HTTP/1.0 400 Bad Request\r\n")
    server.clock.advance(SILENT)
    server.clock.advance(0)
    with pytest.raises(model.ConnectionFailed, match="This is a web server, not an FTP server"):
        greeting.result()
    server.client.close()


def test_a_server_that_is_slow_to_greet_is_waited_for() -> None:
    server = ScriptedServer(greeting=b"")
    greeting = greeted(server, b"220 I am slow.\r\n")
    for _ in range(10):
        server.clock.advance(1)
    server.say(b"220 I am slow.\r\n")
    server.say(b"211 No features.\r\n")
    assert greeting.result() is None
    server.client.close()


def test_one_that_cannot_be_named_is_given_up_in_the_end() -> None:
    server = ScriptedServer(greeting=b"")
    greeting = greeted(server, None)
    server.clock.advance(CONNECT_TIME + 1)
    with pytest.raises(model.ConnectionFailed, match="web server waits to be asked"):
        greeting.result()
    server.client.close()


def test_a_sentence_of_a_stranger_ends_once() -> None:
    assert what_answered("A line is too long.").startswith("This is no FTP server. A line is too long. Check the port")
