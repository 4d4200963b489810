"""The modes of files and folders that a mirror makes: which they get, when, and at what kind of server."""

from __future__ import annotations

import os
from typing import Any

import pytest
from twotrees import Two, disks, two, write

from ftpsvc import model
from ftpsvc.model import Facts, Whole
from ftpsvc.storage import Times

__all__ = ["disks", "two"]  # fixtures, which pytest finds by their names


def test_a_folder_that_nobody_may_change_is_one_at_the_end(two: Two) -> None:
    write(two.source / "pub" / "sub" / "a", b"1")
    (two.source / "pub" / "sub").chmod(0o555)
    (two.source / "pub").chmod(0o550)
    two.run(top="/pub")
    modes = [(two.target / path).stat().st_mode & 0o777 for path in ("pub", "pub/sub")]
    assert modes == [0o550, 0o555]


def test_the_modes_of_folders_are_set_from_the_deepest_up(disks: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = ["", "/a", "/a/b", "/a/c", "/a/b/d"]
    write(disks.source / "pub" / "a" / "b" / "d" / "x", b"1")
    (disks.source / "pub" / "a" / "c").mkdir()
    for folder in folders:
        (disks.source / f"pub{folder}").chmod(0o440)
    set_facts, asked = disks.target_storage.set_facts, []

    async def noted(path: str, facts: Facts) -> None:
        if facts.mode == 0o440:
            asked.append(path.count("/"))
        await set_facts(path, facts)

    monkeypatch.setattr(disks.target_storage, "set_facts", noted)
    disks.run(top="/pub")
    assert asked == [4, 3, 3, 2, 1]


def test_a_folder_whose_time_is_refused_has_its_mode_all_the_same(disks: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    write(disks.source / "pub" / "a", b"1")
    (disks.source / "pub").chmod(0o555)
    set_facts = disks.target_storage.set_facts

    async def without_times(path: str, facts: Facts) -> None:
        if facts.modified is not None:
            raise model.Denied("550 Not a file.")
        await set_facts(path, facts)

    monkeypatch.setattr(disks.target_storage, "set_facts", without_times)
    assert disks.run().failed.count == 0
    assert (disks.target / "pub").stat().st_mode & 0o777 == 0o555


def test_a_private_folder_is_so_before_anything_is_in_it(disks: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    write(disks.source / "pub" / "sub" / "a", b"1")
    for path in ("pub", "pub/sub"):
        (disks.source / path).chmod(0o700)
    seen = []

    async def lost(path: str, whole: Whole) -> None:
        seen.extend((disks.target / path).stat().st_mode & 0o777 for path in ("pub", "pub/sub"))
        raise model.ConnectionFailed("x")

    monkeypatch.setattr(disks.target_storage, "put", lost)
    with pytest.raises(model.ConnectionFailed):
        disks.run(top="/pub")
    assert seen == [0o700, 0o700]


class Modeless:
    """A storage that takes no mode with a file, as a server without MODE I does, and sets those that it may."""

    times = Times(with_modes=False)

    def __init__(self, inner: Any, refused: type[model.TransferError] | None = None, only: str = "") -> None:
        self._inner = inner
        self._refused = refused
        self._only = only
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, path: str, whole: Whole) -> Any:
        return await self._inner.put(path, whole._replace(facts=whole.facts._replace(mode=None)))

    async def set_facts(self, path: str, facts: Facts) -> None:
        if facts.mode is not None:
            self.asked.append(path)
            if self._refused is not None and self._only in path:
                raise self._refused("No.")
        await self._inner.set_facts(path, facts)


def test_a_mode_that_does_not_come_with_a_file_is_set_behind_it(disks: Two) -> None:
    write(disks.source / "sub" / "secret", b"1", mode=0o600)
    disks.target_storage = Modeless(disks.target_storage)
    assert disks.run().failed.count == 0
    assert (disks.target / "sub" / "secret").stat().st_mode & 0o777 == 0o600
    assert disks.run().touched == 0


def test_who_refuses_a_mode_is_not_asked_for_each_and_gets_the_files_and_times(disks: Two) -> None:
    for name in "abc":
        write(disks.source / "sub" / name, b"1")
    os.utime(disks.source / "sub", (1_111_111_111, 1_111_111_111))
    disks.target_storage = modeless = Modeless(disks.target_storage, model.BadCommand)
    report = disks.run()
    assert (report.copied, report.failed.count) == (3, 0)
    assert (disks.target / "sub").stat().st_mtime == 1_111_111_111
    assert len([path for path in modeless.asked if path != "/sub"]) == 1


@pytest.mark.parametrize("kind", [model.Denied, model.InvalidName, model.NotLoggedIn])  # 550, 553, 530
def test_a_mode_that_is_refused_for_one_name_is_set_for_the_others(disks: Two, kind: type[model.TransferError]) -> None:
    for name in "abc":
        write(disks.source / name, b"1", mode=0o600)
    names, plain = os.listdir(disks.source), disks.target_storage
    for refused in names:  # whichever is the first
        disks.target_storage = Modeless(plain, kind, refused)
        assert disks.run().failed.count == 0
        modes = {name: (disks.target / name).stat().st_mode & 0o777 for name in names}
        assert [name for name, mode in modes.items() if mode != 0o600] == [refused]
        for name in names:
            (disks.target / name).unlink()
