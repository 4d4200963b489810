"""`ftpsvc init`: what it makes, what it leaves alone, and that a server starts with it as it is."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest
from daemon import FOREGROUND, LOCAL, Process
from membership import Run, answering, quick
from secured import Talk

from ftpsvc import accountfile, certificates, initcommand, passwords
from ftpsvc.model import EVERYTHING
from ftpsvc.options import Options

__all__ = ["quick"]  # a fixture, which pytest finds by its name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "server"


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`typed`: first a name, then passwords."""
    return answering(lambda words: initcommand.main(["init", str(folder), *words]), monkeypatch)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


MADE = ["accounts.toml", "config.toml", "files", "state", "state/certificate.pem", "state/key.pem"]


def test_all_that_a_server_needs(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--user", "mia", "--password-stdin", stdin="secret\n") == 0
    assert tree(folder) == MADE
    assert {mode(folder / name) for name in (".", "files", "state")} == {0o700}
    assert {mode(folder / name) for name in ("accounts.toml", "config.toml", "state/key.pem")} == {0o600}
    record = accountfile.read(folder / "accounts.toml")["mia"]
    assert passwords.matches(record.password, "secret") and record.account.permissions == EVERYTHING
    said = capsys.readouterr().out
    pair = certificates.read(folder / "state" / "certificate.pem", folder / "state" / "key.pem")
    assert pair.fingerprint in said
    assert f"twistd -n --pidfile= ftpsvc --config {folder}/config.toml" in said


def test_it_asks_for_a_name_and_for_a_password_twice(run: Run, folder: Path) -> None:
    assert run(typed=("mia", "secret", "secret")) == 0
    assert passwords.matches(accountfile.read(folder / "accounts.toml")["mia"].password, "secret")


def test_the_name_is_usually_ones_own_but_not_roots(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    assert run(typed=("", "secret", "secret")) == 1
    assert "without a name there is no account" in capsys.readouterr().err
    monkeypatch.setattr(getpass, "getuser", lambda: "tom")
    assert run(typed=("", "secret", "secret")) == 0
    assert list(accountfile.read(folder / "accounts.toml")) == ["tom"]


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        ((), (), "no terminal to ask for the first account's name on. Give it: --user NAME"),
        (("--user", "mia"), (), "no terminal to ask for the password on. To pipe it in: --password-stdin"),
        (("--user", "mia", "--password-stdin"), (), "an empty password is none"),
        (("--user", "anonymous", "--password-stdin"), (), "this name is for those who have no account"),
        ((), ("mia", "one", "two"), "the two are not the same"),
    ],
)
def test_who_stops_at_a_question_has_made_nothing(
    run: Run,
    folder: Path,
    words: tuple[str, ...],
    typed: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*words, typed=typed) == 1
    assert said in capsys.readouterr().err
    assert not folder.parent.exists()


def test_nothing_is_replaced(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--user", "mia", "--password-stdin", stdin="secret") == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run("--user", "tom", "--password-stdin", stdin="other") == 1
    said = capsys.readouterr().err
    assert f"there is {folder}/config.toml already" in said and f"--config {folder}/config.toml" in said
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_was_broken_off_is_gone_on_with(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--user", "mia", "--password-stdin", stdin="secret") == 0
    (folder / "config.toml").unlink()
    (folder / "files" / "file").write_text("kept")
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run("--user", "tom", "--password-stdin", stdin="other") == 1
    assert "there are accounts already" in capsys.readouterr().err
    assert run() == 0
    assert {path: path.read_bytes() for path in kept} == kept
    assert tree(folder) == sorted([*MADE, "files/file"])


def test_a_folder_that_is_there_keeps_its_mode(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert run("--user", "mia", "--password-stdin", stdin="secret") == 0
    assert mode(folder) == 0o755


def test_where_nothing_can_be_made_is_said(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    assert run("--user", "mia", "--password-stdin", stdin="secret") == 1
    assert capsys.readouterr().err.startswith("ftpsvc init: ")


def test_the_options_are_what_they_should_be(run: Run, folder: Path) -> None:
    assert run("--user", "mia", "--password-stdin", stdin="secret") == 0
    options = Options()
    options.parseOptions(["--config", str(folder / "config.toml")])
    assert [options[name] for name in ("root", "accounts", "state", "require-tls", "anonymous")] == [
        str(folder / "files"),
        str(folder / "accounts.toml"),
        str(folder / "state"),
        "login",
        "",
    ]


def test_a_server_starts_with_it_and_lets_nobody_in_without_tls(run: Run, folder: Path) -> None:
    assert run("--user", "mia", "--password-stdin", stdin="secret") == 0
    config = os.path.relpath(folder / "config.toml", "/")  # in another folder than that
    with Process((*FOREGROUND, "ftpsvc", "--config", config, "--port", LOCAL), Path("/")) as server:
        server.serving()
        assert "connect with: ftpsvc NAME@127.0.0.1" in server.log  # not as anonymous, who would be refused
        with Talk(server) as talk:
            assert talk.codes("USER mia") == [530]
        with Talk(server) as talk:
            assert talk.secure().codes("USER mia", "PASS wrong", "USER mia", "PASS secret") == [331, 530, 331, 230]
            assert talk.codes("MODE I", "MKD new") == [200, 257]
    assert os.listdir(folder / "files") == ["new"]
    assert os.listdir(folder.parent) == ["server"]
