"""A site of two nodes: each a process of its own, behind a real HAProxy with what deploy/haproxy.cfg says."""

from __future__ import annotations

import contextlib
import csv
import ftplib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import nursery
import pytest
from ports import free_ports
from serverprocess import python_path

#: How long anything may take before a test gives up, in seconds.
DEADLINE = 60.0

#: What the documentation says, with these ports in place of its own.
BALANCER = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"

#: The address of a balancer on another machine, as the nodes see it (RFC 5737).
ELSEWHERE = "198.51.100.1"


def eventually(holds: Callable[[], object]) -> None:
    give_up = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)


class Node:
    """One `twistd ftpsvc`. It may be ended and started again, on the same ports."""

    def __init__(self, folder: Path, number: int, words: tuple[str, ...], more: Mapping[str, str]) -> None:
        self.port, self.monitor = free_ports(2)
        self.log = folder / f"node{number}.log"
        endpoint = f"haproxy:tcp:{self.port}:interface=127.0.0.1"
        self._command = [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("-n", "--pidfile=", f"--logfile={self.log}", "ftpsvc", "--anonymous", "write", "--port", endpoint),
            *("--monitor", str(self.monitor), "--state", str(folder / f"state{number}"), *words),
        ]
        self._more = more
        self.start()

    def start(self) -> None:
        self.log.unlink(missing_ok=True)
        with python_path() as environment:
            self.process = nursery.Child(self._command, env={**environment, **self._more})

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def drain(self) -> None:
        """Begin to."""
        self.process.send_signal(signal.SIGTERM)

    def has_ended(self) -> None:
        """Wait until it has, in order."""
        assert self.process.wait(DEADLINE) == -signal.SIGTERM

    @property
    def said(self) -> str:
        """Its log, since its start."""
        return self.log.read_text() if self.log.exists() else ""

    @property
    def connections(self) -> int:
        """How many there have been since its start."""
        return self._metric(r'session_events_total{event="connected"}')

    @property
    def sessions(self) -> int:
        """How many are logged in."""
        return self._metric('sessions{state="ready"}')

    def moved(self, verb: str) -> int:
        """How many bytes the transfers have moved that are over."""
        return self._metric(rf'transfer_bytes_total{{verb="{verb}"}}')

    def _metric(self, name: str) -> int:
        match = re.search(rf"^ftpsvc_{name} ([0-9.e+]+)$", self._ask("/metrics")[1], re.MULTILINE)
        assert match is not None
        return int(float(match[1]))

    @property
    def is_listening(self) -> bool:
        return "Serving" in self.said

    @property
    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            return self._ask("/readyz")[0] == 200
        except OSError:
            return False

    def _ask(self, page: str) -> tuple[int, str]:
        asking = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=5)
        with contextlib.closing(asking):
            asking.request("GET", page)
            answer = asking.getresponse()
            return answer.status, answer.read().decode()


class Inline:
    """A connection in MODE I, of which the test says each byte."""

    def __init__(self, session: ftplib.FTP) -> None:
        self.session = session
        session.voidcmd("MODE I")
        assert session.sock is not None
        self.socket = session.sock

    def begin(self, name: str, data: bytes) -> None:
        """Send a STOR and some of its data."""
        self.socket.sendall(b"STOR %s\r\n" % name.encode())
        self.go_on(data)

    def go_on(self, data: bytes) -> None:
        self.socket.sendall(b"DATA %d\r\n" % len(data) + data)

    def end(self) -> str:
        """Send the end; the final reply."""
        self.socket.sendall(b"DONE\r\n")
        while (reply := self.session.getmultiline()).startswith("1"):
            pass
        return reply


class Site:
    """A balancer, and behind it nodes that can be reached one by one."""

    def __init__(self, folder: Path, *words: str, more: Mapping[str, str] | None = None) -> None:
        """`words`: the options of both nodes. `more`: what they find in their environment."""
        self._folder = folder
        self.nodes = [Node(folder, number, words, more or {}) for number in (1, 2)]
        self.port, *each, self.elsewhere = self.ports = free_ports(4)
        text = BALANCER.read_text().replace("bind :5000", f"bind 127.0.0.1:{self.port}")
        for name, port, node in zip(("one", "two"), each, self.nodes, strict=True):
            text = text.replace(f"{name}:5000 port 9090", f"127.0.0.1:{node.port} port {node.monitor}")
            text += f"\nlisten only-{name}\n    bind 127.0.0.1:{port}\n"
            text += f"    server node 127.0.0.1:{node.port} send-proxy-v2\n"
        text += f"\nlisten elsewhere\n    bind 127.0.0.1:{self.elsewhere}\n"
        text += f"    tcp-request connection set-dst str({ELSEWHERE})\n"
        text += f"    server node 127.0.0.1:{self.nodes[0].port} send-proxy-v2\n"
        self.control = folder / "haproxy.sock"
        text += f"\nglobal\n    stats socket {self.control} level admin\n"
        (folder / "haproxy.cfg").write_text(text)
        for node in self.nodes:
            eventually(lambda node=node: node.is_listening)
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") or ""
        self.balancer = subprocess.Popen([program, "-f", str(folder / "haproxy.cfg")])
        eventually(lambda: self.answers(self.port) or self.balancer.poll() is not None)
        assert self.balancer.poll() is None

    @staticmethod
    def answers(port: int) -> bool:
        try:
            with ftplib.FTP() as session:
                session.connect("127.0.0.1", port, 5)
        except OSError:
            return False
        return True

    def state(self, node: int) -> str:
        """What the balancer thinks of a node: UP or DOWN; or something in between."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.control))
            asking.sendall(b"show stat\n")
            with asking.makefile() as lines:
                table = list(csv.DictReader(lines))
        name = ("one", "two")[node - 1]
        return next(row["status"] for row in table if (row["# pxname"], row["svname"]) == ("nodes", name))

    def busy(self) -> tuple[Node, Node]:
        """The node that has somebody logged in, and the other one."""
        eventually(lambda: any(node.sessions for node in self.nodes))
        one, other = sorted(self.nodes, key=lambda node: -node.sessions)
        return one, other

    def session(self, through: int) -> ftplib.FTP:
        """Logged in at one of the nodes (1 or 2), or at either (0)."""
        session = ftplib.FTP()
        session.connect("127.0.0.1", self.ports[through], DEADLINE)
        session.login()
        return session

    def begin(self, *words: object, stdin: str = "") -> nursery.Child:
        """Our own client, as a script has it; `stdin`: what comes from there."""
        program = "import sys; from ftpsvc.program import main; sys.exit(main())"
        with python_path() as environment:
            began = nursery.Child(
                [sys.executable, "-c", program, *map(str, words)],
                env={**environment, "XDG_STATE_HOME": str(self._folder / "client")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert began.stdin is not None
        with began.stdin:
            began.stdin.write(stdin)
        began.stdin = None
        return began

    def client(self, *words: object) -> str:
        """The same, until it has done what it was asked for."""
        client = self.begin(*words)
        said, _ = client.communicate(timeout=DEADLINE)
        assert client.returncode == 0, said
        return said

    def url(self, through: int, path: str = "") -> str:
        return f"ftp://127.0.0.1:{self.ports[through]}/{path}"

    def stop(self) -> None:
        self.balancer.kill()
        self.balancer.wait()
        for node in self.nodes:
            node.kill()


def demand_haproxy() -> None:
    """Leave a test out where there is no HAProxy; but not in CI."""
    if shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("haproxy is not installed")
        pytest.skip("haproxy is not installed")
