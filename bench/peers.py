"""Other FTP servers over the same folder, to be measured beside ours: vsftpd, Pure-FTPd and pyftpdlib.

Those that are installed are started, and the others left out. Debian's packages of Pure-FTPd and vsftpd exclude each
other: one of them may be unpacked elsewhere, with PATH and LD_LIBRARY_PATH leading to it. Both want to be root's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stage import found, free_port, ftpsvc, running

#: As whom Pure-FTPd lets one in: its anonymous user would see the home of `ftp`, wherever that is.
NAME = "bench"


class Peer(NamedTuple):
    """A server that runs, and who may log in."""

    name: str
    port: int
    pid: int
    user: str = "anonymous"
    password: str = "x"

    def url(self, path: str) -> str:
        return f"ftp://{self.user}:{self.password}@127.0.0.1:{self.port}/{path}"


@contextlib.contextmanager
def all_over(root: Path, *options: str, tls: bool = False) -> Iterator[list[Peer]]:
    """Ours with these options, and the others, all over one folder. With `tls` they offer it."""
    pem = certificate(root.parent)
    options = (*options, "--certificate", str(pem))
    with contextlib.ExitStack() as stack:
        port, pid = stack.enter_context(ftpsvc(root, *options))
        peers = [Peer("ftpsvc", port, pid)]
        for start in (vsftpd, pureftpd, pyftpdlib):
            peer = stack.enter_context(start(root, pem if tls else None))
            if peer is None:
                print(f"{start.__name__} is not installed, or can't be started by this user: left out", file=sys.stderr)
            else:
                peers.append(peer)
        yield peers


def certificate(home: Path) -> Path:
    """A certificate and its key, in one file."""
    pem = home / "both.pem"
    if not pem.exists():
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        files = ["-keyout", str(home / "key.pem"), "-out", str(home / "cert.pem"), "-subj", "/CN=localhost"]
        subprocess.run([*made, *files], check=True, stderr=subprocess.DEVNULL)
        pem.write_bytes((home / "key.pem").read_bytes() + (home / "cert.pem").read_bytes())
    return pem


_VSFTPD = """\
listen=YES
listen_port={port}
listen_address=127.0.0.1
background=NO
anonymous_enable=YES
anon_root={root}
anon_upload_enable=YES
anon_other_write_enable=YES
anon_mkdir_write_enable=YES
write_enable=YES
anon_world_readable_only=NO
anon_umask=022
seccomp_sandbox=NO
secure_chroot_dir={empty}
max_clients=0
max_per_ip=0
"""

_VSFTPD_TLS = """\
ssl_enable=YES
allow_anon_ssl=YES
rsa_cert_file={pem}
rsa_private_key_file={pem}
require_ssl_reuse=NO
"""


@contextlib.contextmanager
def vsftpd(root: Path, pem: Path | None) -> Iterator[Peer | None]:
    program = found("vsftpd")
    if program is None or os.getuid() != 0:
        yield None
        return
    port = free_port()
    empty = root.parent / "empty"
    empty.mkdir(exist_ok=True)
    settings = root.parent / "vsftpd.conf"
    settings.write_text((_VSFTPD + (_VSFTPD_TLS if pem else "")).format(port=port, root=root, empty=empty, pem=pem))
    with running(port, program, settings) as process:
        yield Peer("vsftpd", port, process.pid)


@contextlib.contextmanager
def pureftpd(root: Path, pem: Path | None) -> Iterator[Peer | None]:
    program, passwords = found("pure-ftpd"), found("pure-pw")
    if program is None or passwords is None or os.getuid() != 0:
        yield None
        return
    port = free_port()
    home = root.parent
    database = home / "pure.pdb"
    if not database.exists():
        add = [passwords, "useradd", NAME, "-f", home / "pure.passwd", "-F", database, "-m", "-u", "ftp", "-d", root]
        subprocess.run(add, check=True, input=f"{NAME}\n{NAME}\n", text=True, stdout=subprocess.DEVNULL)
    options = ["-S", f"127.0.0.1,{port}", "-l", f"puredb:{database}", "-E", "-H", "-c", "5000", "-C", "5000"]
    with running(port, program, *options, *(["-Y", "1", "-2", pem] if pem else [])) as process:
        yield Peer("Pure-FTPd", port, process.pid, NAME, NAME)


_PYFTPDLIB = """\
import logging, sys
from pyftpdlib import handlers
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.servers import FTPServer
logging.basicConfig(level=logging.ERROR)
root, port, pem = sys.argv[1:]
handler = handlers.TLS_FTPHandler if pem else handlers.FTPHandler
handler.certfile = pem or None
handler.authorizer = DummyAuthorizer()
handler.authorizer.add_anonymous(root, perm="elradfmwMT")
server = FTPServer(("127.0.0.1", int(port)), handler)
server.max_cons = 0
server.serve_forever()
"""


@contextlib.contextmanager
def pyftpdlib(root: Path, pem: Path | None) -> Iterator[Peer | None]:
    if importlib.util.find_spec("pyftpdlib") is None:
        yield None
        return
    port = free_port()
    with running(port, sys.executable, "-W", "ignore", "-c", _PYFTPDLIB, root, str(port), str(pem or "")) as process:
        yield Peer("pyftpdlib", port, process.pid)
