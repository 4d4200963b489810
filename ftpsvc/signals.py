"""What is done when a signal comes, for as long as somebody listens."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any


class OnSignal:
    """Has something done when one of these signals comes. What was there before is put back."""

    def __init__(self, reactor: Any, action: Callable[[], object], *numbers: signal.Signals) -> None:
        self._reactor = reactor
        self._action = action
        self._numbers = numbers
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        if threading.current_thread() is threading.main_thread():  # only there Python lets one
            for number in self._numbers:
                self._before[number] = signal.signal(number, self._came)

    def forget(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _came(self, *_: object) -> None:
        # In a turn of the reactor's own: a signal may come in the middle of anything.
        self._reactor.callFromThread(self._action)
