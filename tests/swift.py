"""OpenStack Swift with its S3 API, from Debian's packages: a real object storage, with three nodes and three replicas.

`python swift.py FOLDER` starts one and stays with it, for whoever wants to try something.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ports import free_ports

from ftpsvc.objects.requests import Endpoint, RefusedByS3, Request, Requests
from ftpsvc.objects.signing import Keys

NODES = (1, 2, 3)
KINDS = ("account", "container", "object")
PROGRAMS = ("swift-proxy-server", "memcached", *(f"swift-{kind}-server" for kind in KINDS))

ACCESS, SECRET, REGION = "test:tester", "testing", "us-east-1"

#: Debian's own, where the packages are.
PYTHON = "/usr/bin/python3"

#: How long it may take to answer for the first time, in seconds.
START_TIME = 60.0

_COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
workers = 0
log_level = WARNING
"""

_NODE = """\
devices = {devices}
mount_check = false
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY = """\
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
"""

# What swift-ring-builder does in five commands for each kind.
_RINGS = """\
import sys
from swift.common.ring import RingBuilder
for ring in sys.argv[1:]:
    kind, *ports = ring.split(",")
    builder = RingBuilder(8, len(ports), 1)
    for zone, port in enumerate(ports, 1):
        place = dict(region=1, zone=zone, ip="127.0.0.1", port=int(port), replication_ip="127.0.0.1")
        builder.add_dev(dict(place, replication_port=int(port), device="disk", weight=1, meta=""))
    builder.rebalance()
    builder.get_ring().save(kind + ".ring.gz")
"""

# The three servers of a node in one process: to import Swift nine times over takes longer than many a test.
_SERVERS = """\
import os
import sys
import eventlet
from eventlet import wsgi
from swift.common.utils import eventlet_monkey_patch
from swift.common.wsgi import SwiftHttpProtocol, loadapp
eventlet_monkey_patch()
nowhere = open(os.devnull, "w")
servers = []
for server in sys.argv[1:]:
    port, _, configuration = server.partition(",")
    place = eventlet.listen(("127.0.0.1", int(port)))
    how = dict(protocol=SwiftHttpProtocol, capitalize_response_headers=False)
    servers.append(eventlet.spawn(wsgi.server, place, loadapp(configuration), nowhere, **how))
for server in servers:
    server.wait()
"""

_SWIFT = """\
[swift-hash]
swift_hash_path_prefix = ftpsvc
swift_hash_path_suffix = test
[storage-policy:0]
name = Policy-0
default = yes
"""


def missing() -> list[str]:
    """The programs that are needed for it and aren't there."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _environment(folder: Path) -> dict[str, str]:
    """It runs on Debian's own Python, and not on ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "SWIFT_DIR": str(folder)}


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


class Swift:
    """One, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        proxy, memcached, *ports = free_ports(2 + len(NODES) * len(KINDS))
        self._proxy, self._memcached = proxy, memcached
        self._ports = {(kind, node): ports.pop() for kind in KINDS for node in NODES}
        self.endpoint = f"http://127.0.0.1:{proxy}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client of S3 needs to know."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def start(self) -> None:
        self._configure()
        self._spawn("memcached", "memcached", "-l", "127.0.0.1", "-p", str(self._memcached), "-u", _user())
        for node in NODES:
            self.start_node(node)
        # The proxy comes last: from a node that doesn't answer it would stay away for a minute.
        for port in (self._memcached, *self._ports.values()):
            self._wait_for(lambda port=port: _listens(port))
        self.start_proxy()

    def _wait_for(self, holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + START_TIME
        while not holds():
            if time.monotonic() > give_up:
                raise RuntimeError(f"Swift doesn't answer; see {self._folder}/*.log")
            time.sleep(0.1)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._proxy, timeout=10)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def _configure(self) -> None:
        folder, user = self._folder, _user()
        (folder / "swift.conf").write_text(_SWIFT)
        rings = [",".join([kind, *(str(self._ports[kind, node]) for node in NODES)]) for kind in KINDS]
        subprocess.run([PYTHON, "-c", _RINGS, *rings], cwd=folder, check=True, env=_environment(folder))
        for kind in KINDS:
            for node in NODES:
                (folder / str(node) / "disk").mkdir(parents=True, exist_ok=True)
                common = _COMMON.format(port=self._ports[kind, node], user=user, folder=folder)
                own = _NODE.format(devices=folder / str(node), kind=kind)
                (folder / f"{kind}-{node}.conf").write_text(common + own)
        common = _COMMON.format(port=self._proxy, user=user, folder=folder)
        (folder / "proxy.conf").write_text(common + _PROXY.format(memcached=self._memcached))

    def requests(self, bucket: str) -> Requests:
        """Whoever gets them closes them."""
        return Requests(Endpoint(f"{self.endpoint}/{bucket}", REGION), Keys(ACCESS, SECRET))

    def make_bucket(self, name: str) -> None:
        requests = self.requests(name)
        try:
            requests.ask(Request("PUT"))
        except RefusedByS3 as refusal:
            if refusal.status != 409:  # it was made, and the answer came too late
                raise
        finally:
            requests.close()

    def _spawn(self, name: str, *command: str) -> None:
        with open(self._folder / f"{name}.log", "wb") as log:
            own = _environment(self._folder)
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=own)

    def start_node(self, node: int) -> None:
        servers = [f"{self._ports[kind, node]},{self._folder / f'{kind}-{node}.conf'}" for kind in KINDS]
        self._spawn(f"node-{node}", PYTHON, "-c", _SERVERS, *servers)

    def kill_node(self, node: int) -> None:
        self._end(f"node-{node}", signal.SIGKILL)

    def stop_proxy(self) -> None:
        """Let nobody get an answer any more."""
        self._end("proxy", signal.SIGKILL)

    def start_proxy(self) -> None:
        self._spawn("proxy", "swift-proxy-server", str(self._folder / "proxy.conf"))
        self._wait_for(self._answers)

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self._processes.pop(name)
        process.send_signal(how)
        process.wait()

    def stop(self) -> None:
        for name in list(self._processes):
            self._end(name, signal.SIGKILL)

    def wait(self) -> None:
        self._processes["proxy"].wait()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Swift]:
    swift = Swift(folder)
    try:
        swift.start()
        yield swift
    finally:
        swift.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that its servers end too
    with running(Path(sys.argv[1]).absolute()) as started:
        print(started.environment, flush=True)
        started.wait()
