"""Where the Redis is, as a URL says it. It may have a password in it, so nothing here shows it as it was typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.ssl import optionsForClientTLS
from twisted.python import usage

#: Redis' own.
DEFAULT_PORT = 6379

#: For how many seconds to try to connect. Whoever waits goes by what this node knows meanwhile.
CONNECT_LIMIT = 5.0

_ADVICE = (
    "--shared takes an address like redis://host:6379/0, rediss:// for TLS, or unix:///run/redis.sock?db=0;"
    " a name and a password stand before the host, as user:password@, with %XX for what has a meaning in a URL"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One database of one Redis."""

    host: str  #: empty for a socket in the file system
    port: int
    path: str  #: of such a socket
    database: int
    is_tls: bool
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """For people; without the name and the password."""
        if self.path:
            return f"unix://{self.path}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.is_tls else ''}://{host}:{self.port}/{self.database}"

    def endpoint(self, reactor: Any) -> Any:
        """What connects there. With TLS the certificate has to be the host's, by an authority that the system trusts
        (or `SSL_CERT_FILE`)."""
        if self.path:
            return UNIXClientEndpoint(reactor, self.path, CONNECT_LIMIT)
        tcp = HostnameEndpoint(reactor, self.host, self.port, CONNECT_LIMIT)
        return wrapClientTLS(optionsForClientTLS(self.host), tcp) if self.is_tls else tcp


def address(text: str) -> Address | None:
    """Reads one; None if there is none. Raises `UsageError`, which doesn't repeat what was typed."""
    try:
        return _parsed(text) if text else None
    except ValueError:
        raise usage.UsageError(_ADVICE) from None


def _parsed(text: str) -> Address:
    url = urlsplit(text)
    query = dict(parse_qsl(url.query, strict_parsing=True)) if url.query else {}
    if url.fragment or set(query) - {"db"}:
        raise ValueError
    user, password = unquote(url.username or ""), unquote(url.password or "")
    if url.scheme == "unix":
        if not url.path.startswith("/") or url.hostname:
            raise ValueError
        return Address("", 0, unquote(url.path), _database(query.get("db", "0")), False, user, password)
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise ValueError
    database = _database(query.get("db") or url.path.removeprefix("/") or "0")
    return Address(url.hostname, url.port or DEFAULT_PORT, "", database, url.scheme == "rediss", user, password)


def _database(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise ValueError
    return int(text)
