"""1 GiB and 1,000 files of 4 KiB through ftpsvc to an object storage, beside rclone straight to the same endpoint.

The storage is OpenStack Swift with its S3 API, three nodes on this machine: it takes most of the processors, of which
ftpsvc and its client need their share too. Claims: the gibibyte at 0.8 of rclone, which has no second hop; the small
files at 1.0 of rclone with its four transfers.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stage import GIB, _installed, compare, free_port, running, scratch, timed, write_random

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import swift  # it is where the tests have it

RUNS = int(os.environ.get("BENCH_RUNS", 3))
FILES = 1000
SIZE = int(os.environ.get("BENCH_SIZE", GIB))


def main() -> None:
    with scratch() as folder:
        for name in ("here", "back", "small"):
            (folder / name).mkdir()
        write_random(folder / "here" / "large", SIZE)
        for number in range(FILES):
            (folder / "small" / f"f{number:04d}").write_bytes(os.urandom(4096))
        # Three replicas of everything are too much for the memory.
        kept = tempfile.TemporaryDirectory(prefix="ftpsvc-bench-", dir="/var/tmp")
        with kept, swift.running(Path(kept.name)) as store, ftpsvc(folder, store) as port:
            store.make_bucket("straight")
            _measure(folder, store, port)


@contextlib.contextmanager
def ftpsvc(folder: Path, store: swift.Swift) -> Iterator[int]:
    """Our server in front of it."""
    store.make_bucket("through")
    port = free_port()
    os.environ.update(store.environment)
    twistd = Path(sys.executable).with_name("twistd")
    options = ["--root", "s3://through", "--port", f"tcp:{port}:interface=127.0.0.1", "--state", folder / "state"]
    with running(port, twistd, "-n", "--pidfile=", f"--logfile={folder}/ftpsvc.log", "ftpsvc", *options):
        yield port


def _rclone(folder: Path, store: swift.Swift, *words: object) -> float:
    config = folder / "rclone.conf"
    config.write_text(
        f"[s]\ntype = s3\nprovider = Other\naccess_key_id = {swift.ACCESS}\nsecret_access_key = {swift.SECRET}\n"
        f"endpoint = {store.endpoint}\nregion = {swift.REGION}\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    command = [_installed("rclone"), "--config", str(config), *map(str, words)]
    return timed(lambda: subprocess.run(command, check=True, env=environment, capture_output=True))


def _ours(port: int, *words: object) -> float:
    program = "import sys; from ftpsvc.program import main; sys.exit(main())"
    client = [sys.executable, "-c", program, *map(str, words)]
    return timed(lambda: subprocess.run(client, check=True, capture_output=True))


def _measure(folder: Path, store: swift.Swift, port: int) -> None:
    url = f"ftp://127.0.0.1:{port}"
    up: dict[str, list[float]] = {"rclone, straight": [], "ftpsvc": []}
    down: dict[str, list[float]] = {"rclone, straight": [], "ftpsvc": []}
    small: dict[str, list[float]] = {"rclone, straight": [], "ftpsvc": []}
    large, back = folder / "here" / "large", folder / "back" / "large"
    for run in range(RUNS):
        up["rclone, straight"].append(_rclone(folder, store, "copyto", large, "s:straight/large"))
        up["ftpsvc"].append(_ours(port, "put", large, f"{url}/large"))
        down["rclone, straight"].append(_rclone(folder, store, "copyto", "s:straight/large", back))
        back.unlink()
        down["ftpsvc"].append(_ours(port, "get", f"{url}/large", back))
        _same(large, back)
        back.unlink()
        small["rclone, straight"].append(_rclone(folder, store, "copy", folder / "small", f"s:straight/small{run}"))
        small["ftpsvc"].append(_ours(port, "mirror", folder / "small", f"{url}/small{run}"))
        time.sleep(2)  # Swift brings its listings up to date
    for title, figures in (("1 GiB up", up), ("1 GiB down", down), (f"{FILES} files of 4 KiB up", small)):
        compare(title, figures, "s", more_is_better=False)


def _same(one: Path, other: Path) -> None:
    if subprocess.run(["cmp", one, other]).returncode:
        raise SystemExit("what came back is not what went there")


if __name__ == "__main__":
    main()
