"""What is remembered of unfinished work, and what becomes of a journal that was cut off or tampered with."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ftpsvc.clienttls import Protection
from ftpsvc.journal import Job, Journal
from ftpsvc.resuming import Known
from ftpsvc.targets import Target
from ftpsvc.xdg import state_folder

MIA = Target("h", 5001, "mia", Protection.REQUIRED, "AB:CD")
JOB = Job.of(MIA, True, False, "/here/caf\udce9", "/there", ("--delete", "--exclude=*.o"), 1_795_327_140.5)


def test_a_job_that_was_not_finished_is_found_again_with_what_it_had_begun(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state" / "unfinished")
    memory = journal.begin(JOB)
    assert memory is not None
    memory.began("a/big", Known(10, 20))
    memory.began("a/big", Known(11, 21))
    memory.close()
    (again,) = journal.unfinished()
    assert again.job == JOB and again.job.target == MIA
    assert again.known("a/big") == Known(11, 21) and again.known("other") is None
    again.done()
    assert journal.unfinished() == []


@pytest.mark.parametrize("protection", Protection)
def test_a_job_goes_on_with_as_much_tls_as_it_began_with(tmp_path: Path, protection: Protection) -> None:
    target = Target("2001:db8::1", 21, "mia@home", protection)
    memory = Journal(tmp_path).begin(Job.of(target, False, False, "/here", "/there"))
    assert memory is not None
    memory.close()
    (again,) = Journal(tmp_path).unfinished()
    assert again.job.target == target
    again.done()


@pytest.mark.parametrize("wrong", [{"server": "ftp://"}, {"protection": "SOME"}, {"server": 5}, {"server": "x://y"}])
def test_a_job_whose_server_makes_no_sense_is_none(tmp_path: Path, wrong: dict[str, object]) -> None:
    job = {**asdict(JOB), **wrong}
    (tmp_path / "0.job").write_text(json.dumps({"job": job}) + "\n")
    assert Journal(tmp_path).unfinished() == []


def test_a_job_that_is_under_way_is_not_unfinished(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    memory = journal.begin(JOB)
    assert memory is not None and journal.unfinished() == []
    memory.close()
    (again,) = journal.unfinished()
    assert journal.unfinished() == []
    again.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "unfinished")
    memory = journal.begin(JOB)
    assert memory is not None
    (file,) = (tmp_path / "unfinished").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "unfinished").stat().st_mode) == 0o700
    memory.done()


def test_a_line_that_was_cut_by_a_crash_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    memory = journal.begin(JOB)
    assert memory is not None
    memory.began("a", Known(1, 2))
    memory.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes() + b'{"began": "b", "si')
    (again,) = journal.unfinished()
    assert again.known("a") == Known(1, 2) and again.known("b") is None
    again.done()


@pytest.mark.parametrize("text", [b"", b"{}\n", b"nonsense\n", b'{"job": {"host": 1}}\n', b"[]\n", b'{"job": 5}\n'])
def test_what_is_no_job_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "0.job").write_bytes(text)
    assert Journal(tmp_path).unfinished() == []


def test_where_nothing_can_be_remembered_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "unfinished")
    assert journal.begin(JOB) is None and journal.unfinished() == []


def test_it_lies_in_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert state_folder() / "unfinished" == Path("/s/ftpsvc/unfinished")


def test_the_same_job_again_takes_the_place_of_those_that_were_left(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path), replace(JOB, words=(), began=JOB.began + 1)
    leave(journal, JOB)
    (left,) = tmp_path.iterdir()
    shutil.copy(left, tmp_path / "0.job")  # as two of them have left it
    leave(journal, other)
    again = journal.begin(replace(JOB, began=JOB.began + 60))
    assert again is not None and again.known("a/big") == Known(10, 20)
    assert unfinished(journal) == [other]
    beside = journal.begin(JOB)  # while the other one is under way, it is a job of its own
    assert beside is not None and beside.known("a/big") is None
    again.done()
    beside.close()
    assert unfinished(journal) == [JOB, other]


def leave(journal: Journal, job: Job) -> None:
    memory = journal.begin(job)
    assert memory is not None
    memory.began("a/big", Known(10, 20))
    memory.close()


def unfinished(journal: Journal) -> list[Job]:
    found = journal.unfinished()
    for memory in found:
        memory.close()
    return [memory.job for memory in found]
