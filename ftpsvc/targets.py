"""What a person means by a server: `host`, `host:port`, or a URL such as `ftp://user@host:port/folder`."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field

from ftpsvc.model import BadArgument, decode_name, encode_name
from ftpsvc.wire import DEFAULT_PORT
from ftpsvc.words import quote

#: Who has no account.
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Target:
    """A server, who is to log in there, and what is meant of it."""

    host: str
    port: int = DEFAULT_PORT
    user: str = ANONYMOUS
    path: str = ""  #: empty where none was named
    password: str | None = field(default=None, repr=False)  #: None: to be asked for, where one is needed

    @property
    def url(self) -> str:
        """As it can be written down: without the password."""
        user = "" if self.user == ANONYMOUS else f"{_encoded(self.user, '')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ftp://{user}{host}:{self.port}{_encoded(self.path, '/')}"


_URL = re.compile(
    r"""
    (?: (?P<scheme> [A-Za-z][A-Za-z0-9+.-]* ):// )?
    (?: (?P<user> [^@/:]* ) (?: : (?P<password> [^@/]* ) )? @ )?
    (?: \[ (?P<bracketed> [^\[\]]+ ) \] | (?P<host> [^\s/\[\]:]+ ) )
    (?: : (?P<port> [^/:]* ) )?
    (?P<path> /.* )?
    """,
    re.VERBOSE | re.DOTALL,
)

_BARE_IPV6 = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\w+)?")


def is_url(word: str) -> bool:
    """Whether a word is a URL, of whatever kind."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", word) is not None


def target_of(word: str, port: str = "") -> Target:
    """What is meant by a host, with its port in the same word or in the next. Raises `BadArgument`."""
    match = _URL.fullmatch(word)
    if _BARE_IPV6.fullmatch(word):
        return Target(word, _number(port, word) if port else DEFAULT_PORT)
    if match is None or (match["path"] and not match["scheme"]):
        raise BadArgument(f"{quote(word)} is no name that a host can have. Use: connect <host> [port]")
    if match["scheme"] and match["scheme"].lower() != "ftp":
        raise BadArgument(f"{match['scheme']}:// is nothing that ftpsvc speaks. Use: ftp://user@host:port/path")
    if port and match["port"] and match["port"] != port:
        raise BadArgument(f"two ports, {match['port']} and {port}. Use: connect {quote(match['host'])} {port}")
    return Target(
        match["bracketed"] or match["host"],
        _number(port or match["port"], match["bracketed"] or match["host"]) if port or match["port"] else DEFAULT_PORT,
        _decoded(match["user"]) if match["user"] else ANONYMOUS,
        _decoded(match["path"] or ""),
        None if match["password"] is None else _decoded(match["password"]),
    )


def _number(port: str, host: str) -> int:
    if port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536:
        return int(port)
    raise BadArgument(f'"{port}" is no port; those are 1 to 65535. Use: connect {quote(host)} {DEFAULT_PORT}')


def _decoded(text: str) -> str:
    return decode_name(urllib.parse.unquote_to_bytes(encode_name(text)))


def _encoded(text: str, safe: str) -> str:
    return urllib.parse.quote(encode_name(text), safe=safe)
