"""A server of several processes is reloaded, drained and stopped as one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
import support
from daemon import DEADLINE, Conversation
from gang import Gang, close, ctl, gangs_in, page
from ports import free_ports


@pytest.fixture
def gather(tmp_path: Path) -> Iterator[Callable[..., Gang]]:
    with gangs_in(tmp_path) as start:
        yield start


def test_a_reload_reaches_all_and_those_that_come_later(gather: Callable[..., Gang], tmp_path: Path) -> None:
    config, state, other = tmp_path / "config.toml", tmp_path / "state", tmp_path / "other"
    other.mkdir()
    config.write_text(f'root = "{tmp_path}"\n')
    gang = gather("--config=config.toml", f"--state={state}")
    talks = gang.talks()
    config.write_text(f'root = "{other}"\nrequire-tls = "login"\n')
    (said,) = ctl(state, "reload")
    assert "require-tls is another" in said["lines"]
    assert "root is another, which needs a restart; until then it stays as it was" in said["lines"]
    for worker, talk in talks.items():
        gang.logged(rf"\[worker {worker} ftpsvc\.worker\.Serving#info\] Reloaded")
        talk.say("SIZE config.toml")
        talk.expect("213")  # who is logged in stays so
    os.kill(gang.pids[1], signal.SIGKILL)
    gang.pids[1] = int(gang.logged(r"Worker 1 has ended[\s\S]*Worker 1 serves, as process (\d+)")[1])
    close(*talks.values())
    for worker in (1, 2):
        refused = gang.visit(worker)
        refused.say("USER anonymous")
        refused.expect("530")
        close(refused)
    config.write_text(f'root = "{other}"\n')
    gang.process.send_signal(signal.SIGHUP)
    for worker in (1, 2):
        gang.logged(rf"require-tls is another[\s\S]*require-tls is another[\s\S]*\[worker {worker} [^\n]+Reloaded")
    talks = gang.talks()
    for talk in talks.values():
        talk.say("SIZE config.toml")
        talk.expect("213")  # and the root is what it was, for the new one too
    close(*talks.values())


def test_a_reload_that_is_refused_changes_no_worker(gather: Callable[..., Gang], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("")
    gang = gather("--config=config.toml")
    config.write_text('require-tls = "login"\nidle-time = 0\n')
    gang.process.send_signal(signal.SIGHUP)
    gang.logged("Reload: nothing was changed")
    close(*gang.talks().values())  # which log in without TLS
    assert "Reloaded" not in gang.log


def test_a_drain_ends_the_workers_when_their_transfers_have_ended(gather: Callable[..., Gang], tmp_path: Path) -> None:
    state = tmp_path / "state"
    gang = gather(f"--state={state}")
    talks = gang.talks()
    for worker, talk in talks.items():
        talk.say(f"STOR f{worker}", "DATA 7", "yes")
        talk.expect("150")
    endings = [os.pidfd_open(pid) for pid in gang.pids.values()]
    (said,) = ctl(state, "drain")
    assert (said["sessions"], said["transfers"]) == (2, 2)
    with contextlib.suppress(ConnectionRefusedError), Conversation(gang.port) as late:
        late.expect_end()
    for worker, talk in talks.items():
        talk.say("noDONE")
        talk.expect("226", "421")
        assert (tmp_path / f"f{worker}").read_bytes() == b"yes\r\nno"
    close(*talks.values())
    for ending in endings:
        assert select.select([ending], [], [], DEADLINE)[0]
        os.close(ending)
    (stats,) = ctl(state, "stats")
    assert (stats["sessions"], stats["complete"]) == (0, 2)
    gang.process.terminate()
    log = gang.ended()
    assert "Traceback" not in log and "#error" not in log


def test_notice_of_the_end_is_given_while_all_workers_let_people_in(
    gather: Callable[..., Gang], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    port = free_ports(2)[0]
    gang = gather(f"--state={state}", "--drain-notice=3600", f"--monitor={port}")
    assert page(f"http://127.0.0.1:{port}/readyz") == "ready\n"
    gang.process.terminate()
    gang.logged(r"in 3600 s \(drain-notice\) nobody is let in any more")
    (said,) = ctl(state, "drain")
    assert said["notice"] == 3600
    with pytest.raises(HTTPError, match="503") as caught:
        page(f"http://127.0.0.1:{port}/readyz")
    caught.value.close()
    talks = gang.talks()
    for worker, talk in talks.items():
        talk.say(f"STOR f{worker}", "DATA 4", "dataDONE")
        talk.expect("150", "226")
    gang.process.terminate()
    for talk in talks.values():
        talk.expect("421")
    close(*talks.values())
    log = gang.ended()
    assert "Traceback" not in log and "#error" not in log


def test_a_second_signal_hurries_all_workers(gather: Callable[..., Gang], tmp_path: Path) -> None:
    gang = gather()
    talks = gang.talks()
    for worker, talk in talks.items():
        talk.say(f"STOR f{worker}", "DATA 1000000", "only the beginning")
        talk.expect("150")
    gang.process.terminate()
    for worker in talks:
        gang.logged(rf"\[worker {worker} [^\n]+Stopping: nobody is let in any more")
    gang.process.terminate()
    for talk in talks.values():
        talk.expect("421")
        talk.expect_end()
    close(*talks.values())
    log = gang.ended()
    for worker in talks:
        assert f"STOR /f{worker} aborted" in log
    assert "Traceback" not in log and "#error" not in log
    for part in support.parts_in(tmp_path):
        os.unlink(part)


def test_what_was_counted_is_told_though_the_one_who_asked_has_gone(gather: Callable[..., Gang]) -> None:
    port = free_ports(1)[0]
    gang = gather(f"--monitor=tcp:{port}:interface=127.0.0.1")
    talks = gang.talks()
    for talk in talks.values():
        talk.say("FEAR")
        talk.expect("500")
    for pid in gang.pids.values():
        os.kill(pid, signal.SIGSTOP)
    try:
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as asking:
            asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            look_around(port)  # the workers are asked by then
        look_around(port)  # and nobody waits for them any more
    finally:
        for pid in gang.pids.values():
            os.kill(pid, signal.SIGCONT)
    for _ in range(2):
        numbers = page(f"http://127.0.0.1:{port}/metrics")
        assert 'ftpsvc_replies_total{code="500",verb="other"} 2.0' in numbers
    close(*talks.values())


def look_around(port: int) -> None:
    """Give the parent enough turns for whatever it has been asked."""
    for _ in range(20):
        assert page(f"http://127.0.0.1:{port}/healthz") == "ok\n"
