"""What the system is really asked for until a 226, seen from outside: strace on a server process, in stream mode."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from streams import Client, Server

from ftpsvc.model import PART_PREFIX

LITTLE, BIG = b"little", bytes(6 * 1024 * 1024)

CALLS = "fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat,sendto,write,writev"


class Trace:
    """The calls of a server process from now on."""

    def __init__(self, server: Server, folder: Path, log: Path) -> None:
        if shutil.which("strace") is None:
            pytest.skip("needs strace")
        self._folder = folder
        self._log = log
        command = ["strace", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(log)]
        self._strace = subprocess.Popen([*command, "-p", str(server.process.pid)], stderr=subprocess.PIPE, text=True)
        assert self._strace.stderr is not None
        line = self._strace.stderr.readline()
        if "attached" not in line:
            self._strace.communicate()
            pytest.skip(f"strace may not look at a process here: {line}")

    def replies(self) -> list[list[str]]:
        """End it; the codes of the replies that left together, call for call."""
        sent = re.findall(r'sendto\(\d+<[^>]*>, "(\d\d\d .*?)"', self._ended())
        return [[line[:3] for line in call.split(r"\r\n") if line] for call in sent]

    def _ended(self) -> str:
        self._strace.terminate()
        self._strace.communicate()
        return self._log.read_text(errors="replace")

    def steps(self) -> list[str]:
        """End it; what was done, in the order in which it was done."""
        begun: dict[str, str] = {}
        steps = []
        for line in self._ended().splitlines():
            thread, _, call = line.partition(" ")
            call = call.strip()
            if call.endswith("<unfinished ...>") and not call.startswith("sendto"):
                begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
                call = begun.pop(thread, "") + resumed[1]
            if step := self._step(call):
                steps.append(step)
        return steps

    def _step(self, call: str) -> str | None:
        """A call in words; None if it is about something else."""
        if "226 Stored" in call:
            return "226"
        if match := re.match(r"(?:fsync|fdatasync)\(\d+<([^>]*)>(\(deleted\))?\) += 0", call):
            folder, name = os.path.split(match[1])
            if match[1] == str(self._folder):
                return "sync the folder"
            # In memory a small file has no name until it is whole, which strace takes for one that was removed.
            is_part = name.startswith(PART_PREFIX) or (match[2] and folder == str(self._folder))
            return "sync the part" if is_part else f"sync {name}"
        if match := re.match(r'rename\w*\(.*"([^"]*)", .*"([^"]*)".*\) += 0', call):
            assert match[1].startswith(PART_PREFIX)
            return "name it"
        if re.match(r"linkat\(.*\) += 0", call):
            return "name it"
        return None


@pytest.fixture(scope="module", params=["on", "off"], ids=["sync on", "sync off"])
def sync(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(root: Path, sync: str) -> Iterator[Server]:
    server = Server(root, sync=sync)
    yield server
    server.kill()


def traced(server: Server, root: Path, log: Path, tls: bool, *uploads: tuple[str, bytes]) -> list[str]:
    client = Client(server, tls)
    trace = Trace(server, root, log)
    try:
        for command, content in uploads:
            client.upload("EPSV", command, content)
    finally:
        client.close()
        steps = trace.steps()
    return steps


@pytest.mark.parametrize("content", [b"", LITTLE, BIG], ids=["empty", "little", "big"])
@pytest.mark.parametrize("command", ["STOR file", "STOU"])
def test_the_file_then_its_name_then_the_folder_then_the_226(
    server: Server, sync: str, root: Path, tmp_path: Path, command: str, content: bytes
) -> None:
    steps = traced(server, root, tmp_path / "log", False, (command, content))
    if sync == "on":
        # A large one is synced before it is decided that it was whole, and once more with its time and mode.
        once = [step for step, _ in groupby(steps)]
        assert once == ["sync the part", "name it", "sync the folder", "226"] and len(steps) - len(once) <= 1
    else:
        assert steps == ["name it", "226"]


def test_what_is_added_is_synced_before_the_226(server: Server, sync: str, root: Path, tmp_path: Path) -> None:
    (root / "file").write_bytes(b"old")
    steps = traced(server, root, tmp_path / "log", False, ("APPE file", LITTLE))
    if sync == "on":
        assert steps == ["sync file", "sync the folder", "226"]
    else:
        assert steps == ["226"]


def test_in_tls_it_is_no_other_order(server: Server, sync: str, root: Path, tmp_path: Path) -> None:
    steps = traced(server, root, tmp_path / "log", True, ("STOR file", BIG))
    if sync == "on":
        assert steps == ["sync the part", "name it", "sync the folder"]  # the 226 can't be read on its way
    else:
        assert steps == ["name it"]


@pytest.mark.parametrize("command", ["RETR file", "LIST", "NLST", "MLSD"])
def test_no_other_reply_leaves_with_a_150(server: Server, root: Path, tmp_path: Path, command: str) -> None:
    """aria2 forgets what it reads behind the 150, and looks for the 226 until its time is over: a minute."""
    (root / "file").write_bytes(LITTLE)
    client = Client(server)
    trace = Trace(server, root, tmp_path / "log")
    try:
        client.download("EPSV", command)
    finally:
        client.close()
        replies = trace.replies()
    assert replies == [["229"], ["150"], ["226"]]
