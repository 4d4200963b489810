"""Two nodes behind HAProxy over one object storage: each sees what the other does, and no death loses a file."""

from __future__ import annotations

import ftplib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import support
import swift
from swift import Swift

from ftpsvc.objects.requests import Request

from .balanced import DEADLINE, Inline, Site, demand_haproxy, eventually
from .conftest import make_large, same

MIB = 1 << 20


class OverSwift(Site):
    """A site over a bucket."""

    def __init__(self, store: Swift, bucket: str, folder: Path) -> None:
        self.store = store
        self.bucket = bucket
        self.requests = store.requests(bucket)
        super().__init__(folder, "--root", f"s3://{bucket}/home", more=store.environment)

    def uploads(self) -> int:
        """How many there are of which the parts are there, and the object isn't."""
        return self.requests.ask(Request("GET", query={"uploads": ""})).body.count(b"<UploadId>")

    def stop(self) -> None:
        self.requests.close()
        super().stop()


@pytest.fixture
def site(store: Swift, tmp_path: Path) -> Iterator[OverSwift]:
    demand_haproxy()
    bucket = f"nodes{time.monotonic_ns()}"
    store.make_bucket(bucket)
    made = OverSwift(store, bucket, tmp_path)
    yield made
    made.stop()


def test_a_tree_goes_up_through_one_node_and_down_through_the_other(site: OverSwift, tmp_path: Path) -> None:
    near, back = tmp_path / "near", tmp_path / "back"
    (near / "deep" / "er").mkdir(parents=True)
    (near / "empty").mkdir()
    for number in range(60):
        (near / "deep" / f"f{number}").write_bytes(os.urandom(4096))
    for number, name in enumerate(("one", "deep/er/two", "deep/\u00e4 b;c")):
        (near / name).write_bytes(os.urandom(number * 1000))
        os.utime(near / name, ns=(0, 1_600_000_000_123_456_789 + number))
    make_large(near / "large", 30_000_000)
    site.client("mirror", near, site.url(1, "tree"))
    site.client("mirror", site.url(2, "tree"), back)
    assert subprocess.run(["diff", "-r", near, back]).returncode == 0
    for path in near.rglob("*"):
        if path.is_file():
            assert (back / path.relative_to(near)).stat().st_mtime_ns == path.stat().st_mtime_ns
    assert site.uploads() == 0
    # Times are exact, so a second look finds nothing to do.
    for through in (2, 0):
        assert "copied 0 files" in site.client("mirror", near, site.url(through, "tree"))


def test_a_node_that_dies_in_an_upload_leaves_the_old_file_and_a_name_that_can_be_stored(site: OverSwift) -> None:
    first = site.session(1)
    first.storbinary("STOR file", _Bytes(b"old"))
    dying = Inline(first)
    dying.begin("file", b"x" * MIB)
    for _ in range(20):
        dying.go_on(b"x" * MIB)
    eventually(site.uploads)
    site.nodes[0].kill()
    second = site.session(2)
    assert _content(second, "file") == b"old"
    second.storbinary("STOR file", _Bytes(b"new"))
    assert _content(second, "file") == b"new"
    assert second.nlst() == ["file"]
    assert site.uploads() == 1, "what the dead node has left, and the sweep removes when it is a day old"
    first.close()
    second.close()
    # The balancer sends who comes now to the node that lives.
    eventually(lambda: site.answers(site.port))


def test_an_upload_that_is_given_up_leaves_no_part(site: OverSwift) -> None:
    session = site.session(1)
    going = Inline(session)
    going.begin("file", b"x" * MIB)
    for _ in range(20):
        going.go_on(b"x" * MIB)
    eventually(site.uploads)
    session.close()
    eventually(lambda: site.uploads() == 0)
    other = site.session(2)
    assert other.nlst() == []
    other.close()


def test_a_storage_node_that_dies_in_transfers_costs_nobody_anything(site: OverSwift, tmp_path: Path) -> None:
    near = make_large(tmp_path / "near", 60_000_000)
    data = near.read_bytes()
    session = site.session(0)
    going = Inline(session)
    going.begin("file", data[:MIB])
    for at in range(MIB, 20 * MIB, MIB):
        going.go_on(data[at : at + MIB])
    site.store.kill_node(2)
    try:
        for at in range(20 * MIB, len(data), MIB):
            going.go_on(data[at : at + MIB])
        assert going.end().startswith("226")
        session.close()
        site.client("get", site.url(0, "file"), tmp_path / "back")
        assert same(near, tmp_path / "back")
    finally:
        site.store.start_node(2)


