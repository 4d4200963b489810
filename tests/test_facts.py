"""Digests, times and facts as they stand on the wire."""

from __future__ import annotations

import calendar
import re
import time

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.frames import (
    digest_of,
    format_facts,
    format_milliseconds,
    format_time,
    parse_facts,
    parse_time,
    read_facts,
)
from ftpsvc.model import BadArgument, Facts

# -- frame lines


def test_the_digest_is_xxh3_128_as_32_lower_case_hex_digits() -> None:
    assert digest_of(b"hello\n") == xxhash.xxh3_128_hexdigest(b"hello\n")
    # From the specification's example.
    assert digest_of(b"hello\n") == "6bba86c7e069f56d5a10b435f1c8e49c"


@given(st.integers(0, 253402300799_999_999_999))
def test_a_time_comes_back_to_the_nanosecond(moment: int) -> None:
    text = format_time(moment)
    assert re.fullmatch(r"[0-9]{14}(\.[0-9]{0,8}[1-9])?", text)
    assert parse_time(text) == moment
    assert calendar.timegm(time.strptime(text[:14], "%Y%m%d%H%M%S")) == moment // 1_000_000_000
    assert format_milliseconds(moment) == text[:14] + re.sub(r"^[.0]{4}$", "", text[14:18].ljust(4, "0"))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("19700101000000", 0),
        ("20261122055900", 1795327140_000_000_000),
        ("20261122055900.123", 1795327140_123_000_000),
        ("20240229000000.1234567899", 1709164800_123_456_789),
    ],
)
def test_a_time_is_read_as_utc(text: str, moment: int) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026112205590",
        "202611220559001",
        "20010229000000",
        "20261322055900",
        "20261100000000",
        "20260101240000",
        "20260101006000",
        "20260101000060",
        "20260101000061",
        "20260101000000.",
        "20260101000000.x",
        "+0260101000000",
        " 20260101000000",
        "20260101000000 ",
        "20260101000000\n",
        "\u0662\u0660\u0662\u0666\u0660\u0661\u0660\u0661\u0660\u0660\u0660\u0660\u0660\u0660",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(BadArgument):
        parse_time(text)


def test_facts_are_written_as_other_programs_read_them() -> None:
    assert format_facts(Facts(0, 0o644)) == "modify=19700101000000;unix.mode=0644;"
    assert format_facts(Facts(None, None)) == ""


def test_facts_are_split_in_any_case() -> None:
    facts = parse_facts("Modify=19700101000001;x.y=a=b;junk;UNIX.mode=600;")
    assert facts == {"modify": "19700101000001", "x.y": "a=b", "unix.mode": "600"}


def test_the_facts_of_a_file_are_read_and_others_are_ignored() -> None:
    assert read_facts("Modify=19700101000001;x.y=a=b;junk;UNIX.mode=600;") == Facts(1_000_000_000, 0o600)
    assert read_facts("size=5;") == Facts(None, None)
    assert read_facts("") == Facts(None, None)


@pytest.mark.parametrize("mode", ["", "8", "0o644", "4777", "7777", "99999", "-1", "+7", "1_0", "000000644", "\u0666"])
def test_a_mode_that_is_none_is_refused(mode: str) -> None:
    with pytest.raises(BadArgument):
        read_facts(f"unix.mode={mode};")


@pytest.mark.parametrize("moment", [-(2**62), 2**62, -62135596801, 253402300800])
def test_a_time_beyond_four_digits_of_a_year_becomes_the_nearest(moment: int) -> None:
    text = format_time(moment * 1_000_000_000)
    assert text in ("00010101000000", "99991231235959")


@given(st.integers(0, 4_000_000_000 * 10**9), st.integers(0, 0o777))
def test_the_quick_way_of_reading_facts_finds_what_the_careful_way_does(modified: int, mode: int) -> None:
    text = format_facts(Facts(modified, mode))
    assert read_facts(text) == read_facts("x.unknown=1;" + text) == Facts(modified, mode)
