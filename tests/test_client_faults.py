"""The client, when the connection or the other end fails it: whoever waits hears why, and nothing waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
from support import ScriptedServer, collected, read_all, result_of, start

from ftpsvc import model
from ftpsvc.frames import digest_of
from ftpsvc.model import Facts, Whole


async def store(server: ScriptedServer, chunk: bytes, times: int = 1) -> None:
    file = await server.remote.open_write("/file")
    try:
        for _ in range(times):
            await file.write(chunk)
        await file.commit()
    except BaseException:
        await file.abort()
        raise


async def read(server: ScriptedServer) -> bytes:
    return await read_all(await server.remote.open_read("/file"))


def everything(server: ScriptedServer) -> dict[str, Any]:
    """One call of each kind, all of them under way."""
    remote = server.remote
    return {
        "ask": start(remote.working_directory()),
        "fetch": start(remote.fetch("/small")),
        "read": start(read(server)),
        "list": start(collected(remote.list("/"))),
        "store": start(store(server, b"x")),
        "rename": start(remote.rename("/a", "/b")),
        "put": start(remote.put("/small", Whole(b"x", Facts()))),
        "login": start(remote.login()),
        "last": start(remote.stat("/x")),
    }


def assert_all_failed(works: dict[str, Any], error: type[Exception], text: str = ".") -> None:
    for name, work in works.items():
        assert work.is_over, f"{name} waits for ever"
        with pytest.raises(error, match=text):
            work.result()


@pytest.mark.parametrize("answers", [b"", b'257 "/', b'257 "/x"\r\n150 x\r\nDATA 100\r\nhalf'])
def test_a_lost_connection_fails_every_call_with_its_cause(answers: bytes) -> None:
    server = ScriptedServer()
    works = everything(server)
    server.say(answers)
    server.link.lose()
    if answers.startswith(b'257 "/x"\r\n'):
        assert works.pop("ask").result() == "/x"
    assert_all_failed(works, model.ConnectionFailed, "gone")
    with pytest.raises(model.ConnectionFailed, match="gone"):
        result_of(server.remote.working_directory(), server.link)
    assert server.remote.lost is not None


def test_a_server_that_closes_is_told_apart_from_a_broken_line() -> None:
    server = ScriptedServer()
    works = everything(server)
    server.link.pump()
    server.peer.transport.loseConnection()
    server.link.pump()
    assert_all_failed(works, model.ConnectionFailed, "closed")


def test_a_farewell_is_the_cause_for_all_that_was_under_way_and_all_that_comes() -> None:
    server = ScriptedServer()
    server.say(b"421 Idle for too ")
    server.say(b"long.\r\n")
    server.peer.transport.loseConnection()
    server.link.pump()
    with pytest.raises(model.ServiceClosing, match="Idle for too long"):
        result_of(server.remote.working_directory(), server.link)


def test_a_farewell_of_many_lines_is_one_farewell() -> None:
    server = ScriptedServer()
    for piece in (b"421-Closing,\r\n", b" as announced.\r\n4", b"21 Good-bye.\r\n"):
        server.say(piece)
    server.peer.transport.loseConnection()
    server.link.pump()
    with pytest.raises(model.ServiceClosing, match="Good-bye"):
        result_of(server.remote.working_directory(), server.link)


@pytest.mark.parametrize("answer", [b"421 Good-bye.\r\n", b"150 x\r\nDATA 1\r\nxFAIL stopping\r\n421 Good-bye.\r\n"])
def test_the_session_is_over_for_everybody_behind_a_421(answer: bytes) -> None:
    for is_small in (True, False):
        server = ScriptedServer()
        work = start(server.remote.fetch("/small") if is_small else read(server))
        with pytest.raises(model.ServiceClosing, match="Good-bye"):
            server.answered(work, answer)
        assert server.remote.lost is not None


# -- silence


def test_a_server_that_says_nothing_is_given_up() -> None:
    server = ScriptedServer(silence=60)
    works = everything(server)
    server.clock.advance(59)
    assert not any(work.is_over for work in works.values())
    server.clock.advance(2)
    server.link.pump()
    assert_all_failed(works, model.TimedOut, "60 seconds")
    assert server.is_dropped


def test_silence_counts_only_while_something_is_expected() -> None:
    server = ScriptedServer(silence=60)
    for _ in range(10):
        server.clock.advance(50)
    asking = start(server.remote.working_directory())
    server.heard()
    server.clock.advance(50)
    assert not asking.is_over
    server.say(b'257 "/x"\r\n')
    assert asking.result() == "/x"
    for _ in range(10):
        server.clock.advance(50)
    assert not server.is_dropped


def test_silence_begins_anew_with_every_byte() -> None:
    server = ScriptedServer(silence=60)
    asking = start(server.remote.working_directory())
    for byte in b'257 "/x"':
        server.clock.advance(59)
        server.say(bytes([byte]))
    server.say(b"\r\n")
    assert asking.result() == "/x"


def test_an_upload_to_a_server_that_takes_nothing_is_given_up() -> None:
    server = ScriptedServer(silence=60)
    server.link.server_end.is_reading = False
    storing = start(store(server, bytes(1 << 20), times=100))
    server.link.pump()
    assert not storing.is_over
    assert server.link.client_end.most_held < 8 * 1024 * 1024
    for _ in range(4):
        server.clock.advance(50)
    server.link.pump()
    with pytest.raises(model.ConnectionFailed, match="60 seconds"):
        storing.result()


def test_an_upload_may_come_as_slowly_as_its_source_gives_it() -> None:
    server = ScriptedServer(silence=60)
    file = start(server.remote.open_write("/file")).result()
    server.say(b"150 x\r\n")
    for _ in range(9):
        result_of(file.write(b"x"))
        server.heard()
        server.clock.advance(50)
    committing = start(file.commit())
    server.heard()
    server.clock.advance(59)
    assert not committing.is_over
    server.clock.advance(2)
    server.link.pump()
    with pytest.raises(model.TimedOut, match="60 seconds"):
        committing.result()


def test_an_upload_that_stops_moving_has_its_time_from_there_on() -> None:
    server = ScriptedServer(silence=60)
    file = start(server.remote.open_write("/file")).result()
    server.clock.advance(100)
    server.link.server_end.is_reading = False
    writing = start(file.write(bytes(4 << 20)))
    server.link.pump()
    server.clock.advance(59)
    assert not writing.is_over
    server.clock.advance(61)
    server.link.pump()
    with pytest.raises(model.ConnectionFailed, match="60 seconds"):
        writing.result()
    result_of(file.abort())


def test_a_server_whose_download_was_left_waiting_has_its_time_when_it_is_read_again() -> None:
    server = ScriptedServer(silence=60)
    opening = start(server.remote.open_read("/file"))
    server.say(b"150 x\r\n" + b"".join(b"DATA 1000000\r\n" + bytes(1_000_000) for _ in range(2)))
    server.clock.advance(60)
    server.clock.advance(59)
    file = opening.result()
    for _ in range(2):
        result_of(file.read(1 << 20))
    server.clock.advance(1)
    server.link.pump()
    assert not server.is_dropped
    result_of(file.close())


def test_a_download_that_its_reader_leaves_waiting_is_no_silence() -> None:
    server = ScriptedServer(silence=60)
    opening = start(server.remote.open_read("/file"))
    server.say(b"150 x\r\n" + b"".join(b"DATA 1000000\r\n" + bytes(1_000_000) for _ in range(3)))
    for _ in range(10):
        server.clock.advance(50)
    assert not server.is_dropped
    result_of(opening.result().close())


# -- servers that are none, or hostile


@pytest.mark.parametrize(
    "banner",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x01\x00\x02\x02\x46\n", b"+OK\r\n"],
)
def test_a_server_of_another_kind_is_recognised(banner: bytes) -> None:
    server = ScriptedServer(greeting=b"")
    greeting = start(server.client.greeting.finished)
    server.say(banner)
    with pytest.raises(model.ProtocolViolation):
        greeting.result()
    assert server.is_dropped


def test_a_mail_server_is_recognised_by_its_greeting() -> None:
    server = ScriptedServer(greeting=b"")
    greeting = start(server.remote._greeted(server.clock, None))  # type: ignore[arg-type]
    server.say(b"220 mail.example ESMTP\r\n")
    with pytest.raises(model.ConnectionFailed, match="mail server"):
        greeting.result()
    server.client.close()


def test_a_greeting_that_sends_us_away_is_told() -> None:
    server = ScriptedServer(greeting=b"")
    greeting = start(server.client.greeting.finished)
    server.say(b"421 Too many connections.\r\n")
    with pytest.raises(model.ServiceClosing, match="Too many"):
        greeting.result()


@pytest.mark.parametrize("size", [9000, 100_000])
def test_a_reply_whose_line_never_ends_is_given_up(size: int) -> None:
    server = ScriptedServer()
    works = everything(server)
    server.say(b"2" * size)
    assert_all_failed(works, model.ProtocolViolation, "^A line that the server sends can't be longer than 8192 bytes")
    assert server.is_dropped


def test_a_reply_whose_lines_never_end_is_given_up() -> None:
    server = ScriptedServer()
    asking = start(server.remote.working_directory())
    server.say(b"257-x\r\n")
    for _ in range(120):
        if not asking.is_over:
            server.say(b" y\r\n" * 1000)
    with pytest.raises(model.ProtocolViolation):
        asking.result()


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n",
        b"150 x\r\nhello\r\n",
        b"150 x\r\n226 sent\r\n",
        b"150 x\r\nDATA 0\r\n",
        b"150 x\r\nDATA -5\r\n",
        b"150 x\r\nDATA 99999999\r\n",
        b"150 x\r\nDONE 00 junk\r\n",
        b"DATA 5\r\nhello",
        b"150 x\r\nDATA 5\r\nhello150 x\r\n",
    ],
)
@pytest.mark.parametrize("kind", ["read", "fetch", "list"])
def test_an_answer_that_is_none_ends_the_connection_for_everybody(answer: bytes, kind: str) -> None:
    server = ScriptedServer()
    work = {
        "read": lambda: read(server),
        "fetch": lambda: server.remote.fetch("/file"),
        "list": lambda: collected(server.remote.list("/")),
    }[kind]()
    works = {"first": start(work), "second": start(server.remote.working_directory())}
    server.say(answer)
    assert_all_failed(works, model.ProtocolViolation)
    assert server.is_dropped


@pytest.mark.parametrize("surplus", [b"226 Sent once more.\r\n", b"200 Nothing done.\r\n"])
def test_a_reply_too_many_gives_no_file_the_bytes_of_another(surplus: bytes) -> None:
    server = ScriptedServer()
    works = {name: start(server.remote.fetch(f"/{name}")) for name in ("one", "two", "three")}
    works["read"] = start(read(server))
    for name in ("one", "two", "three"):
        data = name.encode()
        server.say(b"150 x\r\nDATA %d\r\n%bDONE %b\r\n226 x\r\n" % (len(data), data, digest_of(data).encode()))
        server.say(surplus)
    assert works.pop("one").result().data == b"one"
    assert_all_failed(works, model.ProtocolViolation, "had sent nothing")
    assert server.is_dropped


@pytest.mark.parametrize("kind", ["read", "list"])
def test_a_download_that_ends_without_having_begun_ends_the_connection(kind: str) -> None:
    server = ScriptedServer()
    work = {"read": lambda: read(server), "list": lambda: collected(server.remote.list("/"))}[kind]()
    works = {"first": start(work), "second": start(server.remote.working_directory())}
    server.say(b"226 Sent, or so.\r\n")
    assert_all_failed(works, model.ProtocolViolation, "had sent nothing")
    assert server.is_dropped


def test_a_second_preliminary_reply_confuses_nobody() -> None:
    server = ScriptedServer()
    reading = start(read(server))
    server.say(b"150 x\r\nDONE 99aa06d3014798d86001c324468d497f\r\n150 again\r\n226 Sent.\r\n")
    assert reading.result() == b""
    asking = start(server.remote.working_directory())
    server.say(b'257 "/x"\r\n')
    assert asking.result() == "/x"


def test_replies_that_nobody_asked_for_answer_nothing() -> None:
    server = ScriptedServer()
    server.say(b"200 Surprise.\r\n226 Another.\r\n")
    asking = start(server.remote.working_directory())
    server.say(b'257 "/x"\r\n')
    assert asking.result() == "/x"


# -- the end


def test_quit_waits_for_what_was_asked_before_and_then_closes() -> None:
    server = ScriptedServer()
    asking, leaving = start(server.remote.working_directory()), start(server.remote.quit())
    assert server.heard() == b"PWD\r\nQUIT\r\n"
    server.say(b'257 "/x"\r\n')
    assert asking.result() == "/x"
    assert not leaving.is_over
    server.say(b"221 Bye.\r\n")
    assert leaving.is_over
    leaving.result()
    server.link.pump()
    assert server.is_dropped


def test_quit_is_content_when_the_connection_is_gone_already() -> None:
    server = ScriptedServer()
    leaving = start(server.remote.quit())
    server.link.lose()
    leaving.result()
    result_of(server.remote.quit(), server.link)


def test_closing_fails_what_is_under_way() -> None:
    server = ScriptedServer()
    works = everything(server)
    server.remote.close()
    server.link.pump()
    assert_all_failed(works, model.ConnectionFailed)
