"""Where the user's own files are, also of one who has no home."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from ftpsvc import xdg


@pytest.mark.parametrize(
    ("state", "home", "expected"),
    [
        ("/x", "/h", "/x"),
        ("relative", "/h", "/h/.local/state"),
        ("", "/h", "/h/.local/state"),
        ("", "", "/.local/state"),
        ("", "relative", "/.local/state"),
    ],
)
def test_where_what_is_remembered_is(monkeypatch: pytest.MonkeyPatch, state: str, home: str, expected: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("HOME", home)
    assert xdg.state_folder() == Path(expected) / "ftpsvc"


def test_who_has_no_home_has_no_folder_of_the_name_of_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for variable in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert xdg.home() == "/"
    assert xdg.state_folder() == Path("/.local/state/ftpsvc")
    assert xdg.settings_folder() == Path("/.config/ftpsvc")
