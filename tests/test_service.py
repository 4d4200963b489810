"""The plugin: options, what is refused at the start, and real twistd processes from their start to their end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from daemon import DEADLINE, ENVIRONMENT, FOREGROUND, LOCAL, TWISTD, Conversation, Process
from support import at_once, parsed
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError

from ftpsvc.factory import ServerFactory
from ftpsvc.model import PART_PREFIX
from ftpsvc.passive import PassiveOptions
from ftpsvc.securing import BACKLOG, endpoint_for
from ftpsvc.service import makeService

TWIST = (sys.executable, "-c", "from twisted.application.twist._twist import Twist; Twist.main()")


class TestOptions:
    def test_nothing_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        options = parsed()
        assert (options["ports"], options["root"], options["sync"]) == (["tcp:5000"], str(tmp_path), "on")

    def test_digits_are_a_tcp_port_and_anything_else_an_endpoint(self) -> None:
        options = parsed("--port", "5071", "--port", "tcp:5072:interface=127.0.0.1", "--port=haproxy:tcp:5073")
        assert options["ports"] == ["tcp:5071", "tcp:5072:interface=127.0.0.1", "haproxy:tcp:5073"]

    @pytest.mark.parametrize(
        "given,endpoint",
        [("9090", "tcp:9090:interface=127.0.0.1"), ("tls:9090", "tls:tcp:9090"), ("unix:/run/m", "unix:/run/m")],
    )
    def test_a_number_for_the_monitor_is_a_port_of_this_machines_own(self, given: str, endpoint: str) -> None:
        assert parsed("--monitor", given)["monitor"] == endpoint

    def test_the_root_stays_when_the_folder_changes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        options = parsed("--root", "files")
        monkeypatch.chdir("/")
        assert options["root"] == str(tmp_path / "files")

    def test_a_current_folder_that_is_gone_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        with pytest.raises(SystemExit, match=r"\Aftpsvc: can't tell the current folder: No such file[^\n]+\Z"):
            parsed("--root", str(tmp_path))

    @pytest.mark.parametrize(
        "arguments", [("--prot", "5000"), ("5000",), ("--port",), ("--sync", "maybe"), ("--root", "")]
    )
    def test_a_wrong_option_is_one_line(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit, match=r"\Aftpsvc: [^\n]+ See: twistd ftpsvc --help\Z") as caught:
            parsed(*arguments)
        assert isinstance(caught.value.__context__, UsageError)


@contextlib.contextmanager
def as_somebody_else() -> Iterator[None]:
    """Without root's rights, for which no folder is unreadable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestRoot:
    def refusal(self, root: Path) -> str:
        with pytest.raises(SystemExit) as caught:
            makeService(parsed("--root", str(root)))
        return str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        said = self.refusal(tmp_path / "nowhere")
        assert said.startswith(f"ftpsvc: can't serve {tmp_path}/nowhere: No such file or directory. ")
        assert said.endswith("--root DIR")

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "file: Not a directory. " in self.refusal(tmp_path / "file")

    @pytest.mark.parametrize("mode", [0o000, 0o111, 0o444])
    def test_unreadable(self, mode: int) -> None:
        with tempfile.TemporaryDirectory() as parent:
            os.chmod(parent, 0o755)
            root = Path(parent, "root")
            root.mkdir()
            root.chmod(mode)
            with as_somebody_else():
                assert "root: Permission denied. " in self.refusal(root)

    def test_a_name_can_not_forge_a_line(self, tmp_path: Path) -> None:
        assert "\n" not in self.refusal(tmp_path / "a\nb")


