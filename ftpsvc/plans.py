"""What a comparison of two trees has found to be done, as numbers, and the removals, which wait for the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ftpsvc import display
from ftpsvc.model import AlreadyExists, decode_name, encode_name
from ftpsvc.steps import Do, Step
from ftpsvc.words import escape, quote


class Removals:
    """The names that are to go, folder by folder. A million of them take some tens of megabytes."""

    def __init__(self) -> None:
        self.count = 0
        self._files: list[tuple[str, bytearray]] = []
        self._folders: list[str] = []

    def add_file(self, path: str) -> None:
        """A file, or a link."""
        folder, _, name = path.rpartition("/")
        if not self._files or self._files[-1][0] != folder:
            self._files.append((folder, bytearray()))
        self._files[-1][1].extend(encode_name(name) + b"\0")
        self.count += 1

    def add_folder(self, path: str) -> None:
        self._folders.append(path)
        self.count += 1

    def keep(self, staying: set[str]) -> None:
        """Leave out the folders that something stays in."""
        before = len(self._folders)
        self._folders = [path for path in self._folders if path not in staying]
        self.count -= before - len(self._folders)

    def files(self) -> Iterator[str]:
        for folder, names in self._files:
            for name in bytes(names).split(b"\0")[:-1]:
                yield f"{folder}/{decode_name(name)}" if folder else decode_name(name)

    def leave_out(self, links: set[str]) -> None:
        """Leave out what is in these folders, and themselves: they were links, and are gone."""
        self._files = [(folder, names) for folder, names in self._files if not is_within(folder, links)]
        self._folders = [path for path in self._folders if not is_within(path, links)]

    def folders(self) -> Iterator[list[str]]:
        """The folders, those of one depth together, the deepest first."""
        levels: dict[int, list[str]] = {}
        for path in self._folders:
            levels.setdefault(path.count("/"), []).append(path)
        for depth in sorted(levels, reverse=True):
            yield levels[depth]


def is_within(path: str, folders: set[str]) -> bool:
    """Whether this is one of the folders, or in one. Both may be thousands, so each isn't compared with each."""
    while path and path not in folders:
        path = path.rpartition("/")[0]
    return bool(path)


@dataclass(slots=True)
class Plan:
    """How much there is to do."""

    counts: dict[Do, int] = field(default_factory=dict)
    bytes: int = 0
    removals: Removals = field(default_factory=Removals)
    exchanges: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        do = step.do
        self.counts[do] = self.counts.get(do, 0) + 1
        if do is Do.COPY or do is Do.REPLACE:
            self.bytes += step.entry.size
        elif do is Do.REMOVE:
            self.removals.add_file(step.path)
        elif do is Do.REMOVE_FOLDER:
            self.removals.add_folder(step.path)
        elif do is Do.EXCHANGE:
            self.exchanges.append(step)

    def keep(self, staying: set[str]) -> list[Step]:
        """Leave out the folders that something stays in, once that is known. What was to take their place fails."""
        self.removals.keep(staying)
        failed = [_held(step) for step in self.exchanges if step.path in staying]
        self.exchanges = [step for step in self.exchanges if step.path not in staying]
        if failed:
            self.counts[Do.EXCHANGE] = len(self.exchanges)
        return failed

    def text(self) -> str:
        """The plan in one line."""
        count = self.counts.get
        parts = [
            f"{display.counted(number, thing)} to {verb}"
            for number, thing, verb in (
                (count(Do.COPY, 0), "file", "copy"),
                (count(Do.REPLACE, 0), "file", "replace"),
                (count(Do.COMPARE, 0), "file", "compare by digest"),
                (count(Do.EXCHANGE, 0), "name", "exchange"),
                (count(Do.MAKE, 0), "folder", "make"),
                (count(Do.TOUCH, 0), "mode", "set"),
                (self.removals.count, "name", "remove"),
            )
            if number
        ]
        return f"plan: {', '.join(parts)}; {display.size(self.bytes)}" if parts else "plan: nothing to do"


def _held(step: Step) -> Step:
    cause = AlreadyExists(f"{step.why}, and something in it stays.")
    return step._replace(do=Do.FAIL, why=display.reason(cause), cause=cause)


def described(step: Step) -> str:
    """A step of the plan, for a person."""
    slash = "/" if step.entry.is_directory else ""
    size = f" ({display.size(step.entry.size)})" if step.do in (Do.COPY, Do.REPLACE, Do.EXCHANGE) and not slash else ""
    why = f": {escape(step.why)}" if step.why else ""
    return f"{step.do.value} {quote(step.path) if step.path else '.'}{slash}{size}{why}"


def step_event(step: Step) -> dict[str, Any]:
    """The same for a program."""
    return {"event": "step", "do": step.do.value, "path": step.path}
