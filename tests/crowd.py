"""Many clients that come and go over and over, beside what a test does to the server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from streams import eventually


class Crowd:
    """So many at the same time; each stays away for `pause` seconds between two visits."""

    def __init__(self, size: int, visit: Callable[[int, int], str | None], pause: float = 0.0) -> None:
        """`visit`: told who comes, and for how manieth time; what went wrong, if something did."""
        self._visit = visit
        self._pause = pause
        self._is_over = threading.Event()
        self.served = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._come_and_go, args=(number,)) for number in range(size)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _come_and_go(self, number: int) -> None:
        count = 0
        while not self._is_over.wait(self._pause):
            count += 1
            try:
                fault = self._visit(number, count)
            except OSError as error:
                fault = repr(error)
            if fault is not None:
                self.failures.append(fault)
            self.served += 1

    def wait_for(self, more: int) -> None:
        """Wait until so many more visits are over."""
        wanted = self.served + more
        eventually(lambda: self.served >= wanted)
