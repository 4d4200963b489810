"""S3, with the requests that obstore has no call for: listings by the page, metadata that changes, folders' markers,
and the uploads of parts that somebody has left."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ftpsvc.objects.engine import PAGE, Listed, Page, Upload
from ftpsvc.objects.metadata import HEADERS
from ftpsvc.objects.obstored import FOLDER_MARK, IN_FLIGHT, ObstoreEngine
from ftpsvc.objects.requests import RefusedByS3, Request, Requests
from ftpsvc.objects.signing import quoted_path
from ftpsvc.storage import Buffer


class S3Engine(ObstoreEngine):
    """A bucket of S3, or of anything that speaks it."""

    rewrites = True

    def __init__(self, store: Any, bucket: str, requests: Requests) -> None:
        super().__init__(store)
        self._bucket = bucket
        self._requests = requests

    def first_look(self, prefix: str) -> int:
        query = {"list-type": "2", "prefix": prefix, "max-keys": "1"}
        return self._requests.once(Request("GET", query=query)).status

    def close(self) -> None:
        self._requests.close()

    def put(self, key: str, data: Buffer, metadata: Mapping[str, str], replace: bool) -> None:
        if replace:
            super().put(key, data, metadata, replace)
        else:
            headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
            body = bytes(data)
            self._requests.ask_for_new(Request("PUT", key, headers=headers, body=body), lambda: self._has(key, body))

    def _has(self, key: str, data: bytes) -> bool:
        """Whether an object has these bytes: S3 makes its tag of them, unless it encrypts. Then this says no."""
        found = self._requests.look(key)
        return found is not None and found.tag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def copy(self, source: str, target: str) -> None:
        self._copy(source, target, {})

    def rewrite(self, key: str, metadata: Mapping[str, str], tag: str) -> None:
        headers = {"x-amz-metadata-directive": "REPLACE"}
        for name, value in metadata.items():
            headers[name if name.lower() in HEADERS else f"x-amz-meta-{name}"] = value
        if tag:  # the digest is among the metadata, and holds for no other bytes
            try:
                return self._copy(key, key, {**headers, "x-amz-copy-source-if-match": tag})
            except RefusedByS3 as refusal:
                # Swift compares another tag with it than it tells, where the object was stored in parts.
                found = self._requests.look(key) if refusal.status == 412 else None
                if found is None or found.tag.strip('"') != tag.strip('"'):
                    raise
        self._copy(key, key, headers)

    def _copy(self, source: str, target: str, headers: Mapping[str, str]) -> None:
        # Not obstore's, which takes any 200 for a success, and a rename removes the source after it.
        place = quoted_path(f"/{self._bucket}/{source}")
        headers = {**headers, "x-amz-copy-source": place}
        self._requests.ask(Request("PUT", target, headers=headers, result="CopyObjectResult"))

    def upload(self, key: str, metadata: Mapping[str, str], part: int) -> Upload:
        return S3Upload(self._requests, key, metadata)

    # -- folders

    def page(self, prefix: str, after: str = "") -> Page:
        return self._page(prefix, after, "/", PAGE)

    def has_below(self, prefix: str) -> bool:
        found = self._page(prefix, "", "", 1)
        return bool(found.objects or found.folders)

    def everything(self, prefix: str) -> Iterator[list[Listed]]:
        after = ""
        while True:
            found = self._page(prefix, after, "", PAGE)
            yield found.objects
            if not (after := found.after):
                return

    def _page(self, prefix: str, after: str, delimiter: str, most: int) -> Page:
        query = {"list-type": "2", "prefix": prefix, "max-keys": str(most), "encoding-type": "url"}
        if delimiter:
            query["delimiter"] = delimiter
        if after:
            query["continuation-token"] = after
        root = ElementTree.fromstring(self._requests.ask(Request("GET", query=query)).body)
        objects = [_listed(item) for item in root.iterfind("{*}Contents")]
        folders = [_unquoted(item, "Prefix")[len(prefix) :].rstrip("/") for item in root.iterfind("{*}CommonPrefixes")]
        is_cut = root.findtext("{*}IsTruncated") == "true"
        return Page(objects, folders, root.findtext("{*}NextContinuationToken") or "" if is_cut else "")

    def make_folder(self, prefix: str) -> None:
        self._requests.ask(Request("PUT", prefix, headers={"content-type": "application/x-directory"}))

    def remove_folder(self, prefix: str) -> None:
        self._requests.ask(Request("DELETE", prefix))
        self._requests.ask(Request("DELETE", prefix + FOLDER_MARK))

    # -- parts

    def sweep(self, prefix: str, before: float) -> int:
        old = [upload for upload in self._uploads(prefix) if _seconds(upload.findtext("{*}Initiated")) < before]
        for upload in old:
            with contextlib.suppress(RefusedByS3):  # it was completed, or aborted, meanwhile
                key, name = _unquoted(upload, "Key"), upload.findtext("{*}UploadId") or ""
                self._requests.ask(Request("DELETE", key, {"uploadId": name}))
        return len(old)

    def _uploads(self, prefix: str) -> Iterator[Any]:
        query = {"uploads": "", "prefix": prefix, "encoding-type": "url"}
        while True:
            root = ElementTree.fromstring(self._requests.ask(Request("GET", query=query)).body)
            yield from root.iterfind("{*}Upload")
            if root.findtext("{*}IsTruncated") != "true":
                return
            query["key-marker"] = _unquoted(root, "NextKeyMarker")
            query["upload-id-marker"] = root.findtext("{*}NextUploadIdMarker") or ""


class S3Upload:
    """An upload in parts of which the name is known, so that nothing is left of it. obstore keeps that to itself."""

    at_once = IN_FLIGHT

    def __init__(self, requests: Requests, key: str, metadata: Mapping[str, str]) -> None:
        self._requests = requests
        self._key = key
        headers = {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        begun = ElementTree.fromstring(requests.ask(Request("POST", key, {"uploads": ""}, headers)).body)
        self._name = begun.findtext("{*}UploadId") or ""
        self._tags: dict[int, str] = {}

    def send(self, number: int, data: bytes) -> None:
        query = {"partNumber": str(number), "uploadId": self._name}
        self._tags[number] = self._requests.ask(Request("PUT", self._key, query, body=data)).tag

    def complete(self, replace: bool) -> str:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>"
            for number, tag in sorted(self._tags.items())
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        request = Request("POST", self._key, {"uploadId": self._name}, {}, body, "CompleteMultipartUploadResult")
        try:
            done = self._requests.ask(request) if replace else self._requests.ask_for_new(request, self._tag_if_there)
            return _tag_in(done.body)
        except RefusedByS3 as refusal:
            # An answer may be lost, and the second try finds no such upload any more, because the first has done it.
            if refusal.status != 404 or not (tag := self._tag_if_there()):
                raise
            return tag

    def _tag_if_there(self) -> str:
        """The object's tag, if it is the one of these parts: S3 makes its tag of theirs, unless it encrypts.

        The tag holds for all of the bytes, so their number adds nothing. Where it is made in another way this says no,
        and a file that is there is said not to be: never the other way round.
        """
        found = self._requests.look(self._key)
        if found is None:
            return ""
        try:
            tags = b"".join(bytes.fromhex(self._tags[number].strip('"')) for number in sorted(self._tags))
        except ValueError:
            return ""
        expected = f"{hashlib.md5(tags, usedforsecurity=False).hexdigest()}-{len(self._tags)}"
        return found.tag if found.tag.strip('"') == expected else ""

    def abort(self) -> None:
        self._requests.ask(Request("DELETE", self._key, {"uploadId": self._name}))


def _tag_in(answer: bytes) -> str:
    """The tag that an engine tells of what it has put into place; empty if it doesn't."""
    try:
        return ElementTree.fromstring(answer.strip()).findtext("{*}ETag") or ""
    except ElementTree.ParseError:
        return ""


def _unquoted(item: Any, name: str) -> str:
    return urllib.parse.unquote_plus(item.findtext(f"{{*}}{name}") or "")


def _listed(item: Any) -> Listed:
    modified = _seconds(item.findtext("{*}LastModified"))
    size = int(item.findtext("{*}Size") or 0)
    return Listed(_unquoted(item, "Key"), size, round(modified * 1000) * 1_000_000, item.findtext("{*}ETag") or "")


def _seconds(text: str | None) -> float:
    return datetime.datetime.fromisoformat(text).timestamp() if text else 0.0
