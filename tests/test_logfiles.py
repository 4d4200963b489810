"""What is made of records: lines for people, JSON, the xferlog, and the files that they go to."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from conftest import LoggedErrors
from hall import Kept
from support import Conversation, frames, local_disk, make_clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from ftpsvc.jsonlog import JsonLines, lines_of
from ftpsvc.logfiles import LogFile, Logging
from ftpsvc.records import Change, Ending, Happening, SessionEvent, Transfer, fields_of
from ftpsvc.xferlog import Xferlog, line_of

# -- the lines

#: Names that a client can send: they clear the terminal, ring, forge a line where line ends are more than LF, turn the
#: text's direction, and are not UTF-8.
HOSTILE = [
    b"\x1b[2Jx",
    b"\x07\x08\x7f",
    "a\u2028b\x85c".encode(),
    "\u202etxt.exe".encode(),
    b"\xfe\xe9\x9b31m",
    b"a\tb",
]


class Heard:
    """Everything that is logged, as text and as JSON lines."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Heard:
        globalLogPublisher.addObserver(self.events.append)
        return self

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self.events.append)

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(json.dumps(line)) for event in self.events for line in lines_of(event)]

    def lines(self) -> list[str]:
        return [event["lines"] for event in self.events if "lines" in event]


def texts_in(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from (name, *texts_in(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_harmless_wherever_it_is_told(tmp_path: Path, name: bytes) -> None:
    with Heard() as heard:
        talk = Conversation(local_disk(tmp_path))
        kept = Kept(talk.factory)
        wire = name.replace(b"\xff", b"\xff\xff")
        talk.ask(b"USER " + wire + b"\r\nPASS s3cr3t" + wire + b"\r\n")
        talk.clock.advance(30)
        talk.log_in().ask(b"STOR " + wire + b"\r\n", frames(b"x"), b"RETR " + wire + b"2\r\n")
        talk.ask(b"MKD d" + wire + b"\r\nRNFR d" + wire + b"\r\nRNTO e" + wire + b"\r\nDELE " + wire + b"\r\n")
        talk.ask(wire + b"\r\n")
        talk.link.close()
        talk.factory.records.flush()
    assert len(kept.of(Change)) == 3
    told = [text for found in heard.objects() for text in texts_in(found)]
    told += [line for block in heard.lines() for line in block.split("\n")]
    told += [line_of(record).removesuffix("\n") for record in kept.of(Transfer)]
    assert len(told) > 50
    assert [text for text in told if not text.isprintable()] == []
    assert not any("s3cr3t" in text for text in told)
    assert all(len(line_of(record).split(" ")) == 18 + line_of(record).count("  ") for record in kept.of(Transfer))


def test_the_lines_for_people() -> None:
    transfer = Transfer("STOR", "mia", "192.0.2.7:4000", "/a", Ending.ABORTED, 5, 0.25, cause="It was cut.")
    assert str(transfer) == "mia@192.0.2.7:4000: STOR /a aborted, 5 bytes in 0.250 s: It was cut."
    assert str(Change("RNTO", "mia", "p", "/a", "/b")) == "mia@p: RNTO /a to /b"
    told = {
        SessionEvent(Happening.CONNECTED, "p"): "p: connected",
        SessionEvent(Happening.LOGGED_IN, "p", account="mia", tls=True): "mia@p: logged in with TLS",
        SessionEvent(Happening.LOGIN_FAILED, "p", account="mia"): "p: the login as mia has failed",
        SessionEvent(Happening.ENDED, "p", cause="Gone."): "p: Gone.",
        SessionEvent(Happening.ENDED, "p", account="mia", cause="x", limit="idle-time"): "mia@p: ended by idle-time: x",
        SessionEvent(Happening.REFUSED, "p", cause="x", limit="max-connections"): "p: refused by max-connections: x",
    }
    assert {event: str(event) for event in told} == told


def test_quiet_records_are_for_those_who_look_closely(tmp_path: Path) -> None:
    with Heard() as heard:
        for talk in (Conversation(local_disk(tmp_path)).log_in(), Conversation(local_disk(tmp_path))):
            talk.link.close()
            talk.factory.records.flush()
    assert [(found["event"], found["level"]) for found in heard.objects()] == [
        ("connected", "debug"), ("logged in", "info"), ("ended", "debug"), ("connected", "debug"), ("ended", "debug")
    ]  # fmt: skip
    assert [event["log_level"] for event in heard.events] == [LogLevel.info, LogLevel.debug]
    assert [len(block.split("\n")) for block in heard.lines()] == [3, 2]


# -- JSON


def test_a_record_is_an_object_with_its_values() -> None:
    record = Transfer("RETR", "mia", "192.0.2.7:1", "/a", Ending.COMPLETE, 3000, 1.5, "d", mode="passive", tls=True,
        session=7, time=1795354860.25)  # fmt: skip
    assert fields_of(record)["rate"] == 2000
    (line,) = lines_of({"ftpsvc_records": [record], "log_level": LogLevel.info})
    assert line == {
        "time": "2026-11-22T13:41:00.250000Z", "level": "info", "event": "transfer", "verb": "RETR", "account": "mia",
        "peer": "192.0.2.7:1", "path": "/a", "ending": "complete", "bytes": 3000, "seconds": 1.5, "digest": "d",
        "mode": "passive", "tls": True, "ascii": False, "session": 7, "rate": 2000,
        "message": "mia@192.0.2.7:1: RETR /a complete, 3000 bytes in 1.500 s",
    }  # fmt: skip


class Text(list[str]):
    """What was written."""

    def write(self, text: str) -> None:
        self.append(text)

    def flush(self) -> None:
        pass


def test_everything_else_is_an_object_with_a_message() -> None:
    written = Text()
    observe = JsonLines(written)
    observe(
        {"log_format": "{a}\n\x1b", "a": 1, "log_level": LogLevel.warn, "log_time": 0.0, "log_namespace": "ftpsvc.x"}
    )
    try:
        raise ZeroDivisionError("a\nb")
    except ZeroDivisionError:
        failure = Failure()
    observe({"log_format": "bad", "log_level": LogLevel.critical, "log_time": 0.0, "log_failure": failure})
    first, second = (json.loads(line) for line in "".join(written).splitlines())
    assert first == {
        "time": "1970-01-01T00:00:00.000000Z", "level": "warn", "event": "log", "system": "ftpsvc.x",
        "message": r"1\n\x1b",
    }  # fmt: skip
    assert second["error"] == r"ZeroDivisionError: a\nb"
    assert any("test_logfiles.py" in line for line in second["traceback"])


# -- the xferlog


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wherever the machine is: the C library looks at the zone only when it is told to."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_the_xferlog_is_wu_ftpds(in_utc: None) -> None:
    transfer = Transfer("RETR", "mia", "192.0.2.7:4000", "/my file", Ending.COMPLETE, 1024, 3.4, mode="passive",
        time=1793714732)  # fmt: skip
    assert line_of(transfer) == "Tue Nov  3 14:05:32 2026 3 192.0.2.7 1024 /my_file b _ o r mia ftp 0 * c\n"
    other = transfer._replace(verb="STOR", account="anonymous", ascii=True, ending=Ending.ABORTED, seconds=0.001)
    other = other._replace(peer="[2001:db8::1]:4000")
    assert line_of(other) == "Tue Nov  3 14:05:32 2026 1 2001:db8::1 1024 /my_file a _ i a anonymous ftp 0 * i\n"


def test_what_never_began_is_not_in_the_xferlog(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "xferlog"))
    Xferlog(file)(
        [
            Transfer("RETR", "a", "p", "/a", Ending.REJECTED, 0, 0),
            Change("DELE", "a", "p", "/x"),
            Transfer("RETR", "a", "p", "/b", Ending.ABORTED, 0, 0, mode="active"),
        ]
    )
    file.close()
    (line,) = (tmp_path / "xferlog").read_text().splitlines()
    assert re.fullmatch(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} 1 p 0 /b b _ o r a ftp 0 \* i", line)


def test_a_full_disk_is_told_of_once(logged_errors: LoggedErrors) -> None:
    file = LogFile("/dev/full")
    write, transfer = Xferlog(file), Transfer("RETR", "a", "p", "/b", Ending.COMPLETE, 0, 0, mode="active")
    for _ in range(3):
        write([transfer])
    file.close()
    (event,) = logged_errors.events
    assert event["why"] == "No space left on device"
    logged_errors.events.clear()


# -- the files


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path))
    file.write("one\n")
    path.rename(tmp_path / "log.1")
    file.write("two\n")
    Logging(None, [file], make_clock()).reopen()
    file.write("three\udcff\n")
    file.close()
    assert (tmp_path / "log.1").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\\udcff\n"
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_has_the_same_mode_each_time(tmp_path: Path) -> None:
    """A daemon has twistd's umask, 077, by the time that it makes a new one."""
    path = tmp_path / "log"
    file = LogFile(str(path))
    modes = [path.stat().st_mode & 0o777]
    path.unlink()
    before = os.umask(0o077)
    try:
        file.reopen()
        modes.append(path.stat().st_mode & 0o777)
        path.chmod(0o604)  # that of a file which is there is its owner's affair
        file.reopen()
    finally:
        os.umask(before)
        file.close()
    assert modes == [0o640, 0o640] and path.stat().st_mode & 0o777 == 0o604


