"""The contract once more, on a real object storage: S3 as OpenStack Swift speaks it."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import buckets
import pytest
import swift
from obstore.store import S3Store
from storage_contract import StorageContract
from storage_place import Place
from tree_contract import TreeContract

from ftpsvc.objects import s3
from ftpsvc.objects.requests import RefusedByS3
from ftpsvc.objects.s3 import S3Engine

NUMBERS = itertools.count()

#: How long obstore may take to close a connection, in seconds.
PATIENCE = 10.0


@pytest.fixture(scope="session")
def engine(store: swift.Swift) -> S3Engine:
    """A bucket. obstore keeps no connection to it, which would be one that a test has left open."""
    store.make_bucket("contract")
    requests = store.requests("contract")
    client: Any = {"allow_http": True, "pool_max_idle_per_host": "0"}
    keys = {"access_key_id": swift.ACCESS, "secret_access_key": swift.SECRET, "region": swift.REGION}
    config: Any = {**keys, "endpoint": store.endpoint, "virtual_hosted_style_request": False}
    return S3Engine(S3Store("contract", config=config, client_options=client), "contract", requests)


@pytest.fixture
def place(engine: S3Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(s3, "PAGE", 10)
    before = open_descriptors()
    yield buckets.place(engine, f"test{next(NUMBERS)}/", part=5 << 20)
    engine.close()
    give_up = time.monotonic() + PATIENCE
    while open_descriptors() - before and time.monotonic() < give_up:
        time.sleep(0.005)  # obstore closes its connections in a thread of its own


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


class TestSwift(StorageContract, TreeContract):
    """The contract, in a bucket of Swift's."""

    MANY = 25


@pytest.mark.usefixtures("place")
def test_metadata_is_changed_of_the_version_that_is_meant(engine: S3Engine) -> None:
    upload = engine.upload("tagged/large", {"mtime": "1"}, 5 << 20)
    for number in (1, 2):
        upload.send(number, b"x" * (5 << 20))
    engine.put("tagged/small", b"ours", {"mtime": "1"}, True)
    for key, tag in (("tagged/large", upload.complete(True)), ("tagged/small", engine.look("tagged/small").tag)):
        assert tag
        with pytest.raises(RefusedByS3, match="412"):
            engine.rewrite(key, {"mtime": "2"}, f'"{"0" * 32}"')
        assert engine.look(key).metadata["mtime"] == "1"
        engine.rewrite(key, {"mtime": "3"}, tag)
        assert engine.look(key).metadata["mtime"] == "3"
