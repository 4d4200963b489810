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
