"""Signed requests to S3, for what obstore has no call for. They wait for the answer, and so are made in threads."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import queue
import random
import re
import select
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple
from xml.etree import ElementTree

from obstore.exceptions import AlreadyExistsError

from ftpsvc.objects.signing import Keys, query_string, quoted_path, signed

#: For how long, in seconds, one request may be silent, and for how long it is tried again after errors.
SILENCE, RETRY_FOR = 30.0, 15.0

#: How many bytes of a request may have to wait for `SILENCE`: 9 KB/s are slow, and no silence.
PIECE = 256 * 1024

#: The waits between tries, in seconds: growing, and none of them exact, so that not all nodes come back at once.
FIRST_WAIT, LONGEST_WAIT = 0.2, 4.0

#: The most bytes that an answer may have: a page of 1,000 keys has less than a hundredth of it.
MOST_ANSWER = 64 * 1024 * 1024

# What a refusal means that comes behind a 200 (S3's API reference, "Error responses"). Any other may pass.
_LATE_REFUSALS = {
    "AccessDenied": 403,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "ConditionalRequestConflict": 409,
    "PreconditionFailed": 412,
    "NotImplemented": 501,
}

# The first element of an answer: what it is about. Before it may be a declaration, and any number of spaces.
_ELEMENT = re.compile(rb"<(?:[\w.-]+:)?([A-Za-z]\w*)")


class RefusedByS3(Exception):
    """The engine has answered, and not done it."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}".strip())
        self.status = status
        self.code = code
        self.is_behind_another = False  #: an earlier try has had no answer, and may have done it


@dataclass(frozen=True)
class Endpoint:
    """Where a bucket is, as `https://host:port/bucket`, and in which region."""

    url: str
    region: str


class Request(NamedTuple):
    """What is asked of a bucket: about a key of it, or about all of it where there is none.

    `result`: the element that says that it is done. S3 begins the answer to a copy, and to the completion of an
    upload, with 200 and spaces before it has done it (API reference, "CompleteMultipartUpload"). An answer that
    ends there is no success.
    """

    method: str
    key: str = ""
    query: Mapping[str, str] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    result: str = ""


class Answer(NamedTuple):
    """What a request has come to."""

    status: int
    tag: str
    body: bytes


class Requests:
    """Signed requests about one bucket, on connections that are kept."""

    def __init__(self, endpoint: Endpoint, keys: Keys, sleep: Callable[[float], None] = time.sleep) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._sleep = sleep
        parts = urllib.parse.urlsplit(endpoint.url)
        self._host, self._is_tls, self._path = parts.netloc, parts.scheme == "https", parts.path.rstrip("/")
        self._context = ssl.create_default_context() if self._is_tls else None
        self._takes_conditions = True
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def ask(self, request: Request) -> Answer:
        """The answer. Raises `RefusedByS3`, and `OSError` or `HTTPException` if there was none."""
        wait, until = FIRST_WAIT, time.monotonic() + RETRY_FOR
        is_first = True
        while True:
            try:
                answer = self.once(request)
                if 200 <= answer.status < 300 and _is_done(answer.body, request.result):
                    return answer
                error: Exception = (refusal := _refusal(answer))
                refusal.is_behind_another = not is_first
                is_passing = refusal.status == 429 or refusal.status < 300 or 500 <= refusal.status != 501
            except (OSError, http.client.HTTPException) as gone:
                error, is_passing = gone, True
            if not is_passing or time.monotonic() + wait > until:
                raise error
            is_first = False
            self._sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, LONGEST_WAIT)

    def ask_for_new(self, request: Request, is_done: Callable[[], object]) -> Answer:
        """A request that makes an object, and nothing where there is one. Raises `AlreadyExistsError`.

        `is_done`: whether the object that is there is the one of this request. It is asked where an answer was lost.
        """
        try:
            if self._takes_conditions:
                return self.ask(request._replace(headers={**request.headers, "if-none-match": "*"}))
        except RefusedByS3 as refusal:
            if refusal.status in (409, 412):
                if refusal.is_behind_another and is_done():
                    return Answer(200, "", b"")
                raise AlreadyExistsError(request.key) from refusal
            if refusal.status != 501:
                raise
            self._takes_conditions = False  # as Swift; what comes between the next two requests is replaced
        if self.look(request.key) is not None:
            raise AlreadyExistsError(request.key)
        return self.ask(request)

    def look(self, key: str) -> Answer | None:
        """An object, without its bytes; None if there is none. Raises `RefusedByS3` where that isn't to be known."""
        try:
            return self.ask(Request("HEAD", key))
        except RefusedByS3 as refusal:
            if refusal.status != 404:
                raise
            return None

    def once(self, request: Request) -> Answer:
        """The answer, whatever it is, without a second try."""
        method, key, query, headers, body, _ = request
        path = quoted_path(f"{self._path}/{key}")
        now = datetime.datetime.now(datetime.UTC)
        sent = signed(self._keys, self._endpoint.region, method, self._host, path, query, headers, body, now)
        connection = self._connection()
        try:
            target = f"{path}?{query_string(query)}" if query else path
            pieces = _pieces(body) if body else None
            connection.request(method, target, pieces, {**sent, "content-length": str(len(body))})
            response = connection.getresponse()
            answer = Answer(response.status, response.getheader("etag", ""), response.read(MOST_ANSWER))
            if response.length:  # which a read of so many bytes at most doesn't complain about
                raise http.client.IncompleteRead(answer.body, response.length)
        except BaseException:
            connection.close()
            raise
        self._idle.put(connection)
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        with contextlib.suppress(queue.Empty):
            while True:
                connection = self._idle.get_nowait()
                if not _has_ended(connection):
                    return connection
                connection.close()
        if self._context is not None:
            return http.client.HTTPSConnection(self._host, timeout=SILENCE, context=self._context)
        return http.client.HTTPConnection(self._host, timeout=SILENCE)

    def close(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def _pieces(body: bytes) -> Iterator[memoryview]:
    """A body as it is sent: the time in which a socket may be silent is that for all of what it is given at once."""
    view = memoryview(body)
    return (view[at : at + PIECE] for at in range(0, len(body), PIECE))


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether one that nobody has asked anything has something to say: its end, or what belongs to no answer."""
    if connection.sock is None:
        return True  # the last answer said that it would be closed
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _is_done(answer: bytes, result: str) -> bool:
    """Whether an answer that began with 200 has ended as a success, too."""
    found = _ELEMENT.search(answer)
    name = found[1].decode() if found else ""
    return name == result if result else name != "Error"


def _refusal(answer: Answer) -> RefusedByS3:
    code = _code(answer.body)
    if answer.status >= 300:
        return RefusedByS3(answer.status, code)
    return RefusedByS3(_LATE_REFUSALS.get(code, answer.status), code or "without its result")


def _code(answer: bytes) -> str:
    try:
        return ElementTree.fromstring(answer.strip()).findtext("{*}Code") or ""
    except ElementTree.ParseError:
        return ""