# -- real processes ------------------------------------------------------------------------------------------


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "command",
    [(*TWISTD, "-n"), (*TWISTD, "--pidfile", "x.pid", "--logfile", "x.log"), TWIST],
    ids=["foreground", "daemon", "twist"],
)
def test_a_port_in_use(command: tuple[str, ...], taken: int, tmp_path: Path) -> None:
    ended = run(*command, "ftpsvc", "--port", f"tcp:{taken}:interface=127.0.0.1", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"ftpsvc: can't listen on tcp:{taken}:interface=127.0.0.1: Address already in use."
        " Stop the program that listens there, or choose another port: --port NUMBER\n"
    )
    assert ended.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ("70000", "port must be 0-65535"),
        ("carrier-pigeon:1", "Unknown endpoint type: 'carrier-pigeon'"),
        ("tcp", "lacks a parameter"),
        ("tcp:0:interface=192.0.2.1", "Cannot assign requested address"),
        ("systemd:domain=INET:index=0", "no such socket"),
        ("systemd:domain=INET6:name=ftp", "no such socket"),
        ("unix:nowhere/socket", "No such file or directory"),
    ],
)
def test_a_bad_endpoint(port: str, reason: str, tmp_path: Path) -> None:
    ended = run(*TWISTD, "-n", "ftpsvc", "--port", port, cwd=tmp_path)
    assert ended.returncode == 1
    assert re.fullmatch(rf"ftpsvc: can't listen on [^\n]*{re.escape(reason)}[^\n]*--port ENDPOINT\n", ended.stderr)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts one in the test's own folder, by twistd or by another program, and waits until it serves."""
    with contextlib.ExitStack() as started:

        def serve(*program: str) -> Process:
            command = (*(program or FOREGROUND), "ftpsvc", "--port", LOCAL)
            server = started.enter_context(Process(command, tmp_path))
            server.serving()
            return server

        yield serve


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT,) * 2]
)
def test_the_end_leaves_nothing_half_done(
    serve: Callable[..., Process], tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    (tmp_path / "old").write_bytes(b"as it was")
    server = serve()
    with server.session() as idle, server.session() as storing, server.session() as finishing:
        storing.say("STOR old", "DATA 1000000", "only the beginning")
        finishing.say("STOR new", "DATA 10", "begun")
        storing.expect("150")
        finishing.expect("150")
        server.process.send_signal(first)
        idle.expect("421")
        idle.expect_end()
        finishing.say("donDONE")  # the frame has ten bytes, of which two are the end of the line before
        finishing.expect("226", "421")
        finishing.expect_end()
        server.process.send_signal(second)
        storing.expect("421")
        storing.expect_end()
    log = server.died_of(first)
    assert "STOR /new complete, 10 bytes" in log and "STOR /old aborted" in log
    assert "a second signal came; transfers that are broken off: 1" in log
    assert "Traceback" not in log and "#error" not in log and "#critical" not in log
    assert (tmp_path / "old").read_bytes() == b"as it was"
    part = next(tmp_path.glob(f"{PART_PREFIX}*"))  # kept, because the client may come back and go on
    assert part.read_bytes() == b"only the beginning\r\n"
    part.unlink()


def test_it_serves_the_current_folder(serve: Callable[..., Process], tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello\n")
    server = serve()
    assert f"Serving {tmp_path} on " in server.log
    with server.session() as talk:
        talk.say("RETR hello")
        talk.expect("150", "DATA", "hello", "DONE", "226")


def test_twist(serve: Callable[..., Process]) -> None:
    server = serve(*TWIST, "--log-format=text")
    with server.session() as talk:
        talk.say("QUIT")
        talk.expect("221")
    assert "Traceback" not in server.ended()


def test_a_daemon(tmp_path: Path) -> None:
    pid_file, log_file = tmp_path / "ftpsvc.pid", tmp_path / "ftpsvc.log"
    started = run(
        *TWISTD, "--pidfile", str(pid_file), "--logfile", str(log_file), "--umask", "027", "ftpsvc", "--port", LOCAL,
        cwd=tmp_path,
    )  # fmt: skip
    assert (started.returncode, started.stderr) == (0, "")
    pid = int(pid_file.read_text())
    # Not our child, so it can't be waited for in the usual way.
    ending = os.pidfd_open(pid)
    try:
        port = re.search(r"\AServing .* on 127\.0\.0\.1:(\d+);", started.stdout)
        assert port is not None, started.stdout
        with Conversation(int(port[1])) as talk:
            talk.say("USER anonymous", "PASS x", "MODE I", "STOR new", "DATA 3", "yesDONE", "QUIT")
            talk.expect("220", "331", "230", "200", "150", "226", "221")
    finally:
        os.kill(pid, signal.SIGTERM)
        ended, _, _ = select.select([ending], [], [], DEADLINE)
        os.close(ending)
    assert ended
    assert not pid_file.exists()
    assert (tmp_path / "new").read_bytes() == b"yes"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640  # twistd's mask, which is set after the service was made
    log = log_file.read_text()
    assert all(line in log for line in started.stdout.splitlines())
    assert "STOR /new complete, 3 bytes" in log
    assert "Traceback" not in log


def test_a_daemon_that_is_started_without_standard_streams(tmp_path: Path) -> None:
    """As by a program that has closed all that it had. The daemon's own /dev/null took the place of the reactor's
    descriptor: it served nobody, and filled the disk with its log."""
    pid_file, port_file = tmp_path / "ftpsvc.pid", tmp_path / "port"
    command = (*TWISTD, "--pidfile", str(pid_file), "--logfile", str(tmp_path / "log"), "ftpsvc", "--port")
    shell = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    started = run(*shell, *command, f"unix:{port_file}", "--state", str(tmp_path / "state"), cwd=tmp_path)
    assert started.returncode == 0
    pid = int(pid_file.read_text())
    ending = os.pidfd_open(pid)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(str(port_file))
            assert client.recv(4) == b"220 "
    finally:
        os.kill(pid, signal.SIGTERM)
        ended, _, _ = select.select([ending], [], [], DEADLINE)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        os.close(ending)
    assert ended
    assert "Traceback" not in (tmp_path / "log").read_text()


class TestDataConnections:
    def test_nothing_given(self) -> None:
        assert parsed()["passive"] == PassiveOptions()

    def test_all_given(self) -> None:
        options = parsed("--passive-ports=50000-50001", "--passive-address=203.0.113.5", "--passive-local=192.0.2.0/24")
        assert options["passive"] == PassiveOptions(
            range(50_000, 50_002), ip_address("203.0.113.5"), (ip_network("192.0.2.0/24"),)
        )

    def test_private_is_a_word_for_many_networks(self) -> None:
        assert any(ip_address("10.1.2.3") in network for network in parsed("--passive-local=private")["passive"].local)

    @pytest.mark.parametrize(
        "argument",
        (
            "--passive-ports=5",
            "--passive-ports=9-8",
            "--passive-ports=0-9",
            "--passive-ports=1-65536",
            "--passive-address=here",
            "--passive-address=0.0.0.0",
            "--passive-address=255.255.255.255",
            "--passive-address=::1",
            "--passive-local=1.2.3.4/8",
        ),
    )
    def test_a_wrong_one_is_one_line(self, argument: str) -> None:
        with pytest.raises(SystemExit, match=r"\Aftpsvc: [^\n]+ See: twistd ftpsvc --help\Z"):
            parsed(argument)


NOBODY: Any = None  #: is asked for nothing before somebody comes


@pytest.mark.parametrize(
    ("port", "backlog"), [("tcp:5000", BACKLOG), ("tcp6:5000:interface=\\:\\:1", BACKLOG), ("tcp:5000:backlog=7", 7)]
)
def test_many_may_wait_to_be_let_in(port: str, backlog: int) -> None:
    memory = MemoryReactorClock()
    endpoint_for(memory, port, None, ServerFactory(NOBODY, memory, at_once)).listen(Factory())
    assert memory.tcpServers[0][2] == backlog
