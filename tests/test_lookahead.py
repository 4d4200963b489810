from __future__ import annotations

import pytest

from ftpsvc.frames import Incoming
from ftpsvc.lookahead import LookAhead


def looking(*arrived: bytes) -> tuple[Incoming, LookAhead]:
    """What waits behind a command that has just been taken."""
    incoming = Incoming()
    incoming.feed(b"RETR x\r\n" + b"".join(arrived))
    incoming.line()
    return incoming, LookAhead(incoming, frozenset({"STOR", "APPE"}))


@pytest.mark.parametrize(
    "waiting",
    [
        b"ABOR\r\n",
        b"abor\n",
        b"ABOR \r\n",
        b"\xff\xf4\xff\xf2ABOR\r\n",
        b"NOOP\r\nRETR y\r\nABOR\r\nNOOP\r\n",
        b"\r\nno command at all\r\nABOR\r\n",
        b"STOR y\r\nDATA 4\r\nABORDONE\r\nABOR\r\n",
        b"STOR y\r\nFAIL never mind\r\nABOR\r\n",
        b"MODE S\r\nSTOR y\r\nABOR\r\n",
    ],
)
def test_an_abor_that_waits_is_found(waiting: bytes) -> None:
    _, look = looking(waiting)
    assert look.finds_abort(True)


@pytest.mark.parametrize(
    "waiting",
    [
        b"",
        b"ABOR",
        b"NOOP\r\n",
        b"RETR ABOR\r\n",
        b"ABOR x\r\n",
        b"STOR ABOR\r\n",
        b"STOR y\r\nDATA 6\r\nABOR\r\n",
        b"STOR y\r\nDATA 12\r\nABOR\r\nABOR\r\n",
        b"STOR y\r\nDATA 99\r\nABOR\r\n",
        b"MODE S\r\nMODE I\r\nSTOR y\r\nABOR\r\n",
        b"REIN\r\nABOR\r\n",
        b"REIN x\r\nSTOR y\r\nDATA 6\r\nABOR\r\nDONE\r\n",
    ],
)
def test_what_only_looks_like_an_abor_is_not(waiting: bytes) -> None:
    _, look = looking(waiting)
    assert not look.finds_abort(True)


def test_in_stream_mode_no_sequence_follows_an_upload() -> None:
    _, look = looking(b"STOR y\r\nABOR\r\n")
    assert look.finds_abort(False)


@pytest.mark.parametrize("is_inline", [True, False])
def test_what_is_behind_rein_is_looked_at_when_it_has_had_its_turn(is_inline: bool) -> None:
    incoming, look = looking(b"REIN\r\nSTOR y\r\nABOR\r\n")
    assert not look.finds_abort(True)
    assert incoming.line() == b"REIN"
    assert look.finds_abort(is_inline) is not is_inline


def test_nothing_is_taken_by_looking() -> None:
    incoming, look = looking(b"NOOP\r\nABOR\r\n")
    before = incoming.taken
    look.finds_abort(True)
    assert incoming.taken == before
    assert incoming.line() == b"NOOP"


def test_an_abor_is_found_whenever_it_arrives_byte_by_byte() -> None:
    incoming, look = looking()
    for byte in b"STOR y\r\nDATA 6\r\nABOR\r\nDONE\r\nABOR\r":
        incoming.feed(bytes([byte]))
        assert not look.finds_abort(True)
    incoming.feed(b"\n")
    assert look.finds_abort(True)


def test_an_abor_stops_only_the_transfers_before_it() -> None:
    incoming, look = looking(b"RETR y\r\nABOR\r\nRETR z\r\n")
    assert look.finds_abort(True)
    assert incoming.line() == b"RETR y"
    assert look.finds_abort(True)
    assert incoming.line() == b"ABOR"
    assert incoming.line() == b"RETR z"
    assert not look.finds_abort(True)
    incoming.feed(b"ABOR\r\n")
    assert look.finds_abort(True)


@pytest.mark.parametrize(
    ("waiting", "count"),
    [(b"STAT\r\nstat \r\n", 2), (b"STAT /\r\n", 0), (b"STAT\r\nNOOP\r\nSTAT\r\n", 1), (b"\r\nSTAT\r\n", 0)],
)
def test_what_asks_for_the_state_of_a_transfer_is_found_as_long_as_nothing_else_waits(
    waiting: bytes, count: int
) -> None:
    incoming, look = looking(waiting)
    assert [look.take_status() for _ in range(count + 1)] == [True] * count + [False]
    assert len(incoming) == (0 if count == 2 else len(waiting) - count * len(b"STAT\r\n"))


def test_who_asks_for_the_state_of_a_long_transfer_again_and_again_fills_nothing() -> None:
    incoming, look = looking()
    for _ in range(3):
        incoming.feed(b"STAT\r\nST")
        assert look.take_status()
        incoming.feed(b"AT\r\n")
        assert look.take_status()
        assert len(incoming) == 0
    incoming.feed(b"NOOP\r\nSTAT\r\nABOR\r\n")
    assert not look.take_status()
    assert look.finds_abort(False)
    assert incoming.line() == b"NOOP"


def test_a_status_that_has_had_its_turn_is_not_taken_again() -> None:
    incoming, look = looking(b"STAT\r\nSTAT\r\nRETR y\r\n")
    assert not look.finds_abort(False)
    assert [incoming.line() for _ in range(3)] == [b"STAT", b"STAT", b"RETR y"]
    assert not look.take_status()
    incoming.feed(b"STAT\r\n")
    assert look.take_status()
