"""How much a call to sendfile is given, and how far the thread is that reads ahead."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import support

from ftpsvc import pump
from ftpsvc.inline import Inline
from ftpsvc.model import ConnectionFailed
from ftpsvc.rates import Pace
from ftpsvc.stream import Stream


def test_a_call_to_sendfile_fills_segments_to_the_last_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        client.connect(port.getsockname())
        size = pump.whole_segments(client)
        segment = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        assert size == 65536 // segment * segment < 65536
    for end in (ends := socket.socketpair()):
        assert pump.whole_segments(end) == 65536
    for end in ends:
        end.close()


class Reactor:
    """As much of one as a pump needs that has nothing to send yet."""

    def __init__(self) -> None:
        self.writers: set[Any] = set()

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)


def test_the_thread_alone_says_how_far_it_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2 * pump.STEP + 1000
    (tmp_path / "file").write_bytes(bytes(size))
    ends = socket.socketpair()
    transport: Any = SimpleNamespace(getHandle=lambda: ends[0], reactor=Reactor())
    run, pace = support.by_hand(), Pace(support.make_clock())
    with open(tmp_path / "file", "rb") as file:
        pumping = pump.RangePump(transport, run, file.fileno(), 0, size, lambda: None, pace, known="a digest")
        is_at_hand = False
        monkeypatch.setattr(pumping, "_is_at_hand", lambda offset: is_at_hand)
        pumping._keep_digesting()
        preadv = os.preadv

        def read(*words: Any) -> int:
            """Meanwhile the reactor finds the rest in memory."""
            nonlocal is_at_hand
            is_at_hand = True
            pumping._keep_digesting()
            return preadv(*words)

        monkeypatch.setattr(os, "preadv", read)
        run.fire()
        monkeypatch.undo()
        assert pumping._digested == size
        pumping._direct.doRead()  # what the reactor had for whoever had the descriptor's number before is no failure
        pumping._direct.close()
    for end in ends:
        end.close()


@pytest.mark.parametrize("ahead", [0, 1, pump.STEP - 1])
def test_who_waits_for_the_thread_is_not_asked_all_the_time(tmp_path: Path, ahead: int) -> None:
    """It may be in the middle of a step: then each turn of the reactor found something to do, in vain."""
    (tmp_path / "file").write_bytes(bytes(2 * pump.STEP))
    ends = socket.socketpair()
    reactor = Reactor()
    transport: Any = SimpleNamespace(
        getHandle=lambda: ends[0],
        reactor=reactor,
        registerProducer=lambda producer, _: producer.resumeProducing(),
        startWriting=lambda: None,
        unregisterProducer=lambda: None,
    )
    run, pace = support.by_hand(), Pace(support.make_clock())
    with open(tmp_path / "file", "rb") as file:
        pumping = pump.RangePump(transport, run, file.fileno(), 0, 2 * pump.STEP, lambda: None, pace)
        sending = support.start(pumping.send())
        pumping._digested = ahead
        pumping.resumeProducing()
        assert not reactor.writers
        assert pumping.waits_for_disk
        pumping._digested = 0
        run.fire()
        assert reactor.writers
        assert not pumping.waits_for_disk
        pumping.stopProducing()
        with pytest.raises(ConnectionFailed):
            sending.result()
    for end in ends:
        end.close()


def test_who_retrieves_a_file_is_not_idle_while_its_disk_is_waited_for() -> None:
    paces: Any = SimpleNamespace(are_resting=False)
    pumping: Any = SimpleNamespace(moved=0, waits_for_disk=True)
    connection = SimpleNamespace(is_waiting=False, moved_at=1.0)
    way: Any = SimpleNamespace(connection=connection)
    stream = Stream(way, None, support.at_once, 0, False, paces)
    inline = Inline(SimpleNamespace(is_waiting=False), way, support.at_once, way, paces)  # type: ignore[arg-type]
    stream._pump = inline._sender = pumping
    assert stream.stalled_since is None
    assert not inline.waits_for_client
    pumping.waits_for_disk = False
    assert stream.stalled_since == 1.0
    assert inline.waits_for_client
