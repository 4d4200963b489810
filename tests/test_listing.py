from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc import listing
from ftpsvc.listing import is_listable, parse_machine_line
from ftpsvc.model import EVERYTHING, Entry, Kind, Permission, ProtocolViolation, decode_name, encode_name

NOW = 1795327140.0  # 2026-11-22 05:59 UTC
SECOND = 1_000_000_000
DAY = 24 * 3600

names = st.binary(min_size=1, max_size=40).map(lambda b: b.translate(None, b"\0\r\n/") or b"x").map(decode_name)
entries = st.builds(
    Entry,
    names,
    st.sampled_from(Kind),
    st.integers(0, 2**63 - 1),
    st.integers(0, 253402300799 * SECOND),
    st.integers(0, 0o777),
    st.integers(1, 1000),
    st.from_regex("[0-9a-g]{0,20}", fullmatch=True),
)


def machine_line(entry: Entry, permissions: Permission) -> bytes:
    """As it is sent."""
    return encode_name(listing.machine_line(entry, permissions))


def long_line(entry: Entry, now: float) -> bytes:
    """As it is sent."""
    return encode_name(listing.long_line(entry, now))


@given(entries)
def test_an_entry_comes_back_from_its_machine_line(entry: Entry) -> None:
    line = machine_line(entry, EVERYTHING)
    assert b"\n" not in line
    found, _ = parse_machine_line(line)
    assert (found.name, found.modified, found.mode) == (entry.name, entry.modified, entry.mode)
    assert found.kind is entry.kind
    assert found.size == (entry.size if entry.is_file else 0)
    assert found.unique == entry.unique


def test_a_machine_line_is_as_rfc_3659_writes_it() -> None:
    entry = Entry(" a b", Kind.FILE, 5, 1795327140 * SECOND, 0o640, 1, "fd00g2")
    assert machine_line(entry, EVERYTHING) == (
        b"type=file;size=5;modify=20261122055900;perm=adfrw;unique=fd00g2;UNIX.mode=0640;  a b"
    )


@pytest.mark.parametrize(
    ("nanoseconds", "told"),
    [(0, b""), (999_999, b""), (50_000_000, b".050"), (500_000_000, b".500"), (987_635_374, b".987")],
)
@pytest.mark.parametrize("facts", [listing.FACTS, ("modify",)])
def test_a_time_for_any_client_has_three_digits_of_fraction_or_none(
    nanoseconds: int, told: bytes, facts: tuple[str, ...]
) -> None:
    entry = Entry("x", Kind.FILE, modified=1795327140 * SECOND + nanoseconds)
    line = encode_name(listing.machine_line(entry, EVERYTHING, facts, exact=False))
    assert b"modify=20261122055900" + told + b";" in line


@pytest.mark.parametrize(
    ("kind", "permissions", "perm"),
    [
        (Kind.FILE, EVERYTHING, "adfrw"),
        (Kind.FILE, Permission.READ, "r"),
        (Kind.FILE, Permission.APPEND | Permission.OVERWRITE, "aw"),
        (Kind.DIRECTORY, EVERYTHING, "cdeflmp"),
        (Kind.DIRECTORY, Permission.LIST, "el"),
        (Kind.LINK, EVERYTHING, "d"),  # what leads nowhere is not found by RNFR
        (Kind.OTHER, EVERYTHING, "df"),
    ],
)
def test_the_perm_fact_is_what_the_account_may_do(kind: Kind, permissions: Permission, perm: str) -> None:
    _, facts = parse_machine_line(machine_line(Entry("x", kind), permissions))
    assert facts["perm"] == perm


@pytest.mark.parametrize("line", [b"", b"type=file;", b"type=file; ", b"name", b" "])
def test_a_machine_line_without_a_name_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_machine_line(line)


@pytest.mark.parametrize(
    "facts",
    [
        b"size=-1",
        b"size=1_0",
        b"size=" + b"9" * 30,
        b"size=\xd9\xa5",
        b"UNIX.mode=rw-r--r--",
        b"modify=yesterday",
        b"unique=\xff",
        b"unique=\xc3\xbc",
        b"unique=\x1b[2J",
    ],
)
def test_a_fact_that_makes_no_sense_is_left_out(facts: bytes) -> None:
    entry, _ = parse_machine_line(b"type=file;" + facts + b"; x")
    assert (entry.size, entry.mode, entry.modified, entry.unique) == (0, 0, 0, "")
    assert machine_line(entry, EVERYTHING).endswith(b" x")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"dir", Kind.DIRECTORY),
        (b"cdir", Kind.DIRECTORY),
        (b"FILE", Kind.FILE),
        (b"OS.unix=slink", Kind.LINK),
        (b"OS.unix=symlink", Kind.LINK),
        (b"OS.unix=chr-1/2", Kind.OTHER),
    ],
)
def test_the_types_of_other_servers_are_understood(said: bytes, kind: Kind) -> None:
    assert parse_machine_line(b"type=" + said + b"; x")[0].kind is kind


