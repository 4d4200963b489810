from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc import model, wire
from ftpsvc.model import BadArgument, BadCommand, ProtocolViolation, decode_name
from ftpsvc.wire import (
    Command,
    Reply,
    ReplyReader,
    error_for,
    format_command,
    format_reply,
    parse_command,
    quoted,
    reply_for,
    unquoted,
    without_telnet,
)

# -- commands


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"NOOP", Command("NOOP")),
        (b"noop", Command("NOOP")),
        (b"NOOP ", Command("NOOP", "")),
        (b"STOR a", Command("STOR", "a")),
        (b"STOR  a ", Command("STOR", " a ")),
        (b"PASS -wget@", Command("PASS", "-wget@")),
        (b"RETR \xc3\xa4", Command("RETR", "ä")),
        (b"RETR \xe4", Command("RETR", "\udce4")),
        (b"RETR a\rb", Command("RETR", "a\rb")),
        (b"RETR a\0b", Command("RETR", "a\0b")),
    ],
)
def test_a_command_is_its_verb_and_all_that_stands_behind_one_space(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"RETR \xff\xff", Command("RETR", "\udcff")),
        (b"\xff\xf4\xff\xf2ABOR", Command("ABOR")),
        (b"\xff\xf4\xffABOR", Command("ABOR")),
        (b"\xf2ABOR".replace(b"\xf2", b"\xff\xf2"), Command("ABOR")),
        (b"NO\xff\xfb\x01OP", Command("NOOP")),
        (b"RETR a\xff\xf1b", Command("RETR", "ab")),
        (b"RETR a\r\0b", Command("RETR", "a\rb")),
        (b"RETR a\xff", Command("RETR", "a")),
        (b"\xff" * 2001 + b"\xf4NOOP", None),
    ],
)
def test_telnet_commands_are_taken_out(line: bytes, command: Command | None) -> None:
    if command is None:
        with pytest.raises(BadCommand):
            parse_command(line)
    else:
        assert parse_command(line) == command


@pytest.mark.parametrize("line", [b"", b" ", b" NOOP", b"NOOP\t", b"NO-OP", b"N\xc3\x96OP", b"\0NOOP", b"A" * 13, b"1"])
def test_what_is_no_command_is_refused_without_repeating_it(line: bytes) -> None:
    with pytest.raises(BadCommand) as refused:
        parse_command(line)
    assert not line.strip() or decode_name(line) not in str(refused.value)


def test_a_password_is_never_printed() -> None:
    assert "secret" not in repr(parse_command(b"PASS secret"))
    assert "folder" in repr(parse_command(b"CWD folder"))


names = st.binary(max_size=60).map(lambda b: b.translate(None, b"\0\r\n")).map(decode_name)


@given(st.from_regex("[A-Z]{1,12}", fullmatch=True), st.none() | names)
def test_every_command_comes_back_as_it_was_sent(verb: str, argument: str | None) -> None:
    line = format_command(Command(verb, argument))
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == 1
    assert parse_command(line[:-2]) == Command(verb, argument)


@pytest.mark.parametrize("argument", ["a\nDELE b", "a\rb", "a\0b"])
def test_an_argument_that_would_be_another_line_is_never_sent(argument: str) -> None:
    with pytest.raises(BadArgument):
        format_command(Command("STOR", argument))


@given(st.binary(max_size=40))
def test_telnet_decoding_takes_any_bytes(line: bytes) -> None:
    assert len(without_telnet(line)) <= len(line)
    assert without_telnet(line.replace(b"\xff", b"\xff\xff").replace(b"\0", b"")) == line.replace(b"\0", b"")


# -- replies


def read_reply(data: bytes) -> Reply:
    reader = ReplyReader()
    *lines, rest = data.split(b"\r\n")
    assert rest == b""
    replies = [reader.line(line) for line in lines]
    assert all(reply is None for reply in replies[:-1]), "it was two replies"
    assert replies[-1] is not None
    return replies[-1]


text = st.text(alphabet=st.characters(blacklist_characters="\r\n\0", codec="utf-8"), max_size=30)


