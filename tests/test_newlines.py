from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.newlines import FromWire, ToWire

texts = st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r\n"])).map(b"".join)
cuts = st.lists(st.integers(1, 5), min_size=1)


def pieces(text: bytes, sizes: list[int]) -> list[bytes]:
    found, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        found.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return found


@given(texts, cuts)
def test_a_line_feed_leaves_with_a_carriage_return_wherever_chunks_end(text: bytes, sizes: list[int]) -> None:
    lines = ToWire()
    assert b"".join(lines.convert(piece) for piece in pieces(text, sizes)) == re.sub(b"(?<!\r)\n", b"\r\n", text)


@given(texts, cuts)
def test_a_line_end_arrives_as_a_line_feed_wherever_chunks_end(text: bytes, sizes: list[int]) -> None:
    lines = FromWire()
    got = b"".join(lines.convert(piece) for piece in pieces(text, sizes)) + lines.rest()
    assert got == re.sub(b"\r\n", b"\n", text)


@given(texts.filter(lambda text: b"\r" not in text))
def test_a_text_comes_back_as_it_was(text: bytes) -> None:
    assert FromWire().convert(ToWire().convert(text)) == text
