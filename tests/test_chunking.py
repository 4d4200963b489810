"""However a conversation is cut into segments, both ends make the same of it."""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support import Conversation, ScriptedServer, collected, frames, local_disk, read_all, start

from ftpsvc.frames import digest_of
from ftpsvc.model import TransferError

contents = st.binary(max_size=60) | st.sampled_from(
    [b"DONE\r\n", b"\r\nDATA 5\r\n", b"226 x\r\n", b"\xff\xf4", b"\n" * 9]
)
names = st.sampled_from(["a", "b", "folder/c", "no/where", "", "sp ace", "\u00fc"])


def upload(verb: str, name: str, data: bytes, end: str) -> bytes:
    line = f"{verb} {name}\r\n".encode()
    body = frames(data, 7, facts="modify=20000101000000;")
    if end == "FAIL":
        body = body[: body.rindex(b"DONE ")] + b"FAIL\r\n"
    elif end == "wrong":
        body = body[: body.rindex(b"DONE ")] + b"DONE 00\r\n"
    return line + body


# No listing with several names is among them: their order is the file system's own business.
lines = st.sampled_from(
    "NOOP|PWD|CWD folder|CWD ..|CDUP|FEAT|XYZZY|SIZE a|MLST a|LIST no|NLST folder|REST 2|ABOR|USER x"
    "|TYPE I|HELP|MODE X|USER ftp\r\nPASS x|noop|\xff\xf4NOOP|CWD \0".split("|")
)
pieces = st.one_of(
    lines.map(lambda line: line.encode("latin-1") + b"\r\n"),
    lines.map(lambda line: line.encode("latin-1") + b"\n"),
    names.map(lambda name: f"RETR {name}\r\n".encode()),
    st.builds(
        upload, st.sampled_from(["STOR", "APPE"]), names, contents, st.sampled_from(["DONE", "DONE", "FAIL", "wrong"])
    ),
)
endings = st.sampled_from([b"", b"", b"DATA 5\r\n", b"STOR x\r\nNOOP\r\n", b"QUIT\r\nNOOP\r\n", b"x" * 9000])
cuts = st.lists(st.integers(1, 40), min_size=1, max_size=20)


def sizes(cut: list[int] | None) -> Callable[[], int]:
    if cut is None:
        return lambda: 1 << 20
    endless = itertools.cycle(cut)
    return lambda: next(endless)


def held(sent: bytes, cut: list[int] | None) -> tuple[bytes, bool, dict[str, bytes]]:
    """What a server answers to this, whether it closes, and what it has stored."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "folder").mkdir()
        (folder / "b").write_bytes(b"12345")
        disk = local_disk(folder)
        talk = Conversation(disk, cut=sizes(cut)).log_in()
        talk.send(sent)
        answers, is_closed = bytes(talk.peer.received), talk.is_closed
        talk.peer.received.clear()
        talk.link.close()
        found = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # The time of what was not uploaded with one, and what is unique, are not the conversation's.
    return re.sub(rb"(modify|unique)=[^;]*;", b"", answers), is_closed, found


@settings(max_examples=50)
@given(st.lists(pieces, max_size=8), endings, cuts)
def test_the_server_does_the_same_however_it_is_told(said: list[bytes], ending: bytes, cut: list[int]) -> None:
    sent = b"".join(said) + ending
    assert held(sent, cut) == held(sent, None)


@settings(max_examples=15)
@given(st.lists(pieces, max_size=6), endings)
def test_the_server_does_the_same_one_byte_at_a_time(said: list[bytes], ending: bytes) -> None:
    sent = b"".join(said) + ending
    assert held(sent, [1]) == held(sent, None)


# -- the client


def transfer(data: bytes, wrong: bool) -> bytes:
    return b"150 x (%d bytes)\r\n" % len(data) + frames(data, 5, digest="0" * 32 if wrong else None) + b"226 x\r\n"


def calls(server: ScriptedServer, data: bytes) -> Iterator[Any]:
    remote = server.remote

    async def read() -> bytes:
        return await read_all(await remote.open_read("/x"))

    async def store() -> Any:
        file = await remote.open_write("/x")
        await file.write(data)
        return await file.commit()

    yield remote.working_directory()
    yield read()
    yield collected(remote.list("/"))
    yield remote.fetch("/x")
    yield store()
    yield remote.stat("/x")


def answers_to(data: bytes, wrong: bool) -> tuple[tuple[bytes, ...], ...]:
    """For each call of `calls`, what the server may say."""
    stored = b"226 Stored %d bytes, xxh3-128 %s.\r\n" % (len(data), digest_of(data).encode())
    listing = b"type=file;size=5; a\r\ntype=dir; b c\r\n"
    return (
        (b'257 "/x"\r\n', b"550-No,\r\n 550 not\r\n5500\r\n550 at all\r\n", b"junk\r\n"),
        (transfer(data, wrong), b"550 No.\r\n", b"150 x\r\nDATA 1\r\nxFAIL y\r\n451 z\r\n", b"150 x\r\njunk\r\n"),
        (transfer(listing, wrong), b"550 No.\r\n", transfer(b"type=file; ../x\r\n", False)),
        (transfer(data, wrong), b"550 No.\r\n", b"150 x\r\nFAIL y\r\n451 z\r\n"),
        (b"150 x\r\n" + stored, b"150 x\r\n452 Full.\r\n", b"550 No.\r\n"),
        (b"250-x\r\n type=file;size=5; /x\r\n250 y\r\n", b"550 No.\r\n"),
    )


def understood(data: bytes, answers: bytes, cut: list[int] | None) -> list[str]:
    """What became of each call, in words."""
    server = ScriptedServer()
    works = [start(work) for work in calls(server, data)]
    server.heard()
    size = sizes(cut)
    while answers:
        count = size()
        server.say(answers[:count])
        answers = answers[count:]
    server.link.close()
    outcomes = []
    for work in works:
        try:
            result = work.result()
            outcomes.append(repr(bytes(result) if isinstance(result, memoryview) else result))
        except TransferError as error:
            outcomes.append(repr(error))
    return outcomes


@settings(max_examples=60)
@given(contents, st.booleans(), st.data(), cuts)
def test_the_client_understands_the_same_however_it_is_told(
    content: bytes, wrong: bool, data: st.DataObject, cut: list[int]
) -> None:
    answers = b"".join(data.draw(st.sampled_from(choices)) for choices in answers_to(content, wrong))
    assert understood(content, answers, cut) == understood(content, answers, None)


@settings(max_examples=20)
@given(contents, st.booleans(), st.data())
def test_the_client_understands_the_same_one_byte_at_a_time(content: bytes, wrong: bool, data: st.DataObject) -> None:
    answers = b"".join(data.draw(st.sampled_from(choices)) for choices in answers_to(content, wrong))
    assert understood(content, answers, [1]) == understood(content, answers, None)


@settings(max_examples=100)
@given(st.binary(max_size=300), cuts)
def test_the_server_takes_any_bytes_in_its_stride(junk: bytes, cut: list[int]) -> None:
    assert held(junk, cut) == held(junk, None)


@settings(max_examples=100)
@given(st.binary(max_size=300), cuts)
def test_the_client_takes_any_bytes_in_its_stride(junk: bytes, cut: list[int]) -> None:
    assert understood(b"x", junk, cut) == understood(b"x", junk, None)
