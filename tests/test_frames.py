from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftpsvc.frames import (
    MAX_FRAME,
    MAX_LINE,
    Data,
    Done,
    Fail,
    Incoming,
    SequenceReader,
    done_line,
    fail_line,
    is_frame,
    parse_frame,
    read_facts,
)
from ftpsvc.model import Facts, ProtocolViolation

# -- frame lines


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        (b"DATA 1", Data(1)),
        (b"data 65536", Data(65536)),
        (b"DATA 16777216", Data(MAX_FRAME)),
        (b"DONE", Done()),
        (b"done " + b"a" * 32, Done("a" * 32)),
        (
            b"DONE 00 modify=20261122055900.123;unix.mode=0644;",
            Done("00", "modify=20261122055900.123;unix.mode=0644;"),
        ),
        (b"DONE ", Done("")),
        (b"FAIL", Fail()),
        (b"FAIL ", Fail("")),
        (b"Fail the disk is \xc3\xa4rgerlich", Fail("the disk is ärgerlich")),
    ],
)
def test_a_frame_line_is_understood(line: bytes, frame: object) -> None:
    assert parse_frame(line) == frame


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"DATA",
        b"DATA ",
        b"DATA 0",
        b"DATA -5",
        b"DATA +5",
        b"DATA 0x5",
        b"DATA 5.0",
        b"DATA 1_0",
        b"DATA 007",
        b"DATA 5 5",
        b"DATA  5",
        b"DATA 5 ",
        b"DATA 5\r",
        b"DATA 5\n",
        b" DATA 5",
        b"DATA\t5",
        b"DATA 16777217",
        b"DATA 99999999",
        b"DATA 1099511627776",
        b"DATA " + b"9" * 40,
        "DATA \u0665".encode(),
        b"DATA \xff5",
        b"DONE\t",
        b"DONE 00 modify",
        b"DONE 00 modify=1",
        b"DONE 00 =1;",
        b"DONE 00 ;",
        b"DONE 00 ",
        b"DONE 00 11 modify=1;",
        b"DONEX",
        b"FAILURE",
        b"226 Done.",
        b"DELE x",
        b"MODE S",
    ],
)
def test_what_is_no_frame_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_frame(line)


#: The grammar of docs/protocol.md, written once more; a digest of a wrong form is a wrong digest, not a wrong line.
GRAMMAR = re.compile(
    rb"(?i:DATA) (?P<length>[1-9][0-9]*)"
    rb"|(?i:DONE)( [^ \n]*( ([A-Za-z0-9._-]+=[^;\n]*;)+)?)?"
    rb"|(?i:FAIL)( [^\n]*)?"
)


@given(
    st.one_of(
        st.binary(max_size=40),
        st.from_regex(rb"(DATA|data|DONE|FAIL|DATA )[ 0-9+_x.-]{0,12}", fullmatch=True),
        st.from_regex(rb"DONE [0-9a-f]{0,3}( ?[a-z.]{0,3}=?[0-9;]{0,3};?){0,3}", fullmatch=True),
    )
)
@example(b"DATA 16777217")
def test_exactly_what_the_grammar_takes_is_a_frame(line: bytes) -> None:
    line = line.replace(b"\n", b"")
    match = GRAMMAR.fullmatch(line)
    legal = match is not None and int(match["length"] or 1) <= MAX_FRAME
    try:
        parse_frame(line)
    except ProtocolViolation:
        assert not legal
    else:
        assert legal


@pytest.mark.parametrize("line", [b"DATA 5", b"data", b"DONE", b"FAIL x", b"DATA -1"])
def test_a_line_that_begins_as_a_frame_is_known_for_one(line: bytes) -> None:
    assert is_frame(line)


@pytest.mark.parametrize("line", [b"", b"DATABASE", b"DONEX", b"STOR DATA 5", b"DAT 5", b"FAILURE"])
def test_other_lines_are_not_taken_for_frames(line: bytes) -> None:
    assert not is_frame(line)


@given(st.text(max_size=2000))
def test_any_reason_makes_one_line_within_the_limit(reason: str) -> None:
    line = fail_line(reason)
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == line.count(b"\r") == 1
    assert len(line) <= MAX_LINE
    assert isinstance(parse_frame(line[:-2]), Fail)


@given(
    st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    st.none() | st.integers(0, 253402300799_999_999_999),
    st.none() | st.integers(0, 0o777),
)
def test_a_done_line_comes_back_as_it_was_meant(digest: str, modified: int | None, mode: int | None) -> None:
    line = done_line(digest, Facts(modified, mode))
    assert line.endswith(b"\r\n")
    done = parse_frame(line[:-2])
    assert isinstance(done, Done)
    assert done.digest == digest
    assert read_facts(done.facts) == Facts(modified, mode)


