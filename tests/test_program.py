"""The command `ftpsvc`: which program its first word means."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from ftpsvc import program


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


def test_the_help_names_the_other_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ftpsvc", "--help"])
    with pytest.raises(SystemExit):
        program.main()
    said = " ".join(capsys.readouterr().out.split())
    assert all(f"ftpsvc {name}" in said for name in program.PROGRAMS)


@pytest.mark.parametrize("name", program.PROGRAMS)
def test_each_program_is_there_and_has_a_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ftpsvc", name, "--help"])
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert caught.value.code == 0 and f"ftpsvc {name}" in capsys.readouterr().out
