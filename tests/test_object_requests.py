"""Object storage: the requests to S3 that are made without obstore."""

from __future__ import annotations

import datetime
import hashlib
import http.client
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from obstore.exceptions import AlreadyExistsError
from twisted.internet.task import Clock

from ftpsvc.objects import requests
from ftpsvc.objects.opening import Objects, Unusable
from ftpsvc.objects.options import ObjectOptions
from ftpsvc.objects.requests import Answer, Endpoint, RefusedByS3, Request, Requests
from ftpsvc.objects.s3 import S3Engine
from ftpsvc.objects.signing import Keys, signed

REQUESTS: Any = requests


def test_requests_are_signed_as_amazon_says() -> None:
    """The examples of its documentation, "Examples: Signature Calculations"."""
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    now = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
    host = "examplebucket.s3.amazonaws.com"

    def signature(method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
        sent = signed(keys, "us-east-1", method, host, path, query, headers, body, now)
        return sent["authorization"].rpartition("=")[2]

    expected = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert signature("GET", "/test.txt", {}, {"Range": "bytes=0-9"}, b"") == expected
    expected = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert signature("GET", "/", {"max-keys": "2", "prefix": "J"}, {}, b"") == expected
    expected = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    assert signature("GET", "/", {"lifecycle": ""}, {}, b"") == expected
    expected = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    headers = {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    assert signature("PUT", "/test%24file.text", {}, headers, b"Welcome to Amazon S3.") == expected


class Scripted(Requests):
    """Answers as it was told, and remembers what was asked and how long was waited."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.waits: list[float] = []
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []
        self.bodies: list[bytes] = []
        super().__init__(Endpoint("http://host/bucket", "r"), Keys("a", "b"), self.waits.append)
        self.answers = list(answers)

    def once(self, request: Request) -> Answer:
        self.asked.append((request.method, request.key, dict(request.query), dict(request.headers)))
        self.bodies.append(request.body)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(status: int = 200, body: bytes = b"", tag: str = "") -> Answer:
    return Answer(status, tag, body)


def test_what_passes_is_tried_again_with_growing_delays() -> None:
    error = answer(200, b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>")
    requests = Scripted(answer(503), answer(429), ConnectionResetError(), error, answer(500), answer(200, b"ok"))
    assert requests.ask(Request("GET")).body == b"ok"
    for waited, most in zip(requests.waits, (0.2, 0.4, 0.8, 1.6, 3.2), strict=True):
        assert most / 2 <= waited <= most


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 501])
def test_what_does_not_pass_is_not(status: int) -> None:
    requests = Scripted(answer(status, b"<Error><Code>Why</Code></Error>"))
    with pytest.raises(RefusedByS3, match=f"{status} Why"):
        requests.ask(Request("GET"))


def test_it_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    requests = Scripted(*[ConnectionRefusedError() for _ in range(100)])
    requests._sleep = lambda seconds: now.__setitem__(0, now[0] + seconds)
    monkeypatch.setattr(REQUESTS.time, "monotonic", lambda: now[0])
    with pytest.raises(ConnectionRefusedError):
        requests.ask(Request("GET"))
    assert 5 < now[0] <= 15


def make_new(requests: Requests) -> None:
    requests.ask_for_new(Request("PUT", "key", body=b"data"), lambda: False)


def test_a_new_object_is_made_under_a_condition() -> None:
    requests = Scripted(answer())
    make_new(requests)
    assert requests.asked == [("PUT", "key", {}, {"if-none-match": "*"})]
    with pytest.raises(AlreadyExistsError):
        make_new(Scripted(answer(412)))
    with pytest.raises(RefusedByS3, match="403"):
        make_new(Scripted(answer(403)))


@pytest.mark.parametrize("lost", [ConnectionResetError(), answer(500), answer(200, b"<Error/>")])
def test_a_new_object_is_ones_own_if_only_the_answer_was_lost(lost: Answer | Exception) -> None:
    def put(*answers: Answer | Exception) -> None:
        S3Engine(None, "bucket", Scripted(*answers)).put("key", b"data", {}, False)

    put(lost, answer(412), answer(tag=f'"{PART}"'))
    for there in (answer(tag=f'"{"0" * 32}"'), answer(404)):
        with pytest.raises(AlreadyExistsError):
            put(lost, answer(412), there)
    with pytest.raises(AlreadyExistsError):
        put(answer(412))  # whatever is there was there before
    complete(lost, answer(412), answer(tag=WHOLE), replace=False)
    with pytest.raises(AlreadyExistsError):
        complete(lost, answer(412), answer(tag=f'"{PART}"'), replace=False)


def test_where_there_are_no_conditions_it_is_looked_for_first() -> None:
    requests = Scripted(answer(501), answer(404), answer(), answer(200))
    make_new(requests)
    assert [asked[0] for asked in requests.asked] == ["PUT", "HEAD", "PUT"]
    assert requests.asked[-1][3] == {}
    with pytest.raises(AlreadyExistsError):
        make_new(requests)


@pytest.mark.parametrize("status", [301, 400, 403])
def test_a_look_that_is_refused_does_not_say_that_nothing_is_there(status: int) -> None:
    requests = Scripted(answer(501), answer(status), answer())
    with pytest.raises(RefusedByS3, match=str(status)):
        make_new(requests)
    assert [asked[0] for asked in requests.asked] == ["PUT", "HEAD"]


def test_a_look_that_is_refused_for_a_moment_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AlreadyExistsError):
        make_new(Scripted(answer(501), answer(503), answer(200)))
    monkeypatch.setattr(REQUESTS, "RETRY_FOR", 0)
    requests = Scripted(answer(501), answer(503), answer())
    with pytest.raises(RefusedByS3, match="503"):
        make_new(requests)
    assert [asked[0] for asked in requests.asked] == ["PUT", "HEAD"]


UPLOADS = b"""<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Upload><Key>home/old+name%%26</Key><UploadId>one</UploadId><Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload>
<Upload><Key>home/young</Key><UploadId>two</UploadId><Initiated>2999-01-01T00:00:00.000Z</Initiated></Upload>
<IsTruncated>%s</IsTruncated><NextKeyMarker>home/young</NextKeyMarker><NextUploadIdMarker>two</NextUploadIdMarker>
</ListMultipartUploadsResult>"""


def test_the_sweep_aborts_old_uploads_and_no_others() -> None:
    requests = Scripted(answer(200, UPLOADS % b"true"), answer(200, UPLOADS % b"false"), answer(204), answer(404))
    engine = S3Engine(None, "bucket", requests)
    assert engine.sweep("home/", 1_700_000_000) == 2
    assert requests.asked[0][2]["prefix"] == "home/"
    assert requests.asked[1][2]["key-marker"] == "home/young"
    assert [asked[:3] for asked in requests.asked[2:]] == [("DELETE", "home/old name&", {"uploadId": "one"})] * 2


BEGUN = b"<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"
DONE = b'<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Key>key</Key>'
COPIED = b'<CopyObjectResult><ETag>"t"</ETag></CopyObjectResult>'
GONE = answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")

# What comes before S3 has done anything: it is to keep the connection alive, for as long as it takes.
WAITING = b'<?xml version="1.0" encoding="UTF-8"?>\n' + b" " * 1000


def late(code: bytes) -> Answer:
    return answer(200, WAITING + b"<Error><Code>" + code + b"</Code></Error>")


def test_an_upload_completes_with_its_parts_in_order_or_is_aborted() -> None:
    requests = Scripted(answer(200, BEGUN), answer(tag='"b"'), answer(tag='"a"'), answer(200, DONE), answer(204))
    upload = S3Engine(None, "bucket", requests).upload("key", {"mtime": "1.5"}, 1000)
    assert requests.asked[0] == ("POST", "key", {"uploads": ""}, {"x-amz-meta-mtime": "1.5"})
    upload.send(2, b"second")
    upload.send(1, b"first")
    upload.complete(True)
    assert requests.bodies[-1].index(b'"a"') < requests.bodies[-1].index(b'"b"')
    upload.abort()
    assert requests.asked[-1][:3] == ("DELETE", "key", {"uploadId": "id"})


PART = hashlib.md5(b"data").hexdigest()
WHOLE = f'"{hashlib.md5(bytes.fromhex(PART)).hexdigest()}-1"'


def complete(*answers: Answer | Exception, replace: bool = True) -> Scripted:
    """Complete an upload of one part, and hear this. Gives what was asked; all of the answers have to be used."""
    requests = Scripted(answer(200, BEGUN), answer(tag=f'"{PART}"'), *answers)
    upload = S3Engine(None, "bucket", requests).upload("key", {}, 1000)
    upload.send(1, b"data")
    try:
        upload.complete(replace)
    finally:
        assert not requests.answers
    return requests


@pytest.mark.parametrize(
    "lost",
    [
        ConnectionResetError(),
        answer(200),
        answer(200, WAITING),
        answer(200, WAITING + b"<CompleteMultipart"),
        answer(200, b"<html>this is the proxy</html>"),
        late(b"InternalError"),
        late(b"NoSuchUpload"),
    ],
)
def test_an_answer_that_was_lost_is_found_out_by_what_is_there(lost: Answer | Exception) -> None:
    again = [] if lost == late(b"NoSuchUpload") else [GONE]
    assert complete(lost, *again, answer(tag=WHOLE)).asked[-1][0] == "HEAD"
    for other in (answer(404), answer(tag=f'"{PART}"'), answer(tag='"f9c8d11e5c8d3b2a5a1a7f0b6c0d3d5e-1"')):
        with pytest.raises(RefusedByS3, match="NoSuchUpload"):
            complete(lost, *again, other)
    with pytest.raises(RefusedByS3, match="403"):
        complete(lost, *again, answer(403))  # nobody knows whether it is there


def test_an_upload_is_complete_when_the_engine_says_so_and_not_before() -> None:
    complete(answer(200, WAITING), late(b"SlowDown"), answer(200, WAITING + DONE))
    complete(answer(200, b'<s3:CompleteMultipartUploadResult xmlns:s3="x">'))


def test_a_refusal_behind_a_200_is_one_all_the_same() -> None:
    with pytest.raises(RefusedByS3, match="403 AccessDenied"):
        complete(late(b"AccessDenied"))
    with pytest.raises(AlreadyExistsError):
        complete(late(b"PreconditionFailed"), replace=False)


def test_without_its_result_no_upload_is_complete_and_nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(REQUESTS, "RETRY_FOR", 0)
    with pytest.raises(RefusedByS3, match="without its result"):
        complete(answer(200, WAITING))
    engine = S3Engine(None, "bucket", Scripted(answer(200, WAITING), answer(200, WAITING)))
    with pytest.raises(RefusedByS3, match="without its result"):
        engine.copy("source", "target")
    with pytest.raises(RefusedByS3, match="without its result"):
        engine.rewrite("key", {"mtime": "1"}, "")


def test_a_copy_is_made_when_the_engine_says_so() -> None:
    requests = Scripted(late(b"InternalError"), answer(200, WAITING + COPIED), late(b"AccessDenied"))
    engine = S3Engine(None, "bucket", requests)
    engine.copy("a b", "target")
    assert requests.asked[-1] == ("PUT", "target", {}, {"x-amz-copy-source": "/bucket/a%20b"})
    with pytest.raises(RefusedByS3, match="403 AccessDenied"):
        engine.copy("source", "target")


def test_other_metadata_is_for_the_version_that_was_looked_at() -> None:
    refused = answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
    requests = Scripted(answer(200, COPIED), refused, answer(tag='"u"'), refused, answer(404))
    engine = S3Engine(None, "bucket", requests)
    engine.rewrite("key", {"mtime": "1"}, '"t"')
    assert requests.asked[-1][3]["x-amz-copy-source-if-match"] == '"t"'
    for _ in ("another", "none"):
        with pytest.raises(RefusedByS3, match="412"):
            engine.rewrite("key", {"mtime": "1"}, '"t"')
    # As Swift, of an object that was stored in parts: there it was looked at just before.
    requests.answers = [refused, answer(tag='"t"'), answer(200, COPIED)]
    engine.rewrite("key", {"mtime": "1"}, '"t"')
    assert "x-amz-copy-source-if-match" not in requests.asked[-1][3]


@pytest.mark.parametrize(
    ("answers", "tag"),
    [([answer(200, DONE + b"<ETag>&quot;t&quot;</ETag></CompleteMultipartUploadResult>")], '"t"'),
     ([answer(200, DONE)], ""),
     ([ConnectionResetError(), GONE, answer(tag=WHOLE)], WHOLE)],
)  # fmt: skip
def test_the_tag_of_a_completed_upload_is_known_if_the_engine_tells_it(
    answers: list[Answer | Exception], tag: str
) -> None:
    requests = Scripted(answer(200, BEGUN), answer(tag=f'"{PART}"'), *answers)
    upload = S3Engine(None, "bucket", requests).upload("key", {}, 1000)
    upload.send(1, b"data")
    assert upload.complete(True) == tag


@contextmanager
def answering(answer: bytes) -> Iterator[Requests]:
    """Requests to somebody who answers this to the first, and ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection = listening.accept()[0]
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        requests = Requests(Endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}/bucket", "r"), Keys("a", "b"))
        yield requests
        requests.close()
        server.join()


@pytest.mark.parametrize(
    "cut",
    [
        b"Content-Length: 400\r\n\r\n<?xml version='1.0'?>   ",
        b"Content-Length: 400\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n190\r\n<?xml version='1.0'?>   ",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n   \r\n",
    ],
)
def test_an_answer_that_is_cut_short_is_none(cut: bytes) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n" + cut) as requests, pytest.raises(http.client.IncompleteRead):
        requests.once(Request("GET"))


def test_a_body_is_given_to_the_socket_in_pieces_as_its_limit_holds_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sendall` takes the limit for all that it is given: a part was cut off that took longer than a silence may."""
    sent: list[int] = []
    answered = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    fake: Any = SimpleNamespace(
        sendall=lambda data: sent.append(len(data)), makefile=lambda _: io.BytesIO(answered), close=lambda: None
    )
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda self: setattr(self, "sock", fake))
    body = bytes(10 * requests.PIECE + 1)
    asking = Requests(Endpoint("http://host/bucket", "r"), Keys("a", "b"))
    assert asking.once(Request("PUT", "key", body=body)).status == 200
    assert sum(sent[1:]) == len(body), "behind the headers"
    assert max(sent) <= requests.PIECE
    asking.close()


def test_a_page_is_read_whatever_the_keys_are_called() -> None:
    body = b"""<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>true</IsTruncated>
    <NextContinuationToken>more</NextContinuationToken>
    <Contents><Key>p/a+b%0A%26</Key><Size>5</Size><ETag>"t"</ETag><LastModified>2020-01-01T00:00:00.123Z</LastModified>
    </Contents><CommonPrefixes><Prefix>p/%C3%A4/</Prefix></CommonPrefixes></ListBucketResult>"""
    page = S3Engine(None, "bucket", Scripted(answer(200, body))).page("p/")
    assert page.after == "more"
    assert page.folders == ["\u00e4"]
    assert [(listed.key, listed.size, listed.tag) for listed in page.objects] == [("p/a b\n&", 5, '"t"')]
    assert page.objects[0].modified == 1_577_836_800_123_000_000


def test_a_look_while_others_are_served_closes_no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monitor may be asked each second whether the server is ready; the start leaves nothing open."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    objects = Objects(ObjectOptions(environment=keys), Clock())
    closed: list[Requests] = []
    monkeypatch.setattr(Requests, "once", lambda *_: answer(200))
    monkeypatch.setattr(Requests, "close", lambda self: closed.append(self))
    objects.check("s3://bucket/x")
    assert len(closed) == 1
    objects.answers("s3://bucket/x")
    assert len(closed) == 1
    objects.close()


@pytest.mark.parametrize(("status", "why"), [(403, "keys aren't good"), (404, "no such bucket"), (301, "region")])
def test_the_start_tells_what_is_amiss(monkeypatch: pytest.MonkeyPatch, status: int, why: str) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    objects = Objects(ObjectOptions(environment=keys), Clock())
    monkeypatch.setattr(Requests, "once", lambda *_: answer(status))
    with pytest.raises(Unusable, match=why):
        objects.check("s3://bucket/x")
    monkeypatch.setattr(Requests, "once", lambda *_: answer(200))
    assert "Served from S3" in objects.check("s3://bucket/x")
    objects.answers("s3://bucket/x")
    monkeypatch.setattr(Requests, "once", lambda *_: answer(status))
    with pytest.raises(OSError, match=why):
        objects.answers("s3://bucket/x")
    monkeypatch.undo()
    with pytest.raises(OSError):
        objects.answers("s3://bucket/x")
    assert "doesn't answer at this moment" in objects.check("s3://bucket/x")
    objects.close()
