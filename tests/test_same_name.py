"""Uploads of one name in a row: what the replies say, in their order, is what is in the file at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import support
from support import Conversation, frames

SMALL, LARGE = b"small", b"large" * 200_000


@pytest.fixture(params=["on a disk", "in memory"])
def storage_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsvc.commits.is_in_memory", lambda device: request.param == "in memory")


def last_first(run: support.ByHand) -> None:
    """Run the jobs that wait, and always the one that came last: threads have no order."""
    while run.jobs:
        run.jobs, others = run.jobs[-1:], run.jobs[:-1]
        run.fire()
        run.jobs = others + run.jobs


@pytest.mark.usefixtures("storage_kind")
@pytest.mark.parametrize(
    ("commands", "whole"),
    [
        ([(b"STOR", LARGE), (b"STOR", SMALL)], SMALL),
        ([(b"STOR", SMALL), (b"STOR", LARGE)], LARGE),
        ([(b"STOR", LARGE), (b"STOR", LARGE[::-1])], LARGE[::-1]),
        ([(b"STOR", SMALL), (b"APPE", SMALL)], SMALL * 2),
        ([(b"APPE", SMALL), (b"APPE", SMALL), (b"APPE", SMALL)], SMALL * 3),
        ([(b"APPE", SMALL), (b"STOR", LARGE), (b"APPE", LARGE), (b"APPE", SMALL)], LARGE * 2 + SMALL),
    ],
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_pipelined_uploads_of_one_name_take_effect_in_their_order(
    tmp_path: Path, commands: list[tuple[bytes, bytes]], whole: bytes, old: bytes | None
) -> None:
    if old is not None:
        (tmp_path / "x").write_bytes(old)
        if all(verb == b"APPE" for verb, _ in commands):
            whole = old + whole
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run), run).log_in()
    talk.send(*(verb + b" x\r\n" + frames(data) for verb, data in commands))
    talk.link.pump()
    for _ in range(100):
        last_first(run)
        talk.link.pump()
    assert [str(answer)[:3] for answer in talk.take()] == ["150", "226"] * len(commands)
    assert (tmp_path / "x").read_bytes() == whole


def test_two_that_begin_a_file_with_appe_never_replace_each_other(tmp_path: Path) -> None:
    first, second = (Conversation(support.local_disk(tmp_path)).log_in() for _ in range(2))
    assert first.codes(b"APPE x\r\nDATA 5\r\nfirst") == [150]
    assert second.codes(b"APPE x\r\n", frames(b"second")) == [150, 226]
    (code,) = first.codes(b"DONE\r\n")
    assert (code, (tmp_path / "x").read_bytes()) == (550, b"second")
