"""`ftpsvc user`: what it makes of the accounts' file, and what it leaves as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from membership import Run, answering, quick

from ftpsvc import accountfile, passwords, usercommand
from ftpsvc.model import EVERYTHING, Permission

__all__ = ["quick"]  # a fixture, which pytest finds by its name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.toml"


@pytest.fixture
def run(file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return answering(lambda words: usercommand.main(["user", *words, "--accounts", str(file)]), monkeypatch)


def add(run: Run, name: str, *words: str, password: str = "secret") -> int:
    return run("add", name, *words, "--password-stdin", stdin=f"{password}\n")


def test_the_first_account_makes_the_file_which_is_its_owners_only(run: Run, file: Path) -> None:
    os.umask(os.umask(0))
    assert add(run, "alice", "--home", "/srv/alice", "--permissions", "list,read", "--quota", "1 GB") == 0
    record = accountfile.read(file)["alice"]
    assert passwords.matches(record.password, "secret")
    assert (record.home, record.account.permissions) == ("/srv/alice", Permission.LIST | Permission.READ)
    assert record.account.quota_bytes == 10**9
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.parent) == ["accounts.toml"]


def test_without_more_words_an_account_may_do_everything(run: Run, file: Path) -> None:
    assert add(run, "alice") == 0
    assert accountfile.read(file)["alice"].account.permissions == EVERYTHING


#: Every form that a person might write, in an order that no program would choose.
WRITTEN = """# who works here

[zoe]   # she was here first
permissions = [ 'list' ,
   "read" ]     # only looking
[zoe.paths]
"/drop" = ["write"]   # but here

[alice]
home = '/srv/alice'
permissions = ["all"]  # everything
"""


def without_passwords(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("password")]


def test_what_a_person_has_written_stays_as_it_is(run: Run, file: Path) -> None:
    file.write_text(WRITTEN)
    assert add(run, "bob") == 0
    after = file.read_text()
    assert after.startswith(WRITTEN)
    assert run("passwd", "zoe", "--password-stdin", stdin="other") == 0
    records = accountfile.read(file)
    assert passwords.matches(records["zoe"].password, "other")
    assert records["zoe"].account.may("/drop") == Permission.WRITE
    assert without_passwords(file.read_text()) == without_passwords(after)
    assert run("remove", "zoe") == 0
    assert list(accountfile.read(file)) == ["alice", "bob"]
    assert 'permissions = ["all"]  # everything' in file.read_text()


@pytest.mark.parametrize("name", ["bob the builder", "a.b", "ä", "true"])
def test_a_name_that_toml_has_to_quote(run: Run, file: Path, name: str) -> None:
    assert add(run, name) == 0
    assert list(accountfile.read(file)) == [name]
    assert run("remove", name) == 0
    assert accountfile.read(file) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "anonymous"), "ftpsvc user: account anonymous: this name is for those who have no account"),
        (
            ("add", "bob", "--permissions", "lsit"),
            "ftpsvc user: account bob permissions: there is no permission 'lsit'",
        ),
        (("add", "bob", "--quota", "much"), "account bob quota_bytes: a number of bytes"),
        (("add", "bob", "--certificate", "AB"), "account bob certificates: a certificate's SHA-256 fingerprint"),
        (("add", "alice"), "there is an account alice already"),
        (("passwd", "nobody"), "there is no account nobody"),
        (("remove", "nobody"), "there is no account nobody"),
        (("add", "bob", "--home", "."), "account bob home: whoever uses this account could reach the accounts' file"),
        (("add", "bob"), "there is no terminal to ask for the password on"),
    ],
)
def test_what_can_not_be_done_is_said_and_changes_nothing(
    run: Run,
    file: Path,
    words: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(file.parent)
    file.write_text(WRITTEN)
    assert run(*words) == 1
    assert said in capsys.readouterr().err
    assert file.read_text() == WRITTEN


def test_a_file_that_is_wrong_already_is_not_touched(run: Run, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[alice]\npermisions = []\n")
    for words in (("add", "bob", "--password-stdin"), ("remove", "alice"), ("list",), ("check",)):
        assert run(*words, stdin="x") == 1
        assert f"{file}, line 2: account alice permisions: there is no such setting" in capsys.readouterr().err
    assert file.read_text() == "[alice]\npermisions = []\n"


def test_a_password_is_typed_twice(run: Run, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("add", "alice", typed=("one", "two")) == 1
    assert "the two are not the same" in capsys.readouterr().err
    assert not file.exists()
    assert run("add", "alice", typed=("one", "one")) == 0
    assert passwords.matches(accountfile.read(file)["alice"].password, "one")


def test_an_empty_password_is_none(run: Run, file: Path) -> None:
    assert add(run, "alice", password="") == 1
    assert run("add", "alice", typed=("",)) == 1
    assert not file.exists()


def test_a_password_may_have_any_bytes(run: Run, file: Path) -> None:
    assert add(run, "alice", password=" ä %\ttrailing ") == 0
    assert passwords.matches(accountfile.read(file)["alice"].password, " ä %\ttrailing ")


def test_a_certificate_needs_no_password(run: Run, file: Path) -> None:
    assert run("add", "alice", "--certificate", "AB" * 32) == 0
    record = accountfile.read(file)["alice"]
    assert (record.certificates, record.password) == (frozenset({"ab" * 32}), "")


def test_the_list_tells_what_matters_and_no_hash(run: Run, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(run, "bob", "--home", "/srv/bob", "--permissions", "list,read", "--quota", "2 GB")
    file.write_text(WRITTEN + file.read_text().partition("\n\n")[2])
    capsys.readouterr()
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "alice  /srv/alice  all  no password: only --auth could let it in",
        "bob  /srv/bob  list,read  quota 2.0 GB",
        "zoe  (the server's --root)  list,read and by path  no password: only --auth could let it in",
    ]


def test_the_check_tells_of_what_is_no_error_too(run: Run, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(WRITTEN)
    file.chmod(0o644)
    assert run("check") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Note: alice: there is no folder /srv/alice"
    assert said[1].startswith("Note: others on this machine may read the hashes")
    assert said[2] == f"{file} can be used; accounts: 2."
    file.unlink()
    assert run("check") == 1


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(WRITTEN)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert add(run, "bob") == 1
    assert file.read_text() == WRITTEN
    assert os.listdir(file.parent) == ["accounts.toml"]


def test_a_link_stays_a_link(run: Run, file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "file").write_text(WRITTEN)
    file.symlink_to("real/file")
    assert add(run, "bob") == 0
    assert file.is_symlink() and "bob" in accountfile.read(real / "file")
