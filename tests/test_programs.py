"""Programs that are run for hooks and checks: what they get, and what they can't do to the server."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streams import eventually
from twisted.internet.testing import MemoryReactorClock

from ftpsvc.limits import Limits
from ftpsvc.programs import MAX_KEPT, Outcome, Programs, run, split
from ftpsvc.unnamed import in_memory


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def shell(code: str) -> list[str]:
    return ["/bin/sh", "-c", code]


def outcome(command: list[str], given: bytes = b"", seconds: float = 20.0, **more: str) -> Outcome:
    descriptor = in_memory(given)
    try:
        return run(command, descriptor, seconds, more)
    finally:
        os.close(descriptor)


def test_a_program_gets_its_input_and_its_words_and_is_heard() -> None:
    assert outcome(["/bin/cat"], b"what it gets") == Outcome(0, "what it gets")
    assert outcome(["/bin/echo", "a b", "$HOME; exit 1"]) == Outcome(0, "a b $HOME; exit 1")


def test_its_status_is_told() -> None:
    assert outcome(shell("echo because >&2; exit 3")) == Outcome(3, "because")
    assert outcome(shell("kill -TERM $$")).status == -signal.SIGTERM


def test_what_it_says_is_one_line_without_control_characters() -> None:
    said = outcome(python(r"import sys; sys.stdout.buffer.write(b'\x1b[2Jone\r\n\n two\xff\a\n')")).text
    assert said == r"\x1b[2Jone two" + "\ufffd" + r"\x07"


def test_of_megabytes_the_beginning_is_kept() -> None:
    assert outcome(python("print('y' * 20_000_000)")) == Outcome(0, "y" * MAX_KEPT)


def test_who_says_too_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsvc.programs.MAX_SAID", 1_000_000)
    assert outcome(shell("exec yes"))[::2] == (None, "said more than 0 MiB")


def test_who_takes_too_long_is_ended_with_what_it_has_begun() -> None:
    pid = int(outcome(shell("sleep 1000 & echo $!; sleep 1000"), seconds=0.5).text)
    eventually(lambda: not is_running(pid))


def test_one_that_is_just_begun_when_all_are_to_end_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Programs(MemoryReactorClock(), Limits)
    begin = subprocess.Popen

    def begun(*command: Any, **options: Any) -> Any:
        """In its thread, while the reactor hears of a second signal."""
        process = begin(*command, **options)
        programs.hurry()
        return process

    monkeypatch.setattr(subprocess, "Popen", begun)
    assert programs._run(["/bin/sleep", "10"], in_memory(b""), {}).status == -signal.SIGKILL


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_program_leaves_behind_is_not_waited_for() -> None:
    ended = outcome(shell("sleep 1000 & echo $!"))
    assert ended.status == 0
    os.kill(int(ended.text), signal.SIGKILL)


def test_who_closes_its_output_and_goes_on_is_held_to_the_time() -> None:
    assert outcome(shell("exec >&- 2>&-; sleep 0.1; exit 4")) == Outcome(4, "")
    assert outcome(shell("exec >&- 2>&-; exec sleep 1000"), seconds=0.3)[::2] == (
        None,
        "was not over within 0.3 seconds",
    )


def test_who_reads_nothing_harms_nobody() -> None:
    assert outcome(["/bin/true"], b"x" * 1_000_000) == Outcome(0, "")


def test_a_program_that_is_gone_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        outcome(["/nowhere/program"])


def test_what_systemd_has_given_to_the_server_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    assert outcome(shell("echo ${NOTIFY_SOCKET-none} $MORE"), MORE="more").text == "none more"


def test_no_other_descriptor_is_passed_on(tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as secret:
        assert secret.fileno() > 2
        assert outcome(python("import os; print(*sorted(os.listdir('/proc/self/fd')))")).text == "0 1 2 3"


def test_a_command_is_split_as_a_shell_would_and_its_program_found() -> None:
    assert split("sh -c 'echo \"$1\"' x")[1:] == ["-c", 'echo "$1"', "x"]
    assert Path(split("sh")[0]).is_absolute()
    for wrong in ("", "'", "/nowhere/x", "/etc/passwd"):
        with pytest.raises(ValueError):
            split(wrong)
    assert split(shlex.join(["/bin/echo", "a'b"])) == ["/bin/echo", "a'b"]
