"""The client's uploads, with a server that is played by the test: what it sends, and what it makes of the answers."""

from __future__ import annotations

import pytest
from support import ScriptedServer, result_of, start
from twisted.internet.defer import CancelledError, Deferred

from ftpsvc import model
from ftpsvc.frames import digest_of
from ftpsvc.model import Facts, Stored, Whole

HELLO = b"hello\n"


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


async def store(server: ScriptedServer, *chunks: bytes, path: str = "/file", facts: Facts = model.NO_FACTS) -> Stored:
    file = await server.remote.open_write(path)
    try:
        for chunk in chunks:
            await file.write(chunk)
        return await file.commit(facts)
    except BaseException:
        await file.abort()
        raise


def stored(data: bytes) -> bytes:
    return b"150 Ready.\r\n226 Stored %d bytes, xxh3-128 %s.\r\n" % (len(data), digest_of(data).encode())


def test_an_upload_is_sent_without_waiting_for_the_server(server: ScriptedServer) -> None:
    storing = start(store(server, b"hel", b"lo\n", facts=Facts(946684800_000_000_000, 0o600)))
    end = f"DONE {digest_of(HELLO)} modify=20000101000000;unix.mode=0600;\r\n".encode()
    assert server.heard() == b"STOR /file\r\nDATA 3\r\nhelDATA 3\r\nlo\n" + end
    assert server.answered(storing, stored(HELLO)) == Stored(6, digest_of(HELLO))


def test_an_upload_that_the_server_has_understood_differently_is_damaged(server: ScriptedServer) -> None:
    with pytest.raises(model.Damaged):
        server.answered(start(store(server, HELLO)), stored(b"something else"))


def test_one_upload_does_not_get_into_the_frames_of_another(server: ScriptedServer) -> None:
    first = start(server.remote.open_write("/1")).result()
    second = start(store(server, b"two", path="/2"))
    third = start(server.remote.working_directory())
    result_of(first.write(b"one"))
    assert server.heard() == b"STOR /1\r\nDATA 3\r\none"
    committing = start(first.commit())
    heard = server.heard()
    assert heard.index(b"DONE") < heard.index(b"STOR /2") < heard.index(b"two") < heard.index(b"PWD")
    server.say(stored(b"one") + stored(b"two") + b'257 "/x"\r\n')
    assert [work.result() for work in (committing, second)] == [Stored(3, digest_of(d)) for d in (b"one", b"two")]
    assert third.result() == "/x"


def test_an_upload_that_is_refused_early_ends_in_one_fail(server: ScriptedServer) -> None:
    file = start(server.remote.open_write("/file")).result()
    result_of(file.write(b"one"))
    server.heard()
    server.say(b"550 Never.\r\n")
    assert server.heard() == b"FAIL refused\r\n"
    for work in (file.write(b"two"), file.commit()):
        with pytest.raises(model.Unavailable, match="550 Never"):
            result_of(work, server.link)
    result_of(file.abort())
    assert server.heard() == b""
    assert server.answered(start(server.remote.working_directory()), b'257 "/x"\r\n') == "/x"


def test_an_upload_that_is_refused_while_it_waits_is_woken_up_as_the_next_one_is(server: ScriptedServer) -> None:
    first = start(server.remote.open_write("/1")).result()
    second = start(server.remote.open_write("/2")).result()
    server.client.clogged()
    writing = start(first.write(b"one"))
    server.say(b"550 Never.\r\n")
    following = start(second.write(b"two"))
    server.heard()
    assert not writing.is_over and not following.is_over
    server.client.unclogged()
    writing.result()
    following.result()
    with pytest.raises(model.Unavailable, match="550 Never"):
        result_of(first.commit(), server.link)
    assert server.answered(start(second.commit()), stored(b"two")) == Stored(3, digest_of(b"two"))


