"""Object storage, on obstore's bucket in memory."""

from __future__ import annotations

import buckets
import pytest
from buckets import FIXED_OBJECTS, MemoryEngine
from obstore.store import MemoryStore
from storage_contract import StorageContract
from storage_place import Place
from tree_contract import TreeContract

from ftpsvc.objects.obstored import ObstoreEngine


@pytest.fixture(params=["bucket", "prefix", "fixed"])
def place(request: pytest.FixtureRequest) -> Place:
    """A bucket; a part of one; and one of an engine that doesn't change metadata."""
    if request.param == "fixed":
        return buckets.place(ObstoreEngine(MemoryStore()), can=FIXED_OBJECTS)
    return buckets.place(MemoryEngine(MemoryStore()), "homes/mia/" if request.param == "prefix" else "")


class TestObjects(StorageContract, TreeContract):
    """The contract, in an object storage."""
