"""What goes along with the service, as the options want it: its log, hooks, the gate before uploads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ftpsvc.commons import Common
from ftpsvc.factory import ServerFactory
from ftpsvc.gate import CheckedAccounts, Gate
from ftpsvc.hooks import Hooks
from ftpsvc.logfiles import Logging, log_of, opened
from ftpsvc.programs import Programs
from ftpsvc.xferlog import Xferlog


class Companion(Protocol):
    """Starts with the service, and ends when nobody is served any more."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...


class Hasty(Companion, Protocol):
    """One whose end may take its time, unless somebody is in a hurry."""

    def hurry(self) -> None: ...


def logging_for(options: Mapping[str, Any], twistd: Mapping[str, Any] | None, factory: ServerFactory) -> Logging:
    """The log, and the xferlog."""
    log = log_of(options, twistd)
    files = [log.file] if log is not None and log.file is not None else []
    if options["xferlog"]:
        files.append(opened(options["xferlog"], "--xferlog"))
        factory.records.listeners.append(Xferlog(files[-1]))
    return Logging(None if log is None else log.observer, files, factory.clock)


def hooks_for(
    options: Mapping[str, Any], factory: ServerFactory, locate: Callable[[str, str], str], common: Common | None
) -> list[Hasty]:
    """The hooks and the gate, if there are any; without them nothing is in anybody's way.

    `common`: what is counted together with other processes that serve; None where there are none.
    """
    found: list[Hasty] = []
    clock = factory.clock

    def programs() -> Programs:
        return Programs(clock, lambda: factory.limits)

    if options["hooks"]:
        hooks = Hooks(options["hooks"], programs(), clock, factory.counts, locate)
        factory.records.listeners.append(hooks)
        found.append(hooks)
    if options["check"]:
        gate = Gate(options["check"], programs(), None if common is None else common.counts)
        factory.accounts = CheckedAccounts(factory.accounts, gate)
        found.append(gate)
    return found
