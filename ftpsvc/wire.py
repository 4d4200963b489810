"""Commands and replies <-> bytes (RFC 959, sections 4 and 5), and the one table of errors and reply codes.

Both ends import this module; frames, the other half of what crosses the wire, are in `frames`, and listing lines
in `listing`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ftpsvc import model
from ftpsvc.model import BadCommand, ProtocolViolation, TransferError, decode_name, encode_name

#: Where the server listens and clients connect, if nothing is said: it takes no root, as FTP's own 21 would.
DEFAULT_PORT = 5000

#: The protocol's name in ALPN (RFC 7301). Who is led by it can't be led to a server of something else.
ALPN = b"ftp"

# -- commands ------------------------------------------------------------------------------------------------


class Command(NamedTuple):
    """One command: its verb in upper case, and its argument exactly as it was sent (RFC 3659, section 2.2).

    None is no argument at all; an empty one had a space after the verb.
    """

    verb: str
    argument: str | None = None

    def __repr__(self) -> str:
        hidden = self.verb in SECRET_VERBS and self.argument is not None
        return f"Command({self.verb!r}, {'<hidden>' if hidden else repr(self.argument)})"


#: Verbs whose argument is never printed, logged or shown.
SECRET_VERBS = frozenset({"PASS", "ACCT", "ADAT"})

_COMMAND = re.compile(rb"([A-Za-z][A-Za-z0-9]{0,11})(?: (.*))?", re.DOTALL)

# RFC 854: IAC and a command, some with one more octet (WILL, WONT, DO, DONT). An IAC before anything else goes alone:
# where the urgent octet of "IAC IP IAC DM" was lost on the way, the letters behind it are still the command's.
_TELNET = re.compile(rb"\xff(\xff|[\xfb-\xfe].|[\xf0-\xfa])?", re.DOTALL)


def without_telnet(line: bytes) -> bytes:
    """A line with its Telnet commands taken out and IAC IAC and CR NUL decoded (RFC 3659, 2.2; RFC 2640, 3.1)."""
    if b"\xff" in line:
        line = _TELNET.sub(lambda match: b"\xff" if match[1] == b"\xff" else b"", line)
    return line.replace(b"\r\0", b"\r")


#: First words of protocols that a browser can be made to speak to us. A session that begins so ends at once: no line of
#: such a request may ever be taken for a command.
FOREIGN_VERBS = frozenset("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH EHLO HELO".split())

_OPTION = re.compile(rb"\xff(?:\xff|([\xfb\xfd])(.)|.)", re.DOTALL)
_REFUSALS = {b"\xfb": b"\xfe", b"\xfd": b"\xfc"}


def telnet_refusals(line: bytes) -> bytes:
    """What is due to the Telnet options in a line: DONT to each WILL, and WONT to each DO (RFC 854)."""
    return b"".join(b"\xff" + _REFUSALS[said] + option for said, option in _OPTION.findall(line) if said)


def parse_command(line: bytes) -> Command:
    """The command in a line. Raises `BadCommand` if there is none.

    The text of that error never repeats the line: what a client sends must not come back in a reply, where
    something between the two might take it for the server's own words.
    """
    match = _COMMAND.fullmatch(line)
    if match is None:
        line = without_telnet(line)
        match = _COMMAND.fullmatch(line)
    elif b"\xff" in line or b"\0" in line:
        match = _COMMAND.fullmatch(without_telnet(line))
    if match is None:
        raise BadCommand("That is no command." if line else "An empty line is no command.")
    argument = match[2]
    return Command(match[1].decode("ascii").upper(), None if argument is None else decode_name(argument))


def format_command(command: Command) -> bytes:
    """The line for a command, its end included. Raises `BadArgument` for one that would not be a single line."""
    if command.argument is None:
        return command.verb.encode("ascii") + b"\r\n"
    argument = encode_name(command.argument)
    if b"\n" in argument or b"\r" in argument or b"\0" in argument:
        raise model.BadArgument("A name with CR, LF or NUL can't be sent in a command.")
    if b"\xff" in argument:
        argument = argument.replace(b"\xff", b"\xff\xff")
    return command.verb.encode("ascii") + b" " + argument + b"\r\n"


# -- replies -------------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """One reply: a code, the text of its last line, and for a long one the lines before that.

    `opening`: the text of the 150 that goes before it, where that wasn't sent when the transfer began.
    """

    code: int
    text: str
    inner: tuple[str, ...] = ()
    opening: str = ""

    @property
    def is_refusal(self) -> bool:
        return self.code >= 400 or self.code == 332  # an account is wanted (ACCT), and there is none to give


def format_reply(reply: Reply) -> bytes:
    """A reply's bytes. Inner lines are indented, so that none can be taken for the last (RFC 959, section 4.2)."""
    text = _one_line(reply.text)
    if reply.opening:
        return b"150 %s\r\n%d %s\r\n" % (_one_line(reply.opening), reply.code, text)
    if not reply.inner:
        return b"%d %s\r\n" % (reply.code, text)
    first, *rest = reply.inner
    lines = [b"%d-%s" % (reply.code, _one_line(first)), *(b" " + _one_line(line) for line in rest)]
    return b"\r\n".join([*lines, b"%d %s\r\n" % (reply.code, text)])


def _one_line(text: str) -> bytes:
    # Whatever a name holds, a reply stays the lines it was meant to be.
    line = encode_name(text)
    if b"\r" in line or b"\n" in line or b"\0" in line:
        line = re.sub(rb"[\r\n\0]", b"?", line)
    return line.replace(b"\xff", b"\xff\xff") if b"\xff" in line else line


