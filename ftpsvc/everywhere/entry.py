"""Whether this process counts with other nodes, as the options say. Nothing else of this is needed without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftpsvc.commons import Common
from ftpsvc.securing import refuse

if TYPE_CHECKING:  # hiredis is an extra; what needs it is imported where it is
    from ftpsvc.everywhere.joining import Joined


def joined(options: Mapping[str, Any], reactor: Any, common: Common, run: str, room: int | None) -> Joined | None:
    """This process's part, if there is one; as `Joined` takes it."""
    if not options["shared"]:
        return None
    try:
        from ftpsvc.everywhere.joining import Joined
    except ModuleNotFoundError as error:
        if error.name != "hiredis":
            raise
        refuse("--shared needs hiredis, which isn't installed: pip install 'ftpsvc[shared]'")
    return Joined(reactor, options["shared"], run, common, room)