@given(st.integers(100, 599), text, st.lists(text, max_size=5))
def test_every_reply_comes_back_as_it_was_sent(code: int, last: str, inner: list[str]) -> None:
    reply = Reply(code, last, tuple(inner))
    found = read_reply(format_reply(reply))
    assert (found.code, found.text, len(found.inner)) == (code, last, len(inner))
    # Inner lines are indented on the way, but for the first.
    assert found.inner[:1] == reply.inner[:1]
    assert found.inner[1:] == tuple(" " + line for line in inner[1:])


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=3))
def test_no_text_can_forge_a_line_of_a_reply(last: str, inner: list[str]) -> None:
    last, *inner = (part.encode("utf-8", "replace").decode() for part in (last, *inner))
    data = format_reply(Reply(250, last, tuple(inner)))
    lines = data.split(b"\r\n")
    assert len(lines) == len(inner) + 2
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert all(line.startswith((b" ", b"250-")) for line in lines[:-2])


def test_a_byte_255_in_a_reply_is_doubled_for_telnet() -> None:
    assert format_reply(Reply(257, '"\udcff"')) == b'257 "\xff\xff"\r\n'


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"220 Hello.\r\n", Reply(220, "Hello.")),
        (b"220\r\n", Reply(220, "")),
        (b"220 \r\n", Reply(220, "")),
        (b"211-Features:\r\n MODE I\r\n211 End\r\n", Reply(211, "End", ("Features:", " MODE I"))),
        (b"211-a\r\nb\r\n211-c\r\n211 End\r\n", Reply(211, "End", ("a", "b", "c"))),
        (b"211-a\r\n220 b\r\n211 End\r\n", Reply(211, "End", ("a", "220 b"))),
    ],
)
def test_the_replies_of_other_servers_are_read(data: bytes, reply: Reply) -> None:
    assert read_reply(data) == reply


@pytest.mark.parametrize(
    "line", [b"", b"SSH-2.0-OpenSSH_9.2", b"000 x", b"600 x", b"22 x", b"2200 x", b"220x", b" 220 x"]
)
def test_what_is_no_reply_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        ReplyReader().line(line)


def test_a_reply_without_an_end_is_refused_at_some_point() -> None:
    reader = ReplyReader()
    reader.line(b"211-Features:")
    with pytest.raises(ProtocolViolation):
        for _ in range(wire.MAX_REPLY_LINES + 1):
            reader.line(b" x")


@given(names)
def test_a_path_survives_its_quotes(path: str) -> None:
    assert unquoted(quoted(path) + " is the current folder.") == path


def test_a_257_without_a_path_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        unquoted("no path here")


# -- errors and codes


def domain_errors() -> list[type[model.TransferError]]:
    found = [model.TransferError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [kind for kind in found[1:] if kind.__module__ == model.__name__]


@pytest.mark.parametrize("kind", domain_errors())
def test_every_error_of_the_domain_has_its_own_row_or_that_of_its_base(kind: type[model.TransferError]) -> None:
    assert any(issubclass(kind, row) for row, _ in wire.CODES)
    reply = reply_for(kind("because"))
    assert reply.is_refusal
    assert reply.text == "because"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (model.BadCommand, 500),
        (model.BadArgument, 501),
        (model.NotImplementedHere, 502),
        (model.BadSequence, 503),
        (model.BadParameter, 504),
        (model.NotLoggedIn, 530),
        (model.NoDataConnection, 425),
        (model.Aborted, 426),
        (model.LocalFault, 451),
        (model.Damaged, 451),
        (model.NoSpace, 452),
        (model.NotFound, 550),
        (model.AlreadyExists, 550),
        (model.InvalidName, 553),
        (model.ProtocolViolation, 500),
    ],
)
def test_the_codes_are_those_of_the_documents(error: type[model.TransferError], code: int) -> None:
    assert reply_for(error("x")).code == code


@pytest.mark.parametrize("code", range(400, 600))
def test_every_refusal_is_some_error_with_the_servers_words(code: int) -> None:
    error = error_for(Reply(code, "the server's words"))
    assert isinstance(error, model.TransferError)
    assert str(error) == f"{code} the server's words"
