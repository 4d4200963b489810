"""Object storage as the options have it: which buckets there are, who asks, and with what patience."""

from __future__ import annotations

import datetime
import os
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from twisted.python.threadpool import ThreadPool

from ftpsvc.objects.options import ObjectOptions
from ftpsvc.objects.urls import ENGINES, Location, location

if TYPE_CHECKING:  # obstore is an extra; what needs it is imported where it is
    from ftpsvc.homes import Homes
    from ftpsvc.objects.obstored import ObstoreEngine
    from ftpsvc.objects.storage import Bucket, ObjectStorage

#: What an engine's calls may take, in seconds: to connect, for all of one request, and until they give up trying again.
CONNECT, REQUEST, RETRY_FOR = 5, 30, 15


#: What S3 means by its answers to the first look.
_AMISS = {
    301: "the bucket is in another region; --object-region names it",
    403: "its keys aren't good for this bucket",
    404: "there is no such bucket",
}


class Unusable(OSError):
    """An object storage that can't be served; `strerror` says why."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)


class Objects:
    """Opens homes in object storages; those in one bucket share it. There is no thread before the first call."""

    def __init__(self, options: ObjectOptions, reactor: Any) -> None:
        self._options = options
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def open(self, home: str) -> ObjectStorage:
        """A home by its address. Raises `Unusable`."""
        try:
            where = location(home)
        except ValueError as error:
            raise Unusable(str(error)) from None
        try:
            from ftpsvc.objects.storage import ObjectStorage
        except ImportError as error:
            if not (error.name or "").startswith("obstore"):
                raise
            raise Unusable("it needs obstore, which isn't installed: pip install 'ftpsvc[object]'") from None
        bucket = self._buckets.get(where[:2])
        if bucket is None:
            bucket = self._buckets[where[:2]] = self._opened(where)
        return ObjectStorage(bucket, where.prefix)

    def _opened(self, where: Location) -> Bucket:
        from ftpsvc.objects.calls import Calls
        from ftpsvc.objects.folders import Folders
        from ftpsvc.objects.listed import Exact
        from ftpsvc.objects.storage import Bucket

        engine = engine_for(where, self._options)
        calls = Calls(self._run, self._reactor, f"{where.scheme}://{where.bucket}")
        exact = Exact(engine, calls) if self._options.exact_times else None
        return Bucket(engine, calls, Folders(engine, calls, self._reactor.seconds), exact, self._options.part)

    def _run(self, function: Any, /, *args: Any) -> Any:
        from twisted.internet.threads import deferToThreadPool

        if self._pool is None:
            # With the first call, which comes when the reactor runs: twistd may have become another process by then.
            from ftpsvc.objects.calls import THREADS

            self._pool = ThreadPool(0, THREADS, "object storage")
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function, *args)

    def check(self, home: str) -> str:
        """Whether a home can be listed; a warning, if the engine doesn't answer now and may do so later.

        For the start, before twistd becomes another process, and so without obstore's calls, which begin threads.
        Raises `Unusable`.
        """
        self.open(home)
        where = location(home)
        engine = self._buckets[where[:2]].engine
        try:
            status = engine.first_look(where.prefix)
        except (OSError, HTTPException) as error:
            return f"{where} doesn't answer at this moment ({error}); until it does, clients hear 450"
        finally:
            engine.close()  # nothing is to stay open: twistd leaves this process
        if status in _AMISS:
            raise Unusable(_AMISS[status])
        return f"Served from {ENGINES[where.scheme]}: files can't be added to there, and folders not renamed"

    def answers(self, home: str) -> None:
        """Raises `OSError` if a home can't be listed at this moment. It waits for the answer."""
        self.open(home)
        where = location(home)
        try:
            status = self._buckets[where[:2]].engine.first_look(where.prefix)
        except HTTPException as error:
            raise Unusable(str(error)) from error
        if status not in (0, HTTPStatus.OK):
            raise Unusable(_AMISS.get(status, f"it answers {status}"))

    def close(self) -> None:
        """Wait for the calls that are under way, and close the buckets."""
        if self._pool is not None:
            self._pool.stop()
        for bucket in self._buckets.values():
            bucket.engine.close()


class AllHomes:
    """The homes, and the object storages that some of them are in."""

    def __init__(self, homes: Homes, objects: Objects) -> None:
        self._homes = homes
        self.objects = objects

    async def sweep(self, before: float, run: str = "") -> int:
        return await self._homes.sweep(before, run)

    def close(self) -> None:
        self._homes.close()
        self.objects.close()


def engine_for(where: Location, options: ObjectOptions) -> ObstoreEngine:
    """The engine of a bucket. It has connected to nothing yet. Raises `Unusable`."""
    from obstore.exceptions import BaseError

    try:
        return _s3(where, options) if where.scheme == "s3" else _other(where, options)
    except (BaseError, ValueError) as error:
        raise Unusable(str(error).partition("\n")[0]) from None


def _patience(endpoint: str) -> dict[str, Any]:
    seconds = datetime.timedelta
    client = {
        "connect_timeout": seconds(seconds=CONNECT),
        "timeout": seconds(seconds=REQUEST),
        "allow_http": endpoint.startswith("http://"),  # as whoever wrote the address wants it
    }
    backoff = {"init_backoff": seconds(milliseconds=200), "max_backoff": seconds(seconds=4), "base": 2}
    retry = {"max_retries": 10, "retry_timeout": seconds(seconds=RETRY_FOR), "backoff": backoff}
    return {"client_options": client, "retry_config": retry}


def _s3(where: Location, options: ObjectOptions) -> ObstoreEngine:
    from obstore.store import S3Store

    from ftpsvc.objects.requests import Endpoint, Requests
    from ftpsvc.objects.s3 import S3Engine
    from ftpsvc.objects.signing import Keys

    said = options.environment
    region = options.region or said.get("AWS_REGION") or said.get("AWS_DEFAULT_REGION") or "us-east-1"
    named = [options.endpoint, *(said.get(f"AWS_ENDPOINT{name}", "") for name in ("_URL_S3", "_URL", ""))]
    endpoint = next((name.rstrip("/") for name in named if name), f"https://s3.{region}.amazonaws.com")
    keys = Keys(*(said.get(f"AWS_{name}", "") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")))
    if not keys.access or not keys.secret:
        raise Unusable(
            "it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the environment or in a file:"
            " --object-credentials FILE"
        )
    config: Any = {
        "endpoint": endpoint,
        "region": region,
        "access_key_id": keys.access,
        "secret_access_key": keys.secret,
        "virtual_hosted_style_request": False,
        **({"token": keys.token} if keys.token else {}),
    }
    store = S3Store(where.bucket, config=config, **_patience(endpoint))
    return S3Engine(store, where.bucket, Requests(Endpoint(f"{endpoint}/{where.bucket}", region), keys))


def _other(where: Location, options: ObjectOptions) -> ObstoreEngine:
    from obstore import store as stores

    from ftpsvc.objects.obstored import ObstoreEngine

    kind, prefix = {"gs": (stores.GCSStore, "GOOGLE_"), "az": (stores.AzureStore, "AZURE_")}[where.scheme]
    # Only what the file says: obstore reads the environment itself, and stumbles over a name that it doesn't know.
    own = {name: value for name, value in options.environment.items() if os.environ.get(name) != value}
    config = {name.lower(): value for name, value in own.items() if name.startswith(prefix)}
    if options.endpoint:
        config["azure_storage_endpoint" if where.scheme == "az" else "google_base_url"] = options.endpoint
    made: Any = kind
    return ObstoreEngine(made(where.bucket, config=config, **_patience(options.endpoint)))
