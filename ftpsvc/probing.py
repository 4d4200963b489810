"""Whether the storage answers, and how much it still takes; asked in a thread, for a broken one may never answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError

from ftpsvc.model import LocalFault
from ftpsvc.threads import Run, done_with

#: How long, in seconds, an answer may take. Who asks whether the server is ready waits for little more (Kubernetes: 1).
PATIENCE = 0.8


class Probe:
    """Looks at a storage, for whoever asks: once at a time, so that one that hangs takes one thread and no more."""

    def __init__(self, look: Callable[[], int | None], run: Run, clock: Any) -> None:
        """`look` gives the free bytes, None where nobody can tell, or raises `OSError`."""
        self._look = look
        self._run = run
        self._clock = clock
        self._looking: Deferred[int | OSError | None] | None = None

    async def free(self) -> int | None:
        """How many bytes can still be stored, if that is known. Raises `LocalFault` if the storage can't be reached."""
        if self._looking is None:
            self._looking = self._run(self._found).addBoth(self._looked)
        try:
            found = await done_with(self._looking).addTimeout(PATIENCE, self._clock)
        except TimeoutError:
            raise LocalFault(f"the storage has not answered within {PATIENCE:g} seconds") from None
        if isinstance(found, OSError):
            raise LocalFault(f"the storage can't be reached: {found.strerror}") from found
        return found

    def _found(self) -> int | OSError | None:
        try:
            return self._look()
        except OSError as error:
            return error  # as a failure it would be the first one's who waits, and the others would hear of none

    def _looked(self, result: Any) -> Any:
        self._looking = None
        return result


def free_in(folder: str) -> int:
    """The free bytes under a folder that can be listed. Raises `OSError`."""
    os.scandir(folder).close()
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
