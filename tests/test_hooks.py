"""Hooks: which record is for which command, what the command gets, and what becomes of too many."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import Conversation, frames, local_disk, make_clock, parsed, result_of, start
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from ftpsvc.counts import Counts
from ftpsvc.hooks import HOOKS, LAST_TIME, MAX_WAITING, Hooks, hook_of
from ftpsvc.programs import Outcome
from ftpsvc.records import Change, Ending, Happening, SessionEvent, Transfer


class Desk:
    """In place of programs: they end when the test wants it."""

    most = 2

    def __init__(self) -> None:
        self.begun: list[tuple[list[str], dict[str, Any], Deferred[Outcome]]] = []
        self.is_stopped = False

    def run(self, command: Sequence[str], given: int, more: Mapping[str, str]) -> Deferred[Outcome]:
        with open(given, "rb") as record:
            told = json.loads(record.read())
        done: Deferred[Outcome] = Deferred()
        self.begun.append((list(command), told, done))
        return done

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.is_stopped = True

    def end(self, status: int | None = 0, text: str = "") -> None:
        self.begun.pop(0)[2].callback(Outcome(status, text))


class Setup:
    def __init__(self) -> None:
        self.clock = make_clock()
        self.desk = Desk()
        self.counts = Counts({})
        commands = {hook: [f"/bin/{hook}"] for hook in HOOKS}
        self.hooks = Hooks(commands, self.desk, self.clock, self.counts, lambda account, path: f"/home/{account}{path}")  # type: ignore[arg-type]


@pytest.fixture
def setup() -> Setup:
    return Setup()


DELETED = Change("DELE", "mia", "p", "/x")


@pytest.mark.parametrize(
    ("record", "hook"),
    [
        (Transfer("STOR", "a", "p", "/x", Ending.COMPLETE, 1, 1), "upload"),
        (Transfer("STOU", "a", "p", "/x", Ending.COMPLETE, 1, 1), "upload"),
        (Transfer("APPE", "a", "p", "/x", Ending.COMPLETE, 1, 1), "upload"),
        (Transfer("RETR", "a", "p", "/x", Ending.COMPLETE, 1, 1), "download"),
        (Transfer("STOR", "a", "p", "/x", Ending.ABORTED, 1, 1), ""),
        (Transfer("RETR", "a", "p", "/x", Ending.REJECTED, 1, 1), ""),
        (DELETED, "delete"),
        (Change("RNTO", "a", "p", "/x", "/y"), "rename"),
        (Change("MKD", "a", "p", "/x"), "mkdir"),
        (Change("RMD", "a", "p", "/x"), "rmdir"),
        (SessionEvent(Happening.LOGGED_IN, "p", account="a"), "login"),
        (SessionEvent(Happening.LOGIN_FAILED, "p", account="a"), "login-failed"),
        (SessionEvent(Happening.BANNED, "p"), "ban"),
        (SessionEvent(Happening.ENDED, "p", account="a"), "logout"),
        (SessionEvent(Happening.ENDED, "p"), ""),
        (SessionEvent(Happening.CONNECTED, "p"), ""),
    ],
)
def test_each_record_is_for_its_hook(record: Any, hook: str) -> None:
    assert hook_of(record) == hook
    assert not hook or hook in HOOKS


def test_the_command_gets_the_record_and_where_the_file_is(setup: Setup) -> None:
    name = "/a\udcff\x1b$(rm)\n"
    setup.hooks([Transfer("STOR", "mia", "192.0.2.7:4", name, Ending.COMPLETE, 5, 2.0, "d", session=3)])
    ((command, told, _),) = setup.desk.begun
    assert command == ["/bin/upload"]
    assert told["path"] == name
    assert os.fsencode(told["file"]) == b"/home/mia/a\xff\x1b$(rm)\n"
    assert (told["hook"], told["bytes"], told["account"], told["session"]) == ("upload", 5, "mia", 3)
    setup.desk.end()
    setup.hooks([Change("RNTO", "mia", "p", "/x", "/y")])
    assert setup.desk.begun[0][1]["file"] == "/home/mia/y"
    setup.desk.end()


def test_so_many_run_at_once_and_the_others_wait(setup: Setup) -> None:
    setup.hooks([DELETED._replace(path=f"/{n}") for n in range(5)])
    assert [told["path"] for _, told, _ in setup.desk.begun] == ["/0", "/1"]
    assert setup.counts.hooks_waiting == 3
    setup.desk.end()
    assert [told["path"] for _, told, _ in setup.desk.begun] == ["/1", "/2"]
    while setup.desk.begun:
        setup.desk.end()
    assert setup.counts.hooks == {("delete", "done"): 5}
    assert setup.counts.hooks_waiting == 0


def test_what_is_too_much_is_dropped_counted_and_told_of_twice(setup: Setup) -> None:
    told: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event["log_level"] is LogLevel.warn:
            told.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    setup.hooks([DELETED] * (MAX_WAITING + Desk.most + 7))
    while setup.desk.begun:
        setup.desk.end()
    globalLogPublisher.removeObserver(observe)
    assert setup.counts.hooks == {("delete", "done"): MAX_WAITING + Desk.most, ("delete", "dropped"): 7}
    assert told == [
        f"{MAX_WAITING} records wait for their hooks; those that come now have none",
        "7 records had no hook",
    ]


def test_each_end_is_counted(setup: Setup) -> None:
    setup.hooks([DELETED] * 4)
    setup.desk.end(0)
    setup.desk.end(3, "no")
    setup.desk.end(None)
    setup.desk.begun.pop()[2].errback(OSError(2, "No such file or directory"))
    assert setup.counts.hooks == {("delete", "done"): 1, ("delete", "failed"): 2, ("delete", "late"): 1}


def test_hooks_that_can_not_even_be_begun_are_over(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("ftpsvc.hooks.in_memory", fail)
    setup.hooks([DELETED] * 900)
    assert setup.counts.hooks == {("delete", "failed"): 900}
    monkeypatch.undo()
    setup.hooks([DELETED])
    setup.desk.end()
    assert setup.counts.hooks["delete", "done"] == 1


def test_the_end_of_the_server_lets_hooks_end_that_are_due(setup: Setup) -> None:
    setup.hooks([DELETED] * 3)
    stopping = start(setup.hooks.stop())
    setup.desk.end()
    setup.desk.end()
    assert not stopping.is_over
    setup.desk.end()
    assert stopping.is_over and setup.desk.is_stopped


def test_but_not_for_ever(setup: Setup) -> None:
    setup.hooks([DELETED] * 3)
    stopping = start(setup.hooks.stop())
    setup.clock.advance(LAST_TIME)
    stopping.result()
    assert setup.desk.is_stopped
    setup.desk.end(None)
    setup.desk.end(None)
    assert setup.desk.begun == []  # what waited does not begin any more


@pytest.mark.parametrize("is_waiting", [True, False])
def test_nor_where_somebody_is_in_a_hurry(setup: Setup, is_waiting: bool) -> None:
    setup.hooks([DELETED] * 3)
    if is_waiting:
        stopping = start(setup.hooks.stop())
    setup.hooks.hurry()
    if not is_waiting:
        stopping = start(setup.hooks.stop())
        setup.clock.advance(0)
    assert stopping.is_over and setup.desk.is_stopped
    setup.desk.end(None)
    setup.desk.end(None)
    assert setup.desk.begun == []


def test_who_has_no_hooks_waits_for_none(setup: Setup) -> None:
    result_of(setup.hooks.stop())


def test_a_session_has_its_hooks_run(tmp_path: Path) -> None:
    setup = Setup()
    talk = Conversation(local_disk(tmp_path))
    talk.factory.records.listeners.append(setup.hooks)
    talk.log_in().ask(b"MKD d\r\nSTOR d/a\r\n", frames(b"x"), b"RETR d/a\r\nDELE d/a\r\n")
    talk.factory.records.flush()
    seen = []
    while setup.desk.begun:
        seen.append(setup.desk.begun[0][1]["hook"])
        setup.desk.end()
    assert seen == ["login", "mkdir", "upload", "download", "delete"]


def test_each_hook_is_an_option() -> None:
    for hook in HOOKS:
        (words,) = parsed(f"--on-{hook}", "sh -c 'exit 0'")["hooks"].values()
        assert words[1:] == ["-c", "exit 0"]
    assert parsed()["hooks"] == {} and parsed()["check"] == []


@pytest.mark.parametrize("command", ["/nowhere/x", "'", "no-such-program-anywhere -x"])
def test_a_command_that_can_not_be_run_is_refused_at_the_start(command: str) -> None:
    for option in ("--on-upload", "--check-upload"):
        with pytest.raises(SystemExit, match=rf"\Aftpsvc: {option}: [^\n]+ See: twistd ftpsvc --help\Z"):
            parsed(option, command)
