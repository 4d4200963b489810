"""Commands that are run when something has happened, with its record as JSON on their standard input."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ftpsvc.counts import Counts
from ftpsvc.programs import Outcome, Programs
from ftpsvc.records import Change, Ending, Happening, Record, Transfer, fields_of
from ftpsvc.unnamed import in_memory

#: How many records may wait for their command. With what the JSON of a long path takes, less than 10 MB.
MAX_WAITING = 1000

#: How long, in seconds, the end of the server waits for hooks that are due.
LAST_TIME = 10.0

#: For what there can be a command, and what it is run for, in words for people.
HOOKS = {
    "upload": "each file that was stored",
    "download": "each file that was retrieved",
    "delete": "each file that was deleted",
    "rename": "each rename",
    "mkdir": "each folder that was made",
    "rmdir": "each folder that was removed",
    "login": "each login",
    "login-failed": "each login that has failed",
    "ban": "each address that is banned",
    "logout": "the end of each session that was logged in",
}

_CHANGES = {"DELE": "delete", "RNTO": "rename", "MKD": "mkdir", "RMD": "rmdir"}

_HAPPENINGS = {
    Happening.LOGGED_IN: "login",
    Happening.LOGIN_FAILED: "login-failed",
    Happening.BANNED: "ban",
    Happening.ENDED: "logout",
}


def hook_of(record: Record) -> str:
    """The hook that a record is for; empty if it is for none."""
    if isinstance(record, Transfer):
        if record.ending is not Ending.COMPLETE:
            return ""
        return "download" if record.verb == "RETR" else "upload"
    if isinstance(record, Change):
        return _CHANGES[record.verb]
    if record.happening is Happening.ENDED and not record.account:
        return ""
    return _HAPPENINGS.get(record.happening, "")


class _Due(NamedTuple):
    hook: str
    record: Record


class Hooks:
    """Those of one server. They run beside each other, in no order among themselves."""

    _log = Logger()

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        programs: Programs,
        clock: Any,
        counts: Counts,
        locate: Callable[[str, str], str],
    ) -> None:
        """`commands` by hook. `locate`: where on this machine an account's path is; empty if it is nowhere."""
        self._commands = commands
        self._programs = programs
        self._clock = clock
        self._counts = counts
        self._locate = locate
        self._waiting: deque[_Due] = deque()
        self._under_way = 0
        self._lost = 0
        self._is_beginning = False
        self._is_hurried = False
        self._idle: list[Deferred[None]] = []

    def __call__(self, records: Sequence[Record]) -> None:
        for record in records:
            hook = hook_of(record)
            if hook in self._commands:
                self._take(_Due(hook, record))

    def _take(self, due: _Due) -> None:
        if len(self._waiting) >= MAX_WAITING:
            if not self._lost:
                self._log.warn("{count} records wait for their hooks; those that come now have none", count=MAX_WAITING)
            self._lost += 1
            self._counts.hooked(due.hook, "dropped")
            return
        self._waiting.append(due)
        self._next()

    def _next(self) -> None:
        if self._is_beginning:
            return  # one could not even be begun, and is over already
        self._is_beginning = True
        while self._waiting and self._under_way < self._programs.most:
            self._under_way += 1
            due = self._waiting.popleft()
            maybeDeferred(self._run, due).addBoth(self._ran, due)
        self._is_beginning = False
        self._counts.hooks_waiting = len(self._waiting)
        if self._lost and len(self._waiting) < MAX_WAITING // 2:
            self._log.warn("{count} records had no hook", count=self._lost)
            self._lost = 0

    def _run(self, due: _Due) -> Deferred[Outcome]:
        given = in_memory(json.dumps(self._told(due)).encode())
        return self._programs.run(self._commands[due.hook], given, {})

    def _told(self, due: _Due) -> dict[str, object]:
        """The record as the command gets it. Its texts are just what the client has sent: JSON makes them harmless."""
        record = due.record
        told = {"hook": due.hook, **fields_of(record)}
        if isinstance(record, Transfer | Change):
            path = record.target if isinstance(record, Change) and record.target else record.path
            if place := self._locate(record.account, path):
                told["file"] = place
        return told

    def _ran(self, outcome: Outcome | Failure, due: _Due) -> None:
        self._under_way -= 1
        if isinstance(outcome, Failure):
            ending, how = "failed", f"could not be run: {outcome.getErrorMessage()}"
        elif outcome.status is None:
            ending, how = "late", f"{outcome.limit}, and was ended"
        else:
            ending, how = ("failed" if outcome.status else "done"), f"has ended with status {outcome.status}"
        if isinstance(outcome, Outcome) and outcome.text:
            how += f": {outcome.text}"
        self._counts.hooked(due.hook, ending)
        tell = self._log.debug if ending == "done" else self._log.warn
        tell("The hook for {hook} {how}", hook=due.hook, how=how)
        self._next()
        if not self._under_way:
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

    def start(self) -> None:
        self._programs.start()

    def hurry(self) -> None:
        """Wait no longer for those that are due."""
        self._is_hurried = True
        for waiter in list(self._idle):
            waiter.cancel()

    async def stop(self) -> None:
        """Let those end that are due; not for ever."""
        try:
            await self._all_done().addTimeout(0.0 if self._is_hurried else LAST_TIME, self._clock)
        except (TimeoutError, CancelledError):
            left = len(self._waiting) + self._under_way
            self._waiting.clear()
            self._log.warn("{left} hooks were not run to their end, because the server stops", left=left)
        self._programs.stop()

    def _all_done(self) -> Deferred[None]:
        done: Deferred[None] = Deferred(self._idle.remove)
        if self._under_way:
            self._idle.append(done)
        else:
            done.callback(None)
        return done
