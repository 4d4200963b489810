"""TLS at the start: where the certificate comes from, and endpoints with TLS in front."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.interfaces import IStreamServerEndpoint

from ftpsvc import certificates, xdg
from ftpsvc.certificates import BadCertificate
from ftpsvc.proxied import Lobby, ProxiedEndpoint
from ftpsvc.records import printable
from ftpsvc.tls import PagesTLS, ServerTLS

_IMPLICIT = "tls:"
_PROXIED = "haproxy:"

#: How many clients may wait to be let in. Twisted's own 50 is soon full when many come in the same moment, and whoever
#: finds it full tries again after one second, and three. The system has a limit too (net.core.somaxconn), often 4096.
BACKLOG = 1024

# The kinds of endpoints that have a parameter for it.
_WITH_BACKLOG = re.compile(r"(?:tcp|tcp6|unix):(?!.*:backlog=)")


def refuse(why: str) -> NoReturn:
    """Don't start: one line on stderr, and exit status 1."""
    raise SystemExit(f"ftpsvc: {printable(why)}")


def secured(certificate: str, key: str, state: str, owner: int | None = None) -> ServerTLS:
    """TLS with the certificate in these files, or with the one that is kept in the state folder, and is the `owner`'s
    if it is made now."""
    if certificate:
        files = Path(certificate), Path(key or certificate)
        advice = "Give a certificate and its key in PEM: --certificate FILE --key FILE"
    else:
        folder = state_folder(state)
        advice = "Choose a folder that may be written: --state DIR"
        try:
            files = certificates.ensure(folder, owner)
        except OSError as error:
            refuse(f"can't keep a certificate in {folder}: {error.strerror}. {advice}")
    try:
        return ServerTLS(*files)
    except BadCertificate as error:
        refuse(f"can't use the certificate: {error}. {advice}")


def state_folder(state: str) -> Path:
    """What --state says; else what systemd has made for the service, or the user's own."""
    given = state or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else xdg.state_folder()


def with_type(port: str) -> str:
    """An endpoint for a port. Twisted's are always named with their type; a number alone is ours."""
    for prefix in (_IMPLICIT, _PROXIED):
        if port.startswith(prefix):
            return prefix + with_type(port.removeprefix(prefix))
    return f"tcp:{port}" if port[:1].isdigit() and port.isascii() else port


def is_implicit(endpoint: str) -> bool:
    """Whether TLS begins there with the first byte of the client's."""
    return endpoint.removeprefix(_PROXIED).startswith(_IMPLICIT)


def endpoint_for(
    reactor: Any, text: str, tls: ServerTLS | PagesTLS | None, lobby: Lobby, inmost: IStreamServerEndpoint | None = None
) -> IStreamServerEndpoint:
    """Not Twisted's own `tls:`, which wants a folder of certificates: this is the one of AUTH TLS, and any endpoint.
    Nor its `haproxy:`, which greets before it is known who is there: they wait in the `lobby`.

    `inmost`: what to listen with, where the text behind those two doesn't say it: a socket that a worker was given.
    """
    if tls is not None and text.startswith(_IMPLICIT):
        within = endpoint_for(reactor, text.removeprefix(_IMPLICIT), tls, lobby, inmost)
        secured: IStreamServerEndpoint = wrapServerTLS(tls, within, reactor)
        return secured
    if text.startswith(_PROXIED):
        within = endpoint_for(reactor, text.removeprefix(_PROXIED), tls, lobby, inmost)
        return ProxiedEndpoint(within, reactor, lobby)
    if inmost is not None:
        return inmost
    if _WITH_BACKLOG.match(text):
        text += f":backlog={BACKLOG}"
    endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    return endpoint
