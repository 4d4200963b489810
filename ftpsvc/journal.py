"""What is unfinished, remembered in the state folder, over the end of the program and of the machine.

Each command that carries something has a file there while it goes on: lines of JSON, the first one the job, then the
large files that were begun. It is removed when the job is done. A job whose program still runs holds its file locked.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from ftpsvc.clienttls import Protection
from ftpsvc.model import BadArgument
from ftpsvc.resuming import Known
from ftpsvc.targets import Target, target_of

#: The most that is read of one file of the journal. A job that has begun more large files than fit has lost nothing but
#: the right to go on from a part that no digest confirms.
MAX_FILE = 64 * 1024 * 1024

#: How many jobs are listed. More than that nobody goes through.
MAX_JOBS = 1000

_SUFFIX = ".job"


@dataclass(frozen=True, slots=True)
class Job:
    """A command that carries files between here and a server, with all that is needed to do it again.

    Paths are absolute, here and at the server. `server` is its URL, with the user; `protection` names how much TLS is
    wanted, and `fingerprint` is what its certificate has to have. `words`: the options, as they were typed. `began`: in
    seconds since 1970. No secret is in it.
    """

    is_tree: bool
    is_upload: bool
    server: str
    protection: str
    fingerprint: str
    local: str
    remote: str
    words: tuple[str, ...] = ()
    began: float = 0.0

    @classmethod
    def of(
        cls,
        target: Target,
        is_tree: bool,
        is_upload: bool,
        local: str,
        remote: str,
        words: tuple[str, ...] = (),
        began: float = 0.0,
    ) -> Job:
        """A job with the server that it is done with."""
        server = replace(target, path="")
        protection = server.protection.name  # a URL can't say that there is to be none
        return cls(is_tree, is_upload, server.url, protection, server.fingerprint, local, remote, words, began)

    @property
    def target(self) -> Target:
        """The server, and who is to log in. Raises `BadArgument` or `KeyError` if that is nonsense."""
        protection = Protection[self.protection]
        return replace(target_of(self.server), protection=protection, fingerprint=self.fingerprint)


class Journal:
    """The folder in which jobs are remembered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, job: Job) -> Unfinished | None:
        """Remember a job; None where nothing can be remembered, which is no reason not to do it.

        One that was left unfinished before is the same job again, and goes on: if it stayed beside this one, it would
        be done once more by `resume all`, long after, over what has become of the file since.
        """
        found = self._opened(job)
        for other in found[1:]:
            other.done()
        return found[0] if found else self._new(job)

    def _new(self, job: Job) -> Unfinished | None:
        path = self._folder / f"{int(job.began):010d}-{token_hex(4)}{_SUFFIX}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        unfinished = Unfinished(path, file, job, {})
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(file, _line({"job": asdict(job)}))
            os.fsync(file)
        except OSError:
            unfinished.done()
            return None
        return unfinished

    def unfinished(self) -> list[Unfinished]:
        """The jobs that nobody is doing, the oldest first; each is locked until it is `closed` or `done`."""
        return self._opened()

    def _opened(self, job: Job | None = None) -> list[Unfinished]:
        """Those that nobody is doing: all of them, or those that are the same job."""
        try:
            names = sorted(name for name in os.listdir(self._folder) if name.endswith(_SUFFIX))
        except OSError:
            return []
        opened = (_opened(self._folder / name, job) for name in names[:MAX_JOBS])
        return [job for job in opened if job is not None]


class Unfinished:
    """A job in the journal: `mirroring.Memory`."""

    def __init__(self, path: Path, file: int, job: Job, begun: dict[str, Known]) -> None:
        self.job = job
        self._path = path
        self._file = file
        self._begun = begun

    def known(self, path: str) -> Known | None:
        return self._begun.get(path)

    def began(self, path: str, source: Known) -> None:
        if self._file >= 0 and self._begun.get(path) != source:
            self._begun[path] = source
            with contextlib.suppress(OSError):  # a full disk costs this file its second chance, not its first
                os.write(self._file, _line({"began": path, **source._asdict()}))

    def done(self) -> None:
        """There is nothing left to do."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.close()

    def close(self) -> None:
        """Leave it for later."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode("ascii") + b"\n"


def _opened(path: Path, wanted: Job | None = None) -> Unfinished | None:
    """A job that nobody is doing, if it is the one that is wanted. What can't be read is none."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lines = _values(os.pread(file, MAX_FILE, 0))
        first: dict[str, Any] = next(lines)["job"]
        job = Job(**{**first, "words": tuple(first["words"])})
        _ = job.target  # raises
        if wanted is not None and replace(job, began=wanted.began) != wanted:
            raise LookupError
        begun = {line["began"]: Known(line["size"], line["modified"], line.get("foreign")) for line in lines}
    except (OSError, LookupError, TypeError, ValueError, StopIteration, BadArgument):
        os.close(file)
        return None
    return Unfinished(path, file, job, begun)


def _values(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n")[:-1]:  # the last one, without an end, was cut by a crash
        yield json.loads(line)
