"""What a mirror removes, and what it doesn't; and any two trees at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st
from twotrees import Two, content, disks, two, write

from ftpsvc import model
from ftpsvc.filters import Rule
from ftpsvc.plans import Removals

__all__ = ["disks", "two"]  # fixtures, which pytest finds by their names

# -- removing, with care -------------------------------------------------------------------------------------


def test_removing_more_than_half_has_to_be_allowed(disks: Two) -> None:
    write(disks.source / "a")
    for name in ("a", "b", "c", "d"):
        write(disks.target / name)
    disks.answer = False
    report = disks.run(delete=True)
    assert disks.asked == [(3, 4)] and report.removed == 0
    assert report.failed.first == [
        ("", "3 of 4 names were to be removed, and none was. For more than half, use --force.")
    ]
    assert len(content(disks.target)) == 4
    disks.answer = True
    assert disks.run(delete=True).removed == 3


def test_removals_come_behind_everything_else(disks: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        write(disks.source / "sub" / name)
    write(disks.target / "extra")
    seen: list[set[str]] = []
    remove = disks.target_storage.remove

    async def watched(path: str) -> None:
        seen.append({name for name in content(disks.target) if name.startswith("sub/")})
        await remove(path)

    monkeypatch.setattr(disks.target_storage, "remove", watched)
    disks.run(delete=True)
    assert seen == [{"sub/a", "sub/b", "sub/c"}]


def test_what_is_excluded_is_neither_copied_nor_removed_nor_is_the_folder_that_it_is_in(two: Two) -> None:
    write(two.source / "a.o", b"new")
    write(two.source / "a.c")
    write(two.source / "keep")
    write(two.source / "cache" / "x")
    write(two.target / "a.o", b"old")
    write(two.target / "gone" / "b.o")
    write(two.target / "gone" / "deep" / "b.c")
    report = two.run(delete=True, filter=[Rule(False, "*.o"), Rule(False, "cache/")])
    assert set(content(two.target)) == {"a.o", "a.c", "keep", "gone", "gone/b.o"}
    assert (two.target / "a.o").read_bytes() == b"old"
    assert report.removed == 2 and report.failed.count == 0


def test_a_folder_that_cannot_be_listed_at_the_source_keeps_all_that_the_target_has(
    disks: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disks.source / "sub").mkdir()
    for name in ("a", "b", "c"):
        write(disks.source / name)
    write(disks.target / "sub" / "precious")
    listing = disks.source_storage.list

    async def refusing(path: str) -> Any:
        if path == "/sub":
            raise model.Denied("/sub: not for you.")
        async for entry in listing(path):
            yield entry

    monkeypatch.setattr(disks.source_storage, "list", refusing)
    report = disks.run(delete=True)
    assert report.failed.first == [("sub", "/sub: not for you.")]
    assert (disks.target / "sub" / "precious").exists() and (disks.target / "a").exists()


def test_a_name_that_no_listing_can_show_is_not_taken_for_one_that_the_source_lacks(tmp_path: Path) -> None:
    two = Two(tmp_path, "down")
    for folder in (two.source, two.target):
        write(folder / "sub" / "Icon\r")
    write(two.target / "gone" / "Icon\r")
    report = two.run(delete=True)
    assert set(content(two.target)) == {"sub", "sub/Icon\r"}
    assert (report.removed, [path for path, _ in report.skipped.first]) == (2, ["sub/Icon\r"])


def test_a_folder_that_is_reached_through_a_link_loses_nothing(disks: Two, tmp_path: Path) -> None:
    write(disks.target / "elsewhere" / "precious")
    (disks.target / "sub").symlink_to("elsewhere")
    write(disks.source / "sub" / "new")
    for name in ("1", "2", "3", "4"):
        write(disks.source / "elsewhere" / name)
    write(disks.source / "elsewhere" / "precious")
    disks.run(delete=True)
    assert (disks.target / "elsewhere" / "precious").exists()


def test_thousands_of_links_among_thousands_of_folders_are_left_out_at_once() -> None:
    removals = Removals()
    for number in range(5000):
        for path in (f"at/link{number}", f"at/link{number}/in", f"at/link{number}-not"):
            removals.add_folder(path)
            removals.add_file(f"{path}/a")
    began = time.process_time()
    removals.leave_out({f"at/link{number}" for number in range(5000)})
    assert time.process_time() - began < 1
    assert list(removals.files()) == [f"at/link{number}-not/a" for number in range(5000)]
    assert [path for level in removals.folders() for path in level] == [
        f"at/link{number}-not" for number in range(5000)
    ]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_link_that_is_too_much_goes_and_what_it_leads_to_stays(
    two: Two, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    if not is_told:  # as by most servers, which show the folder that it leads to
        listing = two.target_storage.list

        async def untold(path: str) -> Any:
            async for entry in listing(path):
                yield entry._replace(is_link=False)

        monkeypatch.setattr(two.target_storage, "list", untold)
    for name in ("1", "2", "3"):
        write(two.source / name)
    write(two.source / "real" / "a")
    write(two.target / "real" / "a")
    (two.target / "link").symlink_to("real")
    two.run(delete=True)
    assert content(two.target) == content(two.source)
    assert not (two.target / "link").is_symlink()


# -- any two trees -------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c.o", "d e", "\u00e9"])
TREES = st.recursive(
    st.tuples(st.binary(max_size=3), st.integers(1_000_000_000, 1_000_000_002)),
    lambda below: st.dictionaries(NAMES, below, max_size=4),
    max_leaves=12,
)
FOLDERS = st.dictionaries(NAMES, TREES, max_size=5)


def lay_out(folder: Path, tree: Any) -> None:
    for name, below in tree.items():
        if isinstance(below, dict):
            (folder / name).mkdir()
            lay_out(folder / name, below)
        else:
            write(folder / name, *below)


def facts(folder: Path) -> dict[str, tuple[int, int] | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("way", ["disks", "down", "up"])
@settings(max_examples=25)
@given(source=FOLDERS, target=FOLDERS)
def test_the_target_becomes_the_source_and_then_stays_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, way: str, source: Any, target: Any
) -> None:
    two = Two(tmp_path_factory.mktemp("trees"), way)
    lay_out(two.source, source)
    lay_out(two.target, target)
    before = facts(two.source)
    report = two.run(delete=True)
    assert report.failed.count == 0
    assert facts(two.target) == facts(two.source) == before
    again = two.run(delete=True)
    assert (again.copied, again.replaced, again.made, again.removed, again.failed.count) == (0, 0, 0, 0, 0)
    support.close_all()


@given(source=FOLDERS, target=FOLDERS)
def test_what_is_excluded_is_never_touched(tmp_path_factory: pytest.TempPathFactory, source: Any, target: Any) -> None:
    two = Two(tmp_path_factory.mktemp("trees"))
    lay_out(two.source, source)
    lay_out(two.target, target)

    def excluded(found: dict[str, Any]) -> dict[str, Any]:
        return {path: fact for path, fact in found.items() if "c.o" in path.split("/")}

    before = excluded(content(two.target))
    two.run(delete=True, filter=[Rule(False, "c.o")])
    assert excluded(content(two.target)) == before
    support.close_all()


@pytest.mark.parametrize(
    "answer",
    [None, model.BadCommand("500 what?"), model.NotListed("/ has no such name in it.")],
    ids=["has it", "cannot tell", "can only list"],
)
def test_what_a_list_leaves_out_is_asked_for_before_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Exception | None
) -> None:
    two = Two(tmp_path, "down")
    del two.source_storage.features["MLST"]  # then it is LIST that shows what there is
    for name in ("a", "b", ".hidden", "sub/x"):
        write(two.source / name)
        write(two.target / name)
    write(two.target / "extra")
    whole, stat = two.source_storage.list, two.source_storage.stat

    async def partly(path: str) -> Any:
        async for entry in whole(path):
            if entry.name not in (".hidden", "sub"):
                yield entry

    async def asked(path: str) -> Any:
        if answer is not None and path != "/":
            raise answer
        return await stat(path)

    monkeypatch.setattr(two.source_storage, "list", partly)
    monkeypatch.setattr(two.source_storage, "stat", asked)
    report = two.run(delete=True)
    extra = {"extra": b"x"} if answer else {}
    assert content(two.target) == {**dict.fromkeys(("a", "b", ".hidden", "sub/x"), b"x"), "sub": None, **extra}
    assert report.failed.count == (4 if answer else 3)


@pytest.mark.parametrize(("new", "old"), [("Foo", "foo"), ("\u00e9", "e\u0301"), ("STRASSE", "stra\u00dfe")])
def test_what_may_be_a_new_name_in_another_form_goes_only_when_both_are_there(two: Two, new: str, old: str) -> None:
    write(two.source / new / "a")
    write(two.target / old / "a")
    write(two.target / "extra")
    report = two.run(delete=True)
    assert content(two.target) == {new: None, f"{new}/a": b"x", old: None, f"{old}/a": b"x"}
    assert [path for path, _ in report.skipped.first] == [old]
    two.run(delete=True)
    assert content(two.target) == {new: None, f"{new}/a": b"x"}
