"""HASH, RANG and their older relatives."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from pathlib import Path

import pytest
import support
import xxhash
from support import Conversation, Sequence, as_ann

from ftpsvc.factory import MAX_ASIDE, MAX_DIGESTS
from ftpsvc.model import EVERYTHING, Permission

DATA = bytes(range(256)) * 10_000  # more than two chunks

EXPECTED = {
    "SHA-256": hashlib.sha256(DATA).hexdigest(),
    "SHA-512": hashlib.sha512(DATA).hexdigest(),
    "SHA-1": hashlib.sha1(DATA).hexdigest(),
    "MD5": hashlib.md5(DATA).hexdigest(),
    "CRC32": f"{zlib.crc32(DATA):08x}",
    "XXH3-128": xxhash.xxh3_128_hexdigest(DATA),
}


@pytest.fixture
def talk(tmp_path: Path) -> Conversation:
    (tmp_path / "a b").write_bytes(DATA)
    return Conversation(support.local_disk(tmp_path)).log_in()


def text(talk: Conversation, line: bytes) -> str:
    return str(talk.ask(line + b"\r\n")[-1])


@pytest.mark.parametrize("algorithm", EXPECTED)
def test_each_algorithm_is_that_of_its_name(talk: Conversation, algorithm: str) -> None:
    assert text(talk, b"OPTS HASH " + algorithm.lower().encode()) == f"200 {algorithm}"
    assert text(talk, b"HASH a b") == f"213 {algorithm} 0-{len(DATA) - 1} {EXPECTED[algorithm]} a b"


def test_the_default_is_not_a_weak_one_and_the_star_in_feat_follows(talk: Conversation) -> None:
    assert text(talk, b"OPTS HASH") == "200 SHA-256"
    assert "\n HASH SHA-256*;SHA-512;SHA-1;MD5;CRC32;XXH3-128\n" in text(talk, b"FEAT")
    talk.ask(b"OPTS HASH MD5\r\n")
    assert "\n HASH SHA-256;SHA-512;SHA-1;MD5*;CRC32;XXH3-128\n" in text(talk, b"FEAT")


@pytest.mark.parametrize("name", [b"SHA-0", b"", b"SHA-256 ", b"md5;"])
def test_an_unknown_algorithm_is_501_and_the_old_one_stays(talk: Conversation, name: bytes) -> None:
    assert talk.codes(b"OPTS HASH " + name + b"\r\n") == [501]
    assert text(talk, b"OPTS HASH") == "200 SHA-256"


@pytest.mark.parametrize(
    ("verb", "algorithm"),
    [("XCRC", "CRC32"), ("XMD5", "MD5"), ("XSHA", "SHA-1"), ("XSHA1", "SHA-1"), ("XSHA256", "SHA-256")],
)
def test_the_older_commands_have_their_algorithm_in_their_name(talk: Conversation, verb: str, algorithm: str) -> None:
    expected = f"250 {EXPECTED[algorithm].upper()}"
    for argument in ("a b", '"a b"', f'"a b" 0 {len(DATA)}'):
        assert text(talk, f"{verb} {argument}".encode()) == expected
    assert f"\n {verb}\n" in text(talk, b"FEAT")


def test_an_older_command_takes_a_range_with_its_end_left_out(talk: Conversation) -> None:
    assert text(talk, b'XCRC "a b" 3 10') == f"250 {zlib.crc32(DATA[3:10]):08X}"
    assert text(talk, b"XCRC a b 3 10") == f"250 {zlib.crc32(DATA[3:10]):08X}"


def test_an_end_alone_goes_behind_a_name_in_quotation_marks_only(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / '"q" 5').write_bytes(DATA)
    assert text(talk, b'XCRC "a b" 10') == f"250 {zlib.crc32(DATA[:10]):08X}"
    assert text(talk, b'XMD5 """q"" 5" 3 10') == f"250 {hashlib.md5(DATA[3:10]).hexdigest().upper()}"
    assert talk.codes(b"XCRC a b 10\r\n") == [550]


def test_a_file_whose_name_looks_like_a_range_is_that_file(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "a b 3 10").write_bytes(b"other")
    assert text(talk, b"XCRC a b 3 10") == f"250 {zlib.crc32(b'other'):08X}"


def test_a_range_of_an_older_command_that_ends_before_it_begins_is_501(talk: Conversation) -> None:
    assert talk.codes(b'XCRC "a b" 10 3\r\nXMD5 a b 10 9\r\n') == [501, 501]
    assert text(talk, b"XCRC a b 3 3") == "250 00000000"


def test_the_longest_name_may_have_a_range_behind_it(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / ("n" * 255)).write_bytes(DATA)
    for argument in (b"%s 3 10", b'"%s" 3 10'):
        assert text(talk, b"XCRC " + argument % (b"n" * 255)) == f"250 {zlib.crc32(DATA[3:10]):08X}"
    assert talk.codes(b"XCRC " + b"n" * 256 + b" 3 10\r\n") == [553]


# -- what has no digest


@pytest.mark.parametrize(
    ("path", "code"), [(b"missing", 550), (b"folder", 553), (b"/", 553), (b"x" * 300, 553), (b"a\0b", 553)]
)
def test_what_is_no_file_has_no_digest(talk: Conversation, tmp_path: Path, path: bytes, code: int) -> None:
    (tmp_path / "folder").mkdir()
    assert talk.codes(b"HASH " + path + b"\r\n") == [code]


