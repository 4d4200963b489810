"""What a session leaves in memory when it is over: nothing, and at once, not when Python looks for circles next."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import support
from support import Conversation

pytestmark = pytest.mark.usefixtures("no_collector")


def outlives(talk: Conversation) -> bool:
    """Whether the server's side is there when nobody is at the other end, or has it, any more."""
    server = weakref.ref(talk.server)
    talk.link.client_end.abortConnection()
    talk.link.pump()
    talk.clock.advance(0)
    talk.peer.received.clear()
    talk.link.server_end.protocol = None  # which a transport of Twisted's forgets by itself
    del talk.server
    return server() is not None


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"USER ftp\r\nPASS x\r\nMODE I\r\nPWD\r\n",
        b"USER ftp\r\nPASS x\r\nQUIT\r\n",
        b"USER nobody\r\nPASS x\r\n",
        b"USER ftp\r\nPASS x\r\nMODE I\r\nSTOR new\r\n" + support.frames(b"new"),
        b"USER ftp\r\nPASS x\r\nMODE I\r\nSTOR new\r\nDATA 1000\r\nthis is not all",
        b"USER ftp\r\nPASS x\r\nMODE I\r\nRETR large\r\n",
        b"USER ftp\r\nPASS x\r\nEPSV ALL\r\nSTOR new\r\n",
        b"no such\r\ncommand\r\n" * 20,
    ],
)
def test_nothing_is_left_of_a_session(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    talk = Conversation(support.local_disk(tmp_path))
    if said.endswith(b"large\r\n"):
        talk.link.client_end.is_reading = False
    talk.send(said)
    assert not outlives(talk)
    for part in support.parts_in(tmp_path):
        part.unlink()


def test_not_even_of_one_that_ends_before_its_upload_is_committed(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run)).log_in()
    talk.send(b"STOR file\r\n" + support.frames(b"hello"))
    server = weakref.ref(talk.server)
    assert outlives(talk)
    run.fire()
    assert (tmp_path / "file").read_bytes() == b"hello"
    talk.clock.advance(0)
    assert server() is None


def test_not_even_of_one_that_closes_its_side_in_the_middle_of_an_upload(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    talk.send(b"STOR file\r\nDATA 1000\r\nthis is not all")
    talk.link.client_end.loseWriteConnection()
    assert talk.codes() == [150, 426]
    assert not outlives(talk)
    support.take_part(tmp_path)
