"""Nothing that a test does may stay behind it: descriptors, delayed calls, part files, errors that nobody saw."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nursery
import pytest
import streams
import support
from desk import Desk
from hypothesis import HealthCheck, settings
from twisted.internet import reactor
from twisted.logger import LogLevel, globalLogPublisher

from ftpsvc import commits, diskfiles, writing

settings.register_profile(
    "suite",
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")


# The programs that tests start, some hundreds, would each compile all of ours.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers() -> int:
    """More than there are processors: a third of the tests wait for programs."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_sessionstart() -> None:
    # A suite that a script runs in the background (`pytest &`) has SIGINT ignored, and so would the servers it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: A server that is started without --state keeps its certificate here, and not with whoever runs the tests.
STATE = tempfile.TemporaryDirectory(prefix="ftpsvc-state-")
os.environ["XDG_STATE_HOME"] = STATE.name


def pytest_unconfigure() -> None:
    STATE.cleanup()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def programs_are_born() -> Iterator[None]:
    yield
    for one in (nursery.PLAIN, nursery.SHELL):
        one.close()


@pytest.fixture(scope="session", autouse=True)
def folders_are_on_a_disk() -> Iterator[None]:
    """Wherever temporary files are: in memory nothing is waited for, and tests look at what is done meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (commits, diskfiles, writing):
            patch.setattr(module, "is_in_memory", lambda device: False)
        yield


class LoggedErrors:
    """The errors that were logged, failures that no errback took among them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.error:
            self.events.append(event)

    def take(self) -> list[BaseException]:
        """The errors so far, which then are no leftovers any more."""
        events, self.events = self.events, []
        return [event["log_failure"].value for event in events if "log_failure" in event]


def open_descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # the one that listed them
    # With its first listening port Twisted opens /dev/null, to have a descriptor in reserve, and keeps it.
    return {name: target for name, target in found.items() if target != os.devnull}


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[LoggedErrors]:
    """Every error that is logged during the test; those that it doesn't take fail it."""
    errors = LoggedErrors()
    globalLogPublisher.addObserver(errors)
    yield errors
    globalLogPublisher.removeObserver(errors)
    assert not errors.events, f"logged and not expected: {errors.events}"


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path, logged_errors: LoggedErrors) -> Iterator[None]:
    before = open_descriptors()
    yield
    support.close_all()
    gc.collect()
    gc.freeze()  # what is still there stays; without this each collection would look at all that pytest keeps
    after = open_descriptors()
    opened = {name: target for name, target in after.items() if before.get(name) != target}
    clocks, support.CLOCKS[:] = list(support.CLOCKS), []
    waiting = [call for clock in (*clocks, reactor) for call in clock.getDelayedCalls()]  # type: ignore[attr-defined]
    parts = support.parts_in(tmp_path)
    assert not opened, f"descriptors left open: {opened}"
    assert not waiting, f"calls left waiting: {[str(call) for call in waiting]}"
    assert not parts, f"part files left behind: {parts}"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Python looks for circles only when the test says so: what is gone has been let go."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def talk(tmp_path: Path) -> support.Conversation:
    """Logged in, in MODE I, at a server that serves the test's folder."""
    return support.Conversation(support.local_disk(tmp_path)).log_in()


@pytest.fixture
def stranger(tmp_path: Path) -> Desk:
    """Not connected."""
    return Desk(tmp_path)


@pytest.fixture
def desk(stranger: Desk) -> Desk:
    """Connected."""
    stranger.type("connect files.example.org")
    return stranger


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server serves that all tests of a file share."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def client(server: streams.Server) -> Iterator[streams.Client]:
    """A client of stream mode, for files that have a `server` of their own."""
    client = streams.Client(server)
    yield client
    client.close()
