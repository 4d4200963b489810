"""Requests to S3, signed as it wants them: AWS Signature Version 4, with the signature in a header."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Keys:
    """Who asks. Neither the secret nor the token shows in a repr."""

    access: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def query_string(query: Mapping[str, str]) -> str:
    """A query as it is sent, and as it is signed: sorted, and with all quoted that can be."""
    return "&".join(f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query))


def quoted_path(path: str) -> str:
    """A path as S3 has it in requests."""
    return quote(path, safe="/")


def signed(
    keys: Keys,
    region: str,
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime.datetime,
) -> dict[str, str]:
    """The headers to send: these, and those that sign them. `path` is quoted already; `now` is in UTC.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
    """
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    body_hash = hashlib.sha256(body).hexdigest() if body else EMPTY
    sent = {name.lower(): value for name, value in headers.items()}
    sent |= {"host": host, "x-amz-content-sha256": body_hash, "x-amz-date": moment}
    if keys.token:
        sent["x-amz-security-token"] = keys.token
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{' '.join(sent[name].split())}\n" for name in sorted(sent))
    request = "\n".join([method, path, query_string(query), lines, names, body_hash])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**sent, "authorization": authorization}
