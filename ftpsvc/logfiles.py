"""Where the log goes, and files that others take away when they are full."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from twisted.logger import ILogObserver, Logger, textFileLogObserver

from ftpsvc.jsonlog import JsonLines
from ftpsvc.securing import refuse
from ftpsvc.signals import OnSignal

#: The mode of a file that is made here. Who comes from where is no business of this machine's other users.
MODE = 0o640


class LogFile:
    """A file that is only ever added to, in whole pieces. Whoever has moved it away has it reopened behind that.

    Or a FIFO. What its reader doesn't take, or nobody reads, is lost when the system keeps no more of it (64 KiB on
    Linux): no log is worth a server that stands still.
    """

    def __init__(self, path: str) -> None:
        """Raises `OSError`."""
        self.path = path
        self._file = _open(path)
        self._begin = b""

    def write(self, text: str) -> None:
        """Raises `OSError`, on a full disk for instance. Then a part of the text may be there."""
        data = self._begin + text.encode("utf-8", "backslashreplace")
        with contextlib.suppress(BlockingIOError):
            while data:
                data = data[os.write(self._file, data) :]
                self._begin = b"\n" if data else b""  # behind what could not be ended

    def flush(self) -> None:
        """There is nothing to flush: what is written is with the system."""

    def reopen(self) -> None:
        """Go on in a file of the old name. Raises `OSError`; then it goes on where it was."""
        new = _open(self.path)
        os.close(self._file)
        self._file = new

    def close(self) -> None:
        os.close(self._file)


def _open(path: str) -> int:
    # Of a FIFO we are a reader too, who never reads: so it can be opened before there is another, and written to when
    # there is none any more.
    flags = os.O_RDWR if _is_fifo(path) else os.O_WRONLY
    flags |= os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        new = os.open(path, flags | os.O_EXCL, MODE)
    except FileExistsError:
        return os.open(path, flags, MODE)
    # Whatever the umask is: a daemon's own, 077, would take the next file from the group that could read this one.
    with contextlib.suppress(OSError):  # who mounts some file systems (FAT, CIFS) owns what others make there
        os.fchmod(new, MODE)
    return new


def _is_fifo(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def opened(path: str, option: str) -> LogFile:
    """A log file, at the start."""
    try:
        return LogFile(path)
    except OSError as error:
        refuse(f"can't write to {path}: {error.strerror}. Choose a file that may be written: {option} FILE")


class Logging:
    """The log files of one service, and what tells it to reopen them: SIGUSR1, which logrotate is to send."""

    _log = Logger()

    def __init__(self, observer: Any, files: Sequence[LogFile], reactor: Any) -> None:
        """`observer`: an `ILogObserver` that twistd is to use; None for its own."""
        self.observer = observer
        self._files = files
        # Listened for even without a file: what it does to a process that has no use for it is to end it.
        self._signal = OnSignal(reactor, self.reopen, signal.SIGUSR1)

    def start(self) -> None:
        self._signal.listen()

    def reopen(self) -> None:
        """Go on in files of the old names. What can't be opened is logged, and goes on where it was."""
        for file in self._files:
            try:
                file.reopen()
            except OSError as error:
                self._log.error("{path} could not be reopened: {why}", path=file.path, why=error.strerror)
            else:
                self._log.info("{path} was reopened", path=file.path)

    async def stop(self) -> None:
        self._signal.forget()


class Log(NamedTuple):
    """Where all log events go, and the file behind it, if it is one."""

    observer: Any  #: an ILogObserver
    file: LogFile | None


def log_of(options: Mapping[str, Any], twistd: Mapping[str, Any] | None) -> Log | None:
    """The log as the options want it; None where twistd's own will do, or whatever else runs the service.

    A file is always ours, twistd's --logfile among them: its own can't be reopened where logrotate has renamed it.
    """
    path, is_json = options["log"], options["log-format"] == "json"
    is_asked_for = path or is_json
    if twistd is None or "nodaemon" not in twistd:
        if is_asked_for:
            refuse("--log and --log-format are for twistd; twist has --log-file and --log-format of its own.")
        return None
    if twistd.get("logger") or twistd.get("syslog"):
        if is_asked_for:
            refuse("--log and --log-format don't go with twistd's --logger and --syslog. Leave out one of them.")
        return None
    usual = "" if twistd["nodaemon"] else "twistd.log"
    path = path or twistd.get("logfile") or usual
    if path in ("", "-"):
        return Log(_observer(sys.stdout, True), None) if is_json else None
    file = opened(os.path.abspath(path), "--log" if options["log"] else "--logfile")
    return Log(_observer(file, is_json), file)


def _observer(output: Any, is_json: bool) -> ILogObserver:
    return JsonLines(output) if is_json else textFileLogObserver(output)
