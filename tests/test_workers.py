"""Several real processes that serve: what they share, what becomes of one that dies, and how all of them end."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import nursery
import pytest
import support
from daemon import DEADLINE, ENVIRONMENT, FOREGROUND, Conversation
from gang import Gang, close, ctl, gangs_in, moved, page
from ports import free_ports
from streams import eventually

from ftpsvc import certificates


@pytest.fixture
def gather(tmp_path: Path) -> Iterator[Callable[..., Gang]]:
    with gangs_in(tmp_path) as start:
        yield start


def test_both_serve_as_one_and_end_in_order(gather: Callable[..., Gang], tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"as it was")
    gang = gather("--drain-time=2")
    idle, storing = gang.talks().values()
    idle.say("STOR new", "DATA 3", "yesDONE")
    idle.expect("150", "226")
    storing.say("SIZE new", "STOR old", "DATA 1000000", "only the beginning")
    storing.expect("213", "150")
    gang.logged("STOR /new complete")
    gang.process.send_signal(signal.SIGTERM)
    for talk in (idle, storing):
        talk.expect("421")
        talk.expect_end()
    close(idle, storing)
    log = gang.ended()
    assert gang.process.returncode == -signal.SIGTERM
    assert re.search(r"\[worker \d ftpsvc\.factory(?:[^\n]|\n\t)+STOR /new complete, 3 bytes", log)
    assert "STOR /old aborted" in log
    assert "Traceback" not in log and "#error" not in log and "#critical" not in log
    assert (tmp_path / "old").read_bytes() == b"as it was"
    assert support.take_part(tmp_path) == b"only the beginning\r\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gang.port))


def test_limits_and_bans_hold_over_both(gather: Callable[..., Gang], tmp_path: Path) -> None:
    state = tmp_path / "state"
    limits = ("--exempt=none", "--max-per-address=3", "--ban-after=2", "--login-delay=0")
    low = free_ports(2)[0]
    gang = gather(*limits, f"--passive-ports={low}-{low + 1}", f"--state={state}")
    talks = gang.talks()
    for talk in talks.values():
        talk.say("MODE S", "EPSV")
        talk.expect("200", "229")
    third, _ = gang.talk()
    third.say("MODE S", "EPSV")
    third.expect("200", "425")  # each worker has one port of the two
    with Conversation(gang.port) as fourth:
        fourth.expect("421")
    for talk in talks.values():
        talk.say("REIN", "USER mia", "PASS wrong")
        talk.expect("220", "331", "530")
    gang.leave(third)
    with Conversation(gang.port) as banned:
        banned.expect("421")
    assert ctl(state, "unban", "127.0.0.1") == [{"network": "127.0.0.1"}]  # though one worker forgave them for both
    with Conversation(gang.port) as welcome:
        welcome.expect("220")
    close(*talks.values())


def test_a_worker_that_is_killed_is_replaced_and_cleared_up_behind(gather: Callable[..., Gang], tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"as it was")
    gang = gather("--exempt=none", "--max-per-address=6")
    talks = gang.talks()
    first, other = talks[1], talks[2]
    talks = gang.talks()
    second, spare = talks[1], talks[2]
    # Of two uploads of one name the second's part has a made-up name, and nobody could ever go on from it.
    for talk in (first, second):
        talk.say("STOR old", "DATA 1000000", "x" * 100_000)
        talk.expect("150")
    eventually(lambda: len(support.parts_in(tmp_path)) == 2)
    os.kill(gang.pids[1], signal.SIGKILL)
    for talk in (first, second):
        talk.expect_end()
    gang.logged(r"Worker 1 has ended: by SIGKILL")
    said = gang.logged(r"Worker 1 has ended[\s\S]*Worker 1 serves, as process (\d+)")
    gang.logged(r"1 part files of uploads that broke off were removed")
    assert int(said[1]) != gang.pids[1]
    assert (tmp_path / "old").read_bytes() == b"as it was"
    assert len(support.take_part(tmp_path)) >= 65_536  # of this one somebody may
    other.say("SIZE old")
    other.expect("213")
    # The places of those that were cut off are free.
    more = [gang.visit(1)] + [gang.talk()[0] for _ in range(3)]
    close(first, second, spare, other, *more)


def test_workers_end_when_their_parent_is_killed(gather: Callable[..., Gang]) -> None:
    gang = gather()
    endings = [os.pidfd_open(pid) for pid in gang.pids.values()]
    talk, _ = gang.talk()
    gang.process.kill()
    talk.expect("421")
    close(talk)
    for ending in endings:
        assert select.select([ending], [], [], DEADLINE)[0]
        os.close(ending)


def test_what_can_not_be_shared_is_refused_at_the_start(tmp_path: Path) -> None:
    command = (*FOREGROUND, "ftpsvc", "--workers=2", "--port=stdio:")
    ended = nursery.run(command, cwd=tmp_path, env=ENVIRONMENT, text=True, timeout=DEADLINE)
    assert ended.returncode == 1
    assert re.fullmatch(r"ftpsvc: can't [^\n]+\n", ended.stderr)


def test_all_kinds_of_endpoints_are_shared(gather: Callable[..., Gang], tmp_path: Path) -> None:
    local = "tcp:0:interface=127.0.0.1"
    gang = gather(f"--port=haproxy:{local}", f"--port=tls:{local}", f"--port=unix:{tmp_path}/socket:mode=600")
    _, proxied, secured = (int(port) for port in re.findall(r"on 127\.0\.0\.1:(\d+); connect with", gang.log))
    assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", proxied), timeout=DEADLINE) as connection:
            connection.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1000 21\r\nUSER anonymous\r\nPASS x\r\nQUIT\r\n")
            assert said(connection)[-1].startswith("221")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(tmp_path / "socket"))
            connection.sendall(b"USER anonymous\r\nPASS x\r\nQUIT\r\n")
            assert said(connection)[-1].startswith("221")
        with socket.create_connection(("127.0.0.1", secured), timeout=DEADLINE) as connection:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(connection) as protected:
                protected.sendall(b"USER anonymous\r\nPASS x\r\nQUIT\r\n")
                assert said(protected)[-1].startswith("221")
    gang.logged(r"192\.0\.2\.7:1000: connected")
    gang.process.terminate()
    log = gang.ended()
    assert "Traceback" not in log and "#error" not in log
    assert not (tmp_path / "socket").exists()


def said(connection: socket.socket) -> list[str]:
    """The replies, to their end."""
    received = b""
    while block := connection.recv(4096):
        received += block
    return received.decode().splitlines()


def test_one_that_can_not_start_says_why_and_is_tried_again(gather: Callable[..., Gang], tmp_path: Path) -> None:
    certificate, key = certificates.ensure(tmp_path / "tls")
    gang = gather(f"--certificate={certificate}", f"--key={key}")
    certificate.rename(tmp_path / "away")
    os.kill(gang.pids[2], signal.SIGKILL)
    gang.logged(r"Worker 2 says: ftpsvc: can't use the certificate")
    gang.logged(r"Worker 2 has ended: with exit status 1")
    gang.logged(r"The next worker 2 starts in 1 s")
    talk, worker = gang.talk()
    assert worker == 1
    close(talk)
    (tmp_path / "away").rename(certificate)
    gang.logged(r"says[\s\S]+Worker 2 serves")


def test_records_numbers_and_hooks_are_those_of_one_server(gather: Callable[..., Gang], tmp_path: Path) -> None:
    port = free_ports(2)[0]
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat >$(mktemp {tmp_path}/hooked.XXXXXX)\n")  # a file each: they run at once
    hook.chmod(0o755)
    gang = gather(
        "--log-format=json", "--xferlog=xfer", f"--monitor=tcp:{port}:interface=127.0.0.1", f"--on-upload={hook}"
    )
    talks = [gang.visit(worker) for worker in (1, 2) * 3]
    for number, talk in enumerate(talks):
        talk.say("USER anonymous", "PASS x", "MODE I", f"STOR f{number}", "DATA 3", "yesDONE")
        talk.expect("331", "230", "200", "150", "226")
        # What was done is counted when somebody asks, however short a time ago it was.
        numbers = page(f"http://127.0.0.1:{port}/metrics")
        assert f'ftpsvc_transfers_total{{ending="complete",verb="STOR"}} {number + 1}.0' in numbers
        gang.logged(f'"STOR"[^\n]+"path": "/f{number}"')
    stored = [json.loads(line) for line in gang.log.splitlines() if '"STOR"' in line]
    assert {(record["event"], record["ending"], record["bytes"]) for record in stored} == {("transfer", "complete", 3)}
    assert len({record["session"] for record in stored}) == 6
    assert {record["session"] % 2 for record in stored} == {0, 1}  # of both workers
    for _ in range(2):  # what was told once is not told twice, nor forgotten
        numbers = page(f"http://127.0.0.1:{port}/metrics")
        assert 'ftpsvc_transfers_total{ending="complete",verb="STOR"} 6.0' in numbers
        assert 'ftpsvc_replies_total{code="226",verb="STOR"} 6.0' in numbers
        assert 'ftpsvc_sessions{state="ready"} 6.0' in numbers
        assert 'ftpsvc_session_events_total{event="logged_in"} 6.0' in numbers
    assert page(f"http://127.0.0.1:{port}/readyz") == "ready\n"
    close(*talks)
    gang.process.terminate()
    log = gang.ended()
    assert '"level": "error"' not in log and "Traceback" not in log
    assert len((tmp_path / "xfer").read_text().splitlines()) == 6
    hooked = [json.loads(told.read_text()) for told in tmp_path.glob("hooked.*")]
    assert sorted(record["file"] for record in hooked) == [str(tmp_path / f"f{number}") for number in range(6)]


def test_operators_see_one_server_and_end_sessions_of_any_worker(gather: Callable[..., Gang], tmp_path: Path) -> None:
    state = tmp_path / "state"
    port = free_ports(2)[0]
    gang = gather(f"--state={state}", f"--monitor=tcp:{port}:interface=127.0.0.1", "--exempt=none")
    talks = gang.talks()
    rows = ctl(state, "who")
    assert [row["account"] for row in rows] == ["anonymous"] * 2
    assert {row["id"] % 2 for row in rows} == {0, 1}
    talks[1].say("STOR large", "DATA 1000000", "x" * 200_000)
    talks[1].expect("150")
    (moving,) = moved(state)
    assert moving["path"] == "/large"
    (stats,) = ctl(state, "stats")
    assert (stats["sessions"], stats["transfers"]) == (2, 1)
    assert "/large" in page(f"http://127.0.0.1:{port}/")
    assert ctl(state, "kick", str(next(row["id"] for row in rows if row["id"] != moving["id"])))
    talks[2].expect("421")
    talks[2].expect_end()
    (ban,) = ctl(state, "ban", "127.0.0.1")
    assert ban["sessions"] == 1
    talks[1].expect("421")
    talks[1].expect_end()
    os.kill(gang.pids[2], signal.SIGKILL)  # the next has to be told who is banned
    gang.logged(r"Worker 2 has ended[\s\S]+Worker 2 serves")
    for _ in range(6):
        with Conversation(gang.port) as banned:
            banned.expect("421")
    ctl(state, "unban", "127.0.0.1")
    with Conversation(gang.port) as welcome:
        welcome.expect("220")
    close(*talks.values())
    support.take_part(tmp_path)


def test_two_may_not_add_to_one_checked_file_at_two_workers(gather: Callable[..., Gang], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    talks = gather("--check-upload=/bin/true").talks()
    talks[1].say("APPE a", "DATA 3")
    talks[1].expect("150")
    talks[2].say("APPE a", "DATA 5", "otherDONE")
    talks[2].expect("450")
    talks[1].say("newDONE")
    talks[1].expect("226")
    talks[2].say("APPE a", "DATA 5", "otherDONE")
    talks[2].expect("150", "226")
    assert (tmp_path / "a").read_bytes() == b"oldnewother"
    close(*talks.values())
