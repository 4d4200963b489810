"""The contract once more, through client, wire and server: a far storage is to be like a near one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import support
from storage_contract import StorageContract
from storage_place import Place
from support import result_of
from tree_contract import TreeContract


@pytest.fixture(params=["whole", "cut"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """With segments as they come, and with odd ones."""
    sizes = itertools.cycle([1, 3, 7, 1000, 65536, 2, 40_000])
    cut = (lambda: next(sizes)) if request.param == "cut" else (lambda: 1 << 20)
    remote, link = support.connected_remote(support.local_disk(tmp_path), cut)
    return Place(remote, tmp_path, lambda work: result_of(work, link))


class TestRemote(StorageContract):
    """The contract, on the far side of a connection."""


class TestRemoteTree(TreeContract):
    """What changes the tree, on the far side of a connection."""
