"""Real servers that count together in a real Redis; and what becomes of that when one of them dies, or Redis."""

from __future__ import annotations

import ftplib
import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import daemon
import pytest
from authority import Authority
from daemon import DEADLINE, Daemon, page
from gang import ctl
from membership import HASH
from ports import free_port
from redisserver import RedisServer, needs_redis

pytestmark = needs_redis


def forgetting(seconds: float) -> tuple[str, ...]:
    """A server that forgets others after so long, and is forgotten as soon."""
    return (
        *(sys.executable, "-c"),
        f"from ftpsvc.everywhere import joining; joining.EXPIRE, joining.BEAT = {seconds}, 0.2;"
        "from twisted.scripts.twistd import run; run()",
        *("-n", "--pidfile="),
    )


#: For tests in which one is forgotten; in the others none may be whom a busy machine keeps from its turn.
HASTY, PATIENT = forgetting(2.0), forgetting(DEADLINE)

ACCOUNTS = f"""
[ann]
password = "{HASH}"
permissions = ["all"]
home = "ann"
max_sessions = 1

[bob]
password = "{HASH}"
permissions = ["all"]
home = "bob"
quota_bytes = 1000000
max_sessions = 3
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


class Node(Daemon):
    """One server, with a state folder and a monitor of its own."""

    def __init__(self, folder: Path, number: int, shared: str, *options: str, **settings: Any) -> None:
        self.state = folder / f"state{number}"
        self.monitor = free_port()
        folders = f"--accounts={folder / 'accounts.toml'}", f"--state={self.state}", f"--shared={shared}"
        super().__init__(folder / "root", *folders, f"--monitor={self.monitor}", *options, **settings)

    @property
    def at(self) -> int:
        """Its port, once it serves: to be asked for when others have been started too, which takes its time."""
        return self.port or self.serving()

    def log_in(self, name: str) -> ftplib.FTP:
        client = ftplib.FTP(timeout=DEADLINE)
        try:
            client.connect("127.0.0.1", self.at)
            client.login(name, "secret")
        except ftplib.Error:
            client.close()
            raise
        return client

    def refuses(self, name: str) -> bool:
        try:
            self.log_in(name).close()
        except ftplib.error_temp:
            return True
        return False

    def workers(self) -> list[int]:
        """The processes that serve for it."""
        process = self.process.pid
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))

    @property
    def is_up(self) -> bool:
        return self.at > 0 and "\nftpsvc_shared_up 1.0" in page(self.monitor, "/metrics")[1]

    @property
    def others(self) -> int:
        assert self.at
        match = re.search(r"\nftpsvc_shared_nodes (\d+)", page(self.monitor, "/metrics")[1])
        return int(match[1]) if match else -1


Start = Callable[..., Node]


@pytest.fixture
def hasty(start: Start, monkeypatch: pytest.MonkeyPatch) -> Start:
    """What it starts forgets and is forgotten in two seconds."""
    monkeypatch.setattr(daemon, "FOREGROUND", HASTY)
    return start


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(daemon, "FOREGROUND", PATIENT)
    for name in ("root", "ann", "bob"):
        (tmp_path / name).mkdir()
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    nodes: list[Node] = []

    def start(shared: str, *options: str, **settings: Any) -> Node:
        nodes.append(Node(tmp_path, len(nodes), shared, *options, **settings))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


def eventually(holds: Callable[[], object]) -> None:
    """Ask now and then: each login is in the log, for which a pipe that nobody reads has little room."""
    give_up = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.1)


def two_that_know_each_other(start: Start, redis: RedisServer) -> tuple[Node, Node]:
    """Each serves before Redis has answered it, and until then counts for itself alone."""
    one, two = (start(redis.url) for _ in range(2))
    eventually(lambda: one.others == two.others == 1)
    return one, two


def store(client: ftplib.FTP, name: str, size: int) -> None:
    client.storbinary(f"STOR {name}", io.BytesIO(bytes(size)))


def test_two_servers_count_and_ban_as_one(redis: RedisServer, start: Start, tmp_path: Path) -> None:
    one, two = two_that_know_each_other(start, redis)
    with one.log_in("ann") as ann:
        assert two.refuses("ann")
        ann.quit()
    eventually(lambda: not two.refuses("ann"))

    with one.log_in("bob") as here, two.log_in("bob") as there:
        store(here, "first", 600_000)
        with pytest.raises(ftplib.error_perm, match="552"):
            store(there, "second", 400_001)
        store(there, "third", 400_000)
        assert sorted(path.name for path in (tmp_path / "bob").iterdir()) == ["first", "third"]

        assert ctl(one.state, "ban", "127.0.0.1")[0]["all_nodes"]
        with pytest.raises(ftplib.error_temp, match="421"):
            there.voidcmd("NOOP")
        here.close()
        there.close()
    assert one.refuses("bob") and two.refuses("bob")
    ctl(two.state, "unban", "127.0.0.1")
    eventually(lambda: not one.refuses("bob"))
    assert ctl(one.state, "stats")[0]["nodes"] == {"others": 1, "connected": True}


def test_what_a_killed_server_has_counted_is_forgotten(redis: RedisServer, hasty: Start) -> None:
    one, two = two_that_know_each_other(hasty, redis)
    with one.log_in("ann"):
        eventually(lambda: two.refuses("ann"))  # one that the machine has kept from its turn is forgotten for a moment
        one.process.kill()
        eventually(lambda: not two.refuses("ann"))
    eventually(lambda: two.others == 0)


def test_a_server_that_stood_still_is_counted_again(redis: RedisServer, hasty: Start) -> None:
    one, two = two_that_know_each_other(hasty, redis)
    with one.log_in("ann"):
        one.process.send_signal(signal.SIGSTOP)
        eventually(lambda: two.others == 0)
        one.process.send_signal(signal.SIGCONT)
        eventually(lambda: two.refuses("ann"))


def test_redis_may_be_away_at_the_start_and_later(redis: RedisServer, start: Start) -> None:
    redis.kill()
    one, two = (start(redis.url) for _ in range(2))
    for node in (one, two):
        assert node.at
        node.expect("redis.sock?db=0 can't be asked: ")
    assert page(one.monitor, "/readyz")[0] == 200
    with one.log_in("ann"):
        assert one.refuses("ann") and not two.refuses("ann")
        redis.start()
        eventually(lambda: one.is_up and two.is_up)
        assert two.refuses("ann")
        redis.kill()
        eventually(lambda: not one.is_up and not two.is_up)
        assert two.refuses("ann")
        assert ctl(one.state, "ban", "192.0.2.0/24")[0]["all_nodes"]
        redis.start()
        eventually(lambda: one.is_up and two.is_up)
        assert two.refuses("ann")
    eventually(lambda: ctl(two.state, "stats")[0]["banned"] == 1)
    log = one.ended()
    assert log.count("can't be asked") == 2 and log.count("is back") == 2
    assert "Traceback" not in log and "#error" not in log and "#critical" not in log
    two.ended()
    assert sorted(redis.ask("KEYS", "*")) == ["ftpsvc:blocked", "ftpsvc:version"]  # nobody is counted any more


def test_the_workers_of_two_servers_count_as_one(redis: RedisServer, start: Start) -> None:
    one, two = (start(redis.url, "--workers=2") for _ in range(2))
    for node in (one, two):
        assert node.at
        for _ in range(2):
            node.expect("serves, as process")
    eventually(lambda: one.others == two.others == 1)
    with one.log_in("bob") as first, one.log_in("bob") as second, two.log_in("bob") as third:
        assert one.refuses("bob") and two.refuses("bob")
        for worker in one.workers():
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: not two.refuses("bob"))  # at once, for their parent knows
        third.voidcmd("NOOP")
        ctl(one.state, "ban", "127.0.0.1")
        with pytest.raises(ftplib.error_temp, match="421"):
            third.voidcmd("NOOP")
        for client in (first, second, third):
            client.close()
    ctl(two.state, "unban", "127.0.0.1")
    eventually(lambda: not one.refuses("bob"))
    one.process.send_signal(signal.SIGHUP)
    one.expect("Reloaded, as the others")
    with two.log_in("ann"):
        assert one.refuses("ann")


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """A Redis with TLS and a password; gives its URL, with a password."""
    for name in ("authority", "closed"):
        (tmp_path / name).mkdir()
    Authority(tmp_path / "authority").server("localhost")
    port, file = free_port(), str(tmp_path / "authority" / "1.pem")
    server = RedisServer(
        tmp_path / "closed",
        *("--tls-port", str(port), "--tls-cert-file", file, "--tls-key-file", file, "--tls-auth-clients", "no"),
        *("--requirepass", "s3cret/+"),
    )
    yield lambda password: f"rediss://:{password}@localhost:{port}/3"
    server.kill()


def test_over_tls_with_a_password_that_never_shows(closed: Callable[..., str], start: Start, tmp_path: Path) -> None:
    trusting = {"SSL_CERT_FILE": str(tmp_path / "authority" / "authority.pem")}
    right = start(closed("s3cret%2F%2B"), environment=trusting)
    wrong = start(closed("an0ther"), environment=trusting)
    doubtful = start(closed("s3cret%2F%2B"))
    right.expect("holds the limits for this node and 0 more")
    assert "WRONGPASS" in wrong.expect("can't be asked")
    assert "certificate verify failed" in doubtful.expect("can't be asked")
    for node in (right, wrong, doubtful):
        told = str(ctl(node.state, "stats"))
        assert not re.search("s3cret|an0ther", told + node.ended())
