"""Patterns of names: what they mean, and that no pattern takes its time."""

from __future__ import annotations

import fnmatch
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.patterns import Pattern, is_pattern


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a", True),
        ("*", "", True),
        ("*", ".hidden", False),
        (".*", ".hidden", True),
        ("?hidden", ".hidden", False),
        ("*.txt", "a.txt", True),
        ("*.txt", "a.txt.gz", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a?c", "aéc", True),
        ("a?c", "a\udce9c", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("[abc]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[!a-c]x", "dx", True),
        ("[^a-c]x", "ax", False),
        ("[]]", "]", True),
        ("[a-]", "-", True),
        ("[", "[", True),
        ("[a", "[a", True),
        ("[!", "[!", True),
        ("[]x[", "[]x[", True),
        ("[ab][", "b[", True),
        ("{a,b}", "a", False),
        ("{a,b}*", "{a,b}c", True),
        ("A*", "a", False),
        ("a.c", "abc", False),
        ("\\*", "\\x", True),
    ],
)
def test_what_a_pattern_means(pattern: str, name: str, matches: bool) -> None:
    assert Pattern(pattern).matches(name) is matches


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_stars_and_marks_are_those_of_the_shell(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name) is fnmatch.fnmatchcase(name, pattern)


@given(st.text(string.printable + "é\udcff", max_size=30), st.text(max_size=30))
def test_any_text_is_a_pattern(pattern: str, name: str) -> None:
    Pattern(pattern).matches(name)


@pytest.mark.parametrize(
    "pattern", ["a*" * 120 + "b", "*" * 200 + "b", "*a" * 100 + "?" * 50 + "b", "[a-z]*" * 40 + "b", "[!b]*" * 50 + "b"]
)
def test_no_pattern_takes_its_time(pattern: str) -> None:
    matcher = Pattern(pattern)
    began = time.process_time()
    for _ in range(100):
        assert not matcher.matches("a" * 255)
    assert time.process_time() - began < 1  # a backtracking matcher would need longer than there is


@pytest.mark.parametrize("pattern", ["[" * 8000, "[!" * 4000, "[]" * 4000 + "[a", "?" * 8000, "?[!b]" * 1600])
def test_no_long_pattern_takes_its_time(pattern: str) -> None:
    began = time.process_time()
    for _ in range(10):
        matcher = Pattern(pattern)
        assert not any(matcher.matches("".join(map(chr, range(at, at + 255)))) for at in (1000, 2000, 3000))
    assert time.process_time() - began < 0.5


def test_a_name_without_signs_is_no_pattern() -> None:
    assert not is_pattern("a.txt{1,2}~$(x)")
    assert all(is_pattern(name) for name in ("*", "a?", "[a]"))
