"""What watches the server asks by HTTP: does it live, does it serve, what are its numbers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from prometheus_client.exposition import choose_encoder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ftpsvc.closing import stop_listening
from ftpsvc.factory import ServerFactory
from ftpsvc.lateness import Lateness
from ftpsvc.metrics import ServerMetrics
from ftpsvc.model import LocalFault
from ftpsvc.probing import Probe

#: For how many seconds a connection may say nothing.
IDLE = 60.0


class Monitor:
    """The pages of one server. `root` takes more of them (`putChild`)."""

    def __init__(self, factory: ServerFactory, probe: Probe, trouble: Callable[[], str]) -> None:
        """`trouble`: why the server doesn't serve, as far as it knows that itself; empty if it does."""
        self._lateness = Lateness(factory.clock)
        self.root = Root()
        self.root.putChild(b"healthz", Health())
        self.root.putChild(b"readyz", Readiness(probe, trouble))
        self.metrics = ServerMetrics(factory, self._lateness)
        self.root.putChild(b"metrics", Metrics(self.metrics, probe))
        self.site = QuietSite(self.root, timeout=IDLE, reactor=factory.clock)

        self.port: IListeningPort | None = None  #: where they are to be had

    def start(self) -> None:
        self._lateness.start()

    async def stop(self) -> None:
        """End, as the last: until then it tells that the server is stopping."""
        self._lateness.stop()
        if self.port is not None:
            await stop_listening(self.port)


class Root(Resource):
    """Above all pages."""

    def getChild(self, path: bytes, request: Request) -> IResource:
        return notFound()


class Bodiless(Request):
    """A request that has nothing behind its headers. Nothing here takes more, and Twisted would keep it on the disk."""

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)
        if length != 0:
            self.channel.forceAbortClient()


class QuietSite(Site):
    """Doesn't log its visitors, who come every few seconds."""

    noisy = False
    requestFactory = Bodiless

    def log(self, request: http.Request) -> None:
        pass


def header(request: Request, name: bytes) -> str:
    """What a visitor says there, of whatever bytes: Twisted takes all for UTF-8, and fails where it is none."""
    return (request.getHeader(name) or b"").decode("latin-1")


class Page(Resource):
    """Text for programs, made anew for each who asks."""

    isLeaf = True
    _log = Logger()

    def render(self, request: Request) -> int | bytes:
        if request.method in (b"GET", b"HEAD"):
            return self.render_GET(request)
        request.setResponseCode(http.NOT_ALLOWED)
        request.setHeader(b"allow", b"GET, HEAD")
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"Nothing can be changed here.\n"

    def render_GET(self, request: Request) -> int:
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-content-type-options", b"nosniff")
        answer = Deferred.fromCoroutine(self.answer(request))
        gone = request.notifyFinish()
        gone.addErrback(lambda _: answer.cancel())
        answer.addCallbacks(self._say, self._fail, callbackArgs=(request,), errbackArgs=(request, gone))
        return NOT_DONE_YET

    def answer(self, request: Request) -> Coroutine[Any, Any, bytes]:
        """What to say."""
        raise NotImplementedError

    def _say(self, text: bytes, request: Request) -> None:
        request.setHeader(b"content-length", b"%d" % len(text))
        if request.method != b"HEAD":
            request.write(text)
        request.finish()

    def _fail(self, failure: Failure, request: Request, gone: Deferred[None]) -> None:
        if not gone.called:
            self._log.failure("{page} could not be made", failure, page=type(self).__name__)
            request.setResponseCode(http.INTERNAL_SERVER_ERROR)
            self._say(b"An error in the server; its log has the details.\n", request)


class Health(Page):
    """The process lives: its reactor answers."""

    async def answer(self, request: Request) -> bytes:
        return b"ok\n"


class Readiness(Page):
    """Whether whoever comes is served."""

    def __init__(self, probe: Probe, trouble: Callable[[], str]) -> None:
        super().__init__()
        self._probe = probe
        self._trouble = trouble

    async def answer(self, request: Request) -> bytes:
        why = self._trouble() or await self._why_no_storage()
        if not why:
            return b"ready\n"
        request.setResponseCode(http.SERVICE_UNAVAILABLE)
        return f"not ready: {why}\n".encode()

    async def _why_no_storage(self) -> str:
        try:
            await self._probe.free()
        except LocalFault as fault:
            return str(fault)
        return ""


class Metrics(Page):
    """All numbers, in the form that the visitor asks for."""

    def __init__(self, metrics: ServerMetrics, probe: Probe) -> None:
        super().__init__()
        self._metrics = metrics
        self._probe = probe

    async def answer(self, request: Request) -> bytes:
        try:
            self._metrics.free = await self._probe.free()
        except LocalFault:
            self._metrics.free = None
        await self._metrics.look()
        try:
            encode, content_type = choose_encoder(header(request, b"accept"))
        except TypeError:  # a version that is no number, which they compare with one
            encode, content_type = choose_encoder("")
        request.setHeader(b"content-type", content_type.encode())
        return encode(self._metrics.registry)
