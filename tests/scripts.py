"""One-shot commands in processes of their own, and a server for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nursery
import pytest
import serverprocess
from daemon import DEADLINE

RUN = (
    "import sys; from ftpsvc.program import main; code = main(); "
    "late = {'prompt_toolkit', 'twisted.internet.asyncioreactor'} & set(sys.modules); "
    "sys.exit(f'{late} imported' if late else code)"
)

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL of the server that serves it."""
    folder = tmp_path_factory.mktemp("served")
    with serverprocess.python_path() as path:
        command = (sys.executable, "-c", serverprocess.RUN, str(folder))
        with nursery.Child(command, stdout=subprocess.PIPE, env=path) as process:
            assert process.stdout is not None
            yield folder, f"ftp://127.0.0.1:{int(process.stdout.readline())}"
            process.kill()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    here = tmp_path / "here"
    here.mkdir()

    def run(*words: str, input: bytes = b"", stdin: Any = None) -> subprocess.CompletedProcess[bytes]:
        with serverprocess.python_path() as path:
            environment = {**path, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "c")}
            command = (sys.executable, "-c", RUN, *words)
            given: dict[str, Any] = {"stdin": stdin} if stdin else {"input": input}
            return nursery.run(command, **given, env=environment, cwd=here, timeout=DEADLINE)

    return run