@pytest.mark.parametrize("mode", [b"755", b"0755", b"00755"])
def test_a_mode_is_octal_with_or_without_zeros(mode: bytes) -> None:
    assert parse_machine_line(b"type=file;UNIX.mode=" + mode + b"; x")[0].mode == 0o755


def test_a_long_line_is_the_one_form_that_every_client_reads() -> None:
    entry = Entry("name", Kind.FILE, 321, int(NOW - DAY) * SECOND, 0o644, 1)
    assert long_line(entry, NOW) == b"-rw-r--r--   1 ftp      ftp               321 Nov 21 05:59 name"
    folder = Entry(" two  words ", Kind.DIRECTORY, 4096, 1000000000 * SECOND, 0o755, 12)
    assert long_line(folder, NOW) == b"drwxr-xr-x  12 ftp      ftp              4096 Sep  9  2001  two  words "


@pytest.mark.parametrize("age", [0, 100 * DAY, -59])
def test_a_recent_time_shows_the_time_of_day(age: int) -> None:
    line = long_line(Entry("x", Kind.FILE, modified=int(NOW - age) * SECOND), NOW)
    assert re.search(rb" \w{3} [ \d]\d \d\d:\d\d x$", line)


@pytest.mark.parametrize("age", [200 * DAY, 4000 * DAY, -60, -100 * DAY, -200 * DAY])
def test_a_time_far_away_shows_the_year(age: int) -> None:
    line = long_line(Entry("x", Kind.FILE, modified=int(NOW - age) * SECOND), NOW)
    assert re.search(rb" \w{3} [ \d]\d  \d{4} x$", line)


@given(entries)
def test_a_long_line_never_cuts_size_or_name(entry: Entry) -> None:
    match = re.fullmatch(
        rb"[-dlp][-r][-w][-x][-r][-w][-x][-r][-w][-x] +(\d+) ftp +ftp +(\d+) \w{3} [ \d]\d [ \d:]{5} (.*)",
        long_line(entry, NOW),
        re.DOTALL,
    )
    assert match is not None
    assert (int(match[1]), int(match[2]), decode_name(match[3])) == (entry.links, entry.size, entry.name)


@pytest.mark.parametrize("modified", [-(2**62), -1, 2**61, 2**62 + 5])
def test_no_time_that_a_disk_can_hold_spoils_a_line(modified: int) -> None:
    entry = Entry("x", Kind.FILE, modified=modified * SECOND)
    assert machine_line(entry, EVERYTHING).endswith(b" x")
    assert long_line(entry, NOW).endswith(b" x")


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\n"])
def test_a_name_that_would_forge_a_line_is_left_out(name: str) -> None:
    assert not is_listable(name)


def test_other_strange_names_are_listed() -> None:
    assert all(map(is_listable, ["a", " ", "\t", "\x1b[2J", "\udcff", "a\x85b", "\u2028"]))


@given(
    kind=st.sampled_from([Kind.FILE, Kind.DIRECTORY]),
    size=st.integers(0, 2**63 - 1),
    modified=st.integers(0, 4_000_000_000 * 10**9),
    mode=st.integers(0, 0o777),
    name=st.binary(min_size=1, max_size=30).filter(lambda name: b"\n" not in name),
)
def test_the_quick_way_of_reading_a_line_finds_what_the_careful_way_does(
    kind: Kind, size: int, modified: int, mode: int, name: bytes
) -> None:
    entry = Entry(decode_name(name), kind, size if kind is Kind.FILE else 0, modified, mode, unique="1ag5")
    line = machine_line(entry, EVERYTHING)
    quick, quick_facts = parse_machine_line(line)
    careful, facts = parse_machine_line(b"x.unknown=1;" + line)
    assert quick == careful
    assert quick_facts["perm"] == facts["perm"]


def test_a_link_is_told_as_what_it_leads_to_and_as_a_link() -> None:
    entry = Entry("a b", Kind.DIRECTORY, 0, 1_795_327_140_000_000_000, 0o750, unique="1g2", is_link=True)
    line = machine_line(entry, EVERYTHING)
    assert line.startswith(b"type=dir;") and line.endswith(b"X.link=1; a b")
    assert parse_machine_line(line)[0] == entry
    assert b"X.link" not in machine_line(entry._replace(is_link=False), EVERYTHING)
