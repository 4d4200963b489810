"""One file of 1 GiB by our own client, as a whole command, beside curl and vsftpd; `large.py tls` beside curl and
pyftpdlib, with TLS.

Claims: get at 0.9 of curl and put at 1.0, counted from the login on; 0.9 with TLS. Our get digests what comes, syncs it
and renames it; our put is digested at both ends, and synced.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from peers import Peer, certificate, pyftpdlib, vsftpd
from stage import GIB, claim_memory, compare, ftpsvc, scratch, timed, write_random

RUNS = 5

PROGRAM = "import sys; from ftpsvc.program import main; sys.exit(main())"


def main(tls: bool) -> None:
    with scratch() as folder:
        root, here = folder / "root", folder / "here"
        (root / "up").mkdir(parents=True)
        (root / "up").chmod(0o777)
        here.mkdir()
        write_random(root / "1g.bin", GIB)
        os.link(root / "1g.bin", here / "sent.bin")
        pem = certificate(folder)
        with (
            ftpsvc(root, "--certificate", str(pem)) as (port, pid),
            (pyftpdlib if tls else vsftpd)(root, pem if tls else None) as other,
        ):
            if other is None:
                raise SystemExit("the other server is not installed, or can't be started by this user")
            _measure(root, here, Peer("ftpsvc", port, pid), other, _protection(pem) if tls else ["--clear"])


def _protection(pem: Path) -> list[str]:
    command = ["openssl", "x509", "-in", pem, "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return ["--tls", "--fingerprint", told.strip().partition("=")[2]]


def _measure(root: Path, here: Path, ours: Peer, other: Peer, protection: list[str]) -> None:
    os.environ["XDG_STATE_HOME"] = str(here.parent / "state")
    program, url = [sys.executable, "-c", PROGRAM], f"ftp://127.0.0.1:{ours.port}"
    curl = ["curl", "-sfk", *(["--ssl-reqd"] if "--tls" in protection else [])]
    # The least that a command does with the same options: what of the whole is its start, and the login.
    start = min(timed(partial(_run, [*program, "ls", *protection, f"{url}/up/"])) for _ in range(RUNS))
    with_curl = f"curl and {other.name}"
    down: dict[str, list[float]] = {}
    up: dict[str, list[float]] = {}
    for _ in range(RUNS):
        for figures, name, command in (
            (down, "ftpsvc", [*program, "get", "--quiet", *protection, f"{url}/1g.bin", f"{here}/got.bin"]),
            (down, with_curl, [*curl, "-o", f"{here}/got.bin", other.url("1g.bin")]),
            (up, "ftpsvc", [*program, "put", "--quiet", *protection, f"{here}/sent.bin", f"{url}/up/new.bin"]),
            (up, with_curl, [*curl, "-T", f"{here}/sent.bin", other.url("up/new.bin")]),
        ):
            claim_memory(here, GIB)
            figures.setdefault(name, []).append(timed(partial(_run, command)))
            for made in (here / "got.bin", root / "up" / "new.bin"):
                with contextlib.suppress(FileNotFoundError):
                    made.unlink()
    for title, figures in (("get", down), ("put", up)):
        figures["ftpsvc, from the login on"] = [seconds - start for seconds in figures["ftpsvc"]]
        compare(f"{title} of 1 GiB{', TLS' if '--tls' in protection else ''}", figures, "s", more_is_better=False)


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(re.sub(r"\s+", " ", f"{command[-2:]} failed: {ended.stderr}"))


if __name__ == "__main__":
    main("tls" in sys.argv[1:])
