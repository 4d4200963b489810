"""What reads bytes from the other end, each as a target for a fuzzer: any bytes in, and only domain errors out.

Beside that a target says what must hold of what was understood: that it means the same when it is written again, or
cut into other pieces. `test_parsers.py` feeds these to Hypothesis, `run.py` to atheris.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ftpsvc import addresses, frames, listing, listparser, model, newlines, patterns, wire

NOW = 1_795_327_140.0


def _text(data: bytes) -> str:
    return model.decode_name(data)


def command(data: bytes) -> None:
    """A line of a client's is a command that can be sent again as it was understood, or none."""
    try:
        found = wire.parse_command(data)
        again = wire.format_command(found).removesuffix(b"\r\n")
    except (model.BadCommand, model.BadArgument):
        return
    assert wire.parse_command(again) == found
    assert not found.argument or found.verb not in wire.SECRET_VERBS or repr(found.argument) not in repr(found)


def telnet(data: bytes) -> None:
    """No option is agreed to, and to no refusal is there an answer: else two ends could talk for ever."""
    refusals = wire.telnet_refusals(data)
    assert wire.telnet_refusals(refusals) == b""
    assert len(refusals) <= len(data)


def replies(data: bytes) -> None:
    """Lines of a server's are replies, whose text stays on its line when it is sent on."""
    reader = wire.ReplyReader()
    try:
        for line in data.split(b"\n"):
            if (reply := reader.line(line)) is not None:
                assert 100 <= reply.code < 600
                assert wire.format_reply(reply).count(b"\n") == len(reply.inner) + 1
                again = wire.ReplyReader()
                lines = wire.format_reply(reply).split(b"\r\n")[:-1]
                assert [again.line(line) for line in lines][-1] is not None
    except model.ProtocolViolation:
        pass


def frame(data: bytes) -> None:
    try:
        found = frames.parse_frame(data)
    except model.ProtocolViolation:
        return
    assert frames.is_frame(data)
    if isinstance(found, frames.Data):
        assert 1 <= found.length <= frames.MAX_FRAME
        assert frames.data_line(found.length)[:-2].upper() == data.upper()


def _read(pieces: list[bytes]) -> tuple[bytes, object, int]:
    """What a sequence in these pieces is: its data, its end or its error, and how much of it was taken."""
    incoming, reader = frames.Incoming(), frames.SequenceReader()
    received = b""
    try:
        for piece in pieces:
            incoming.feed(piece)
            while (item := reader.next(incoming)) is not None:
                if not isinstance(item, memoryview):
                    return received, item, incoming.taken
                received += item
    except model.ProtocolViolation as error:
        return received, str(error), 0
    return received, None, 0


def sequence(data: bytes) -> None:
    """Frames are the same however they are cut, and the short cut for small ones finds what the careful way does."""
    whole = _read([data])
    assert _read([data[at : at + 1] for at in range(len(data))]) == whole
    assert _read([data[at : at + 7] for at in range(0, len(data), 7)]) == whole
    incoming = frames.Incoming()
    incoming.feed(data)
    if (small := incoming.small_sequence()) is not None:
        assert whole == (small[0], frames.Done(small[1], small[2]), incoming.taken)


def facts(data: bytes) -> None:
    text = _text(data)
    frames.parse_facts(text)
    try:
        found = frames.read_facts(text)
    except model.BadArgument:
        return
    assert frames.read_facts(frames.format_facts(found)) == found


def machine_line(data: bytes) -> None:
    """A line of MLSD; what is shown of it again is the same entry, if its name is one."""
    try:
        entry = listing.harmless(listing.parse_machine_line(data)[0])
    except model.ProtocolViolation:
        return
    assert "/" not in entry.name
    if listing.is_listable(entry.name) and entry.kind in (model.Kind.FILE, model.Kind.DIRECTORY):
        again, _ = listing.parse_machine_line(model.encode_name(listing.machine_line(entry, model.EVERYTHING)))
        assert (again.name, again.kind, again.mode) == (entry.name, entry.kind, entry.mode)


def list_line(data: bytes) -> None:
    """A line of LIST. Of our own form it is the entry that it was made of."""
    entry = listparser.parse_list_line(data, NOW)
    if entry is None or not listing.is_listable(entry.name) or entry.kind is not model.Kind.FILE:
        return
    again = listparser.parse_list_line(model.encode_name(listing.long_line(entry, NOW)), NOW)
    assert again is not None
    assert (again.name, again.size, again.mode) == (entry.name, entry.size, entry.mode)


def address(data: bytes) -> None:
    text = _text(data)
    for parse in (addresses.parse_port, addresses.parse_extended):
        try:
            found = parse(text)
        except model.BadArgument:
            continue
        assert found is None or 0 <= found.port <= 65535
    for read in (addresses.extended_passive_port, addresses.passive_port):
        try:
            assert 1 <= read(text) <= 65535
        except model.ProtocolViolation:
            pass


def path(data: bytes) -> None:
    """No path leaves the root, by whatever steps."""
    cwd, _, argument = _text(data).partition("\t")
    try:
        found = model.resolve(model.resolve("/", cwd), argument)
    except model.InvalidName:
        return
    assert found.startswith("/")
    assert model.resolve("/elsewhere", found) == found
    assert not {"", ".", ".."} & set(found[1:].split("/")) or found == "/"


def pattern(data: bytes) -> None:
    text, _, name = _text(data).partition("\t")
    found = patterns.Pattern(text).matches(name)
    if not patterns.is_pattern(text):
        assert found == (text == name)


def text_lines(data: bytes) -> None:
    """TYPE A, cut anywhere, and there and back again."""
    for convert in (newlines.ToWire, newlines.FromWire):
        whole = b"".join(_converted(convert, [data]))
        assert b"".join(_converted(convert, [data[at : at + 1] for at in range(len(data))])) == whole
    if b"\r" not in data:
        wire_form = b"".join(_converted(newlines.ToWire, [data]))
        assert b"".join(_converted(newlines.FromWire, [wire_form])) == data


def _converted(kind: type[newlines.ToWire] | type[newlines.FromWire], pieces: list[bytes]) -> Iterator[bytes]:
    lines = kind()
    for piece in pieces:
        yield lines.convert(piece)
    if isinstance(lines, newlines.FromWire):
        yield lines.rest()


TARGETS: tuple[Callable[[bytes], None], ...] = (
    *(command, telnet, replies, frame, sequence, facts, machine_line, list_line, address, path, pattern, text_lines),
)


def check(data: bytes) -> None:
    """One input: its first byte says for which target the others are."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])
