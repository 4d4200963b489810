"""The examples in docs/api.md and the README: each is run as it stands there, against a server."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serverprocess
from daemon import DEADLINE

HOUSE = Path(__file__).parent.parent


def examples(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (HOUSE / document).read_text(), re.DOTALL)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "served" / "pub").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    with serverprocess.python_path() as path:
        command = (sys.executable, serverprocess.__file__, str(tmp_path / "served"))
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=path) as process:
            assert process.stdout is not None
            yield int(process.stdout.readline())
            process.kill()


def run(example: str, port: int, folder: Path) -> str:
    assert "5000" in example
    with serverprocess.python_path() as path:
        command = (sys.executable, "-W", "error", "-c", example.replace("5000", str(port)))
        ended = subprocess.run(command, capture_output=True, text=True, env=path, cwd=folder, timeout=DEADLINE)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize("document", ["docs/api.md", "README.md"])
def test_files_are_brought(document: str, port: int, tmp_path: Path) -> None:
    for name, size in (("a", 10), ("b c", 200_000)):
        (tmp_path / "served" / "pub" / name).write_bytes(b"x" * size)
    printed = run(examples(document)[0], port, tmp_path / "here")
    assert sorted(line.rsplit(" ", 2)[0] for line in printed.splitlines()) == ["a", "b c"]
    assert (tmp_path / "here" / "b c").read_bytes() == b"x" * 200_000


def test_a_file_is_made_while_it_is_sent(port: int, tmp_path: Path) -> None:
    printed = run(examples("docs/api.md")[1], port, tmp_path / "here")
    data = (tmp_path / "served" / "squares.csv").read_bytes()
    assert data == b"".join(b"%d,%d\n" % (number, number * number) for number in range(1000))
    assert printed == (f"{len(data)} bytes are on the server's disk\nSHA-256 {hashlib.sha256(data).hexdigest()}\n")


def test_it_works_under_asyncio(port: int, tmp_path: Path) -> None:
    for name, size in (("a", 10), ("b", 20)):
        (tmp_path / "served" / "pub" / name).write_bytes(b"x" * size)
    assert run(examples("docs/api.md")[2], port, tmp_path / "here") == "b is the largest: 20 bytes\n"
