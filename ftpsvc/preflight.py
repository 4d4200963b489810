"""What would go wrong anyway, found before the first byte moves: what isn't there, what may not be written, space."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NoReturn

from ftpsvc import display, model
from ftpsvc.model import (
    Entry,
    TransferError,
    Unavailable,
    parent_and_name,
)
from ftpsvc.parallel import telling
from ftpsvc.places import Here, Place
from ftpsvc.resuming import CANNOT, kept_of
from ftpsvc.targets import Names, Target
from ftpsvc.transfers import Plan
from ftpsvc.walking import together
from ftpsvc.words import quote


def _raised(error: TransferError) -> NoReturn:
    raise error


async def planned(
    source: Place,
    files: Sequence[str],
    target: Place,
    to: str,
    given: Names | None = None,
    failed: Callable[[TransferError], object] = _raised,
) -> list[Plan]:
    """Look at both ends, for all files at once. Raises what stands in the way of all of them.

    `given` are the names that the same command has given to others before; those of the plans are added to it.
    `failed` is told what stands in the way of one of the files, or of what one of the patterns means.
    """
    found = await matching(source, files, failed)
    meant: dict[str, list[tuple[str, Entry]]] = {}
    for file in found:
        with telling(failed):
            meant[file] = _meant(source.path(file), found[file])
    items = [item for of_one in meant.values() for item in of_one]
    is_many = len(files) > 1 or any(len(of_one) > 1 for of_one in found.values())
    plans = iter(await _planned(source, items, target, to, is_many, failed) if items else ())
    names = {} if given is None else given
    left: list[Plan] = []
    for of_one in meant.values():
        with telling(failed):
            left += _claimed([plan for plan in islice(plans, len(of_one)) if plan is not None], names)
    return left


async def matching(
    source: Place, typed: Sequence[str], failed: Callable[[TransferError], object] = _raised
) -> dict[str, list[tuple[str, Entry]]]:
    """What these words mean, all looked up at once, without those that mean nothing: `failed` is told why."""
    found: dict[str, list[tuple[str, Entry]]] = {word: [] for word in typed}

    async def look(word: str) -> None:
        with telling(failed):
            found[word] = await source.matching(word)

    await together(found, look)
    return {word: of_one for word, of_one in found.items() if of_one}


def _meant(typed: str, found: Sequence[tuple[str, Entry]]) -> list[tuple[str, Entry]]:
    """Of a pattern the files, if there are any. Raises `NotAFile` for a folder."""
    has_files = any(entry.is_file for _, entry in found)
    meant = [(path, entry) for path, entry in found if path == typed or not (has_files and entry.is_directory)]
    for path, entry in meant:
        if entry.is_directory:
            raise model.NotAFile(f"{quote(path)} is a folder. Use -r to carry it with all that is in it.")
    return meant


def _claimed(plans: Sequence[Plan], names: Names) -> list[Plan]:
    """Give these their names; those that are left, because nothing before has brought the same. Raises what keeps all
    of them."""
    new: Names = {}
    known = ChainMap(new, names)  # not a copy: there may be thousands of names, and as many words
    left = []
    for plan in plans:
        if plan.old is not None and plan.old.is_directory:
            raise model.NotAFile(f"{quote(plan.name)} is a folder, and a folder is not replaced by a file.")
        if plan.name not in known:
            left.append(plan)
        claim(known, plan.name, (plan.server.target, plan.path))
    names.update(new)
    return left


def claim(names: MutableMapping[str, tuple[Target, str]], name: str, origin: tuple[Target, str]) -> None:
    """Give a name to what is brought from there. Raises `BadArgument` if another one has it."""
    if (other := names.setdefault(name, origin)) != origin:
        first, second = _told_apart(other, origin)
        raise model.BadArgument(f"{first} and {second} would both become {quote(name)}.")


def _told_apart(*origins: tuple[Target, str]) -> list[str]:
    if origins[0][0] == origins[1][0]:
        return [quote(path) for _, path in origins]
    return [replace(server, path=path).url for server, path in origins]


async def again(source: Place, path: str, target: Place, name: str) -> Plan:
    """Look at both ends of what was planned before: `*` is a letter in these paths. Raises what stands in the way."""
    entry, there = await source.entry(path), await _found(target, name)
    for at, found in ((path, entry), (name, there)):
        if found is not None and found.is_directory:
            raise model.NotAFile(f"{quote(at)} is a folder by now, and was to be a file.")
    return Plan(source, path, target, name, entry, there)


async def _planned(
    source: Place,
    meant: Sequence[tuple[str, Entry]],
    target: Place,
    to: str,
    is_many: bool,
    failed: Callable[[TransferError], object],
) -> list[Plan | None]:
    """The plans for these; None for one whose name the target refuses to look up, which `failed` is told."""
    goal = target.path(to)
    there = await _found(target, goal)
    if not (there.is_directory if there is not None else await target.can_be_entered(goal)):
        if to.endswith("/") or is_many:
            raise model.NotFound(f"there is no folder {quote(goal)}.")
        return [Plan(source, path, target, goal, entry, there) for path, entry in meant]
    names = [f"{goal.rstrip('/')}/{parent_and_name(path)[1]}" for path, _ in meant]
    old: dict[str, Entry | None] = {}

    async def look(name: str) -> None:
        with telling(failed):
            old[name] = await _found(target, name)

    await together(names, look)
    return [
        Plan(source, path, target, name, entry, old[name]) if name in old else None
        for (path, entry), name in zip(meant, names, strict=True)
    ]


async def _found(place: Place, path: str) -> Entry | None:
    try:
        return await place.storage.stat(path)
    except Unavailable:
        return None  # whatever else stands in the way is said when it is opened


async def check(plans: Sequence[Plan]) -> None:
    """Look at the target's folders: whether they may be written to, and have room. Raises what stands in the way."""
    target = plans[0].target
    folders: dict[str, list[Plan]] = {}
    for plan in plans:
        folders.setdefault(parent_and_name(plan.name)[0], []).append(plan)
    for folder, its_plans in folders.items():
        await _check_space(target, folder, its_plans)
        if all(plan.old is None for plan in plans) and not await target.takes_files(folder):
            where = "on this machine" if isinstance(target, Here) else "there"
            raise model.Denied(f"you may not make files in {quote(folder)} {where}. Nothing transferred.")


async def _check_space(target: Place, folder: str, plans: Sequence[Plan]) -> None:
    free = await target.space(folder)
    needed = sum(plan.size for plan in plans)
    if free is None or free >= needed:
        return
    not_needed: list[int] = []

    async def look(plan: Plan) -> None:
        not_needed.append(await _not_needed(plan, free))

    await together(plans, look)
    needed -= sum(not_needed)
    if free < needed:
        where = "the disk" if isinstance(target, Here) else "the server"
        raise model.NoSpace(f"need {display.size(needed)}, {where} has {display.size(free)} free. Nothing transferred.")


async def _not_needed(plan: Plan, free: int) -> int:
    """How much of a file's size is there already, or is given back for the one that it replaces, as a quota does."""
    with_old = await plan.target.space(plan.name) if plan.replaces else None
    try:
        kept = await kept_of(plan.target.storage, plan.name)
    except (Unavailable, model.InvalidName, *CANNOT):
        kept = 0
    return max(0, kept) + max(0, (with_old or 0) - free)
