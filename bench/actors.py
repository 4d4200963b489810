"""Clients that come and go, well and badly, and know what must be in their folders afterwards.

Each has a folder of its own, and looks at the disk behind everything that it does: what was answered with 226 is there,
and what was cut is what it was before.
"""

from __future__ import annotations

import ftplib
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from xxhash import xxh3_128_hexdigest

#: How long, in seconds, a reply may take. The machine may be busy; what takes this long never comes.
PATIENCE = 60.0

#: How many names each actor has for its files: few, so that most uploads replace something.
NAMES = 12

SMALL, LARGE = (0, 60_000), (300_000, 3_000_000)
TREE = 40
USER, PASSWORD = "soak", "soak and soak"


@dataclass
class Folder:
    """What has to be in a folder, by the replies that came."""

    path: Path
    digests: dict[str, str] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)  #: whose uploads broke off at some time: they may have parts
    lost: list[str] = field(default_factory=list)

    def check(self, name: str) -> None:
        wanted = self.digests.get(name)
        try:
            found = xxh3_128_hexdigest((self.path / name).read_bytes())
        except FileNotFoundError:
            found = None
        if found != wanted:
            self.lost.append(f"{self.path.name}/{name} is {found}, and not {wanted}")

    def check_all(self) -> None:
        shown = {path.name for path in self.path.iterdir() if not path.name.startswith(".ftpsvc-")}
        for name in {*self.digests, *shown}:
            self.check(name)


class Refused(Exception):
    """The server said what it should not have said."""


