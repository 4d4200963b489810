"""The live page: what the server sends, and to whom. What a browser makes of it is in test_livepage_browser.py."""

from __future__ import annotations

import html.parser
import re
import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from support import by_hand, make_clock, result_of, start
from test_monitor import Answer, Watched

from ftpsvc import operatortoken
from ftpsvc.diskspace import FRESH, PATIENCE, DiskSpace, spaces_of
from ftpsvc.limits import Limits
from ftpsvc.livepage import MAX_ROWS, is_ours, put_below
from ftpsvc.operatortoken import Token
from ftpsvc.overview import MAX_FAILURES, Overview
from ftpsvc.plot import HEIGHT, WIDTH, plot
from ftpsvc.recording import GATHER
from ftpsvc.service import FileService
from ftpsvc.throughput import SAMPLES, Sample

SECRET = "x" * 32


class Shown(Watched):
    """A server with the page, in memory."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        super().__init__(folder, limits=limits)
        factory = self.talk.factory
        space = DiskSpace(lambda: [str(folder)], factory.run, self.talk.clock)
        self.overview = Overview(factory, space, FileService(self.probe, factory, [], [], lambda: None))  # type: ignore[arg-type]
        put_below(self.monitor.root, self.overview, Token(SECRET))

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return super().ask(path, method, **{"host": "localhost:9090", **named})

    def end(self, number: object, token: str = SECRET, **headers: str) -> Answer:
        return self.ask("/end", "POST", authorization=f"Bearer {token}", session_number=str(number), **headers)


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """At a server that moves ten thousand bytes a second."""
    return Shown(tmp_path, Limits(session_up=10_000, session_down=10_000))


class Reader(html.parser.HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_shows_sessions_transfers_and_disks(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(bytes(50_000))
    shown.talk.log_in().send(b"RETR film\r\n")
    page = Reader(shown.ask("/").body)
    assert "1 session, 1 transfer." in page.text
    assert "/film" in page.text
    (progress,) = page.all("progress")
    assert progress["max"] == "50000"
    (button,) = page.all("button")
    assert button["aria-label"] == "End session 1 of anonymous"
    assert str(tmp_path) in page.text
    guest = shown.overview.sessions.find(1)
    assert guest is not None
    guest.drop()
    shown.talk.link.pump()
    assert "0 sessions, 0 transfers." in Reader(shown.ask("/live").body).text


def test_each_table_has_a_caption_and_heads_and_each_field_a_label(shown: Shown) -> None:
    shown.talk.log_in()
    result_of(shown.overview.ban(ip_network("192.0.2.0/24"), 60))
    page = Reader(shown.ask("/").body)
    assert len(page.all("table")) == len(page.all("caption")) == 3  # sessions, bans, disks
    assert {th["scope"] for th in page.all("th")} == {"col", "row"}
    assert [label["for"] for label in page.all("label")] == [page.all("input")[0]["id"]]
    assert page.all("html") == [{"lang": "en"}]
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))


@pytest.mark.parametrize("path", ["/", "/live", "/page.js", "/page.css", "/end"])
def test_a_browser_is_told_to_load_nothing_from_elsewhere(shown: Shown, path: str) -> None:
    answer = shown.ask(path)
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_the_page_needs_nothing_from_elsewhere(shown: Shown) -> None:
    page = Reader(shown.ask("/").body)
    wanted = [one["href"] for one in page.all("link")] + [one["src"] for one in page.all("script")]
    assert wanted == ["data:,", "page.css", "page.js"]
    assert shown.ask("/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert shown.ask("/page.css").headers["content-type"] == "text/css; charset=utf-8"
    for path in ("/", "/page.js", "/page.css"):
        assert "://" not in shown.ask(path).body
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]


HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;</td><script>alert(2)</script>\x1b[2J\u202e\udcfe"


def test_hostile_names_are_text(shown: Shown) -> None:
    name = HOSTILE.replace("/", "|").encode("utf-8", "surrogateescape")
    shown.talk.log_in()
    shown.talk.send(b"STOR ", name, b"\r\nDATA 5\r\nab")
    page = Reader(shown.ask("/").body)
    assert page.all("img") == []
    assert page.all("script") == [{"src": "page.js", "defer": None}]
    assert "/<img src=x onerror=alert(1)>\"'&amp;<|td><script>alert(2)<|script>\\x1b[2J\\u202e\\udcfe" in page.text
    shown.talk.send(b"c", b"dDONE\r\n")  # no frame: the upload fails
    shown.talk.link.pump()
    shown.talk.clock.advance(GATHER)
    page = Reader(shown.ask("/live").body)
    assert page.all("img") == page.all("script") == []
    assert "onerror=alert(1)" in page.text


def test_the_newest_failures_stand_first_and_not_all_are_kept(shown: Shown) -> None:
    shown.talk.log_in()
    for number in range(MAX_FAILURES + 5):
        shown.talk.send(f"RETR none{number:02}\r\n".encode())
    shown.talk.clock.advance(GATHER)
    found = re.findall(r"/none(\d\d)</th>", shown.ask("/live").body)
    assert found == [f"{number:02}" for number in reversed(range(5, MAX_FAILURES + 5))]


def test_more_sessions_than_a_page_has_are_counted(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftpsvc.livepage.MAX_ROWS", 0)
    shown.talk.log_in()
    text = Reader(shown.ask("/").body).text
    assert "1 session, 0 transfers." in text
    assert MAX_ROWS >= 100


def test_what_has_just_ended_is_counted_at_once(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"12345")
    shown.talk.log_in().send(b"RETR small\r\n")
    shown.talk.clock.advance(GATHER / 10)
    shown.talk.link.pump()
    assert shown.overview.sessions.present()[0].session.moving is None
    assert shown.overview.throughput.total() == (0, 5)


# -- who may


def test_the_token_ends_a_session(shown: Shown) -> None:
    shown.talk.log_in()
    answer = shown.end(1)
    assert answer[::2] == (200, "Session 1 (anonymous from somebody) was ended.\n")
    shown.talk.link.pump()
    assert shown.talk.take() == ["421 An operator has ended this session."]
    assert shown.end(1).status == 404


@pytest.mark.parametrize("token", ["", "wrong", SECRET + "x", SECRET[:-1], "\u00e9" * 32])
def test_without_the_token_nobody_is_ended(shown: Shown, token: str) -> None:
    shown.talk.log_in()
    assert shown.end(1, token).status == 401
    assert shown.ask("/end", "POST", session_number="1").status == 401
    assert shown.ask(f"/end?token={SECRET}&id=1", "POST").status == 401
    assert shown.ask("/end", "POST", authorization=f"Basic {SECRET}", session_number="1").status == 401
    assert shown.talk.codes(b"NOOP\r\n") == [200]


@pytest.mark.parametrize("number", ["", "one", "-1", "1.0", "9" * 30, "2"])
def test_only_a_sessions_number_ends_one(shown: Shown, number: str) -> None:
    shown.talk.log_in()
    assert shown.end(number).status == 404
    assert shown.talk.codes(b"NOOP\r\n") == [200]


def test_looking_ends_nobody(shown: Shown) -> None:
    shown.talk.log_in()
    assert shown.ask("/end", authorization=f"Bearer {SECRET}", session_number="1").status == 405
    assert shown.ask("/", "POST").status == 405
    assert shown.ask("/end", "OPTIONS").status == 405
    assert shown.talk.codes(b"NOOP\r\n") == [200]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:9090", "127.0.0.1.evil.example", "", "\udcff"]
)
@pytest.mark.parametrize("path", ["/", "/live", "/end"])
def test_a_name_that_is_not_ours_is_refused(shown: Shown, path: str, host: str) -> None:
    answer = shown.ask(path, host=host)
    assert answer.status == 403
    assert "session" not in answer.body
    assert shown.end(1, host=host).status == 403


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.:9090", "127.0.0.1:9090", "[::1]:9090", "192.0.2.7", socket.gethostname()]
)
def test_addresses_and_this_machines_names_are_ours(host: str) -> None:
    assert is_ours(host)


def test_who_sends_a_body_is_cut_off(shown: Shown) -> None:
    for header in ({"content_length": "5"}, {"transfer_encoding": "chunked"}):
        named = {name.replace("_", "-"): value for name, value in header.items()}
        transport = shown.begin("/end", "POST", host="localhost", **named)
        assert not transport.connected
        assert transport.value() == b""


# -- the token


def test_a_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    token = operatortoken.ensure(folder)
    assert len(token.reveal()) == 32
    assert token.is_same(token.reveal().encode())
    assert (folder / operatortoken.NAME).stat().st_mode & 0o777 == 0o600
    assert operatortoken.ensure(folder).reveal() == token.reveal()
    assert token.reveal() not in repr(token)


def test_a_token_that_others_could_have_read_is_replaced(tmp_path: Path) -> None:
    first = operatortoken.ensure(tmp_path).reveal()
    (tmp_path / operatortoken.NAME).chmod(0o644)
    second = operatortoken.ensure(tmp_path).reveal()
    assert second != first
    for wrong in ("", "short\n", "x" * 99, "é" * 32):
        (tmp_path / operatortoken.NAME).write_text(wrong)
        assert len(operatortoken.ensure(tmp_path).reveal()) == 32


# -- the plot


def points(path: str) -> list[tuple[float, float]]:
    found = re.findall(r"(\S+) (\S+?)(?:L|Z)", path.removeprefix("M"))
    return [(float(x), float(y)) for x, y in found]


def test_the_newest_sample_is_at_the_right_and_the_largest_fits() -> None:
    drawn = plot([Sample(0, 0), Sample(1_500_000, 0), Sample(0, 3_000_000)])
    assert drawn.most == 5_000_000
    up, down = points(drawn.up), points(drawn.down)
    assert up[0][1] == up[-1][1] == HEIGHT
    assert up[1:-1] == [(WIDTH - 4, 160), (WIDTH - 2, 112), (WIDTH, 160)]
    assert down[-2] == (WIDTH, 64)
    assert drawn.text == ("In: 0 B/s now, 1.5 MB/s at the most. Out: 3.0 MB/s now, 3.0 MB/s at the most.")


def test_a_full_hour_fills_the_plot() -> None:
    drawn = plot([Sample(1, 1)] * SAMPLES)
    assert points(drawn.up)[0] == (2, HEIGHT)
    assert drawn.minutes == 60


def test_without_samples_there_is_nothing_to_draw() -> None:
    assert plot([]) == ("", "", 1000.0, 60, "In: nothing yet. Out: nothing yet.")


# -- disks


def test_each_disk_is_told_once_and_what_is_not_there_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (space,) = spaces_of([str(tmp_path / "none"), str(tmp_path), str(tmp_path / "home"), "nul\0"])
    assert space.folder == str(tmp_path)
    assert 0 < space.free <= space.total


def test_a_disk_that_hangs_takes_one_thread_and_little_time(tmp_path: Path) -> None:
    clock, run = make_clock(), by_hand()
    disks = DiskSpace(lambda: [str(tmp_path)], run, clock)
    first, second = start(disks.spaces()), start(disks.spaces())
    clock.advance(PATIENCE)
    assert first.result() == second.result() == []
    assert len(run.jobs) == 1
    run.fire()
    assert [space.folder for space in start(disks.spaces()).result()] == [str(tmp_path)]
    assert run.jobs == []
    clock.advance(FRESH)
    again: Any = start(disks.spaces())
    run.fire()
    assert len(again.result()) == 1
