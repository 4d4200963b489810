"""Calls to an object storage, beside the reactor: threads of their own, and a deadline for each."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any, TypeVar
from xml.etree.ElementTree import ParseError

from obstore import exceptions
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ftpsvc import model
from ftpsvc.objects.requests import RefusedByS3
from ftpsvc.threads import Run, done_with

T = TypeVar("T")

#: How many calls may be under way at once, for all sessions together. They wait for the network, and need no processor
#: meanwhile; 64 is what one session may have of commits.
THREADS = 64

#: For how long, in seconds, a client waits for one call; then it hears 450. The calls themselves give up before that,
#: but for those that had to wait for a thread.
PATIENCE = 60.0

_log = Logger()


class _Call:
    """A call on its way into a thread."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args
        self.is_too_late = False

    def __call__(self) -> Any:
        if self.is_too_late:
            raise TimeoutError("it had to wait for a thread for too long")
        return self._function(*self._args)


class Calls:
    """Makes calls where waiting harms nobody."""

    def __init__(self, run: Run, clock: Any, name: str) -> None:
        """`name`: what the log calls the storage."""
        self._run = run
        self._clock = clock
        self._name = name
        self._under_way: dict[Deferred[Any], _Call] = {}

    def begin(self, function: Callable[..., T], *args: Any) -> Deferred[T]:
        """A call that goes on to its end whatever becomes of the caller."""
        call = _Call(function, args)
        job: Deferred[T] = self._run(call)
        if not job.called:
            self._under_way[job] = call
            job.addBoth(self._ended, job)
        return job

    def _ended(self, result: Any, job: Deferred[Any]) -> Any:
        del self._under_way[job]
        return result

    async def wait(self, job: Deferred[T], path: str) -> T:
        """What a call gives. Raises the domain's errors, `Busy` if it takes too long.

        One that no thread has begun by then never will be: it would store what its client was told isn't stored, and
        perhaps over what somebody has stored since.
        """
        waiting = done_with(job)

        def give_up() -> None:
            if job in self._under_way:
                self._under_way[job].is_too_late = True
            waiting.errback(TimeoutError("no answer"))

        late = self._clock.callLater(PATIENCE, give_up) if not job.called else None
        try:
            return await waiting
        except Exception as error:
            raise self._told(error, path) from error
        finally:
            if late is not None and late.active():
                late.cancel()
            if not job.called:
                job.addErrback(lambda _: None)  # whoever waited has gone, and nobody wants to know any more

    async def __call__(self, path: str, function: Callable[..., T], *args: Any) -> T:
        """Make a call about a path and wait for it."""
        return await self.wait(self.begin(function, *args), path)

    def _told(self, error: Exception, path: str) -> Exception:
        found = told(error, path)
        if isinstance(found, model.Busy):
            _log.warn("{storage}: {why}", storage=self._name, why=_first_line(error))
        return found


def told(error: Exception, path: str) -> Exception:
    """What an error of obstore's, or of a request's, means in the domain's terms."""
    if isinstance(error, model.TransferError):
        return error
    status = error.status if isinstance(error, RefusedByS3) else 0
    if isinstance(error, RefusedByS3) and error.code == "NoSuchUpload":
        return model.LocalFault(f"{path}: the object storage doesn't have its parts any more. Store it again.")
    if isinstance(error, FileNotFoundError) or status == 404:
        return model.NotFound(f"{path}: there is no such file or directory.")
    if isinstance(error, exceptions.AlreadyExistsError):
        return model.AlreadyExists(f"{path} is there already.")
    if isinstance(error, exceptions.PreconditionError) or status in (409, 412):
        return model.LocalFault(f"{path} was replaced by another file meanwhile.")
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError) or status in (401, 403):
        return model.Denied(f"{path}: the object storage doesn't allow it to this server.")
    if isinstance(error, exceptions.NotSupportedError | NotImplementedError):
        return model.NotImplementedHere(f"{path}: the object storage can't do this.")
    if isinstance(error, exceptions.InvalidPathError | ValueError):
        return model.InvalidName(f"{path}: an object can't have this name.")
    if isinstance(error, exceptions.BaseError | RefusedByS3 | OSError | http.client.HTTPException | ParseError):
        return model.Busy(f"{path}: the object storage doesn't answer, or has too much to do. Try again later.")
    return error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:500]
