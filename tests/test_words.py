"""Lines of input as words, and names as they can be typed."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.model import BadArgument, decode_name
from ftpsvc.words import escape, last_word, quote, split

NAMES = st.binary(min_size=1, max_size=30).map(decode_name)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  \t ", []),
        ("list", ["list"]),
        (" get  a   b ", ["get", "a", "b"]),
        (r"get my\ notes.txt", ["get", "my notes.txt"]),
        ('get "my notes.txt" x', ["get", "my notes.txt", "x"]),
        ("get 'it''s' a", ["get", "its", "a"]),
        (r'get "a\"b\\c\d"', ["get", r'a"b\c\d']),
        (r"get 'a\b'", ["get", r"a\b"]),
        (r"get a'b c'd", ["get", "ab cd"]),
        ("get '' x", ["get", "", "x"]),
        (r"get $'caf\xe9 \x41\n\'\\'", ["get", "caf\udce9 A\n'\\"]),
        (r"get $'caf\xc3\xa9'", ["get", "café"]),
        ("get a;b a|b a>b *.txt #1 $HOME a$", ["get", "a;b", "a|b", "a>b", "*.txt", "#1", "$HOME", "a$"]),
        ("get a\\", ["get", "a"]),
    ],
)
def test_a_line_has_these_words(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize("line", ['get "a b', "get 'a", "get $'a", 'get "a\\"'])
def test_an_open_quote_is_refused(line: str) -> None:
    with pytest.raises(BadArgument, match="not closed"):
        split(line)


@given(NAMES, st.sampled_from(["", "'", '"', "$'"]))
def test_what_is_quoted_is_one_word_again(name: str, style: str) -> None:
    assert split(f"get {quote(name, style)} x") == ["get", name, "x"]


@given(st.text(st.sampled_from("ab \\'\""), max_size=12))
def test_plain_quoting_is_the_shells(text: str) -> None:
    try:
        expected = shlex.split(text)
    except ValueError:
        return
    assert split(text) == expected


@given(NAMES, st.sampled_from(["", "'", '"', "$'"]))
def test_what_is_quoted_can_be_shown(name: str, style: str) -> None:
    assert quote(name, style).isprintable()


def test_names_that_need_no_quotes_get_none() -> None:
    assert quote("a;b|c*.txt~") == "a;b|c*.txt~"
    assert quote("") == "''"


@pytest.mark.parametrize(
    ("line", "earlier", "text", "start", "style"),
    [
        ("", [], "", 0, ""),
        ("li", [], "li", 0, ""),
        ("list ", ["list"], "", 5, ""),
        (r"get my\ no", ["get"], "my no", 4, ""),
        (r"get my\ ", ["get"], "my ", 4, ""),
        ('get "my no', ["get"], "my no", 4, '"'),
        ('get "my no ', ["get"], "my no ", 4, '"'),
        ("get 'a b' c", ["get", "a b"], "c", 10, ""),
        (r"get $'caf\xe9", ["get"], "caf\udce9", 4, "$'"),
    ],
)
def test_the_word_that_is_being_typed(line: str, earlier: list[str], text: str, start: int, style: str) -> None:
    words, word = last_word(line)
    assert (words, word.text, word.start, word.quote) == (earlier, text, start, style)


def test_escaped_text_commands_no_terminal() -> None:
    assert escape("a\x1b[2Jb\u202ec\udce9 é") == r"a\x1b[2Jb\xe2\x80\xaec\xe9 é"
