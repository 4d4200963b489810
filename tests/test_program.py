"""The command `ftpsvc`: which program its first word means."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from daemon import DEADLINE, ENVIRONMENT

from ftpsvc import collector, oneshot, program


@pytest.fixture(autouse=True)
def _collector_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program may do at its end isn't good for the tests that follow."""
    monkeypatch.setattr(collector, "relax", lambda: None)
    monkeypatch.setattr(collector, "retire", lambda: None)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[object]:
    """What was called: the shell, or another program with its words."""
    called: list[object] = []
    shell, other = ModuleType("ftpsvc.shell"), ModuleType("ftpsvc.other")
    shell.main = lambda: called.append("shell") or 0  # type: ignore[attr-defined, func-returns-value]
    other.main = lambda words: called.append(words) or 3  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, "ftpsvc.shell", shell)
    monkeypatch.setitem(sys.modules, "ftpsvc.other", other)
    monkeypatch.setitem(program.PROGRAMS, "other", "ftpsvc.other")
    monkeypatch.setattr(sys, "argv", ["ftpsvc", *words])
    called.append(program.main())
    return called


def test_a_known_first_word_is_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "other", "-x") == [["other", "-x"], 3]


@pytest.mark.parametrize("words", [(), ("files.example.org",), ("--version",), ("host", "other")])
def test_anything_else_is_the_shell(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, *words) == ["shell", 0]


def test_ctrl_c_at_the_start_ends_it_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    heard: dict[str, object] = {}
    monkeypatch.setattr(collector, "relax", lambda: heard.update(start=signal.getsignal(signal.SIGINT)))
    monkeypatch.setattr(collector, "retire", lambda: heard.update(end=signal.getsignal(signal.SIGINT)))
    assert run(monkeypatch) == ["shell", 0]
    assert heard == {"start": signal.SIG_DFL, "end": before} and before is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as behind nohup, or in the background of a script
    try:
        run(monkeypatch)
        assert heard["start"] is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_help_names_the_other_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ftpsvc", "--help"])
    with pytest.raises(SystemExit):
        program.main()
    said = " ".join(capsys.readouterr().out.split())
    assert all(f"ftpsvc {name}" in said for name in program.PROGRAMS)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gte", "Did you mean get?"), ("GET", "Did you mean get?"), ("store", "Did you mean put?"), ("x", "Use: --help")],
)
def test_a_misspelt_program_is_no_host(
    name: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ftpsvc", name, "a", "ftp://127.0.0.1/"])
    with pytest.raises(SystemExit) as caught:
        program.main()
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.endswith(f"ftpsvc: error: there is no command {name}. {hint}\n")


@pytest.mark.parametrize("name", [[], ["doctor"], ["get"]])
def test_the_options_for_tls_mean_the_same_everywhere(
    name: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ftpsvc", *name, "--help"])
    with pytest.raises(SystemExit):
        program.main()
    said = " ".join(capsys.readouterr().out.split())
    for meant in ("--tls with TLS, or not at all", "SHA-256 with TLS, and with no other certificate than this one"):
        assert meant in said
    assert ("connect to this server at once" in said) == (name == [])


@pytest.mark.parametrize("name", program.PROGRAMS)
def test_each_program_is_there_and_has_a_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ftpsvc", name, "--help"])
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 0 and f"ftpsvc {name}" in capsys.readouterr().out


#: The program as a script may start it, without some of its streams; and where one of the libraries that it imports
#: keeps a file of its own open, as libffi does since version 3.5.
WITHOUT = """
import os, sys
for stream in {closed}:
    os.close(stream)
from ftpsvc import program
imported = program.import_module
program.import_module = lambda name: (os.open(sys.executable, os.O_RDONLY), imported(name))[1]
sys.exit(program.main())
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["put", "-", "ftp://127.0.0.1:1/x"], 4, "nothing listens"),
        (["user", "add", "ann", "--accounts", "new.toml"], 1, "no terminal"),
        (["user", "add", "ann", "--accounts", "new.toml", "--password-stdin"], 1, "standard input can't be read"),
        (["init", "new", "--user", "ann", "--password-stdin"], 1, "standard input can't be read"),
        (["ctl", "who", "--state", "nowhere"], 1, "no server answers"),
        (["doctor", "127.0.0.1", "1"], 1, ""),
    ],
)
def test_what_is_closed_from_the_beginning_is_nothing_that_is_open_by_now(
    words: list[str], code: int, said: str, closed: tuple[int, ...], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", WITHOUT.format(closed=closed), *words]
    given = {"stdin": subprocess.DEVNULL, "env": ENVIRONMENT, "cwd": tmp_path}
    ended = subprocess.run(command, **given, capture_output=True, text=True, timeout=DEADLINE)  # type: ignore[call-overload]
    assert ended.returncode == code and "Traceback" not in ended.stderr, ended
    assert said in ended.stderr or 0 not in closed or 2 in closed
    assert not list(tmp_path.iterdir())


#: What would take longer to import than `ls` takes to list, or is another command's.
NOT_FOR_LS = (
    "prompt_toolkit rich argon2 hypothesis ftpsvc.shell ftpsvc.terminal ftpsvc.server ftpsvc.service ftpsvc.tls "
    "ftpsvc.commands.trees ftpsvc.commands.transfers ftpsvc.commands.reading ftpsvc.commands.unfinished "
    "ftpsvc.mirroring ftpsvc.treejobs ftpsvc.transfers ftpsvc.doctor ftpsvc.accounts "
    "twisted.internet.asyncioreactor twisted.web twisted.cred.portal twisted.plugins "
    "twisted.application.service twisted.python.usage"
).split()


def test_ls_imports_nothing_that_it_can_do_without() -> None:
    program = (
        "import sys; from ftpsvc import program, oneshot; oneshot.kind_for('ls'); from twisted.internet import reactor;"
        "print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    assert "ftpsvc.commands.remote_files" in imported
    assert imported.isdisjoint(NOT_FOR_LS), imported.intersection(NOT_FOR_LS)


@pytest.mark.parametrize("name", oneshot.COMMANDS)
def test_each_program_has_the_commands_that_it_is_made_of(name: str) -> None:
    kind = oneshot.kind_for(name)
    assert hasattr(kind, f"do_{kind.aliases.get(name, name)}")
