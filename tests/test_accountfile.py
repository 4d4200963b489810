"""The accounts' file: what it says, and on which line it is wrong."""

from __future__ import annotations

import datetime
import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.accountfile import BadAccounts, Record, fingerprint, parse, read, size
from ftpsvc.model import EVERYTHING, NOTHING, Account, Permission
from ftpsvc.passwords import hashed
from ftpsvc.rules import PathRule

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$5Cq0fPzGuQBwRqJmHDj0cHkgQ2GtCGmyYFQ2jYJ7Ys0"
FILE = Path("/etc/ftpsvc/accounts.toml")
LIST, READ, WRITE = Permission.LIST, Permission.READ, Permission.WRITE

FULL = f"""# those who may log in
[alice]
password = "{HASH}"
certificates = ["{"AB:" * 31}AB"]
home = "/srv/alice"
permissions = ["all"]
quota_bytes = "1.5 GB"
quota_files = 1000
rate_up = "2 MiB"
rate_down = 500000
max_sessions = 3
networks = ["10.0.0.0/8", "2001:db8::/32"]
expires = 2030-12-31
require_tls = true

[alice.paths]
"/private" = []
"/in/*.pdf" = [
    "write",
    "list",
]

["bob the builder"]
password = "{HASH}"
home = "homes/bob"
permissions = ["list", "read"]
"""


def test_everything_that_an_account_can_have() -> None:
    records = parse(FULL, FILE)
    assert list(records) == ["alice", "bob the builder"]
    account = Account(
        "alice",
        EVERYTHING,
        (PathRule("/private", NOTHING), PathRule("/in/*.pdf", LIST | WRITE)),
        quota_bytes=1_500_000_000,
        quota_files=1000,
        rate_up=2 * 1024 * 1024,
        rate_down=500_000,
        max_sessions=3,
        require_tls=True,
    )
    assert records["alice"] == Record(
        account,
        HASH,
        frozenset({"ab" * 32}),
        "/srv/alice",
        (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")),
        datetime.datetime(2030, 12, 31, tzinfo=datetime.UTC),
    )


def test_what_is_left_out_is_no_limit_and_a_home_is_relative_to_the_file() -> None:
    bob = parse(FULL, FILE)["bob the builder"]
    assert bob == Record(Account("bob the builder", LIST | READ), HASH, home="/etc/ftpsvc/homes/bob")


def test_a_hash_never_prints() -> None:
    assert HASH not in repr(parse(FULL, FILE))


def line_of(text: str) -> int:
    return FULL[: FULL.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (HASH, "secret", "account alice password: it is no argon2id hash"),
        (HASH, HASH.replace("argon2id", "argon2i"), "account alice password: it is a hash of argon2, but not"),
        (HASH, HASH.replace("m=8", "m=99999999"), "account alice password: each login with this hash would"),
        ('["all"]', '["al"]', "account alice permissions: there is no permission 'al'; those there are: list, read,"),
        ('["all"]', '"all"', "account alice permissions: a list of words"),
        ('"1.5 GB"', '"1.5 gigs"', "account alice quota_bytes: a number of bytes"),
        ('"1.5 GB"', "-1", "account alice quota_bytes: a number of bytes"),
        ("= 1000", "= 1.5", "account alice quota_files: a whole number"),
        ("= 500000", "= 0", "account alice rate_down: with no bytes per second nothing would ever arrive"),
        ("max_sessions", "max_sesions", "account alice max_sesions: there is no such setting; those there are: pass"),
        ("10.0.0.0/8", "10.0.0.1/8", "account alice networks: 10.0.0.1/8 has host bits set"),
        ("2030-12-31", '"soon"', "account alice expires: a date"),
        ("= true", "= 1", "account alice require_tls: true or false"),
        ("AB:AB", "AB", "account alice certificates: a certificate's SHA-256 fingerprint"),
        ("/srv/alice", "", "account alice home: text in quotes, and not empty"),
        ("/srv/alice", "/etc", "account alice home: whoever uses this account could reach the accounts' file"),
        ('"/private"', '"private"', "account alice paths private: a path begins with /"),
        ('"write",', '"wirte",', "account alice paths /in/*.pdf: there is no permission 'wirte'"),
    ],
)
def test_a_wrong_value_is_told_with_its_line(old: str, new: str, problem: str) -> None:
    with pytest.raises(BadAccounts) as caught:
        parse(FULL.replace(old, new, 1), FILE)
    line = line_of('"/in/*.pdf"' if old == '"write",' else old)  # of a list over many lines it is the first
    assert caught.value.problems[0].startswith(f"{FILE}, line {line}: {problem}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n\n[alice\n", "line 3: Expected ']' at the end of a table declaration"),
        ("[a]\nhome = '/x'\nhome = '/y'", "line 3: Cannot overwrite a value"),
        ("a = ", "line 1: Invalid value"),
        ("# x\nalice = 3", "line 2: account alice: an account is a table"),
        ('[anonymous]\npermissions = ["all"]', "line 1: account anonymous: this name is for those who have no account"),
        ("\n[FTP]", "line 2: account FTP: this name is for those who have no account"),
        ('\n["a\\nb"]', "line 2: account a\nb: a name is not empty"),
        ("[a]", "line 1: account a: say what it may do"),
        ("[a]\npaths = 3", "line 2: account a paths: they are a table"),
        ("a.home = 3", "line 1: account a home: text in quotes"),
        ("a = { home = 3 }", "line 1: account a home: text in quotes"),
        ("[a]\nnetworks = []", "line 2: account a networks: nobody could log in from nowhere"),
    ],
)
def test_what_is_no_account_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(BadAccounts) as caught:
        parse(text, FILE)
    assert any(told.startswith(f"{FILE}, {problem}") for told in caught.value.problems), caught.value.problems


