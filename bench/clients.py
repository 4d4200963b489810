"""How long standard clients take for 20 small files, beside vsftpd, Pure-FTPd and pyftpdlib, each in its turn.

Most of that is waiting: for answers, for acknowledgements that are put off, for clients that look late. No claim but
that none of the others is much faster. `clients.py tls` is the same with TLS.
"""

from __future__ import annotations

import ftplib
import io
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from peers import Peer, all_over
from stage import compare, scratch, timed

RUNS = 3
FILES = 20
CONTENT = bytes(4096)

NAMES = [f"f{number:02d}.bin" for number in range(FILES)]


def main(tls: bool) -> None:
    with scratch() as folder:
        root, here = folder / "root", folder / "here"
        for place in (root / "small", here):
            place.mkdir(parents=True)
            for name in NAMES:
                (place / name).write_bytes(CONTENT)
        with all_over(root, tls=tls) as peers:
            suffix = ", TLS" if tls else ""
            for title, work in _works(here, tls).items():
                figures: dict[str, list[float]] = {}
                for _ in range(RUNS):
                    for peer in peers:
                        _clear(root / "up", here / "down")
                        figures.setdefault(peer.name, []).append(timed(partial(work, peer)) * 1000)
                compare(f"{FILES} files of {len(CONTENT)} bytes, {title}{suffix}", figures, "ms", more_is_better=False)


def _clear(taken: Path, brought: Path) -> None:
    shutil.rmtree(taken, ignore_errors=True)
    taken.mkdir()
    taken.chmod(0o777)
    shutil.rmtree(brought, ignore_errors=True)


def _works(here: Path, tls: bool) -> dict[str, Callable[[Peer], None]]:
    curl = ["curl", "-sfk", *(["--ssl-reqd"] if tls else [])]
    lftp = f"set ssl:verify-certificate no; set ftp:ssl-force {tls}; set ftp:ssl-allow {tls}"

    def by_lftp(command: str, peer: Peer) -> None:
        _run(["lftp", "-c", f"{lftp}; open -u {peer.user},{peer.password} ftp://127.0.0.1:{peer.port}; {command}"])

    def curl_down(peer: Peer) -> None:
        _run([*curl, *(word for name in NAMES for word in ("-o", "/dev/null", peer.url(f"small/{name}")))])

    def curl_up(peer: Peer) -> None:
        _run([*curl, "-T", f"{{{','.join(str(here / name) for name in NAMES)}}}", peer.url("up/")])

    def by_aria2(peer: Peer) -> None:
        known = [f"--ftp-user={peer.user}", f"--ftp-passwd={peer.password}"]
        urls = [f"ftp://127.0.0.1:{peer.port}/small/{name}" for name in NAMES]
        _run(["aria2c", "--no-conf", "-q", "-Z", "-j1", f"-d{here}/down", *known, *urls])

    return {
        "curl, down": curl_down,
        "curl, up": curl_up,
        "lftp mirror, down": partial(by_lftp, f"mirror small {here}/down"),
        "lftp mirror, up": partial(by_lftp, f"mirror -R {here} up"),
        "ftplib, down": partial(_by_ftplib, tls, lambda ftp, name: ftp.retrbinary(f"RETR small/{name}", len)),
        "ftplib, up": partial(
            _by_ftplib, tls, lambda ftp, name: ftp.storbinary(f"STOR up/{name}", io.BytesIO(CONTENT))
        ),
        **({} if tls else {"aria2, down": by_aria2}),
    }


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _by_ftplib(tls: bool, move: Callable[[ftplib.FTP, str], object], peer: Peer) -> None:
    with ftplib.FTP_TLS(context=ssl._create_unverified_context()) if tls else ftplib.FTP() as ftp:
        ftp.connect("127.0.0.1", peer.port)
        ftp.login(peer.user, peer.password)
        if isinstance(ftp, ftplib.FTP_TLS):
            ftp.prot_p()
        for name in NAMES:
            move(ftp, name)


if __name__ == "__main__":
    main("tls" in sys.argv[1:])
