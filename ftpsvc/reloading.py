"""Reading everything again while the server runs: the configuration, the accounts, the certificate.

All of it is read first. If any of it can't be used, nothing is changed. Sessions and transfers go on in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ftpsvc.admission import Entrance, admitted
from ftpsvc.factory import ServerFactory
from ftpsvc.homes import Homes
from ftpsvc.limits import Limits
from ftpsvc.options import LIMITS, Options
from ftpsvc.securing import refuse, secured
from ftpsvc.states import Required

#: Options about who may log in: a change of one makes all of that anew.
_DOORS = frozenset({"accounts", "anonymous", "auth"})

#: All options that a running server can take over. A change of any other needs a restart, and is said to.
_CHANGEABLE = _DOORS | {
    "certificate",
    "exempt",
    "key",
    "passive-address",
    "passive-local",
    "passive-ports",
    "require-tls",
    *(limit.metadata["option"] for limit in LIMITS),
}


class Reloaded(NamedTuple):
    """What became of a reload, in lines for people."""

    is_done: bool
    lines: list[str]


class Reloading:
    """Does it, for one server."""

    def __init__(
        self,
        options: Options,
        factory: ServerFactory,
        entrance: Entrance,
        homes: Homes,
        affordable: Callable[[Limits], Limits],
    ) -> None:
        """`options`: those that it was started with. `affordable`: the limits, as far as the system allows them."""
        self.options = options  #: those that are in force
        self._factory = factory
        self._entrance = entrance
        self._homes = homes
        self._affordable = affordable

    def reload(self, words: Sequence[str] | None = None) -> Reloaded:
        """Read everything again, and take it over if all of it can be used. `words`: the options from now on, in place
        of those that they came from."""
        try:
            return Reloaded(True, self._reload(words))
        except SystemExit as refusal:  # what would have kept the server from starting keeps it as it is
            return Reloaded(False, [f"nothing was changed: {str(refusal).removeprefix('ftpsvc: ')}"])

    def _reload(self, words: Sequence[str] | None) -> list[str]:
        new = self.options.again(words)
        before, after = self.options.chosen(), new.chosen()
        changed = [name for name in after if after[name] != before[name]]
        fixed = [name for name in changed if name not in _CHANGEABLE]
        for name in fixed:
            new.keep(name, self.options)
        tls = secured(new["certificate"], new["key"], new["state"])
        admission = self._entrance.now
        if _DOORS.intersection(changed):
            admission = admitted(new, self._homes, self._factory.run)
        elif admission.file is not None:
            admission.file.records(by_order=True)
            if admission.file.fault is not None:
                refuse(f"can't use the accounts: {admission.file.fault}")

        # Nothing behind this line can fail.
        factory = self._factory
        assert factory.tls is not None
        factory.tls.take_over(tls)
        factory.limits.take_over(self._affordable(new["limits"]))
        factory.take_data_connections(new["passive"])
        factory.required = Required(new["require-tls"])
        lines = [_change(name, before[name], after[name]) for name in changed if name not in fixed]
        if admission is not self._entrance.now:
            self._entrance.now = admission
            lines.extend(admission.announcements)
        if admission.file is not None:
            lines.append(f"the accounts were read again; there are {len(admission.file.records())}")
        lines.append(f"the certificate was read again; SHA-256 fingerprint {tls.fingerprint}")
        lines.extend(f"{name} is another, which needs a restart; until then it stays as it was" for name in fixed)
        self.options = new
        return lines


def _change(name: str, before: object, after: object) -> str:
    """What may be said of a change: numbers, and nothing that could be a secret."""
    if isinstance(before, int | float) and isinstance(after, int | float):
        return f"{name} is {after:,.15g}; it was {before:,.15g}"
    return f"{name} is another"
