"""LIST as servers send it, back into entries."""

from __future__ import annotations

from calendar import timegm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.listing import long_line
from ftpsvc.listparser import parse_list_line
from ftpsvc.model import Entry, Kind, encode_name

NOW = timegm((2026, 11, 22, 10, 0, 0))

FILE, FOLDER, LINK = Kind.FILE, Kind.DIRECTORY, Kind.LINK

#: Lines of real servers: kind, name, size, mode, and the time as year, month, day, hour, minute.
LINES = [
    # vsftpd, ProFTPD, Pure-FTPd
    (b"-rw-r--r--    1 14       50          321 Nov 22 06:01 name", FILE, "name", 321, 0o644, (2026, 11, 22, 6, 1)),
    (b"drwxr-xr-x   2 ftp      ftp          4096 Sep  9  2001 a dir", FOLDER, "a dir", 4096, 0o755, (2001, 9, 9)),
    (b"-rw-r--r--   1 0 0 9 Dec 31 23:59 last year", FILE, "last year", 9, 0o644, (2025, 12, 31, 23, 59)),
    (b"lrwxrwxrwx 1 0 0 5 Jan 01 2020 l k -> /a -> b", LINK, "l k", 5, 0o777, (2020, 1, 1)),
    (b"-rw-r--r--   1 0 0 9 Jan  1 00:00   two spaces", FILE, "  two spaces", 9, 0o644, (2026, 1, 1)),
    (b"-rw-r--r--   1 0 0 9 Jan  1 00:00 a -> b", FILE, "a -> b", 9, 0o644, (2026, 1, 1)),
    (b"-rw-r--r--   1 0 0 9 Jan  1 00:00 5 Jan 01 2020 x", FILE, "5 Jan 01 2020 x", 9, 0o644, (2026, 1, 1)),
    # No group; an owner with a space; an ACL; sticky and set-uid bits; the day first; ISO dates
    (b"-rw-r--r--  1 user  7 Feb 29  2024 leap", FILE, "leap", 7, 0o644, (2024, 2, 29)),
    (b"-rwx------ 1 Domain Users staff 7 Mar  1  2024 f", FILE, "f", 7, 0o700, (2024, 3, 1)),
    (b"drwxrwxrwt+ 9 root root 4096 Oct  1 12:30 tmp", FOLDER, "tmp", 4096, 0o777, (2026, 10, 1, 12, 30)),
    (b"-rwSr-sr-T 1 r r 1 Oct  1 12:30 s", FILE, "s", 1, 0o654, (2026, 10, 1, 12, 30)),
    (b"-rw-r--r-- 1 r r 1 24 Dec 2019 day", FILE, "day", 1, 0o644, (2019, 12, 24)),
    (b"-rw-r--r-- 1 r r 12 2019-12-24 08:05 iso", FILE, "iso", 12, 0o644, (2019, 12, 24, 8, 5)),
    # IIS, FileZilla Server of old
    (b"02-17-26  03:14PM       <DIR>          Program Files", FOLDER, "Program Files", 0, 0, (2026, 2, 17, 15, 14)),
    (b"12-31-1999  12:00AM              1234567890123 big.bin", FILE, "big.bin", 1234567890123, 0, (1999, 12, 31)),
    (b"08-05-26  12:07PM                    7 a  b.txt", FILE, "a  b.txt", 7, 0, (2026, 8, 5, 12, 7)),
    (b"08-05-26  17:07                    7 day.txt", FILE, "day.txt", 7, 0, (2026, 8, 5, 17, 7)),
    (b"08-05-26  12:07PM      <SYMLINKD>  link [C:\\x]", LINK, "link", 0, 0, (2026, 8, 5, 12, 7)),
]


@pytest.mark.parametrize(("line", "kind", "name", "size", "mode", "moment"), LINES)
def test_lines_of_real_servers(
    line: bytes, kind: Kind, name: str, size: int, mode: int, moment: tuple[int, ...]
) -> None:
    modified = timegm((*moment, *[0] * (6 - len(moment)))) * 1_000_000_000
    assert parse_list_line(line, NOW) == Entry(name, kind, size, modified, mode)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"total 8",
        b"drwxr-xr-x 2 0 0 4096 Nov 22 06:01 .",
        b"drwxr-xr-x 2 0 0 4096 Nov 22 06:01 ..",
        b"ls: cannot open directory: Permission denied",
        b"-rw-r--r--",
        b"\xff\xfe\0",
    ],
)
def test_what_is_no_entry(line: bytes) -> None:
    assert parse_list_line(line, NOW) is None


def test_an_impossible_date_is_no_date() -> None:
    for date in (b"Foo  1 00:00", b"Jan 99 00:00", b"Jan  1 29:00", b"Jan  1 1815"):
        entry = parse_list_line(b"-rw-r--r-- 1 0 0 9 %s f" % date, NOW)
        assert entry == Entry("f", FILE, 9, 0, 0o644)


@given(st.binary(max_size=300))
def test_anything_at_all_is_an_entry_or_none(line: bytes) -> None:
    parse_list_line(line, NOW)


NAMES = st.text(st.characters(exclude_characters="\0\r\n/", exclude_categories=["Cs"]), min_size=1)


@given(
    st.builds(
        Entry,
        NAMES.filter(lambda name: name not in (".", "..")),
        st.sampled_from([FILE, FOLDER]),
        st.integers(0, 1 << 62),
        st.integers(0, NOW + 800 * 86400).map(lambda seconds: seconds // 86400 * 86400 * 1_000_000_000),
        st.integers(0, 0o777),
        st.integers(1, 999),
        is_link=st.just(False),  # LIST has no word for a link that leads somewhere
    )
)
def test_what_our_own_server_lists(entry: Entry) -> None:
    line = encode_name(long_line(entry, NOW))
    assert line.endswith(encode_name(entry.name))
    assert parse_list_line(line, NOW) == entry._replace(links=1, unique="")
