"""What is in deploy/, as far as it can be tried without a systemd and a Docker that run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import DEADLINE, Conversation
from handed import Shared
from test_notify import Listening

from ftpsvc import configuration
from ftpsvc.options import Options

DEPLOY = Path(__file__).parents[1] / "deploy"

#: What the sandbox may leave open at the most, as `systemd-analyze security` counts it, from 0 to 10.
EXPOSURE = 2.0


def tool(name: str) -> str:
    """Where a program is. Without it the test is left out; but not in CI, which has them all."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        assert os.environ.get("CI") != "true", f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    return found


def directives(file: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^([A-Za-z]+)=(.*)$", (DEPLOY / file).read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a program in the place of the one that they start and that isn't installed here."""
    for name in ("ftpsvc.service", "ftpsvc.socket"):
        text = (DEPLOY / name).read_text().replace("/opt/ftpsvc/bin/twistd", sys.executable)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_units_have_no_fault_that_systemd_finds(installed: Path) -> None:
    command = [tool("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no"]
    command += [str(installed / name) for name in ("ftpsvc.service", "ftpsvc.socket")]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_sandbox_is_rated_as_well_as_we_say(installed: Path) -> None:
    command = [tool("systemd-analyze"), "security", "--offline=true", str(installed / "ftpsvc.service")]
    rated = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    exposure = re.search(r"Overall exposure level for ftpsvc.service: ([0-9.]+)", rated.stdout)
    assert exposure is not None, rated.stdout + rated.stderr
    assert float(exposure[1]) <= EXPOSURE


def test_the_sandbox_lets_openssl_make_its_callbacks() -> None:
    """pyOpenSSL's are made at run time, in memory that can be written and executed. Without it there is no start."""
    assert "MemoryDenyWriteExecute" not in directives("ftpsvc.service")


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("logs"))
    yield shared
    shared.close()


def test_the_unit_starts_a_service_on_the_socket_of_the_other(shared: Shared, tmp_path: Path) -> None:
    """As systemd would: with its words, its folder, and what it puts into the environment."""
    unit, ours = directives("ftpsvc.service"), directives("ftpsvc.socket")
    assert ours["FileDescriptorName"] == ["ftp"]
    folder = tmp_path / "ftpsvc"
    (folder / "files").mkdir(parents=True)
    chosen = {"root": "files", "anonymous": "write"}
    (folder / "config.toml").write_text(configuration.template(Options().settings(), chosen))
    program, *words = shlex.split(unit["ExecStart"][0].replace("%S", str(tmp_path)))
    assert program.endswith("/bin/twistd")
    listening = Listening(str(tmp_path / "notify"))
    state = ":".join(str(tmp_path / name) for name in unit["StateDirectory"][0].split())
    service = shared.serve(folder, *words, STATE_DIRECTORY=state, NOTIFY_SOCKET=listening.address)
    listening.wait_for("READY=1")
    with Conversation(shared.port) as talk:
        talk.say("USER ftp", "PASS x", "MODE I", "STOR file", "DATA 4", "dataDONE", "QUIT")
        talk.expect("220", "331", "230", "200", "150", "226", "221")
    reload = shlex.split(unit["ExecReload"][0].replace("$MAINPID", str(service.process.pid)))
    subprocess.run(reload, check=True, timeout=DEADLINE)
    listening.wait_for("RELOADING=1")
    listening.wait_for("READY=1")
    service.stop()
    listening.wait_for("STOPPING=1")
    listening.close()
    assert (folder / "files" / "file").read_bytes() == b"data"
    assert (folder / "certificate.pem").exists(), "the first of the two state folders"


def test_the_logs_are_moved_away_and_the_service_told(tmp_path: Path) -> None:
    rotate = tool("logrotate")
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    names = ("ftpsvc.log", "xferlog", "other.txt")
    for name in names:
        (logs / name).write_text("a line\n")
    rules = tmp_path / "rules"
    text = (DEPLOY / "ftpsvc.logrotate").read_text()
    rules.write_text(
        text.replace("/var/log/ftpsvc", str(logs)).replace("systemctl ", f"echo >> {tmp_path}/told systemctl ")
    )
    rules.chmod(0o644)
    for _ in range(2):
        command = [rotate, "--force", "--state", str(tmp_path / "state"), str(rules)]
        subprocess.run(command, check=True, timeout=DEADLINE)
    assert sorted(path.name for path in logs.iterdir()) == ["ftpsvc.log.1", "other.txt", "xferlog.1"]
    assert (tmp_path / "told").read_text() == "systemctl kill --kill-who=main --signal=USR1 ftpsvc.service\n"


def words_of(instruction: str) -> list[str]:
    """What an instruction of the Dockerfile says, where it is a list."""
    match = re.search(rf"^{instruction} (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert match is not None
    words: list[str] = json.loads(match[1])
    return words


def test_the_container_starts_with_a_configuration_in_its_volume(tmp_path: Path) -> None:
    words = words_of("ENTRYPOINT") + words_of("CMD")
    text = (DEPLOY / "Dockerfile").read_text()
    assert words[0] == "twistd" and re.search(r"^VOLUME /data$", text, re.MULTILINE)
    (tmp_path / "config.toml").write_text("port = 5000\n")
    options = Options()
    options.parseOptions([word.replace("/data", str(tmp_path)) for word in words[words.index("ftpsvc") + 1 :]])
    assert options["ports"] == ["tcp:5000"]


@pytest.mark.parametrize(("greeting", "is_healthy"), [(b"220 ftpsvc is ready.\r\n", True), (b"421 No.\r\n", False)])
def test_the_containers_health_is_that_of_its_greeting(greeting: bytes, is_healthy: bool) -> None:
    command = words_of("HEALTHCHECK .*CMD")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        port = str(listener.getsockname()[1])
        words = [word.replace("5000", port) for word in command]
        check = subprocess.Popen([sys.executable, *words[1:]], stderr=subprocess.DEVNULL)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(greeting)
            with contextlib.suppress(OSError):  # it may have gone by itself by then
                connection.shutdown(socket.SHUT_WR)
            assert (check.wait(DEADLINE) == 0) is is_healthy


def test_one_port_is_published_and_the_end_may_take_its_time() -> None:
    lines = [line.strip() for line in (DEPLOY / "compose.yaml").read_text().splitlines()]
    assert [line for line in lines if re.match(r'- "[0-9-]+:', line)] == ['- "5000:5000"']
    (grace,) = [int(line.split()[1].rstrip("s")) for line in lines if line.startswith("stop_grace_period:")]
    assert grace > Options()["drain-time"] + Options()["closing-time"]
    (stop,) = directives("ftpsvc.service")["TimeoutStopSec"]
    assert int(stop) > Options()["drain-time"] + Options()["closing-time"]
