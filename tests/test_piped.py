"""Lines from a pipe: whole whatever the reads bring, and read only when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import support

from ftpsvc import piped
from ftpsvc.model import BadCommand


class Readers:
    """As much of a reactor as reads need."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.waiting.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.waiting.remove(reader)

    def ready(self) -> None:
        for reader in list(self.waiting):
            reader.doRead()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def all_lines(pipe: tuple[int, int], *pieces: bytes) -> list[str]:
    reactor = Readers()
    started = support.start(support.collected(piped.lines(reactor, pipe[0])))
    for piece in pieces:
        os.write(pipe[1], piece)
        reactor.ready()
    os.close(pipe[1])
    reactor.ready()
    assert not reactor.waiting
    return started.result()


def test_lines_come_whole(pipe: tuple[int, int]) -> None:
    assert all_lines(pipe, b"a\nb", b"b\r", b"\nc\n") == ["a", "bb", "c"]


def test_the_last_line_needs_no_end(pipe: tuple[int, int]) -> None:
    assert all_lines(pipe, b"a\nb") == ["a", "b"]


def test_bytes_that_are_no_text_survive(pipe: tuple[int, int]) -> None:
    assert all_lines(pipe, b"get caf\xe9\n") == ["get caf\udce9"]


def test_a_line_without_end_is_given_up(pipe: tuple[int, int]) -> None:
    chunk = b"x" * 40_000
    with pytest.raises(BadCommand, match="longer"):
        all_lines(pipe, chunk, chunk)


def test_nothing_is_read_before_it_is_asked_for(pipe: tuple[int, int]) -> None:
    reactor = Readers()
    lines = piped.lines(reactor, pipe[0])
    first = support.start(anext(lines))
    os.write(pipe[1], b"a\nb\n")
    reactor.ready()
    assert first.result() == "a"
    assert not reactor.waiting
    os.close(pipe[1])
    support.result_of(lines.aclose())


def test_a_cancelled_wait_leaves_the_reactor(pipe: tuple[int, int]) -> None:
    reactor = Readers()
    started = support.start(anext(piped.lines(reactor, pipe[0])))
    started.deferred.cancel()
    assert not reactor.waiting
    started.deferred.addErrback(lambda _: None)
    os.close(pipe[1])
