"""A Redis from Debian's package, on a socket in a folder: real, started and killed by tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import hiredis
import pytest

from ftpsvc.everywhere.resp import packed

PROGRAM = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(PROGRAM is None, reason="redis-server isn't installed")

#: How long anything may take before a test gives up, in seconds.
DEADLINE = 30.0


class RedisServer:
    """One, that keeps its data over a restart only if it is told to."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.path = str(folder / "redis.sock")
        self.url = f"unix://{self.path}"
        self._command = [PROGRAM or "", "--port", "0", "--unixsocket", self.path, "--dir", str(folder), "--save", ""]
        self._command.extend(options)
        self.start()

    def start(self) -> None:
        Path(self.path).unlink(missing_ok=True)
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + DEADLINE
        while True:
            try:
                self.connect().close()
                return
            except OSError:
                assert time.monotonic() < give_up and self.process.poll() is None
                time.sleep(0.01)

    def connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(DEADLINE)
        try:
            link.connect(self.path)
        except OSError:
            link.close()
            raise
        return link

    def ask(self, *words: str | bytes | int) -> Any:
        reader = hiredis.Reader(encoding="utf-8", notEnoughData=self)
        with self.connect() as link:
            link.sendall(packed(words))
            while (answer := reader.gets()) is self:
                reader.feed(link.recv(65536))
        assert not isinstance(answer, hiredis.ReplyError), answer
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
