"""The client, with a server that is played by the test: its commands, downloads and listings."""

from __future__ import annotations

from pathlib import Path

import pytest
import support
from support import ScriptedServer, collected, frames, read_all, result_of, start

from ftpsvc import model
from ftpsvc.copying import copy
from ftpsvc.frames import digest_of
from ftpsvc.model import Whole
from ftpsvc.outcomes import outcome
from ftpsvc.places import There
from ftpsvc.targets import Target

HELLO = b"hello\n"


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


# -- commands and replies


def test_replies_are_matched_to_commands_in_order(server: ScriptedServer) -> None:
    works = [start(server.remote.change_directory("/x")), start(server.remote.working_directory())]
    works.append(start(server.remote.stat("/missing")))
    assert server.heard() == b"CWD /x\r\nPWD\r\nMLST /missing\r\n"
    server.say(b'250 Moved.\r\n257 "/first"\r\n550 No.\r\n')
    assert server.heard() == b"PWD\r\n"
    server.say(b'257 "/second"\r\n')
    assert [work.result() for work in works[:2]] == ["/second", "/first"]
    with pytest.raises(model.Unavailable, match="550 No"):
        works[2].result()


def test_a_call_that_is_given_up_leaves_the_others_their_own_answers(server: ScriptedServer) -> None:
    first, second = (start(server.remote.working_directory()) for _ in range(2))
    server.heard()
    server.say(b'257 "/fi')
    first.deferred.cancel()
    server.say(b'rst"\r\n257 "/second"\r\n')
    assert second.result() == "/second"


def test_a_login_sends_name_and_password_at_once_and_asks_for_mode_i(server: ScriptedServer) -> None:
    server.remote.features["MODE I"] = ""
    login = start(server.remote.login("ann", "secret"))
    assert server.heard() == b"USER ann\r\nPASS secret\r\n"
    server.say(b"331 Go on.\r\n230 Welcome.\r\n")
    assert server.heard() == b"MODE I\r\n"
    server.answered(login, b"200 So be it.\r\n")


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (b"331 Go on.\r\n530 No.\r\n", model.NotLoggedIn),
        (b"530 No.\r\n503 No name.\r\n", model.NotLoggedIn),
        (b"331 Go on.\r\n332 For which account?\r\n", model.NotLoggedIn),
        (b"332 For which account?\r\n503 No name.\r\n", model.NotLoggedIn),
        (b"421 Too many.\r\n", model.ServiceClosing),
    ],
)
def test_a_login_that_is_refused_says_why(server: ScriptedServer, answers: bytes, error: type[Exception]) -> None:
    login = start(server.remote.login("ann", "secret"))
    server.say(answers)
    server.link.lose()
    with pytest.raises(error):
        server.answered(login)


@pytest.mark.parametrize("code", [b"230", b"232"])
def test_a_server_that_asks_for_no_password_is_taken_at_its_word(server: ScriptedServer, code: bytes) -> None:
    server.remote.features["MODE I"] = ""
    server.answered(start(server.remote.login()), code + b" Come in.\r\n503 No name.\r\n", b"200 Mode I.\r\n")


@pytest.mark.parametrize(
    ("answer", "space"),
    [(b"213 5000", 5000), (b"213 5000 bytes free", None), (b"213 +5_000", None), (b"502 No.", None)],
)
def test_space_is_known_where_the_server_tells_a_number(
    server: ScriptedServer, answer: bytes, space: int | None
) -> None:
    server.remote.features["AVBL"] = ""
    asking = start(There(server.remote, Target("h")).space("/"))
    assert server.answered(asking, answer + b"\r\n") == space


def test_a_server_without_mode_i_is_not_used(server: ScriptedServer) -> None:
    with pytest.raises(model.NotImplementedHere, match="MODE I"):
        server.answered(start(server.remote.login()), b"331 x\r\n230 x\r\n", b"500 x\r\n")


def test_a_name_that_would_be_two_commands_is_never_sent(server: ScriptedServer) -> None:
    for work in (
        server.remote.stat("/a\r\nDELE b"),
        server.remote.open_read("/a\nb"),
        collected(server.remote.list("\0")),
    ):
        with pytest.raises(model.TransferError):
            result_of(work, server.link)
    assert server.heard() == b""


# -- downloads


def download(data: bytes, **more: str) -> bytes:
    return b"150 Sending (%d bytes)\r\n" % len(data) + frames(data, 100, **more) + b"226 Sent.\r\n"


async def read(server: ScriptedServer, path: str = "/file", offset: int = 0) -> bytes:
    return await read_all(await server.remote.open_read(path, offset))


@pytest.mark.parametrize("data", [b"", HELLO, bytes(5000)], ids=["empty", "hello", "5000"])
def test_a_file_is_read(server: ScriptedServer, data: bytes) -> None:
    assert server.answered(start(read(server)), download(data)) == data
    assert server.heard() == b"RETR /file\r\n"