@pytest.mark.parametrize(
    "answers", [b"550 Never.\r\n", b"150 Ready.\r\n452 Full.\r\n", b"150 Ready.\r\n451 Damaged.\r\n"]
)
def test_an_upload_that_fails_raises_what_the_server_said(server: ScriptedServer, answers: bytes) -> None:
    storing = start(store(server, HELLO))
    assert server.heard().count(b"\r\nDONE ") == 0
    with pytest.raises(model.TransferError, match=answers[-10:-3].decode()):
        server.answered(storing, answers)
    assert server.heard() == b""


@pytest.mark.parametrize("answer", [stored(b"one"), b"226 Fine.\r\n"])
def test_an_upload_that_is_confirmed_before_its_end_was_not_stored(server: ScriptedServer, answer: bytes) -> None:
    file = start(server.remote.open_write("/file")).result()
    result_of(file.write(b"one"))
    server.heard()
    server.say(answer)
    with pytest.raises(model.ProtocolViolation, match="before all of it was sent"):
        result_of(file.commit(), server.link)
    assert server.is_dropped
    assert server.heard() == b""


@pytest.mark.parametrize("answer", [b"226 Fine.", b"226 Stored 3 bytes.", b"250 Stored.", b"200 Nothing done."])
def test_an_upload_of_which_no_digest_is_told_is_not_taken_for_stored(server: ScriptedServer, answer: bytes) -> None:
    storing, following = start(store(server, b"one")), start(store(server, b"two", path="/next"))
    server.heard()
    server.say(b"150 Ready.\r\n" + answer + b"\r\n" + stored(b"one"))
    for work in (storing, following):
        with pytest.raises(model.Damaged):
            work.result()


def test_an_upload_that_is_given_up_ends_in_fail(server: ScriptedServer) -> None:
    file = start(server.remote.open_write("/file")).result()
    result_of(file.write(b"one"))
    result_of(file.abort())
    heard = server.heard()
    assert heard.startswith(b"STOR /file\r\nDATA 3\r\noneFAIL ")
    asking = start(server.remote.working_directory())
    assert server.answered(asking, b'150 Ready.\r\n426 As you like.\r\n257 "/x"\r\n') == "/x"


def test_an_empty_upload_that_is_cancelled_before_its_turn_ends_when_that_comes(server: ScriptedServer) -> None:
    first = start(server.remote.open_write("/1")).result()
    result_of(first.write(b"one"))
    second = Deferred.fromCoroutine(server.remote.put("/2", Whole(b"")))
    second.addErrback(lambda failure: failure.trap(CancelledError))
    second.cancel()
    result_of(first.abort())
    assert server.heard().endswith(b"STOR /2\r\nFAIL the client stopped it\r\n")
    server.say(b"150 Ready.\r\n426 As you like.\r\n" * 2)
    assert server.answered(start(server.remote.working_directory()), b'257 "/x"\r\n') == "/x"


def test_an_upload_from_an_offset_keeps_its_marker_whatever_else_is_asked(server: ScriptedServer) -> None:
    opening = start(server.remote.open_write("/file", 5))
    asking = start(server.remote.working_directory())
    assert server.heard() == b"REST 5\r\nSTOR /file\r\n"
    server.say(b"350 At 5.\r\n")
    storing = start(opening.result().commit())
    heard = server.heard()
    assert heard.startswith(b"DONE ")
    assert heard.endswith(b"PWD\r\n")
    server.say(b"150 x\r\n226 Stored 5 bytes, xxh3-128 " + digest_of(b"").encode() + b'.\r\n257 "/x"\r\n')
    assert (storing.result().size, asking.result()) == (5, "/x")


def test_an_upload_whose_offset_is_refused_stores_nothing(server: ScriptedServer) -> None:
    opening = start(server.remote.open_write("/file", 5))
    server.heard()
    server.say(b"501 No.\r\n")
    assert server.heard().startswith(b"FAIL ")
    server.say(b"150 x\r\n426 Stopped.\r\n")
    with pytest.raises(model.BadArgument):
        opening.result()
