"""What `--exclude` and `--include` mean."""

from __future__ import annotations

import pytest

from ftpsvc.filters import Filter, Rule


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.o", "a.o", True),
        ("*.o", "deep/down/a.o", True),
        ("*.o", "a.o/file", False),
        (".git", ".git", True),
        (".git", "sub/.git", True),
        ("/build", "build", True),
        ("/build", "sub/build", False),
        ("build/*.o", "build/a.o", True),
        ("build/*.o", "build/sub/a.o", False),
        ("build/*.o", "sub/build/a.o", False),
        ("build/**", "build/sub/a.o", True),
        ("**/cache", "a/b/cache", True),
        ("**/cache", "cache", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("a[!b]c", "a/c", False),
        ("[2024-01]*", "2", True),
        ("[^]-]", "]", False),
        ("[a&&~|-^]", "-", True),
        ("x[.-0]y", "x0y", True),
        ("x[.-0]y", "x/y", False),
        ("a[", "a[", True),
        ("a+(b)", "a+(b)", True),
        ("[a]]", "a]", True),
        ("two words", "two words", True),
    ],
)
def test_a_pattern_means_names_or_paths(pattern: str, path: str, matches: bool) -> None:
    assert Filter([Rule(False, pattern)]).admits(path, False) is not matches


def test_a_pattern_with_a_slash_at_its_end_is_about_folders_only() -> None:
    wanted = Filter([Rule(False, "cache/")])
    assert wanted.admits("cache", False)
    assert not wanted.admits("cache", True)


def test_the_first_rule_that_matches_decides() -> None:
    wanted = Filter([Rule(True, "keep.o"), Rule(False, "*.o")])
    assert wanted.admits("keep.o", False) and not wanted.admits("a.o", False) and wanted.admits("a.c", False)


def test_with_rules_that_only_include_nothing_else_is_wanted_but_folders_are_looked_into() -> None:
    wanted = Filter([Rule(True, "*.jpg")])
    assert wanted.admits("a/b.jpg", False) and not wanted.admits("a/b.txt", False) and wanted.admits("a", True)


def test_without_rules_everything_is_wanted() -> None:
    assert Filter().is_open and Filter().admits("x", False)