# -- lines and raw bytes


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").rstrip(b"\r"))), st.data())
def test_lines_come_out_the_same_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.sampled_from([b"\r\n", b"\n"]), min_size=len(lines), max_size=len(lines)))
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    incoming, found = Incoming(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        incoming.feed(stream[:size])
        stream = stream[size:]
        while (line := incoming.line()) is not None:
            found.append(line)
    assert found == lines
    assert len(incoming) == 0


def test_a_line_then_raw_bytes_then_a_line_are_told_apart_one_byte_at_a_time() -> None:
    incoming, lines, raw = Incoming(), [], b""
    for byte in b"first\r\n\r\nDONE\r\nlast\r\n":
        incoming.feed(bytes([byte]))
        if len(lines) == 1 and len(raw) < 8:
            raw += bytes(incoming.raw(8 - len(raw)))
        elif (line := incoming.line()) is not None:
            lines.append(line)
    assert (lines, raw) == ([b"first", b"last"], b"\r\nDONE\r\n")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_the_longest_line_counts_its_end(end: bytes) -> None:
    incoming = Incoming()
    incoming.feed(b"x" * (MAX_LINE - len(end)) + end)
    assert incoming.line() == b"x" * (MAX_LINE - len(end))
    incoming.feed(b"x" * (MAX_LINE - len(end) + 1) + end)
    with pytest.raises(ProtocolViolation):
        incoming.line()


def test_an_endless_line_is_refused_before_its_end_comes() -> None:
    incoming = Incoming()
    with pytest.raises(ProtocolViolation):
        for _ in range(MAX_LINE):
            incoming.feed(b"x")
            assert incoming.line() is None


def test_looking_ahead_takes_nothing() -> None:
    incoming = Incoming()
    incoming.feed(b"a\r\nb\nc")
    incoming.line()
    assert incoming.peek(incoming.taken) == (b"b", incoming.taken + 2)
    assert incoming.peek(incoming.taken + 2) is None
    assert incoming.line() == b"b"


def test_positions_go_on_counting_when_more_arrives() -> None:
    incoming = Incoming()
    incoming.feed(b"one\r\ntw")
    assert (incoming.line(), incoming.taken) == (b"one", 5)
    incoming.feed(b"o\r\nthree\r\n")
    assert incoming.peek(10) == (b"three", 17)
    assert (incoming.line(), incoming.taken) == (b"two", 10)


def test_what_is_thrown_away_is_gone() -> None:
    incoming = Incoming()
    incoming.feed(b"one\r\ntwo\r\n")
    incoming.clear()
    assert (len(incoming), incoming.line()) == (0, None)
    incoming.feed(b"three\r\n")
    assert incoming.line() == b"three"


# -- sequences


@given(st.lists(st.binary(min_size=1, max_size=50)), st.data())
def test_a_sequence_has_the_same_bytes_however_it_is_cut(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(b"DATA %d\r\n%s" % (len(piece), piece) for piece in pieces) + b"DONE 00\r\nNOOP\r\n"
    incoming, reader, got, end = Incoming(), SequenceReader(), b"", None
    while stream:
        size = data.draw(st.integers(1, min(len(stream), 64)))
        incoming.feed(stream[:size])
        stream = stream[size:]
        while end is None and (item := reader.next(incoming)) is not None:
            if isinstance(item, memoryview):
                assert len(item) > 0
                got += bytes(item)
            else:
                end = item
    assert got == b"".join(pieces)
    assert end == Done("00")
    assert incoming.line() == b"NOOP"


#: What may stand where a sequence is due: whole ones, broken ones, and pieces of them.
BEGINNINGS = (b"DATA 5\r\n", b"DATA 05\r\n", b"DATA 5\n", b"data 5\r\n", b"hello", b"DONE ", b"0" * 32, b" ")
FACTS = b"modify=20260102030405.5;unix.mode=0640;"
ENDS = (
    FACTS,
    b"modify=20261302030405;unix.mode=0640;",
    b"\r\n",
    b"\n",
    b"FAIL\r\n",
    b"DONE 00 modify=1;\r\n",
    b"NOOP\r\n",
)
PIECES = st.sampled_from((*BEGINNINGS, *ENDS))
USUAL = b"DATA 5\r\nhelloDONE " + b"0" * 32 + b" " + FACTS + b"\r\n"


@given(st.one_of(st.just(USUAL), st.lists(PIECES, max_size=8).map(b"".join)), st.booleans())
def test_the_short_cut_for_small_sequences_finds_what_the_careful_way_does(stream: bytes, is_cut: bool) -> None:
    stream = stream[:-1] if is_cut else stream + b"NOOP\r\n"
    quick, careful = Incoming(), Incoming()
    quick.feed(stream)
    careful.feed(stream)
    found = quick.small_sequence()
    assert found is not None or stream != USUAL + b"NOOP\r\n"
    if found is None:
        assert len(quick) == len(stream)  # untouched
        return
    reader = SequenceReader()
    assert bytes(reader.next(careful) or b"") == found[0]
    end = reader.next(careful)
    assert isinstance(end, Done)
    assert (end.digest, read_facts(end.facts)) == found[1:]
    assert quick.taken == careful.taken


def test_data_that_looks_like_an_end_is_data() -> None:
    incoming, reader = Incoming(), SequenceReader()
    incoming.feed(b"DATA 16\r\n\r\nDONE\r\nDELE x\r\nFAIL no\r\n")
    assert bytes(reader.next(incoming) or b"") == b"\r\nDONE\r\nDELE x\r\n"
    assert reader.next(incoming) == Fail("no")


def test_a_command_inside_of_a_sequence_is_a_violation() -> None:
    incoming, reader = Incoming(), SequenceReader()
    incoming.feed(b"DATA 1\r\nxMODE S\r\n")
    reader.next(incoming)
    with pytest.raises(ProtocolViolation):
        reader.next(incoming)
