"""The shell's own affairs: settings, aliases, bookmarks, who is logged in, and what is said to the server as it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import support
from desk import Desk

from ftpsvc import model
from ftpsvc.addressbook import MAX_RECENT, AddressBook
from ftpsvc.clienttls import Protection
from ftpsvc.model import BadArgument
from ftpsvc.places import BELIEVED
from ftpsvc.targets import Target, target_of


def test_settings_are_shown_and_changed(desk: Desk) -> None:
    assert [line.split()[:2] for line in desk.type("set").splitlines()] == [["limit-rate", "off"], ["overwrite", "ask"]]
    assert desk.type("set limit-rate 500k").startswith("limit-rate    500.0 kB/s")
    assert desk.type("set overwrite maybe") == 'set: "maybe" is none of ask, replace, skip, resume, newer.\n'
    assert 'there is no setting "colour"' in desk.type("set colour on")
    assert desk.completed("set ov") == ["set overwrite "]
    assert desk.completed("set overwrite re") == ["set overwrite replace", "set overwrite resume"]
    assert desk.completed("set colour o") == desk.completed("set overwrite ask x") == []


def test_aliases(desk: Desk) -> None:
    (desk.there / "my pub").mkdir()
    desk.type('alias pub list "my pub"')
    assert desk.type("pub") == "The folder is empty.\n"
    assert desk.type("help pub") == "pub stands for: list my\\ pub\n"
    desk.type("alias frob frob x")
    assert desk.type("frob") == "frob: there is no such command. Use: help\n"
    desk.type("alias frob -")
    assert desk.type("alias") == "pub  list my\\ pub\n"
    assert desk.completed("pu") == ["pub", "put"]
    assert desk.type("alias list x") == "alias: list is a command already. Choose another name.\n"
    desk.type("alias pub -")
    assert "there is no such command" in desk.type("pub")


def test_history_shows_what_was_typed(desk: Desk) -> None:
    desk.shell._around = desk.shell._around.__class__(history=lambda: ["list", "get a", "pwd"])
    assert desk.type("history 2") == "get a\npwd\n"


# -- connections ---------------------------------------------------------------------------------------------


def test_bookmarks_lead_back(desk: Desk) -> None:
    (desk.there / "pub").mkdir()
    assert "Use: bookmark <name>" in desk.type("bookmark")
    desk.type("cd pub")
    assert desk.type("bookmark photos") == ("photos is ftp://files.example.org:5000/pub. Use: connect photos\n")
    desk.type("close")
    assert desk.completed("connect p") == ["connect photos "]
    desk.type("connect photos")
    assert desk.shell.prompt == "files.example.org:/pub> "
    desk.type("bookmark photos -")
    assert desk.type("bookmark photos -") == 'bookmark: there is no bookmark "photos".\n'


def test_a_url_is_connected_to(stranger: Desk) -> None:
    (stranger.there / "my pub").mkdir()
    stranger.type("open ftp://maria@h:5061/my%20pub")
    assert stranger.dialled == [("h", 5061)] and stranger.users == ["maria"]
    assert stranger.shell.prompt == "h:/my pub> "
    assert stranger.type("open x").startswith("open: connected to h already.")


def test_hosts_that_were_met_are_completed(desk: Desk) -> None:
    desk.type("close")
    assert desk.completed("connect fi") == ["connect files.example.org "]


def test_somebody_else_logs_in(desk: Desk) -> None:
    (desk.there / "pub").mkdir()
    desk.type("cd pub")
    assert desk.type("user maria") == "Logged in to files.example.org as maria.\n"
    assert desk.users == ["", "maria"]
    assert desk.shell.prompt == "files.example.org:/pub> "
    assert "as anonymous" in desk.type("status")  # who it is is what the server was told


@pytest.mark.parametrize("kind", [model.NoTLS, model.ServiceClosing])
def test_who_can_not_log_in_as_somebody_else_stays(desk: Desk, kind: type[model.TransferError]) -> None:
    (desk.there / "pub").mkdir()
    desk.type("cd pub")
    desk.refuses = kind("files.example.org: no.")
    assert desk.type("user maria").endswith("files.example.org: no. You are still logged in as anonymous.\n")
    assert desk.type("pwd") == "/pub\n"
    assert desk.remote.lost is None


def test_commands_are_sent_as_they_are_unless_they_would_confuse_both_ends(desk: Desk) -> None:
    assert desk.type("quote noop").startswith("200 ")
    assert "MLST" in desk.type("quote FEAT")
    assert desk.type("site help").splitlines()[-1].startswith("214 ")
    assert desk.type("quote MODE S") == ("quote: MODE is not sent from here. ftpsvc has set that, and relies on it.\n")
    for verb in ("RETR", "PASV", "QUIT", "USER", "CWD"):
        assert f"{verb} is not sent from here." in desk.type(f"quote {verb} x")
    assert "is no verb of FTP" in desk.type("quote 'NOOP\r\nQUIT'")
    assert desk.type("quote XYZZY").startswith("quote: 500 ")
    assert desk.type("pwd") == "/\n"


def test_status_without_a_connection(stranger: Desk) -> None:
    assert stranger.type("status").startswith("Not connected.\n")


# -- completion that is ahead --------------------------------------------------------------------------------


def test_candidates_come_with_size_and_date(desk: Desk) -> None:
    (desk.there / "a.iso").write_bytes(b"x" * 1200)
    _, (offer,) = support.result_of(desk.shell.completions("get a"), desk)
    assert offer.text == "a.iso " and offer.note.startswith("   1.2 kB  20")


def test_a_folder_is_listed_once_until_something_may_have_changed(desk: Desk) -> None:
    (desk.there / "a").touch()
    assert desk.completed("get ") == ["get a "]
    (desk.there / "b").touch()
    assert desk.completed("get ") == ["get a "], "it was listed a moment ago"
    desk.clock.advance(BELIEVED)
    assert desk.completed("get ") == ["get a", "get b"]
    desk.type("touch c")
    assert desk.completed("get ") == ["get a", "get b", "get c"]


# -- what is remembered --------------------------------------------------------------------------------------


def test_the_address_book_is_found_again_and_nobody_elses_business(tmp_path: Path) -> None:
    book = AddressBook(tmp_path / "c" / "bookmarks", tmp_path / "s" / "servers")
    book.add("photos", "ftp://h:5000/a%20b")
    for number in range(MAX_RECENT + 3):
        book.met(f"ftp://h{number}:5000")
    book.met("ftp://h50:5000")
    again = AddressBook(tmp_path / "c" / "bookmarks", tmp_path / "s" / "servers")
    assert again.bookmarks == {"photos": "ftp://h:5000/a%20b"}
    assert len(again.recent) == MAX_RECENT and again.recent[-1] == "ftp://h50:5000"
    assert stat.S_IMODE(os.stat(tmp_path / "c" / "bookmarks").st_mode) == 0o600
    book.add("music", "ftp://h:5000/music")  # by a shell that was there all the time
    again.add("films", "ftp://h:5000/films")
    again.met("ftp://other:5000")
    assert sorted(book.bookmarks) == sorted(again.bookmarks) == ["films", "music", "photos"]
    book.remove("music")
    book.met("ftp://h60:5000")
    assert sorted(again.bookmarks) == ["films", "photos"]
    assert again.recent[-3:] == ["ftp://h50:5000", "ftp://other:5000", "ftp://h60:5000"]
    (tmp_path / "file").touch()
    AddressBook(None, tmp_path / "file" / "servers").met("ftp://h:5000")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h", Target("h")),
        ("h:21", Target("h", 21)),
        ("::1", Target("::1")),
        ("[::1]:21", Target("::1", 21)),
        ("ftp://h", Target("h")),
        ("FTP://h:21/a%20b", Target("h", 21, path="/a b")),
        ("ftp://mia@h:21/logo@2x.png", Target("h", 21, user="mia", path="/logo@2x.png")),
        ("ftp://h/a:b@c", Target("h", path="/a:b@c")),
        ("ftpes://m%40x@h/", Target("h", user="m@x", path="/", protection=Protection.REQUIRED)),
        ("ftps://h:990", Target("h", 990, protection=Protection.IMPLICIT)),
        ("maria@h", Target("h", user="maria")),
        ("ftp://[2001:db8::1]:21/x", Target("2001:db8::1", 21, path="/x")),
    ],
)
def test_what_is_meant_by_a_target(typed: str, meant: Target) -> None:
    target = target_of(typed)
    assert target == meant
    assert target_of(target.url).url == target.url


@pytest.mark.parametrize("typed", ["", "a b", "ftp://", "http://h/", "h:99999", "h:x"])
def test_what_can_be_no_target(typed: str) -> None:
    with pytest.raises(BadArgument):
        target_of(typed)
