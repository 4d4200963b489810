"""`--shared`: where the Redis is, and that its password is nowhere to be seen."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError

from ftpsvc.commons import Common
from ftpsvc.everywhere import entry
from ftpsvc.everywhere.address import Address, address
from ftpsvc.options import Options


def parsed(text: str) -> Address:
    found = address(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "database", "is_tls", "user", "password"),
    [
        ("redis://redis:6379/0", "redis", 6379, "", 0, False, "", ""),
        ("redis://redis.example.org", "redis.example.org", 6379, "", 0, False, "", ""),
        ("rediss://mia:p%40ss%3A@[2001:db8::1]:7000/15", "2001:db8::1", 7000, "", 15, True, "mia", "p@ss:"),
        ("redis://:secret@127.0.0.1?db=3", "127.0.0.1", 6379, "", 3, False, "", "secret"),
        ("unix:///run/redis.sock?db=2", "", 0, "/run/redis.sock", 2, False, "", ""),
        ("unix://:secret@/run/a%20b", "", 0, "/run/a b", 0, False, "", "secret"),
    ],
)
def test_what_an_address_says(
    text: str, host: str, port: int, path: str, database: int, is_tls: bool, user: str, password: str
) -> None:
    assert parsed(text) == Address(host, port, path, database, is_tls, user, password)


@pytest.mark.parametrize(
    "text",
    [
        "redis:secret@host",
        "secret",
        "http://secret@host",
        "redis://:secret@",
        "redis://:secret@host/x",
        "redis://:secret@host:port",
        "redis://:sec/ret@host",
        "redis://:secret@host?db=secret",
        "redis://:secret@host?ssl=1",
        "redis://:secret@host#0",
        "unix://secret",
        "redis://[secret",
    ],
)
def test_an_error_does_not_repeat_what_was_typed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as refusal:
        address(text)
    assert "secret" not in str(refusal.value)
    with pytest.raises(SystemExit) as end:
        Options().parseOptions([f"--shared={text}"])
    assert "--shared takes" in str(end.value) and "secret" not in str(end.value)


def test_the_password_does_not_show() -> None:
    options = Options()
    options.parseOptions(["--shared=rediss://mia:secret@host:7000/1"])
    for shown in (repr(options), repr(options["shared"]), str(options["shared"]), repr(options.chosen())):
        assert "secret" not in shown and "mia" not in shown
    assert str(options["shared"]) == "rediss://host:7000/1"
    assert str(parsed("redis://:x@[::1]")) == "redis://[::1]:6379/0"
    assert str(parsed("unix:///a?db=1")) == "unix:///a?db=1"
    again = Options()
    again.parseOptions(options.words)  # as a worker has them
    assert again["shared"] == options["shared"]


def test_without_the_option_there_is_nothing() -> None:
    options = Options()
    options.parseOptions([])
    assert options["shared"] is None and entry.joined(options, None, Common(), "a.b", None) is None


def test_without_hiredis_the_start_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ftpsvc.everywhere.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(SystemExit, match=r"pip install 'ftpsvc\[shared\]'"):
        entry.joined({"shared": parsed("redis://host")}, None, Common(), "a.b", None)


def test_each_kind_has_its_endpoint() -> None:
    reactor: Any = MemoryReactorClock()
    assert isinstance(parsed("unix:///a").endpoint(reactor), UNIXClientEndpoint)
    assert isinstance(parsed("redis://a").endpoint(reactor), HostnameEndpoint)
    assert not isinstance(parsed("rediss://a").endpoint(reactor), HostnameEndpoint)
