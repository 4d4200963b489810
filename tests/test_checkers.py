"""Twisted's own ways to check a password."""

from __future__ import annotations

from typing import Any

from membership import Place, log, place, quick
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse

from ftpsvc.accounts import WRONG
from ftpsvc.checkers import Checkers

__all__ = ["log", "place", "quick"]


def checkers(**known: str) -> Checkers:
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    for name, password in known.items():
        checker.addUser(name.encode(), password.encode())
    return Checkers([checker])


def test_whom_a_checker_knows_has_the_root(place: Place) -> None:
    place.checkers = checkers(dora="pässword")
    talk = place.talk()
    assert talk.codes("USER dora\r\nPASS pässword\r\nMKD d\r\n".encode()) == [331, 230, 257]
    assert (place.root / "d").is_dir()
    assert place.login("dora", "wrong") == place.login("nobody", "x") == f"530 {WRONG}"


def test_the_file_says_what_those_may_do_whom_a_checker_knows(place: Place) -> None:
    place.account("dora", password="", permissions='["list"]')
    place.account("alice")
    place.checkers = checkers(dora="d", stranger="s", alice="a")
    talk = place.talk()
    assert talk.codes(b"USER dora\r\nPASS d\r\nMKD d\r\n") == [331, 230, 550]
    assert place.login("stranger", "s") == f"530 {WRONG}"
    assert place.login("alice", "a") == f"530 {WRONG}"  # the file has a password for her
    assert place.login("alice") == "230 Logged in as alice."


def test_several_checkers_are_asked_one_after_the_other(place: Place) -> None:
    place.checkers = Checkers([*checkers(a="1")._checkers, *checkers(b="2")._checkers])
    assert place.login("b", "2").startswith("230")
    assert place.login("a", "1").startswith("230")
    assert place.login("a", "2").startswith("530")


def test_a_checker_that_breaks_lets_nobody_in_and_tells_no_secrets(
    place: Place, log: list[str], logged_errors: Any
) -> None:
    class Broken:
        def requestAvatarId(self, credentials: Any) -> Any:
            raise RuntimeError(f"no idea of {credentials.password!r}")

    place.checkers = Checkers([Broken(), *checkers(a="secret1")._checkers])
    assert place.login("a", "secret1").startswith("230")
    assert any("Broken failed, and lets nobody in" in line for line in log)
    assert not any("secret1" in line for line in log)
    logged_errors.events.clear()
