"""A real server process for real clients."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import swift
from streams import Server

#: Names that a client or a server may stumble over.
NAMES = ("with space", "äöü-é", "quote'and\"quote", "-dash", "a;b&c", "100%", "#hash", "[brackets]")

#: The largest file that is moved: many times what any buffer holds.
LARGE = 100_000_000

#: How long, in seconds, a client may take.
DEADLINE = 60

Run = Callable[..., str]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="session")
def server(root: Path) -> Iterator[Server]:
    """One for all tests, because a process takes longer to start than most clients take to finish."""
    server = Server(root)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[swift.Swift]:
    """An object storage."""
    if (programs := swift.missing()) and os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(programs)}")
    if programs:
        pytest.skip(f"not installed: {', '.join(programs)}")
    with swift.running(tmp_path_factory.mktemp("swift")) as started:
        yield started


@pytest.fixture
def served(root: Path) -> Iterator[Path]:
    """The folder that is served: empty before each test, and behind it, because the files are large."""
    empty(root)
    yield root
    empty(root)


@pytest.fixture
def near(tmp_path: Path) -> Iterator[Path]:
    """The client's folder."""
    folder = tmp_path / "near"
    folder.mkdir()
    yield folder
    empty(folder)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture
def program(near: Path) -> Callable[[str], Run]:
    """A way to run a program in the near folder. A missing one is a skip; where CI runs, it has to be there."""

    def find(name: str) -> Run:
        if shutil.which(name) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{name} is not installed")
            pytest.skip(f"{name} is not installed")

        def run(*arguments: str, input: str = "") -> str:
            done = subprocess.run(
                [name, *arguments],
                cwd=near,
                input=input,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                env={**os.environ, "HOME": str(near), "LC_ALL": "C.UTF-8"},
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        return run

    return find


def same(one: Path, other: Path) -> bool:
    """Whether two files have the same content, without holding them."""
    return subprocess.run(["cmp", "-s", one, other]).returncode == 0


def make_large(path: Path, size: int = LARGE) -> Path:
    piece = os.urandom(1_000_000)
    with open(path, "wb") as file:
        for number in range(size // len(piece)):
            file.write(number.to_bytes(4, "big") + piece[4:])
    return path