def reset(end: socket.socket) -> None:
    """Close so that the other end is told of an error, and what is under way is thrown away."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


class Actor:
    """Does one thing after the other until it is told to stop. Odd ones have an account, even ones have none."""

    def __init__(self, number: int, port: int, root: Path, chance: random.Random) -> None:
        self._port = port
        self._chance = chance
        self.folder = Folder(root / f"actor{number}")
        self.folder.path.mkdir()
        self.owner = USER if number % 2 else ""
        self.done: dict[str, int] = {}
        self.errors: list[str] = []

    def run(self, until: float) -> None:
        acts: list[Callable[[], None]] = [
            self.visit, self.visit, self.store, self.store, self.store_inline, self.cut_upload, self.cut_upload_inline,
            self.cut_download, self.abort_upload, self.abort_download, self.vanish, self.fail_to_log_in, self.delete,
        ]  # fmt: skip
        while time.monotonic() < until:
            act = self._chance.choice(acts)
            try:
                act()
            except (OSError, EOFError, ftplib.Error, Refused) as error:
                self.errors.append(f"{act.__name__}: {error!r}")
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            time.sleep(self._chance.uniform(0, 0.05))

    # -- the ways in

    def _log_in(self) -> ftplib.FTP:
        client = ftplib.FTP(timeout=PATIENCE)
        client.connect("127.0.0.1", self._port)
        client.login(*((USER, PASSWORD) if self.owner else ()))
        client.cwd(self.folder.path.name)
        client.voidcmd("TYPE I")
        return client

    def _some_data(self, *sizes: tuple[int, int]) -> bytes:
        return os.urandom(self._chance.randint(*self._chance.choice(sizes)))

    def _name(self) -> str:
        return f"file{self._chance.randrange(NAMES)}"

    def _known(self) -> str:
        """A file that is there, if there is any."""
        return self._chance.choice(sorted(self.folder.digests) or [""])

    # -- what goes well

    def visit(self) -> None:
        client = self._log_in()
        listed = {name for name, facts in client.mlsd() if facts["type"] == "file"}
        if listed != set(self.folder.digests):
            raise Refused(f"listed were {listed}")
        if name := self._known():
            pieces: list[bytes] = []
            client.retrbinary(f"RETR {name}", pieces.append)
            if xxh3_128_hexdigest(b"".join(pieces)) != self.folder.digests[name]:
                self.folder.lost.append(f"{self.folder.path.name}/{name} came otherwise")
        client.quit()

    def store(self) -> None:
        client = self._log_in()
        for _ in range(self._chance.randint(1, 5)):
            name, data = self._name(), self._some_data(SMALL, LARGE)
            with client.transfercmd(f"STOR {name}") as connection:
                connection.sendall(data)
            self._stored(name, data, client.voidresp())
        client.quit()

    def _stored(self, name: str, data: bytes, reply: str) -> None:
        if not reply.startswith("226"):
            raise Refused(f"STOR: {reply}")
        self.folder.digests[name] = xxh3_128_hexdigest(data)
        self.folder.check(name)

    def store_inline(self) -> None:
        client = self._log_in()
        client.voidcmd("MODE I")
        for _ in range(self._chance.randint(1, 8)):
            name, data = self._name(), self._some_data(SMALL, LARGE)
            frame = b"DATA %d\r\n%b" % (len(data), data) if data else b""
            done = f"DONE {xxh3_128_hexdigest(data)}\r\n".encode()
            assert client.sock is not None
            client.sock.sendall(f"STOR {name}\r\n".encode() + frame + done)
            client.getresp()  # 150
            self._stored(name, data, client.getresp())
        client.quit()

    def delete(self) -> None:
        if name := self._known():
            client = self._log_in()
            client.delete(name)
            del self.folder.digests[name]
            self.folder.check(name)
            client.quit()

    # -- what doesn't

    def cut_upload(self) -> None:
        """In its middle the data connection is reset, alone, or with the session."""
        client, name = self._log_in(), self._name()
        connection = client.transfercmd(f"STOR {name}")
        self.folder.cut.add(name)
        connection.sendall(self._some_data(SMALL, LARGE))
        time.sleep(self._chance.uniform(0, 0.02))
        if self._chance.random() < 0.5:
            assert client.sock is not None
            reset(client.sock)
            reset(connection)
        else:
            reset(connection)
            self._expect(client, "426")
            client.quit()
        client.close()
        self.folder.check(name)

    def cut_upload_inline(self) -> None:
        client, name = self._log_in(), self._name()
        client.voidcmd("MODE I")
        data = self._some_data(SMALL, LARGE)
        self.folder.cut.add(name)
        assert client.sock is not None
        client.sock.sendall(f"STOR {name}\r\nDATA {len(data) + 1}\r\n".encode() + data)
        time.sleep(self._chance.uniform(0, 0.02))
        reset(client.sock)
        client.close()
        self.folder.check(name)

    def cut_download(self) -> None:
        if name := self._known():
            client = self._log_in()
            connection = client.transfercmd(f"RETR {name}")
            connection.recv(self._chance.randint(1, 100_000))
            reset(connection)
            if self._chance.random() < 0.5:
                assert client.sock is not None
                reset(client.sock)
                client.close()
                return
            reply = self._any_reply(client)  # what was small had been sent by then
            if reply[:3] not in ("226", "426"):
                raise Refused(f"RETR that was cut: {reply}")
            client.quit()

    def abort_upload(self) -> None:
        client, name = self._log_in(), self._name()
        connection = client.transfercmd(f"STOR {name}")
        connection.sendall(self._some_data(SMALL, LARGE))
        assert client.sock is not None
        client.sock.sendall(b"ABOR\r\n")
        self._expect(client, "426")
        self._expect(client, "226")
        connection.close()
        self.folder.check(name)
        client.quit()

    def abort_download(self) -> None:
        if name := self._known():
            client = self._log_in()
            connection = client.transfercmd(f"RETR {name}")
            assert client.sock is not None
            client.sock.sendall(b"ABOR\r\n")
            with suppress(OSError):  # it may be reset
                while connection.recv(1 << 18):
                    pass
            connection.close()
            replies = [self._any_reply(client)[:3], self._any_reply(client)[:3]]
            if replies not in (["426", "226"], ["226", "226"], ["226", "225"]):
                raise Refused(f"ABOR of RETR: {replies}")
            client.quit()

    def vanish(self) -> None:
        """Ask for a passive port, or nothing, and be gone."""
        client = self._log_in()
        if self._chance.random() < 0.5:
            client.sendcmd("EPSV")
        assert client.sock is not None
        reset(client.sock)
        client.close()

    def fail_to_log_in(self) -> None:
        client = ftplib.FTP(timeout=PATIENCE)
        client.connect("127.0.0.1", self._port)
        with suppress(ftplib.error_perm):
            client.login(USER, "nonsense")
            raise Refused("somebody was let in with a wrong password")
        client.close()

    def _any_reply(self, client: ftplib.FTP) -> str:
        try:
            return client.getresp()
        except ftplib.Error as error:
            return str(error)

    def _expect(self, client: ftplib.FTP, code: str) -> None:
        reply = self._any_reply(client)
        if not reply.startswith(code):
            raise Refused(f"expected was {code}, and there came {reply}")


class Mirrors:
    """Trees up and down by our own client; every third is killed on its way up, and carried once more."""

    def __init__(self, port: int, root: Path, home: Path, chance: random.Random) -> None:
        self._url = f"ftp://127.0.0.1:{port}/"
        self._root = root
        self._home = home
        self._chance = chance
        self.lost: list[str] = []
        self.errors: list[str] = []
        self.done: dict[str, int] = {}

    def run(self, until: float) -> None:
        number = 0
        while time.monotonic() < until:
            number += 1
            self._there_and_back(f"tree{number}", kill=not number % 3)
            time.sleep(1)

    def _there_and_back(self, name: str, kill: bool) -> None:
        here, there, back = self._home / "here", self._root / name, self._home / "back"
        here.mkdir(parents=True)
        for number in range(TREE):
            folder = here / f"folder{number % 4}"
            folder.mkdir(exist_ok=True)
            size = self._chance.randint(*(LARGE if not number % 8 else SMALL))
            (folder / f"file{number}").write_bytes(os.urandom(size))
        if kill:
            first = self._mirror(here, self._url + name)
            with suppress(subprocess.TimeoutExpired):
                first.wait(self._chance.uniform(0.3, 1.5))
            first.kill()
            first.communicate()
            self._count("mirror, killed")
        for label, source, target in (("up", here, self._url + name), ("down", self._url + name, back)):
            process = self._mirror(source, target)
            said = process.communicate()[0].decode()
            if process.returncode:
                self.errors.append(f"mirror {label}: {process.returncode}, {said.strip()[-300:]}")
            self._count(f"mirror {label}")
        for folder in (there, back):
            if _digests(folder) != _digests(here):
                self.lost.append(f"the tree {folder} is not what was sent")
        for folder in (here, there, back):
            shutil.rmtree(folder, ignore_errors=True)

    def _mirror(self, source: Path | str, target: Path | str) -> subprocess.Popen[bytes]:
        program = "import sys; from ftpsvc.program import main; sys.exit(main())"
        return subprocess.Popen(
            [sys.executable, "-c", program, "mirror", "--clear", "--quiet", str(source), str(target)],
            cwd=self._home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "XDG_STATE_HOME": str(self._home / "state")},
        )

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): xxh3_128_hexdigest(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".ftpsvc-")
    }
