"""Permissions by path: what a pattern covers, and what a rename may not give."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.model import EVERYTHING, NOTHING, Account, Permission
from ftpsvc.rules import PathRule

LIST, READ, WRITE, RENAME = Permission.LIST, Permission.READ, Permission.WRITE, Permission.RENAME


@pytest.mark.parametrize(
    ("pattern", "path", "is_for_it"),
    [
        ("/pub", "/pub", True),
        ("/pub", "/pub/a/b", True),
        ("/pub", "/", False),
        ("/pub", "/public", False),
        ("/pub", "/a/pub", False),
        ("/pub/", "/pub", True),
        ("/", "/", True),
        ("/", "/a", True),
        ("/*", "/", False),
        ("/*", "/.hidden", True),
        ("/*/drafts", "/a/drafts/x", True),
        ("/*/drafts", "/a/b/drafts", False),
        ("/**/drafts", "/drafts", True),
        ("/**/drafts", "/a/b/drafts/x", True),
        ("/**/*.exe", "/a/b.exe", True),
        ("/**/*.exe", "/a/b.EXE", False),
        ("/a/**/b", "/a/b", True),
        ("/a/**/b", "/a/x/y/b", True),
        ("/a/**/b", "/x/b", False),
        ("/a/**", "/a", True),
        ("/[ab]?", "/a1", True),
        ("/[ab]?", "/c1", False),
    ],
)
def test_what_a_pattern_covers(pattern: str, path: str, is_for_it: bool) -> None:
    assert PathRule(pattern, READ).progress(path)[0] is is_for_it


@pytest.mark.parametrize("pattern", ["", "pub", "/a/../b", "/./a"])
def test_a_pattern_that_could_mean_nothing(pattern: str) -> None:
    with pytest.raises(ValueError, match="begins with /"):
        PathRule(pattern, READ)


def test_the_first_rule_that_is_for_a_path_decides() -> None:
    account = Account("ann", LIST, (PathRule("/a/b", READ), PathRule("/a", WRITE)))
    assert [account.may(path) for path in ("/", "/a", "/a/b", "/a/b/c")] == [LIST, WRITE, READ, READ]
    assert account.anywhere == LIST | READ | WRITE


def test_a_name_made_for_it_does_not_keep_a_pattern_busy() -> None:
    rule = PathRule("/**/*a*a*a*a*a*b/**/*a*a*a*a*c/**/x", READ)
    began = time.process_time()
    assert not rule.progress("/" + "/".join(["a" * 200] * 20))[0]
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("source", "target", "is_directory", "gains"),
    [
        ("/free/x", "/free/y", True, False),
        ("/drop/x", "/free/x", False, True),  # it could be read there
        ("/free/x", "/drop/x", False, False),
        ("/free", "/other", True, False),
        ("/top", "/other", True, True),  # /top/secret would be free
        ("/top", "/other", False, False),
        ("/top/secret/a", "/top/secret/b", True, False),
    ],
)
def test_what_a_rename_would_give(source: str, target: str, is_directory: bool, gains: bool) -> None:
    rules = PathRule("/drop", WRITE | RENAME), PathRule("/top/secret", NOTHING)
    assert Account("ann", EVERYTHING, rules).would_gain(source, target, is_directory) is gains


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
PATTERNS = st.lists(st.sampled_from(["a", "b", "c", "*", "**"]), max_size=3).map(lambda names: "/" + "/".join(names))
RULES = st.lists(st.builds(PathRule, PATTERNS, st.sampled_from([NOTHING, READ, EVERYTHING])), max_size=3)


@given(RULES, PATHS, PATHS, PATHS)
def test_no_rename_that_is_let_through_gives_anything_anywhere_below(
    rules: list[PathRule], source: str, target: str, below: str
) -> None:
    account = Account("ann", READ, tuple(rules))
    if not account.would_gain(source, target, True):
        for name in ("", below):
            assert not account.may(target + name) & ~account.may(source + name)