def test_while_the_engine_is_down_clients_hear_450_and_their_sessions_live_on(site: OverSwift) -> None:
    session = site.session(1)
    session.storbinary("STOR file", _Bytes(b"content"))
    site.store.stop_proxy()
    try:
        began = time.monotonic()
        with pytest.raises(ftplib.error_temp, match="450"):
            session.storbinary("STOR other", _Bytes(b"content"))
        assert time.monotonic() - began < DEADLINE
        assert session.pwd() == "/"
    finally:
        site.store.start_proxy()
    assert _content(session, "file") == b"content"
    session.close()


def test_a_download_that_broke_off_goes_on_through_another_node(site: OverSwift, tmp_path: Path) -> None:
    large = make_large(tmp_path / "large", 20_000_000)
    site.client("put", large, site.url(1, "large"))
    session = site.session(1)
    assert session.sock is not None
    with pytest.raises(_Enough):
        session.retrbinary("RETR large", _take(tmp_path / "back", 9_000_000))
    session.close()
    site.nodes[0].kill()
    begun = (tmp_path / "back").stat().st_size
    assert 0 < begun < 20_000_000
    other = site.session(2)
    with open(tmp_path / "back", "ab") as back:
        other.retrbinary("RETR large", back.write, rest=begun)
    other.close()
    assert same(large, tmp_path / "back")


def test_what_the_client_has_begun_through_one_node_it_resumes_through_another(site: OverSwift, tmp_path: Path) -> None:
    size = 60_000_000
    large = make_large(tmp_path / "large", size)
    site.client("put", large, site.url(0, "large"))
    (tmp_path / "near").mkdir()
    getting = site.begin("get", "--limit-rate", "15M", site.url(0, "large"), tmp_path / "near")
    eventually(lambda: any(part.stat().st_size > size // 4 for part in support.parts_in(tmp_path / "near")))
    one, other = site.busy()
    getting.kill()
    getting.communicate()
    one.kill()
    assert "went on from" in site.client("resume", "all")
    assert same(large, tmp_path / "near" / "large")
    assert 0 < other.moved("RETR") <= size - size // 4
    one.start()
    eventually(lambda: site.state(site.nodes.index(one) + 1) == "UP")
    # An upload begins anew: the parts are the node's that is gone.
    again = make_large(tmp_path / "again", size)
    putting = site.begin("put", "--limit-rate", "15M", again, site.url(0, "large"))
    eventually(site.uploads)
    one, other = site.busy()
    putting.kill()
    putting.communicate()
    one.kill()
    assert "digest checked" in site.client("resume", "all")
    site.client("get", site.url(0, "large"), tmp_path / "near" / "again")
    assert same(again, tmp_path / "near" / "again")


def test_a_passive_data_connection_goes_past_the_balancer_to_its_node(site: OverSwift) -> None:
    session = site.session(0)
    session.storbinary("STOR file", _Bytes(b"content"))
    assert session.nlst() == ["file"]
    _, port = session.makepasv()
    assert port not in site.ports, "the node's own"
    session.close()


def test_what_rclone_puts_there_shows_and_the_reverse(
    site: OverSwift, tmp_path: Path, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # rclone stumbles over one
    rclone = program("rclone")
    home = f"{site.bucket}/home"
    options = [
        *("--config=/dev/null", "--s3-provider=Other", f"--s3-access-key-id={swift.ACCESS}"),
        *(f"--s3-secret-access-key={swift.SECRET}", f"--s3-endpoint={site.store.endpoint}", "--s3-region=us-east-1"),
    ]
    (tmp_path / "theirs" / "sub").mkdir(parents=True)
    for name in ("a b", "sub/\u00e4", "sub/100%"):
        (tmp_path / "theirs" / name).write_text(name)
        os.utime(tmp_path / "theirs" / name, ns=(0, 1_500_000_000_987_654_321))
    rclone(*options, "copy", str(tmp_path / "theirs"), f":s3:{home}/theirs")
    site.client("mirror", site.url(1, "theirs"), tmp_path / "seen")
    assert subprocess.run(["diff", "-r", tmp_path / "theirs", tmp_path / "seen"]).returncode == 0
    assert (tmp_path / "seen" / "a b").stat().st_mtime_ns == 1_500_000_000_987_654_321
    site.client("mirror", tmp_path / "theirs", site.url(1, "ours"))
    assert rclone(*options, "check", str(tmp_path / "theirs"), f":s3:{home}/ours") == ""
    listed = rclone(*options, "lsl", f":s3:{home}/ours")
    assert listed.count("2017-07-14 02:40:00.987654321") == 3


class _Bytes:
    """As much of a file as `storbinary` needs."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data


class _Enough(Exception):
    pass


def _take(path: Path, most: int) -> Callable[[bytes], None]:
    """Write what comes to a file, and break off."""

    def take(data: bytes) -> None:
        with open(path, "ab") as file:
            file.write(data)
            if file.tell() > most:
                raise _Enough

    return take


def _content(session: ftplib.FTP, name: str) -> bytes:
    found: list[bytes] = []
    session.retrbinary(f"RETR {name}", found.append)
    return b"".join(found)
