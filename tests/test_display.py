"""Sizes, durations and listings as people see them."""

from __future__ import annotations

import time

import pytest

from ftpsvc.display import clipped, columns, counted, duration, fitted, listing, naming, part, percent, size
from ftpsvc.model import Entry, Kind


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (47_680_000, "47.7 MB"),
        (200 * 10**9, "200.0 GB"),
        (3 * 10**18, "3.0 EB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.02, "20 ms"), (0.84, "0.8 s"), (9.9, "9.9 s"), (12, "0:12"), (59.7, "1:00"), (3723, "1:02:03")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_reply_says_what_it_is_about() -> None:
    assert naming("/my a", "550 Delete operation failed.") == "/my\\ a: 550 Delete operation failed."
    assert naming("/my a", "550 /my a: there is no such file.") == "550 /my a: there is no such file."
    assert naming("/my a", 'no "my a" in / (550).') == 'no "my a" in / (550).'


def test_a_hundred_percent_is_all_of_it() -> None:
    assert percent(999_999, 1_000_000) == 99
    assert percent(5, 4) == 100
    assert percent(0, 0) == 100
    assert part(19_300_000, 47_700_000) == "19.3 MB of 47.7 MB (40 %)"


def test_counted() -> None:
    assert [counted(n, "file") for n in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_a_listing_is_sorted_aligned_and_counted() -> None:
    noon = time.mktime((2026, 3, 4, 12, 30, 0, 0, 0, -1))
    entries = [
        Entry("notes.txt", Kind.FILE, 1_200_000, int(noon) * 10**9),
        Entry("Pub", Kind.DIRECTORY, 4096, int(noon) * 10**9),
        Entry("old", Kind.LINK),
        Entry("a b", Kind.FILE, 7),
    ]
    assert list(listing(entries)) == [
        "   7 B  -                 a b",
        "1.2 MB  2026-03-04 12:30  notes.txt",
        "        -                 old@",
        "        2026-03-04 12:30  Pub/",
        "1 folder, 3 files, 1.2 MB",
    ]


def test_an_empty_folder_and_one_of_folders() -> None:
    assert list(listing([])) == ["The folder is empty."]
    assert list(listing([Entry("a", Kind.DIRECTORY)]))[-1] == "1 folder"


def test_a_name_that_would_command_the_terminal_is_shown_as_it_can_be_typed() -> None:
    assert next(listing([Entry("\x1b[2J", Kind.FILE)])).endswith("  $'\\x1b[2J'")


def test_folders_have_a_colour_only_if_it_is_asked_for() -> None:
    assert "\x1b" not in "".join(listing([Entry("a", Kind.DIRECTORY)]))
    assert "\x1b[34;1ma\x1b[0m/" in "".join(listing([Entry("a", Kind.DIRECTORY)], colour=True))


def test_a_time_outside_of_the_calendar_does_no_harm() -> None:
    assert next(listing([Entry("a", Kind.FILE, 0, 10**40)])) == "0 B  -                 a"


HELP = """\
find [folder] <pattern>   (also: search)

Files are found here, which is
told
in a paragraph.
  --long <pattern>  a row whose last column
                    goes on
  -s                short

Example: one
Example: two"""


def test_help_is_broken_between_words_where_the_terminal_ends() -> None:
    assert (
        fitted(HELP, 40)
        == """\
find [folder] <pattern>   (also: search)

Files are found here, which is told in a
paragraph.
  --long <pattern>  a row whose last
                    column goes on
  -s                short

Example: one
Example: two"""
    )


@pytest.mark.parametrize("width", [1, 7, 20, 39])
def test_on_a_narrow_terminal_no_word_of_help_is_lost(width: int) -> None:
    assert fitted(HELP, width).split() == HELP.split()
    longest = max(map(len, HELP.split()))
    assert all(len(row) <= max(width, longest + 4) for row in fitted(HELP, width).split("\n"))


@pytest.mark.parametrize("text", ["abcd", "a漢字", "e\u0301e\u0301e\u0301e\u0301"])
def test_what_is_clipped_fits_and_is_as_long_as_can_be(text: str) -> None:
    assert [columns(clipped(text, most)) for most in (-1, 0, 1)] == [0, 0, 1]
    assert clipped(text, 3)[-1] == "…" and columns(clipped(text, 3)) in (2, 3)
    assert clipped(text, columns(text)) == text