def test_a_file_is_read_from_an_offset_with_both_commands_at_once(server: ScriptedServer) -> None:
    reading = start(read(server, offset=3))
    assert server.heard() == b"REST 3\r\nRETR /file\r\n"
    assert server.answered(reading, b"350 At 3.\r\n", download(HELLO)) == HELLO


def test_more_than_was_said_is_not_read_to_an_end_that_may_never_come(server: ScriptedServer) -> None:
    reading = start(read(server))
    server.say(b"150 Sending /file (6 bytes)\r\nDATA 6\r\nhello\n")
    assert not reading.is_over
    server.say(b"DATA 1\r\n!")
    with pytest.raises(model.Damaged, match="than the 6 bytes"):
        reading.result()
    assert server.heard().endswith(b"ABOR\r\n")


@pytest.mark.parametrize("digest", ["0" * 32, digest_of(HELLO).upper(), digest_of(HELLO)[:31], digest_of(HELLO) + "0"])
def test_a_wrong_digest_is_an_error_and_never_a_file(server: ScriptedServer, tmp_path: Path, digest: str) -> None:
    (tmp_path / "here").write_bytes(b"old")
    disk = support.local_disk(tmp_path)
    for name in ("/here", "/new"):
        copying = start(copy(server.remote, "/file", disk, name))
        with pytest.raises(model.Damaged):
            server.answered(copying, download(HELLO, digest=digest))
    assert (tmp_path / "here").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("digest", ["0" * 32, digest_of(HELLO).upper(), digest_of(HELLO)[:31]])
@pytest.mark.parametrize("size", [1 << 20, 1])
def test_a_small_file_with_a_wrong_digest_is_an_error_too(server: ScriptedServer, digest: str, size: int) -> None:
    fetching = [start(server.remote.fetch("/file")) for _ in range(3)]
    answer = download(HELLO) + download(HELLO, digest=digest) + download(HELLO)
    for at in range(0, len(answer), size):
        server.say(answer[at : at + size])
    assert fetching[0].result() == fetching[2].result() == Whole(HELLO)
    with pytest.raises(model.Damaged):
        fetching[1].result()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"150 x\r\nDATA 3\r\nhelFAIL disk on fire\r\n451 Sorry.\r\n", model.Aborted),
        (b"150 x\r\nFAIL\r\n426 Sorry.\r\n", model.Aborted),
        (b"550 No such file.\r\n", model.Unavailable),
    ],
)
def test_a_download_that_fails_is_no_file(
    server: ScriptedServer, tmp_path: Path, answer: bytes, error: type[Exception]
) -> None:
    copying = start(copy(server.remote, "/file", support.local_disk(tmp_path), "/here"))
    with pytest.raises(error):
        server.answered(copying, answer)
    assert not list(tmp_path.iterdir())
    assert server.answered(start(server.remote.working_directory()), b'257 "/x"\r\n') == "/x"


def test_fail_is_told_in_the_servers_words(server: ScriptedServer) -> None:
    with pytest.raises(model.Aborted, match="disk on fire"):
        server.answered(start(read(server)), b"150 x\r\nFAIL disk on fire\r\n451 Sorry.\r\n")


@pytest.mark.parametrize(
    ("code", "kind", "cause"),
    [
        (550, model.Unavailable, "denied"),
        (553, model.InvalidName, "denied"),
        (452, model.NoSpace, "space"),
        (552, model.OverQuota, "space"),
        (530, model.NotLoggedIn, "login"),
        (421, model.ServiceClosing, "lost"),
        (450, model.Busy, "other"),
        (426, model.Aborted, "other"),
        (451, model.Aborted, "other"),
    ],
)
@pytest.mark.parametrize("how", ["read", "fetch", "list"])
def test_behind_fail_the_reply_says_of_what_kind_the_error_is(
    server: ScriptedServer, how: str, code: int, kind: type[Exception], cause: str
) -> None:
    work = {
        "read": lambda: read(server),
        "fetch": lambda: server.remote.fetch("/file"),
        "list": lambda: collected(server.remote.list("/")),
    }[how]()
    with pytest.raises(kind, match=rf"{code} No\.") as caught:
        server.answered(start(work), b"150 x\r\nDATA 1\r\nxFAIL the dog ate it.\r\n%d No.\r\n" % code)
    assert type(caught.value) is kind and outcome(caught.value)[1] == cause
    assert code == 421 or "the dog ate it" in str(caught.value)


@pytest.mark.parametrize("how", ["read", "fetch"])
def test_damaged_data_is_damaged_whatever_the_server_says_behind_it(server: ScriptedServer, how: str) -> None:
    work = read(server) if how == "read" else server.remote.fetch("/file")
    with pytest.raises(model.Damaged):
        server.answered(start(work), b"150 x\r\nDATA 1\r\nxDONE %s\r\n550 No.\r\n" % (b"0" * 32))


def test_what_both_texts_say_is_said_once(server: ScriptedServer) -> None:
    with pytest.raises(model.Unavailable) as caught:
        server.answered(start(read(server)), b"150 x\r\nFAIL It burns.\r\n550 It burns.\r\n")
    assert str(caught.value) == "550 The server ended the transfer: It burns."


