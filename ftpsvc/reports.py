"""What became of a tree: counted while it is carried, and told at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ftpsvc import display
from ftpsvc.model import TransferError
from ftpsvc.words import escape, quote

#: Of how many entries the reasons are kept. A million files that all fail fail for a few reasons.
MAX_REASONS = 1000

#: How many of them are told. More scroll away.
MAX_TOLD = 20


@dataclass(slots=True)
class Reasons:
    """Entries, counted, and why."""

    count: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)
    causes: list[TransferError | None] = field(default_factory=list)  #: of the first ones, where there was an error

    def add(self, path: str, why: str, cause: TransferError | None = None) -> None:
        self.count += 1
        if len(self.first) < MAX_REASONS:
            self.first.append((path, why))
            self.causes.append(cause)

    def told(self, word: str) -> Iterator[str]:
        for path, why in self.first[:MAX_TOLD]:
            yield f"{word} {quote(path) if path else '.'}: {escape(why)}"
        if self.count > MAX_TOLD:
            yield f"{word}: and {self.count - MAX_TOLD} more"


@dataclass(slots=True)
class Report:
    """What was done. Bytes are those of whole files; `resumed` is how many of them were there already."""

    copied: int = 0
    replaced: int = 0
    bytes: int = 0
    resumed: int = 0
    made: int = 0
    touched: int = 0
    same: int = 0
    removed: int = 0
    unverified: int = 0
    skipped: Reasons = field(default_factory=Reasons)
    failed: Reasons = field(default_factory=Reasons)
    notes: Reasons = field(default_factory=Reasons)

    def sum(self, seconds: float) -> str:
        """All of it in one line."""
        carried = self.copied + self.replaced
        moved = self.bytes - self.resumed
        rate = f", {display.size(moved / seconds)}/s" if carried and seconds > 0 else ""
        amount = f" ({display.size(self.bytes)} in {display.duration(seconds)}{rate})"
        parts = [f"copied {display.counted(self.copied, 'file')}"]
        parts += [f"replaced {self.replaced}"] * bool(self.replaced)
        parts[-1] += amount
        parts += [f"made {display.counted(self.made, 'folder')}"] * bool(self.made)
        parts += [f"set times or modes of {self.touched}"] * bool(self.touched)
        parts += [f"removed {self.removed}"] * bool(self.removed)
        parts += [f"{self.same} the same already"] * bool(self.same)
        parts += [f"skipped {self.skipped.count}"] * bool(self.skipped.count)
        parts += [f"{display.size(self.resumed)} were there from earlier"] * bool(self.resumed)
        parts += [f"{self.unverified} not verified"] * bool(self.unverified)
        parts += [f"failed {self.failed.count}"] * bool(self.failed.count)
        return ", ".join(parts)

    def event(self, seconds: float) -> dict[str, Any]:
        """The same, for a program."""
        numbers = "copied replaced bytes resumed made touched same removed unverified".split()
        counted = {"skipped": self.skipped.count, "failed": self.failed.count}
        return {**{name: getattr(self, name) for name in numbers}, **counted, "seconds": round(seconds, 3)}
