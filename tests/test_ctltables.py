"""What `ftpsvc ctl` makes of the answers, and of its own words."""

from __future__ import annotations

import re

import pytest

from ftpsvc import ctlcommand, ctltables
from ftpsvc.program import PROGRAMS

ROW = {
    "id": 7,
    "account": "mia",
    "address": "192.0.2.7:51234",
    "seconds": 61.0,
    "tls": True,
    "state": "sending",
    "verb": "RETR",
    "path": "/a\x1b[2J\nb",
    "moved": 500_000,
    "total": 1_000_000,
    "took": 1.0,
    "rate": 500_000.0,
}


def test_a_name_can_not_draw_on_the_terminal_or_forge_a_row() -> None:
    shown = list(ctltables.sessions([ROW], 200))
    assert len(shown) == 3
    assert shown[1] == (
        " 7  mia      192.0.2.7:51234  1:01  yes  sending  500.0 kB of 1.0 MB (50 %)  500.0 kB/s  /a\\x1b[2J\\nb"
    )
    assert "\x1b" not in ctltables.kicked(ROW)


@pytest.mark.parametrize(("notice", "said"), [(0, "Nobody is let in"), (5, "In 5 s nobody is let in")])
def test_a_drain_says_when_it_begins(notice: float, said: str) -> None:
    assert ctltables.draining({"sessions": 1, "transfers": 0, "notice": notice, "seconds": 60}).startswith(said)


def test_a_table_fits_the_terminal_with_the_transfers_first() -> None:
    idle = {**ROW, "path": None, "state": "idle", "verb": "", "moved": None, "rate": None}
    rows = [{**idle, "id": number} for number in range(1, 100)] + [{**ROW, "id": 100, "path": "/" + "x" * 300}]
    shown = list(ctltables.sessions(rows, 80, 10))
    assert len(shown) == 10
    assert all(len(one) <= 80 for one in shown)
    assert re.match(r"100  mia      sending  500\.0 kB of 1\.0 MB \(50 %\)  500\.0 kB/s  /x{16,}…$", shown[1])
    assert shown[-2:] == ["... and 93 more", "100 sessions, 1 transfer, 500.0 kB/s"]


@pytest.mark.parametrize("words", [("who", "--every", "0"), ("ban", "localhost"), ("ban", "::1", "--time", "0"), ()])
def test_words_that_make_no_sense_are_refused_before_a_server_is_asked(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        ctlcommand.main(["ctl", *words])
    assert caught.value.code == 2


def test_the_program_knows_it() -> None:
    assert PROGRAMS["ctl"] == "ftpsvc.ctlcommand"