def test_who_may_not_read_a_file_can_not_probe_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"secret")
    talk = as_ann(tmp_path, EVERYTHING & ~Permission.READ)
    assert talk.codes(b"HASH a\r\nXMD5 a\r\nXCRC a\r\n") == [550, 550, 550]


# -- ranges


@pytest.mark.parametrize(("first", "last"), [(0, 0), (3, 9), (1_000_000, 2_500_000), (2_559_999, 9_999_999)])
def test_a_range_has_both_of_its_ends_in_it(talk: Conversation, first: int, last: int) -> None:
    part = DATA[first : last + 1]
    assert text(talk, b"RANG %d %d" % (first, last)).startswith("350 ")
    digest = hashlib.sha256(part).hexdigest()
    assert text(talk, b"HASH a b") == f"213 SHA-256 {first}-{first + len(part) - 1} {digest} a b"
    talk.ask(b"RANG %d %d\r\n" % (first, last))
    opening, sequence, closing = talk.ask(b"RETR a b\r\n")
    assert isinstance(sequence, Sequence) and sequence.data == part
    assert str(opening).endswith(f"({len(part)} bytes)")
    assert str(closing) == f"226 Sent {len(part)} bytes."


def test_behind_the_end_there_is_nothing(talk: Conversation) -> None:
    nothing = hashlib.sha256(b"").hexdigest()
    assert nothing in text(talk, b"RANG 9999999 99999999\r\nHASH a b")
    talk.ask(b"RANG 9999999 99999999\r\n")
    assert [a.data for a in talk.ask(b"RETR a b\r\n") if isinstance(a, Sequence)] == [b""]


def test_a_range_holds_for_the_next_command_only(talk: Conversation) -> None:
    assert talk.codes(b"RANG 0 1\r\nNOOP\r\n") == [350, 200]
    assert EXPECTED["SHA-256"] in text(talk, b"HASH a b")


def test_range_and_restart_take_each_other_back(talk: Conversation) -> None:
    whole = len(DATA)
    assert f"0-{whole - 1} " in text(talk, b"RANG 0 9\r\nREST 5\r\nHASH a b")
    sequences = [a for a in talk.ask(b"REST 5\r\nRANG 0 9\r\nRETR a b\r\n") if isinstance(a, Sequence)]
    assert sequences[0].data == DATA[:10]
    assert f"0-{whole - 1} " in text(talk, b"RANG 0 9\r\nRANG 1 0\r\nHASH a b")


@pytest.mark.parametrize(
    "range_", [b"2 1", b"5", b"", b"-1 5", b"+1 5", b"1  5", b"1 5 ", b"a b", b"1_0 20", b"0 %d" % 2**63]
)
def test_a_range_that_is_none_is_501(talk: Conversation, range_: bytes) -> None:
    assert talk.codes(b"RANG " + range_ + b"\r\n") == [501]


def test_a_range_counts_bytes_and_text_has_none(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path)).log_in(inline=False)
    assert talk.codes(b"TYPE A\r\nRANG 0 9\r\nTYPE I\r\nRANG 0 9\r\n") == [200, 551, 200, 350]


@pytest.mark.parametrize("verb", [b"STOR a b", b"APPE a b", b"STOU"])
def test_an_upload_into_the_middle_of_a_file_is_refused(talk: Conversation, tmp_path: Path, verb: bytes) -> None:
    assert talk.codes(b"RANG 0 9\r\n" + verb + b"\r\n" + support.frames(b"new")) == [350, 503]
    assert (tmp_path / "a b").read_bytes() == DATA


# -- beside the reactor


def test_others_are_served_while_a_digest_is_computed(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(DATA)
    run = support.by_hand()
    disk = support.local_disk(tmp_path)
    slow = Conversation(disk, run).log_in()
    assert slow.codes(b"HASH big\r\nNOOP\r\n") == []
    assert run.jobs, "the work was not left to a thread"
    other = Conversation(disk).log_in()
    assert other.codes(b"NOOP\r\n") == [200]
    for _ in range(3):
        run.fire()
        slow.link.pump()
    assert EXPECTED["SHA-256"] in str(slow.take()[0])


def test_a_client_who_has_gone_ends_its_digest(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(DATA)
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path), run).log_in()
    talk.send(b"HASH big\r\n")
    talk.link.close()
    run.fire()
    assert not run.jobs, "it went on with the next chunk"


def test_too_many_digests_at_once_are_asked_to_come_back(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(DATA)
    run = support.by_hand()
    disk = support.local_disk(tmp_path, run)
    talk = Conversation(disk, run).log_in()
    factory = talk.factory
    with contextlib.ExitStack() as others:
        for _ in range(MAX_DIGESTS):
            others.enter_context(factory.digesting())
        for line in (b"HASH big\r\n", b"XMD5 big\r\n"):
            assert talk.codes(line, b"NOOP\r\n") == [450, 200]
    talk.send(b"HASH big\r\n")
    while run.jobs:
        run.fire()
        talk.link.pump()
    assert talk.codes() == [213]


def test_a_hundred_sessions_do_not_take_every_thread(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(DATA)
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path), run).log_in()
    factory = talk.factory
    for _ in range(100):
        factory.aside(len, b"x")
    assert len(run.jobs) == MAX_ASIDE