def test_a_connection_that_ends_inside_a_download_is_no_file(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"old")
    copying = start(copy(server.remote, "/file", support.local_disk(tmp_path), "/here"))
    server.say(b"150 x\r\nDATA 100\r\nhalf of it")
    server.link.lose()
    with pytest.raises(model.ConnectionFailed):
        server.answered(copying)
    assert (tmp_path / "here").read_bytes() == b"old"
    assert support.take_part(tmp_path) == b"half of it"


def test_facts_come_with_the_file(server: ScriptedServer, tmp_path: Path) -> None:
    copying = start(copy(server.remote, "/file", support.local_disk(tmp_path), "/here"))
    server.answered(copying, download(HELLO, facts="modify=20000101000000;unix.mode=0640;"))
    status = (tmp_path / "here").stat()
    assert (status.st_mtime, status.st_mode & 0o777) == (946684800, 0o640)


@pytest.mark.parametrize("facts", ["unix.mode=7777;", "modify=20001301000000;"])
@pytest.mark.parametrize("size", [5, 100_000])
def test_facts_that_make_no_sense_harm_nobody_else(
    server: ScriptedServer, tmp_path: Path, facts: str, size: int
) -> None:
    disk = support.local_disk(tmp_path)
    works = [start(copy(server.remote, "/1", disk, "/1")), start(server.remote.fetch("/2"))]
    behind = start(server.remote.fetch("/3"))
    server.say(download(bytes(size), facts=facts) + download(HELLO, facts=facts) + download(HELLO))
    for work in works:
        with pytest.raises(model.ProtocolViolation, match="server sent facts") as raised:
            work.result()
        assert outcome(raised.value) == (1, "other")  # and not 2: nobody here has mistyped anything
    assert behind.result() == Whole(HELLO)
    assert not list(tmp_path.iterdir())


def test_a_download_that_nobody_reads_is_not_taken_in(server: ScriptedServer) -> None:
    opening = start(server.remote.open_read("/file"))
    server.say(b"150 x\r\n")
    file = opening.result()
    for _ in range(100):
        server.say(b"DATA 100000\r\n" + bytes(100_000))
    assert len(server.link.server_end.outgoing) > 5_000_000
    reading = start(read_all(file))
    server.say(b"DONE " + digest_of(bytes(10_000_000)).encode() + b"\r\n226 Sent.\r\n")
    assert len(reading.result()) == 10_000_000


def test_closing_a_download_stops_the_server_and_takes_both_replies(server: ScriptedServer) -> None:
    opening = start(server.remote.open_read("/file"))
    server.say(b"150 x\r\nDATA 5\r\nhello")
    server.heard()
    result_of(opening.result().close())
    asking = start(server.remote.working_directory())
    assert server.heard() == b"ABOR\r\nPWD\r\n"
    server.say(b"DATA 5\r\nworldFAIL aborted\r\n426 Stopped.\r\n226 Nothing to stop.\r\n")
    assert server.answered(asking, b'257 "/x"\r\n') == "/x"


def test_closing_one_download_does_not_stop_another(server: ScriptedServer) -> None:
    """An ABOR stops whatever the server is sending, and that may be somebody else's file."""
    first = start(server.remote.open_read("/first"))
    second = start(server.remote.open_read("/second"))
    server.say(b"150 x\r\nDATA 5\r\nhello")
    server.heard()
    result_of(first.result().close())
    assert b"ABOR" not in server.heard()
    server.say(b"DONE " + digest_of(HELLO[:5]).encode() + b"\r\n226 Sent.\r\n" + download(HELLO))
    assert result_of(read_all(second.result()), server.link) == HELLO


# -- listings


def test_a_listing_is_read_as_it_arrives_however_it_is_framed(server: ScriptedServer) -> None:
    lines = b"type=file;size=5; a b\r\ntype=cdir; .\r\ntype=dir; \xe4\r\ntype=pdir; ..\r\n"
    answer = b"150 x\r\n" + frames(lines, 7) + b"226 x\r\n"
    entries = server.answered(start(collected(server.remote.list("/"))), answer)
    assert [(entry.name, entry.size) for entry in entries] == [("a b", 5), ("\udce4", 0)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", [b"../x", b"/etc/passwd", b"a/b", b"..", b".", b"a\0b", b"../../../root/.ssh/authorized_keys"]
)
def test_a_name_that_leads_elsewhere_is_refused(server: ScriptedServer, name: bytes) -> None:
    answer = b"150 x\r\n" + frames(b"type=file; " + name + b"\r\n") + b"226 x\r\n"
    with pytest.raises(model.TransferError):
        server.answered(start(collected(server.remote.list("/"))), answer)


def test_a_listing_with_a_wrong_digest_is_an_error(server: ScriptedServer) -> None:
    answer = b"150 x\r\n" + frames(b"type=file; x\r\n", digest="0" * 32) + b"226 x\r\n"
    with pytest.raises(model.Damaged):
        server.answered(start(collected(server.remote.list("/"))), answer)
