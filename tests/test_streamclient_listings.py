"""The client's listings in stream mode, from servers that have no MLSD and each its own idea of LIST."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from support import ScriptedServer, collected, start
from test_streamclient import PASSIVE, Far
from twisted.internet.defer import CancelledError, Deferred

from ftpsvc import model
from ftpsvc.model import Kind


def listed(far: Far, *answers: bytes | None, end: bytes = b"226 x") -> list[str]:
    """What a listing has, if the server gives these to its LISTs; None is a refusal."""
    work = start(collected(far.remote.list("/")))
    for answer in answers:
        far.say(b'257 "/x"\r\n')
        far.say(b"250 x\r\n")
        far.say(PASSIVE)
        if answer is None:
            far.say(b"550 No such file.\r\n")
        else:
            far.say(b"150 x\r\n")
            far.send(answer)
            far.end_data()
            far.say(end + b"\r\n")
        far.say(b"250 x\r\n")
    return [entry.name for entry in work.result()]


LINES = b"-rw-r--r-- 1 0 0 9 Jan  1  2020 .hidden\r\n-rw-r--r-- 1 0 0 9 Jan  1  2020 file\r\n"
DOTS = b"drwxr-xr-x 1 0 0 9 Jan  1  2020 .\r\ndrwxr-xr-x 1 0 0 9 Jan  1  2020 ..\r\n"


def test_a_server_without_size_shows_in_its_listing_what_there_is() -> None:
    for name, found in ((b"f", True), (b"other", False)):
        far = Far()
        work = start(far.remote.stat("/f"))
        answers = (b"500 SIZE?", b'257 "/" x', b"550 no folder", b'257 "/" x', b"250 x", PASSIVE[:-2], b"150 x")
        for answer in answers:
            far.say(answer + b"\r\n")
        far.send(b"-rw-r--r-- 1 a b 5 Jan 01 2020 %b\r\n" % name)
        far.end_data()
        far.say(b"226 x\r\n")
        far.say(b"250 x\r\n")
        assert far.heard().startswith(b"SIZE /f\r\nPWD\r\nCWD /f\r\nPWD\r\nCWD /\r\n")
        if found:
            assert work.result().size == 5
        else:
            with pytest.raises(model.NotListed, match="/ has no f in it"):
                work.result()


def test_a_folder_is_one_at_a_server_that_tells_its_size_too() -> None:
    far = Far()
    for path, entered, kind in (("/d", b"250 x", Kind.DIRECTORY), ("/f", b"550 no folder", Kind.FILE)):
        work = start(far.remote.stat(path))
        for answer in (b"213 4096", b"213 20260101000000", *((b"213 4096",) if path == "/d" else ()), b'257 "/"'):
            far.say(answer + b"\r\n")
        far.say(entered + b"\r\n")
        assert work.result().kind is kind
        if kind is Kind.DIRECTORY:
            far.say(b"250 x\r\n")
    assert far.heard() == (
        b"SIZE /d\r\nMDTM /d\r\nSIZE /\r\nPWD\r\nCWD /d\r\nCWD /\r\nSIZE /f\r\nMDTM /f\r\nPWD\r\nCWD /f\r\n"
    )


def test_a_file_is_one_where_folders_have_no_size() -> None:
    far = Far()
    for first in (True, False):
        work = start(far.remote.stat("/f"))
        for answer in (b"213 5", b"213 20260101000000", *((b"550 a folder",) if first else ())):
            far.say(answer + b"\r\n")
        assert work.result().is_file
    assert far.heard() == b"SIZE /f\r\nMDTM /f\r\nSIZE /\r\nSIZE /f\r\nMDTM /f\r\n"


def lists(far: Far) -> list[bytes]:
    return [line for line in far.heard().split(b"\r\n") if line.startswith(b"LIST")]


def test_a_folder_that_could_not_be_opened_is_not_an_empty_one() -> None:
    far = Far()
    with pytest.raises(model.Denied, match="failed to open directory"):
        listed(far, b"", b"", end=b"226 Transfer done (but failed to open directory).")
    assert listed(far, LINES, end=b'226 Listed "/failed to open".') == [".hidden", "file"]


@pytest.mark.parametrize("features", [(), ("MLST",)], ids=["LIST", "MLSD"])
def test_a_part_of_a_folder_is_not_all_of_it(features: tuple[str, ...]) -> None:
    far = Far(*features)
    work = start(collected(far.remote.list("/d")))
    for answer in (*((b'257 "/"', b"250 x") if not features else ()), PASSIVE[:-2], b"150 x"):
        far.say(answer + b"\r\n")
    far.send(b"type=file;size=9; file\r\n" if features else LINES)
    far.end_data()
    far.say(b"226-Options: -a -l\r\n226 Output truncated to 10000 matches\r\n250 x\r\n")
    with pytest.raises(model.Unavailable, match="no more than a part of the folder: Output truncated to 10000"):
        work.result()


def test_who_is_stopped_on_the_way_into_a_folder_leaves_it_again() -> None:
    far = Far()
    work = Deferred.fromCoroutine(collected(far.remote.list("/d")))
    work.addErrback(lambda failure: failure.trap(CancelledError))
    far.say(b'257 "/x"\r\n')
    work.cancel()
    asking = start(far.remote.working_directory())
    assert far.heard() == b"PWD\r\nCWD /d\r\nCWD /x\r\nPWD\r\n"
    assert far.answered(asking, b'250 x\r\n250 x\r\n257 "/x"\r\n') == "/x"


def test_hidden_names_are_asked_for_and_found() -> None:
    far = Far()
    assert listed(far, DOTS + LINES) == [".hidden", "file"]
    assert listed(far, DOTS) == []
    assert lists(far) == [b"LIST -a", b"LIST -a"]


@pytest.mark.parametrize("first", [None, b""], ids=["refused", "empty"])
def test_a_server_that_takes_the_option_for_a_name_is_asked_without_it(first: bytes | None) -> None:
    far = Far()
    assert listed(far, first, LINES) == [".hidden", "file"]
    assert listed(far, LINES) == [".hidden", "file"]
    assert lists(far) == [b"LIST -a", b"LIST", b"LIST"]
    far = Far()
    assert listed(far, first, b"") == []
    assert lists(far) == [b"LIST -a", b"LIST"]


def test_a_listing_that_is_left_in_the_middle_gives_the_turn_back() -> None:
    far = Far()

    async def first() -> str:
        async with aclosing(far.remote.list("/")) as entries:
            async for entry in entries:
                return entry.name
        return ""

    work = start(first())
    for reply in (b'257 "/x"\r\n', b"250 x\r\n", PASSIVE, b"150 x\r\n"):
        far.say(reply)
    far.send(LINES)
    far.say(b"426 x\r\n")
    far.say(b"250 x\r\n")
    assert work.result() == ".hidden"
    far.heard()
    later = start(far.remote.make_dir("/d"))
    assert far.heard() == b"MKD /d\r\n"
    far.say(b'257 "/d"\r\n')
    assert later.is_over


@pytest.mark.parametrize("answer", [b"502 No PWD.", b"257 /home is where you are."])
def test_a_server_that_does_not_tell_its_current_folder_is_listed(answer: bytes) -> None:
    far = Far()
    work = start(collected(far.remote.list("/d")))
    for reply in (answer, b"250 x", PASSIVE[:-2], b"150 x"):
        far.say(reply + b"\r\n")
    far.send(LINES)
    far.end_data()
    far.say(b"226 x\r\n")
    far.say(b"250 x\r\n")
    assert [entry.name for entry in work.result()] == [".hidden", "file"]
    assert far.heard() == b"PWD\r\nCWD /d\r\nEPSV\r\nLIST -a\r\nCWD /\r\n"


def test_a_refusal_of_files_as_they_are_says_what_was_refused() -> None:
    server = ScriptedServer()
    server.remote._dial = lambda port: None  # type: ignore[assignment,return-value]
    server.remote.features = {"SIZE": ""}
    login = start(server.remote.login())
    for reply in (b"331 x\r\n", b"230 x\r\n", b"504 No.\r\n"):
        server.say(reply)
    with pytest.raises(model.NotImplementedHere, match=r"\(TYPE I\): 504 No\."):
        login.result()


def test_a_line_that_is_too_long_is_said_to_be_the_servers() -> None:
    far = Far("MLST")
    work = start(collected(far.remote.list("/")))
    far.say(PASSIVE)
    far.say(b"150 x\r\n")
    far.send(b"x" * 9000)
    far.say(b"426 x\r\n")
    with pytest.raises(model.ProtocolViolation, match=r"^A line that the server sends can't"):
        work.result()


@pytest.mark.parametrize("features", [("MLST",), ()])
def test_a_listing_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...]) -> None:
    monkeypatch.setattr("ftpsvc.listing.MAX_ENTRIES", 3)
    far = Far(*features)
    work = start(collected(far.remote.list("/")))
    for reply in (PASSIVE,) if features else (b'257 "/x"\r\n', b"250 x\r\n", PASSIVE):
        far.say(reply)
    far.say(b"150 x\r\n")
    lines = b"type=file; a\r\ntype=file; b\r\n" if features else LINES
    far.send(lines)
    assert not work.is_over
    far.send(lines)
    far.say(b"426 x\r\n")
    with pytest.raises(model.ProtocolViolation, match="more than 3 entries in one folder"):
        work.result()


def test_the_same_in_mode_i(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsvc.listing.MAX_ENTRIES", 1)
    server = ScriptedServer()
    work = start(collected(server.remote.list("/")))
    server.say(b"150 x\r\nDATA 14\r\ntype=file; a\r\n")
    assert not work.is_over
    server.say(b"DATA 14\r\ntype=file; b\r\n")
    with pytest.raises(model.ProtocolViolation, match="more than 1 entries in one folder"):
        work.result()
