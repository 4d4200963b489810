"""How `ftpsvc ctl` shows what a server answers. All of it is text from outside: names that clients chose among it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftpsvc import display
from ftpsvc.records import printable

Answer = Mapping[str, Any]

_HEADS = ("ID", "ACCOUNT", "FROM", "FOR", "TLS", "DOES", "MOVED", "RATE", "FILE")

#: The columns that are aligned at their right ends.
_RIGHT = frozenset((0, 3, 7))

#: The widest that a column other than the last gets.
_WIDEST = 32

#: Which columns a narrow terminal does without, the first to go first, and how much of the last it is for.
_SPARED = ("TLS", "FROM", "FOR", "RATE", "ACCOUNT")
_FILE = 16


def sessions(rows: Sequence[Answer], width: int, most: int | None = None) -> Iterator[str]:
    """A table, and a line that counts. `width`: columns of the terminal; `most`: how many lines there may be."""
    ordered = sorted(rows, key=lambda row: (row["path"] is None, row["id"]))
    shown = ordered if most is None or len(ordered) + 2 <= most else ordered[: max(0, most - 3)]
    cells = [_HEADS, *map(_cells, shown)]
    widths = [max(display.columns(row[at]) for row in cells) for at in range(len(_HEADS))]
    columns = _fitting(widths, width)
    for row in cells:
        padded = (_padded(row[at], widths[at], at in _RIGHT) for at in columns)
        yield display.clipped("  ".join(padded).rstrip(), width)
    if left := len(ordered) - len(shown):
        yield f"... and {left} more"
    yield _sum(ordered)


def _fitting(widths: Sequence[int], width: int) -> list[int]:
    """The columns for which there is room."""
    columns = list(range(len(widths)))
    for head in _SPARED:
        if sum(widths[at] + 2 for at in columns[:-1]) + min(widths[-1], _FILE) <= width:
            break
        columns.remove(_HEADS.index(head))
    return columns


def _cells(row: Answer) -> tuple[str, ...]:
    moved = rate = ""
    if row["path"] is not None:
        moved = display.part(row["moved"], row["total"]) if row["total"] else display.size(row["moved"])
        rate = f"{display.size(row['rate'])}/s"
    cells = (
        str(row["id"]),
        row["account"] or "-",
        row["address"],
        display.clock(row["seconds"]),
        "yes" if row["tls"] else "no",
        doing(row),
        moved,
        rate,
    )
    return (*(display.clipped(printable(cell), _WIDEST) for cell in cells), printable(row["path"] or ""))


def doing(row: Answer) -> str:
    """What a session does, in a word or two."""
    return f"{row['state']} {row['verb']}" if row["state"] == "busy" else str(row["state"])


def _padded(cell: str, width: int, is_right: bool) -> str:
    space = " " * (width - display.columns(cell))
    return space + cell if is_right else cell + space


def _sum(rows: Sequence[Answer]) -> str:
    transfers = sum(row["path"] is not None for row in rows)
    rate = sum(row["rate"] or 0 for row in rows)
    moving = f", {display.counted(transfers, 'transfer')}, {display.size(rate)}/s" if transfers else ""
    return display.counted(len(rows), "session") + moving


def kicked(row: Answer) -> str:
    """What became of the session that was to end."""
    who = f"{row['account'] or 'somebody'} from {row['address']}"
    cut = f"; its transfer of {row['path']} was cut" if row["path"] is not None else ""
    return printable(f"Session {row['id']} ({who}) was ended{cut}.")


def banned(answer: Answer) -> str:
    """What a ban came to."""
    until = "until unban" if answer["seconds"] is None else f"for {_span(answer['seconds'])}"
    ended = f"; {display.counted(answer['sessions'], 'session')} ended" if answer["sessions"] else ""
    how = f"{until} at all nodes" if answer["all_nodes"] else f"{until} or the server's end"
    return f"{answer['network']} is banned, {how}{ended}."


def draining(answer: Answer) -> str:
    """Who is left when nobody is let in any more."""
    left = display.counted(answer["sessions"], "session")
    moving = display.counted(answer["transfers"], "transfer")
    when = f"In {_span(answer['notice'])} nobody" if answer["notice"] else "Nobody"
    return (
        f"{when} is let in any more. {left}, {moving}; transfers may go on for {_span(answer['seconds'])}."
        " The process stays until it is stopped: systemctl stop, or SIGTERM."
    )


def stats(answer: Answer) -> Iterator[str]:
    """All numbers, a line for each matter."""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(answer["since"]))
    yield f"ftpsvc     {answer['version']}, for {_span(answer['uptime'])}, since {since}"
    now = f"{display.counted(answer['transfers'], 'transfer')}, {display.size(answer['rate'])}/s"
    yield f"now        {display.counted(answer['sessions'], 'session')}, {now}"
    yield f"moved      {display.size(answer['bytes_in'])} in, {display.size(answer['bytes_out'])} out"
    yield f"transfers  {answer['complete']} complete, {answer['aborted']} aborted, {answer['rejected']} rejected"
    yield f"logins     {answer['logins']}, and {answer['failed_logins']} failed"
    yield f"banned     {answer['banned'] or 'nobody'}"
    for ban in answer["bans"]:
        until = "until unban" if ban["left"] is None else f"for {_span(ban['left'])}"
        yield f"           {ban['network']} {until}: {ban['why']}"
    if more := answer["banned"] - len(answer["bans"]):
        yield f"           ... and {more} more"
    if nodes := answer.get("nodes"):
        how = "" if nodes["connected"] else "; what they count together can't be asked for, see the log"
        yield f"nodes      this one and {nodes['others']} more{how}"
    for at, disk in enumerate(answer["disks"]):
        room = f"{display.size(disk['free'])} free of {display.size(disk['total'])}"
        yield f"{'' if at else 'disks':11}{room}: {printable(disk['folder'])}"


def _span(seconds: float) -> str:
    """`90 s`, `12 min`, `5 h`, `3 days`: how long something lasts, roughly."""
    for most, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
