"""What a person means by a server: `host`, `user@host`, `host:port`, or a URL such as `ftp://user@host:port/folder`."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from ftpsvc.clienttls import Protection
from ftpsvc.model import BadArgument, decode_name, encode_name
from ftpsvc.wire import DEFAULT_PORT
from ftpsvc.words import quote

#: The options that say how much TLS is wanted.
OPTIONS = {"--tls": Protection.REQUIRED, "--implicit": Protection.IMPLICIT, "--clear": Protection.NONE}

#: The same as the schemes of URLs.
SCHEMES = {"ftp": Protection.OFFERED, "ftpes": Protection.REQUIRED, "ftps": Protection.IMPLICIT}

USAGE = "Use: connect [--tls | --implicit | --clear] [--fingerprint <SHA-256>] [user@]<host> [port]"


@dataclass(frozen=True, slots=True)
class Target:
    """A server, who is to log in there, with how much TLS, and what is meant of it."""

    host: str
    port: int = DEFAULT_PORT
    user: str = ""  #: empty: whom ~/.netrc names, or anonymous
    protection: Protection = Protection.OFFERED
    fingerprint: str = ""  #: what its certificate has to have; empty: whatever is known of it
    path: str = ""  #: empty where none was named

    @property
    def typed(self) -> str:
        """How it is typed behind `connect`."""
        option = next((f"{name} " for name, meant in OPTIONS.items() if meant is self.protection), "")
        user = f"{quote(self.user)}@" if self.user else ""
        return f"{option}{user}{quote(self.host)} {self.port}"

    @property
    def url(self) -> str:
        """As it can be kept."""
        scheme = next((name for name, meant in SCHEMES.items() if meant is self.protection), "ftp")
        user = f"{_encoded(self.user, '')}@" if self.user else ""
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host  # RFC 6874
        return f"{scheme}://{user}{host}:{self.port}{_encoded(self.path, '/')}"


#: Paths that files are brought to, and where each comes from: the server, and the path at the other end.
Names = dict[str, tuple[Target, str]]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"(?:\[(?P<bracketed>[^\[\]\s]+)\]|(?P<host>[^\s/\[\]:]+))(?::(?P<port>[^/:]*))?")
_PORT = re.compile("[0-9]{1,5}")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[^\s/\[\]:]+)?")


def is_url(word: str) -> bool:
    """Whether a word is a URL, of whatever kind."""
    return _SCHEME.match(word) is not None


def target_of(word: str, port: str = "") -> Target:
    """What is meant by a host, with its port in the same word or in the next.

    Raises `BadArgument`, and never repeats what may be a password.
    """
    scheme = _SCHEME.match(word)
    protection = _protection(scheme[1].lower()) if scheme else Protection.OFFERED
    rest = word[scheme.end() :] if scheme else word
    where, slash, path = rest.partition("/") if scheme else (rest, "", "")  # there may be an @ in the path, too
    before, _, where = where.rpartition("@")
    if ":" in before:
        raise BadArgument(
            "a password has no place in a line: lines are kept. It is asked for, or comes from ~/.netrc, "
            "FTPSVC_PASSWORD or FTPSVC_PASSWORD_COMMAND."
        )
    host, its_port = _host_and_port(where)
    its_number = _number(its_port, host, False) if its_port else None  # a number is no password, and may be repeated
    number = _number(port, host, True) if port else its_number or DEFAULT_PORT
    if its_number not in (None, number):
        raise BadArgument(f"two ports, {its_port} and {port}. Use: connect {quote(host)} {port}")
    user = _decoded(before) if scheme else before
    path = _without_type(path) if scheme else path
    return Target(host, number, user, protection, path=_decoded(slash + path))


def _without_type(path: str) -> str:
    """A URL's path without how it is to be sent (RFC 1738, section 3.2.2). Raises `BadArgument` for text.

    A name that ends so is written with %3B.
    """
    name, found, how = path.rpartition(";type=")
    if not found or how.lower() not in ("a", "d", "i"):
        return path
    if how.lower() == "a":
        raise BadArgument("files are sent as they are, and not as text (;type=a).")
    return name


def _protection(scheme: str) -> Protection:
    if scheme not in SCHEMES:
        raise BadArgument(f"{scheme}:// is nothing that ftpsvc speaks. Use: ftp://user@host:port/path")
    return SCHEMES[scheme]


def _host_and_port(where: str) -> tuple[str, str]:
    if _BARE_IPV6.fullmatch(where):
        return where, ""
    match = _HOST.fullmatch(where)
    if match is None:
        typed = "what stands there" if ":" in where else quote(where)  # as in `_number`
        raise BadArgument(f"{typed} is no name that a host can have. {USAGE}")
    return (match["bracketed"] or match["host"]).replace("%25", "%"), match["port"] or ""


def _number(port: str, host: str, is_word: bool) -> int:
    if _PORT.fullmatch(port) and 0 < int(port) < 65536:
        return int(port)
    # Behind a name and a colon may stand a password, whose @ was forgotten or has a slash before it.
    typed = f'"{port}"' if is_word or port.isdigit() else "what stands behind the colon"
    raise BadArgument(f"{typed} is no port; those are 1 to 65535. Use: connect {quote(host)} {DEFAULT_PORT}")


def _decoded(text: str) -> str:
    return decode_name(urllib.parse.unquote_to_bytes(encode_name(text)))


def _encoded(text: str, safe: str) -> str:
    return urllib.parse.quote(encode_name(text), safe=safe)
