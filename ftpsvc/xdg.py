"""Where the user's own files are (the XDG base directory specification)."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> str:
    """The user's home; for who has none the root of this machine, as for those who log in to it without one.

    A container runs its programs as a user that nobody has made, and Python then gives `~` itself: it would become a
    folder of that name, wherever one just is.
    """
    found = os.path.expanduser("~")
    return found if os.path.isabs(found) else "/"


def state_folder() -> Path:
    """What programs remember: servers that were trusted, the server's own certificate, unfinished work."""
    return _folder("XDG_STATE_HOME", ".local/state")


def settings_folder() -> Path:
    """What the user decides."""
    return _folder("XDG_CONFIG_HOME", ".config")


def _folder(variable: str, usual: str) -> Path:
    named = os.environ.get(variable, "")  # the specification: to be ignored if it is relative
    return (Path(named) if os.path.isabs(named) else Path(home(), usual)) / "ftpsvc"
