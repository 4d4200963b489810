"""`ftpsvc doctor`: an examination step by step, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import support
from ports import free_port
from twisted.internet.defer import Deferred

from ftpsvc import doctorcommand
from ftpsvc.checks import STEPS
from ftpsvc.clienttls import Protection
from ftpsvc.connecting import Target
from ftpsvc.doctor import Finding, Outcome, Result, Skipped, Step, Trouble, examine
from ftpsvc.model import ConnectionFailed

# -- steps ---------------------------------------------------------------------------------------------------


def step(name: str, ending: Finding | Exception | Deferred[Any], *needs: str) -> Step[object]:
    async def check(_: object) -> Finding:
        if isinstance(ending, Exception):
            raise ending
        found = await ending if isinstance(ending, Deferred) else ending
        assert isinstance(found, Finding)
        return found

    return Step(name, 10, check, "Do something.", needs)


FINE = Finding(Outcome.OK, "fine")


def test_a_step_is_left_out_if_one_that_it_needs_is_not_good() -> None:
    told: list[Result] = []
    steps = [
        step("one", FINE),
        step("two", Finding(Outcome.WARNING, "hm"), "one"),
        step("three", Trouble("broken", "Mend it."), "two"),
        step("four", FINE, "one", "three"),
        step("five", FINE, "four"),
        step("six", Skipped("no"), "one"),
        step("seven", ConnectionFailed("gone"), "one"),
        step("eight", FINE, "two"),
    ]
    outcomes = support.result_of(examine(steps, object(), support.make_clock(), told.append))
    assert [outcome.value for outcome in outcomes.values()] == (
        "ok warning failed skipped skipped skipped failed ok".split()
    )
    assert [result.name for result in told if result.is_left_out] == ["four", "five"]
    assert told[3].finding.text == "not without: three"
    assert told[6].finding == Finding(Outcome.FAILED, "gone", "Do something.")


def test_a_step_that_takes_too_long_has_failed_and_the_next_begins() -> None:
    told: list[Result] = []
    clock = support.make_clock()
    waiting: Deferred[Any] = Deferred()
    running = support.start(examine([step("one", waiting), step("two", FINE)], object(), clock, told.append))
    clock.advance(9)
    assert told == []
    clock.advance(1)
    assert told[0] == Result("one", Finding(Outcome.FAILED, "no answer for 10 s", "Do something."), 10)
    assert running.result()["two"] is Outcome.OK


def test_what_a_person_does_before_a_step_is_not_measured() -> None:
    told: list[Result] = []
    clock = support.make_clock()
    typing: Deferred[None] = Deferred()

    async def typed(_: object) -> None:
        await typing

    support.start(examine([replace(step("one", FINE), before=typed)], object(), clock, told.append))
    clock.advance(500)
    typing.callback(None)
    assert told == [Result("one", FINE, 0)]


def test_each_step_needs_earlier_ones_only_and_has_advice() -> None:
    names = [step.name for step in STEPS]
    for number, step_ in enumerate(STEPS):
        assert set(step_.needs) <= set(names[:number])
        assert step_.limit > 0 and step_.advice.endswith((".", "?", "conf", "doctor", "reason."))


# -- the command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([], Target("127.0.0.1")),
        (["--user", "mia"], Target("127.0.0.1", user="mia")),
        (["mia@h", "21"], Target("h", 21, "mia")),
        (["--implicit", "h"], Target("h", protection=Protection.IMPLICIT)),
    ],
)
def test_whom_it_is_about(words: list[str], meant: Target) -> None:
    assert doctorcommand._target(doctorcommand._parser().parse_args(words)) == meant


@pytest.mark.parametrize("words", [["--user", "tom", "mia@h"], ["h", "x"], ["mia:pw@h"], ["--tls", "--clear", "h"]])
def test_words_that_make_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert doctorcommand.main(["doctor", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ftpsvc doctor: ") and "Use: connect" not in said


HOSTILE = Result("greeting", Finding(Outcome.FAILED, "220 \x1b[2J" + "x" * 500, "Do."), 0.0123)


def test_what_a_server_says_can_not_draw_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    doctorcommand._tell(HOSTILE)
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\\x1b[2J" in said
    assert said.startswith("failed   greeting         12 ms   220")


def test_json_is_one_object_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    doctorcommand._tell_json(HOSTILE)
    line, rest = capsys.readouterr().out.split("\n")
    assert not rest and line.isprintable()
    assert json.loads(line) == {
        "step": "greeting",
        "outcome": "failed",
        "seconds": 0.0123,
        "text": HOSTILE.finding.text,
        "advice": "Do.",
    }


def examined(**where: Any) -> subprocess.CompletedProcess[bytes]:
    """The program itself, that looks where nobody listens."""
    program = "import sys; from ftpsvc.program import main; sys.exit(main())"
    command = (sys.executable, "-c", program, "doctor", "127.0.0.1", str(free_port()))
    return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, **where)


def test_signs_that_a_locale_does_not_have_are_shown_in_some_way() -> None:
    ended = examined(stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert b"\\u2192 Start the server" in ended.stdout


@pytest.mark.parametrize("why", ["", "No space left on device"])
def test_an_output_that_takes_nothing_ends_it_without_a_traceback(why: str) -> None:
    full, (reading, writing) = os.open("/dev/full", os.O_WRONLY), os.pipe()
    os.close(reading)
    try:
        ended = examined(stdout=full if why else writing)
    finally:
        os.close(full)
        os.close(writing)
    said = f"ftpsvc doctor: what is to be said can't be written: {why}.\n" if why else ""
    assert (ended.returncode, ended.stderr.decode()) == (1, said)