def test_a_file_system_that_takes_no_modes_has_a_log_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fchmod", mock.Mock(side_effect=PermissionError(errno.EPERM, os.strerror(errno.EPERM))))
    file = LogFile(str(tmp_path / "log"))
    file.write("a line\n")
    file.close()
    assert (tmp_path / "log").read_text() == "a line\n"


def test_a_file_that_can_not_be_made_anew_goes_on_where_it_was(tmp_path: Path, logged_errors: LoggedErrors) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = LogFile(str(folder / "log"))
    folder.rename(tmp_path / "moved")
    Logging(None, [file], make_clock()).reopen()
    file.write("on\n")
    file.close()
    assert (tmp_path / "moved" / "log").read_text() == "on\n"
    assert len(logged_errors.events) == 1
    logged_errors.events.clear()


def test_a_fifo_that_nobody_reads_holds_up_nothing(tmp_path: Path) -> None:
    path, line = tmp_path / "log", "x" * 9_999 + "\n"
    os.mkfifo(path)
    file = LogFile(str(path))
    for _ in range(20):
        file.write(line)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as reader:
        assert (reader.read(1_000_000) or b"").startswith(line.encode() * 5)
        file.write("again\n")
        assert reader.read(1_000_000) == b"\nagain\n"  # behind the one that could not be ended
    file.write("and nobody reads\n")
    file.close()
