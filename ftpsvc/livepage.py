"""The live page: what `ftpsvc ctl` shows, for a browser. It is whole in what the server sends, and needs nobody else.

Whoever may connect may look; to end a session takes the operator's token. It travels in a header, which no page of
another site can have a browser send. And a page of another site whose name suddenly leads here (DNS rebinding) is
refused, because its name is none of ours.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sized
from ipaddress import ip_address

from jinja2 import Environment, PackageLoader, StrictUndefined
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request

from ftpsvc import ctltables, display
from ftpsvc.monitor import Page, header
from ftpsvc.operatortoken import Token
from ftpsvc.overview import Overview
from ftpsvc.plot import HEIGHT, WIDTH, plot
from ftpsvc.proxied import origin_of
from ftpsvc.records import printable

#: How many sessions, and how many transfers, a page shows. More would be read by nobody, and take long to make.
MAX_ROWS = 100

#: Nothing from elsewhere, nothing inline: a name that got past the escaping still couldn't do anything. Nobody frames
#: the page, and nothing of it is another site's to load.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}

_NUMBER = re.compile(rb"[0-9]{1,18}")


def put_below(root: Resource, overview: Overview, token: Token) -> None:
    """Have the page served, with what belongs to it."""
    templates = Environment(
        loader=PackageLoader("ftpsvc", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        size=display.size, clock=display.clock, part=display.part, percent=display.percent, shown=printable
    )
    templates.globals.update(counted=display.counted, left_out=_left_out, width=WIDTH, height=HEIGHT)
    source = templates.loader
    assert source is not None
    root.putChild(b"", Live(overview, templates, "page.html"))
    root.putChild(b"live", Live(overview, templates, "live.html"))
    for name, kind in ((b"page.js", "text/javascript"), (b"page.css", "text/css")):
        text, _, _ = source.get_source(templates, name.decode())
        root.putChild(name, Constant(text, kind))
    root.putChild(b"end", End(overview, token))


def _left_out(count: int, shown: Sized) -> str:
    """What a table's caption says of the rows that it doesn't have."""
    left = count - len(shown)
    return f"; {left} more are shown by ftpsvc ctl" if left > 0 else ""


def is_ours(host: str) -> bool:
    """Whether the name by which somebody has come here can be nobody else's: an address, or this machine's own name."""
    name = re.sub(r":[0-9]*$", "", host).lower().rstrip(".")
    if name in ("localhost", socket.gethostname().lower()):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class Guarded(Page):
    """A page of this site, and of no other."""

    def render(self, request: Request) -> int | bytes:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        if not is_ours(header(request, b"host")):
            why = "This server doesn't know the name that you have come by. Come by its address, or by localhost."
            return say(request, http.FORBIDDEN, why)
        return self.respond(request)

    def respond(self, request: Request) -> int | bytes:
        return super().render(request)


def say(request: Request, code: int, text: str) -> bytes:
    """A sentence instead of a page."""
    request.setResponseCode(code)
    request.setHeader("content-type", "text/plain; charset=utf-8")
    return text.encode("utf-8", "replace") + b"\n"


class Live(Guarded):
    """What goes on now, as a page or as the part of it that changes."""

    def __init__(self, overview: Overview, templates: Environment, name: str) -> None:
        super().__init__()
        self._overview = overview
        self._template = templates.get_template(name)

    async def answer(self, request: Request) -> bytes:
        stats = await self._overview.stats()
        request.setHeader("content-type", "text/html; charset=utf-8")
        text = self._template.render(
            host=socket.gethostname(),
            stats=stats,
            plot=plot(self._overview.throughput.samples),
            glimpse=await self._overview.glimpse(MAX_ROWS),
            failures=self._overview.failures(),
        )
        return text.encode("utf-8", "replace")


class Constant(Guarded):
    """What belongs to the page and never changes."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__()
        self._text = text.encode()
        self._kind = f"{kind}; charset=utf-8"

    async def answer(self, request: Request) -> bytes:
        request.setHeader("content-type", self._kind)
        return self._text


class End(Guarded):
    """Ends the session with the number in a header, for who has the token."""

    _log = Logger()

    def __init__(self, overview: Overview, token: Token) -> None:
        super().__init__()
        self._overview = overview
        self._token = token

    def respond(self, request: Request) -> int | bytes:
        if request.method != b"POST":
            return super().respond(request)
        peer = origin_of(request.getClientAddress()).name
        kind, _, given = (request.getHeader(b"authorization") or b"").partition(b" ")
        if kind.lower() != b"bearer" or not self._token.is_same(given):
            self._log.warn("{peer}: a wrong token at the live page", peer=peer)
            request.setHeader("www-authenticate", "Bearer")
            return say(request, http.UNAUTHORIZED, "That is not the operator's token; ftpsvc ctl token shows it.")
        return self.render_GET(request)

    async def answer(self, request: Request) -> bytes:
        if request.method != b"POST":
            return say(request, http.NOT_ALLOWED, "To end a session takes a POST.")
        peer = origin_of(request.getClientAddress()).name
        number = request.getHeader(b"session-number") or b""
        row = await self._overview.kick(int(number)) if _NUMBER.fullmatch(number) else None
        if row is None:
            return say(request, http.NOT_FOUND, "There is no such session any more.")
        self._log.info("{peer}: session {id} was ended at the live page", peer=peer, id=row.id)
        return say(request, http.OK, ctltables.kicked(row._asdict()))
