"""Two trees to be mirrored: between two disks, or over a client and a server in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import support
from support import result_of

from ftpsvc.filters import Filter
from ftpsvc.mirroring import Mirror
from ftpsvc.plans import described
from ftpsvc.remote import Remote
from ftpsvc.reports import Report
from ftpsvc.steps import Rules, Side

BIG = os.urandom(150_000)


def connected(storage: Any) -> tuple[Remote, Any]:
    remote, link = support.connected_remote(storage)
    result_of(remote._ask_features(), link)
    return remote, link


class Two:
    """A source and a target folder, and the mirror between them."""

    def __init__(self, folder: Path, way: str = "disks") -> None:
        self.source, self.target = folder / "source", folder / "target"
        self.source.mkdir(parents=True)
        self.target.mkdir()
        self.asked: list[tuple[int, int]] = []
        self.answer = True
        self.plan = ""
        self.link: Any = None
        self.source_storage: Any = support.local_disk(self.source, sync=False)
        self.target_storage: Any = support.local_disk(self.target, sync=False)
        if way == "down":
            self.source_storage, self.link = connected(self.source_storage)
        elif way == "up":
            self.target_storage, self.link = connected(self.target_storage)

    def mirror(self, **options: Any) -> Mirror:
        wanted = Filter(options.pop("filter", []))

        async def may_remove(removals: int, present: int) -> bool:
            self.asked.append((removals, present))
            return self.answer

        def compared(plan: Any) -> None:
            self.plan = plan.text()

        top = options.pop("top", "/")
        source, target = Side(self.source_storage, top), Side(self.target_storage, top)
        return Mirror(source, target, Rules(wanted, **options), may_remove=may_remove, compared=compared)

    def run(self, **options: Any) -> Report:
        report = result_of(self.mirror(**options).run(), self.link)
        assert isinstance(report, Report)
        return report

    def dry_run(self, **options: Any) -> list[str]:
        async def steps() -> list[str]:
            return [described(step) async for step in self.mirror(**options).dry_run()]

        found = result_of(steps(), self.link)
        assert isinstance(found, list)
        return sorted(found)


@pytest.fixture(params=["disks", "down", "up"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Two:
    return Two(tmp_path, request.param)


@pytest.fixture
def disks(tmp_path: Path) -> Two:
    return Two(tmp_path)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder; for a file its bytes."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def write(path: Path, data: bytes = b"x", seconds: int = 1_000_000_000, mode: int = 0o640) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, (seconds, seconds))
