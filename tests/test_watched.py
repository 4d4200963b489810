"""A real twistd that is watched."""

from __future__ import annotations

import socket

from daemon import Start, log_in, page, start
from ports import free_port
from support import parsed

__all__ = ["start"]  # a fixture, which pytest finds by its name


def test_what_watches_the_server_is_told_of_it(start: Start) -> None:
    monitor = free_port()
    server = start("--monitor", str(monitor))
    with log_in(server.serving()) as client:
        client.voidcmd("NOOP")
        assert page(monitor, "/readyz") == (200, "ready\n")
        assert page(monitor, "/healthz") == (200, "ok\n")
        status, text = page(monitor, "/metrics")
        assert status == 200
        assert 'ftpsvc_replies_total{code="200",verb="NOOP"} 1.0' in text
        assert 'ftpsvc_sessions{state="ready"} 1.0' in text
    assert "Traceback" not in server.ended()


def test_a_number_alone_is_for_this_machine() -> None:
    assert parsed("--monitor=9090")["monitor"] == "tcp:9090:interface=127.0.0.1"
    assert parsed("--monitor=unix:/run/x")["monitor"] == "unix:/run/x"


def test_where_nothing_can_be_told_there_is_no_start(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start("--monitor", str(port))
        said = server.process.communicate()[0]
    assert server.process.returncode == 1
    assert said.startswith(f"ftpsvc: can't listen on tcp:{port}:interface=127.0.0.1: Address already in use. ")
    assert said.endswith("choose another port: --monitor NUMBER\n")