def test_all_that_is_wrong_is_told_in_the_files_order() -> None:
    text = FULL.replace('"/srv/alice"', "1").replace("[alice]", '[z]\npermissions = ["x"]\n[alice]')
    with pytest.raises(BadAccounts) as caught:
        parse(text, FILE)
    lines = [int(re.findall(r"line (\d+)", problem)[0]) for problem in caught.value.problems]
    assert len(lines) == 2 and lines == sorted(lines)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadAccounts, match="nowhere: No such file"):
        read(tmp_path / "nowhere")
    (tmp_path / "latin").write_bytes(b"# 1\n# \xe9\n")
    with pytest.raises(BadAccounts, match="latin, line 2: it is not UTF-8"):
        read(tmp_path / "latin")


def test_a_slip_in_each_of_a_thousand_accounts_is_still_a_line_for_people() -> None:
    with pytest.raises(BadAccounts) as caught:
        parse("".join(f'[a{n}]\nhome = "/srv"\n' for n in range(1000)), FILE)
    assert len(caught.value.problems) == 1000
    assert len(str(caught.value)) < 1000
    assert str(caught.value).endswith("; and 995 more, which ftpsvc user check tells")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1 kB", 1000), ("1 KiB", 1024), ("1.5MB", 1_500_000), ("2 gib", 2 << 30), ("1.001 TB", 1001 * 10**9)],
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@given(st.text(max_size=60) | st.text("[]=.\"'#\n a{},1", max_size=40))
def test_no_text_does_more_harm_than_an_error(text: str) -> None:
    try:
        assert all(isinstance(record, Record) for record in parse(text, FILE).values())
    except BadAccounts as error:
        assert error.problems and all(re.match(rf"{FILE}, line \d+: ", problem) for problem in error.problems)


def test_the_example_in_the_documentation_is_a_good_file() -> None:
    text = (Path(__file__).parents[1] / "docs" / "accounts.md").read_text()
    example = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0]
    assert len(parse(example.replace("$argon2id$...", HASH), FILE)) >= 3


def test_a_hash_that_was_made_here_is_one() -> None:
    assert parse(FULL.replace(HASH, hashed("x")), FILE)


@pytest.mark.parametrize("shown", ["AB:" * 31 + "AB", "ab" * 32, "sha256 Fingerprint=" + "AB:" * 31 + "AB\n"])
def test_a_fingerprint_is_taken_as_it_is_shown(shown: str) -> None:
    assert fingerprint(shown) == "ab" * 32