def features_of(reply: Reply) -> dict[str, str]:
    """What FEAT lists: `MODE I` and the like as they are, and each first word with what stands behind it."""
    features: dict[str, str] = {}
    for line in reply.inner[1:]:
        feature = line.strip().upper()
        features[feature] = ""
        word, _, rest = line.strip().partition(" ")
        features.setdefault(word.upper(), rest)
    return features


_REPLY = re.compile(rb"([1-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)

#: The most lines one reply may have. Long ones are FEAT, HELP, STAT of a path; this bounds a hostile server.
MAX_REPLY_LINES = 100_000


class ReplyReader:
    """Puts the lines of a reply together. Takes the inner lines of every server that was met: indented or not."""

    __slots__ = ("_code", "_inner")

    def __init__(self) -> None:
        self._code = b""
        self._inner: list[str] = []

    def line(self, line: bytes) -> Reply | None:
        """The reply that this line ends, or None. Raises `ProtocolViolation` for what is no reply."""
        if not self._code:
            if line[3:4] == b" " and line[:3].isdigit() and b"100" <= line[:3] < b"600":
                return Reply(int(line[:3]), _text(line[4:]))
            match = _REPLY.fullmatch(line)
            if match is None:
                raise ProtocolViolation(f"The server sent what is no reply: {_excerpt(line)}")
            code, separator, text = match.groups()
            if separator is None:
                return Reply(int(code), "")
            self._code, self._inner = code, [_text(text)]
            return None
        if line.startswith(self._code) and line[3:4] in (b" ", b""):
            reply = Reply(int(self._code), _text(line[4:]), tuple(self._inner))
            self._code, self._inner = b"", []
            return reply
        if len(self._inner) >= MAX_REPLY_LINES:
            raise ProtocolViolation(f"The server's reply has more than {MAX_REPLY_LINES} lines.")
        # There are servers that put the code before each line, also where that is forbidden (RFC 2389, section 3.2).
        self._inner.append(_text(line.removeprefix(self._code + b"-")))
        return None


def _text(line: bytes) -> str:
    return decode_name(without_telnet(line) if b"\xff" in line or b"\0" in line else line)


def _excerpt(line: bytes) -> str:
    return repr(line[:60].decode("ascii", "replace"))


def quoted(path: str) -> str:
    """A path as 257 bears it: in quotes, with the quotes in it doubled (RFC 959, appendix II)."""
    return '"' + path.replace('"', '""') + '"'


def unquoted(text: str) -> str:
    """The path in the text of a 257."""
    match = re.match(r'"((?:[^"]|"")*)"', text)
    if match is None:
        raise ProtocolViolation("The server's 257 has no path in quotes.")
    return match[1].replace('""', '"')


# -- errors <-> reply codes ----------------------------------------------------------------------------------

#: The one table. A server answers an error with the first row that it is an instance of; a client raises, for a code,
#: the class of the last row with that code, which is the most general one.
CODES: tuple[tuple[type[TransferError], int], ...] = (
    (model.ProtocolViolation, 500),
    (model.BadCommand, 500),
    (model.BadArgument, 501),
    (model.NotImplementedHere, 502),
    (model.BadSequence, 503),
    (model.BadParameter, 504),
    (model.NotLoggedIn, 530),
    (model.Stopping, 421),
    (model.ServiceClosing, 421),
    (model.Unprotected, 521),
    (model.HandshakeFailed, 522),
    (model.NotProtected, 533),
    (model.RefusedByPolicy, 534),
    (model.UnsupportedProtection, 536),
    (model.NoDataConnection, 425),
    (model.ConnectionFailed, 426),
    (model.Aborted, 426),
    (model.Busy, 450),
    (model.Damaged, 451),
    (model.LocalFault, 451),
    (model.NoSpace, 452),
    (model.NotFound, 550),
    (model.Denied, 550),
    (model.Unavailable, 550),
    (model.WrongType, 551),
    (model.OverQuota, 552),
    (model.InvalidName, 553),
    (model.BadOffset, 554),
)

_ERRORS: dict[int, type[TransferError]] = {code: error for error, code in CODES} | {332: model.NotLoggedIn}


def reply_for(error: TransferError) -> Reply:
    """The reply that tells a client of an error."""
    code = next((code for kind, code in CODES if isinstance(error, kind)), 451)
    return Reply(code, str(error))


def error_for(reply: Reply) -> TransferError:
    """The error that a refusal means, with the code and the server's own words in its text."""
    kind = _ERRORS.get(reply.code, model.Unavailable if reply.code >= 500 else model.Busy)
    error = kind(f"{reply.code} {reply.text}")
    error.is_answer = True
    return error


def error_behind(reply: Reply, before: TransferError | None) -> TransferError:
    """The same for a refusal behind a sequence, where `before` is what was wrong with that.

    Behind FAIL (`Aborted`) the code says of what kind the error is, and both texts why. 426 and 451 say no more than
    that the transfer broke off, and what came of it may be gone on from. What was found wrong at this end counts for
    more than what the server makes of it.
    """
    error = error_for(reply)
    if before is None or isinstance(error, model.ServiceClosing):
        return error
    if not isinstance(before, model.Aborted):
        return before
    has_said_it = reply.text.rstrip(".") in str(before)
    text = f"{reply.code} {before}" if has_said_it else f"{error} {before}"
    if isinstance(error, model.Aborted | model.LocalFault):
        return before if has_said_it else model.Aborted(text)
    behind = type(error)(text)
    behind.is_answer = True
    return behind
