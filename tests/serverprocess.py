"""A server in a process of its own: `python serverprocess.py FOLDER`, and what `serve_folder` takes as NAME=VALUE."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ftpsvc import certificates
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.factory import ServerFactory
from ftpsvc.limits import Limits
from ftpsvc.localdisk import LocalDisk
from ftpsvc.passive import PassiveOptions
from ftpsvc.tls import ServerTLS

#: For a nursery.
RUN = "import serverprocess; serverprocess.main()"


@contextlib.contextmanager
def python_path() -> Iterator[dict[str, str]]:
    """An environment in which a child finds the package that this process tests."""
    here = str(Path(sys.modules["ftpsvc"].__file__ or "").parent.parent)
    yield {**os.environ, "PYTHONPATH": here}


def serve_folder(
    folder: str, interface: str = "127.0.0.1", ports: str = "0-0", sync: str = "on", **limits: str
) -> None:
    """Serve a folder on a free port, print the port, and go on until killed.

    `ports`: the range for data connections. `limits`: any of `Limits`.
    """
    from twisted.internet import reactor

    from ftpsvc.threads import pool_of

    run = pool_of(reactor)
    low, high = map(int, ports.split("-"))
    tls = ServerTLS(*certificates.ensure(Path(os.environ["XDG_STATE_HOME"])))
    factory = ServerFactory(
        AnonymousOnly(LocalDisk(folder, run, sync=sync == "on")),
        reactor,
        run,
        Limits(**{name: float(limit) if "." in limit else int(limit) for name, limit in limits.items()}),
        PassiveOptions(range(low, high + 1) if low else range(0)),
        tls,
    )
    port = reactor.listenTCP(0, factory, interface=interface)  # type: ignore[attr-defined]
    print(port.getHost().port, flush=True)
    reactor.run()  # type: ignore[attr-defined]


def main() -> None:
    serve_folder(sys.argv[1], **dict(option.split("=") for option in sys.argv[2:]))


if __name__ == "__main__":
    main()
