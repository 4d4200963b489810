"""Two nodes over one folder behind HAProxy: drained one by one, killed, and passed by data connections."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from crowd import Crowd

from .balanced import DEADLINE, Inline, Site, demand_haproxy, eventually
from .conftest import make_large, same

#: How many clients come and go at the same time, and for how many seconds each stays away in between: the processors
#: are others' too.
CROWD = 4
PAUSE = 0.03

#: More than the balancer takes to notice (1.4 s), also where others have the processors.
NOTICE = "6"

#: A file that takes some seconds at this rate. What the system holds between a node and a client that reads slowly is a
#: part of it.
LARGE = 48_000_000
RATE = "16M"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def site(root: Path, tmp_path: Path) -> Iterator[Site]:
    demand_haproxy()
    made = Site(tmp_path, "--root", str(root), "--sync", "off", "--drain-notice", NOTICE)
    yield made
    made.stop()


def crowd_at(port: int) -> Crowd:
    """Clients that come, store a file, fetch it, and go; over and over."""

    def visit(number: int, count: int) -> str | None:
        name, data = b"c%d" % number, b"%08d" % count
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
            lines = connection.makefile("rb")
            connection.sendall(
                b"USER ftp\r\nPASS x\r\nMODE I\r\nSTOR %s\r\nDATA 8\r\n%sDONE\r\nRETR %s\r\nQUIT\r\n"
                % (name, data, name)
            )
            said = lines.read()
        wanted = rb"220 .*331 .*230 .*200 .*150 .*226 .*150 .*DATA 8\r\n%sDONE .*226 .*221 .*" % data
        return None if re.fullmatch(wanted, said, re.DOTALL) else repr(said)

    return Crowd(CROWD, visit, PAUSE)


def test_nodes_are_drained_one_by_one_and_nobody_notices(site: Site, root: Path) -> None:
    with crowd_at(site.port) as crowd:
        for number, node in enumerate(site.nodes, 1):
            crowd.wait_for(50)
            session = site.session(number)
            storing = Inline(session)
            storing.begin(f"held{number}", b"begun ")
            node.drain()
            eventually(lambda number=number: site.state(number) == "DOWN")
            assert not node.is_ready
            crowd.wait_for(2 * CROWD)  # those who were on their way
            before = node.connections
            crowd.wait_for(50)
            assert node.connections == before, "everybody new comes to the other"
            eventually(lambda node=node: "nobody is let in any more; sessions left" in node.said)
            storing.go_on(b"and ended")
            assert storing.end().startswith("226")
            session.close()
            node.has_ended()
            assert before > 10
            node.start()
            eventually(lambda number=number: site.state(number) == "UP")
        crowd.wait_for(50)
    assert crowd.failures == []
    assert crowd.served > 200
    for number in (1, 2):
        assert (root / f"held{number}").read_bytes() == b"begun and ended"
    assert len(list(root.iterdir())) == CROWD + 2


# -- going on through another node


def begun(folder: Path) -> bool:
    """Whether some of a file has come there."""
    return any(part.stat().st_size > LARGE // 8 for part in support.parts_in(folder))


def test_an_upload_whose_node_is_killed_goes_on_through_the_other(site: Site, root: Path, tmp_path: Path) -> None:
    large = make_large(tmp_path / "large", LARGE)
    (root / "large").write_bytes(b"old")
    client = site.begin("put", "--limit-rate", RATE, large, site.url(0, "large"))
    eventually(lambda: begun(root))
    one, other = site.busy()
    one.kill()
    assert (root / "large").read_bytes() == b"old"
    said, _ = client.communicate(timeout=DEADLINE)
    assert client.returncode == 0 and "digest checked" in said, said
    assert same(large, root / "large")
    assert 0 < other.moved("STOR") <= LARGE - LARGE // 8, "not all of it, again"
    assert support.parts_in(root) == []


def test_a_download_whose_node_is_killed_goes_on_through_the_other(site: Site, root: Path, tmp_path: Path) -> None:
    make_large(root / "large", LARGE)
    (tmp_path / "near").mkdir()
    client = site.begin("get", "--limit-rate", RATE, site.url(0, "large"), tmp_path / "near")
    eventually(lambda: begun(tmp_path / "near"))
    one, other = site.busy()
    one.kill()
    said, _ = client.communicate(timeout=DEADLINE)
    assert client.returncode == 0 and "digest checked" in said, said
    assert same(root / "large", tmp_path / "near" / "large")
    assert 0 < other.moved("RETR") <= LARGE - LARGE // 8, "not all of it, again"


def test_what_a_killed_client_has_begun_is_resumed_through_the_other_node(
    site: Site, root: Path, tmp_path: Path
) -> None:
    large = make_large(tmp_path / "large", LARGE)
    client = site.begin("put", "--limit-rate", RATE, large, site.url(0, "large"))
    eventually(lambda: begun(root))
    one, other = site.busy()
    client.kill()
    client.communicate()
    eventually(lambda: not one.sessions)
    one.kill()
    assert re.search(r"went on from [1-9][0-9.]* MB, digest checked", site.client("resume", "all"))
    assert same(large, root / "large")
    assert 0 < other.moved("STOR") <= LARGE - LARGE // 8
    assert support.parts_in(root) == []


def test_what_a_killed_shell_has_begun_another_shell_finishes_through_the_other_node(
    site: Site, root: Path, tmp_path: Path
) -> None:
    make_large(root / "large", LARGE)
    near = tmp_path / "near"
    near.mkdir()
    lines = (f"set limit-rate {RATE}", f"connect 127.0.0.1 {site.port}", f"lcd {near}", "retrieve large")
    shell = site.begin(stdin="\n".join([*lines, ""]))
    eventually(lambda: begun(near))
    one, other = site.busy()
    shell.kill()
    shell.communicate()
    one.kill()
    again = site.begin(stdin="resume all\n")
    said, _ = again.communicate(timeout=DEADLINE)
    assert again.returncode == 0, said
    assert re.search(r"went on from [1-9][0-9.]* MB, digest checked", said), said
    assert same(root / "large", near / "large")
    assert 0 < other.moved("RETR") <= LARGE - LARGE // 8


# -- data connections


def curl(port: int, *words: str) -> tuple[int, str, str]:
    command = ("curl", "--silent", "--verbose", *words, f"ftp://127.0.0.1:{port}/file")
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    return done.returncode, done.stdout, done.stderr


def test_from_a_balancer_elsewhere_clients_hear_why_there_is_no_passive_mode(
    site: Site, root: Path, program: Any
) -> None:
    (root / "file").write_text("content")
    status, _, said = curl(site.elsewhere)
    assert status == 13  # "weird PASV reply"
    assert "< 502 You have come to a balancer's address" in said.partition("> PASV")[2]  # curl may say more in between
    lftp = program("lftp")
    commands = f"set net:reconnect-interval-base 1; open ftp://127.0.0.1:{site.elsewhere}; cat file"
    assert lftp("-c", commands) == "content", "it turns to active mode, and connects again for that"
    assert site.client("cat", f"ftp://127.0.0.1:{site.elsewhere}/file") == "content", "in MODE I"


def test_with_an_address_of_the_nodes_own_data_connections_go_past_a_balancer_elsewhere(
    root: Path, tmp_path: Path, program: Any
) -> None:
    demand_haproxy()
    (root / "file").write_text("content")
    site = Site(tmp_path, "--root", str(root), "--passive-address", "127.0.0.2")
    try:
        status, content, said = curl(site.elsewhere, "--no-ftp-skip-pasv-ip")
        assert (status, content) == (0, "content"), said
        assert "Connecting to 127.0.0.2" in said
        lftp = program("lftp")
        assert lftp("-c", f"set ftp:passive-mode on; open ftp://127.0.0.1:{site.elsewhere}; cat file") == "content"
    finally:
        site.stop()
