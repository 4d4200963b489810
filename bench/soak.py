"""Half an hour of everything at once, and what must be left of it: every file, and nothing else.

`python bench/soak.py [SECONDS]`, 1800 if nothing is said; 120 is the short run. Clients log in, carry trees and files,
are cut in the middle of uploads and downloads, abort, vanish and fail to log in, while the server is reloaded over and
over. It prints a line for each promise and ends with 0 if all were kept, and with 1 if one wasn't. Nothing is claimed
about speed, so that it may run beside other work. SEED repeats what the clients chose.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from actors import PASSWORD, USER, Actor, Folder, Mirrors
from stage import free_port, memory, running, scratch

from ftpsvc.allocator import TRIM_EVERY
from ftpsvc.parts import known_part

SECONDS = 1800.0
ACTORS = 6

#: Runs from this many seconds on are long ones, of which more is claimed.
LONG = 1500.0

#: How often the server is reloaded, in seconds: in a long run, and in a short one.
RELOADS = (60.0, 10.0)

#: After how many seconds its memory has to be flat, and within which part of what it was then. In a short run the
#: first of some kinds of transfers may come late, and the heap is still finding its size: it shows large leaks alone.
SETTLED = (300.0, 40.0)
GROWTH = (0.05, 0.10)

#: In how many parts the rest of the time is cut, behind each of which the load stops for a look at the memory.
LAPS = 5

#: How long, in seconds, the server may take to see off the last of those who have left.
REST = 20.0

#: The parts of broken uploads are kept for a day; made older than that, they are to go.
DAYS = 2 * 24 * 3600


@dataclass
class Server:
    """One twistd, as the system and its own monitor see it."""

    port: int
    monitor: int
    pid: int
    window: Path

    def metrics(self) -> dict[str, float]:
        """The gauges that have to be 0 when nobody is there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/metrics", timeout=60) as page:
            text = page.read().decode()
        wanted = r"^ftpsvc_((?:sessions\{.*?\}|transfers_under_way|passive_ports|hooks_waiting)) ([0-9.e+]+)$"
        return {name: float(value) for name, value in re.findall(wanted, text, re.MULTILINE)}

    def descriptors(self) -> list[str]:
        """What is open, by kind and, for files, by name. Each disk remembers a folder, whichever was the last."""
        found = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                name = os.readlink(link)
                is_folder = stat.S_ISDIR(link.stat().st_mode)
                found.append("a folder" if is_folder else "a socket" if name.startswith("socket:") else name)
        return sorted(found)

    def held(self) -> dict[str, int]:
        """How many sessions, Deferreds, coroutines and timers there are (`watched`)."""
        self.window.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR2)
        give_up = time.monotonic() + REST
        while not self.window.exists():
            if time.monotonic() > give_up:
                raise SystemExit("the server does not say what it holds")
            time.sleep(0.05)
        counts: dict[str, int] = json.loads(self.window.read_text())
        return counts


@dataclass
class Outcome:
    """The promises, a line each."""

    is_good: bool = True

    def say(self, promise: str, faults: list[str], detail: str = "") -> None:
        self.is_good = self.is_good and not faults
        print(f"{'BROKEN' if faults else 'kept':7} {promise}{f' ({detail})' if detail else ''}", flush=True)
        for fault in faults[:10]:
            print(f"        {fault}", flush=True)


@dataclass
class Watch:
    """What is done to the server while the load goes on, and what is seen of it between two laps."""

    server: Server
    configuration: Path
    reload_every: float
    reloads: int = 0
    at_rest: list[int] = field(default_factory=list)  #: bytes of memory

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self.reload_every))
            self.reloads += 1
            self.configuration.write_text(settings(self.reloads))
            os.kill(self.server.pid, signal.SIGHUP)

    def rest(self) -> None:
        """See how much memory there is when nobody is: each password that is examined takes 64 MiB for a moment."""
        at_rest(lambda: [name for name, value in self.server.metrics().items() if value])
        found = []
        for _ in range(round(TRIM_EVERY) + 2):  # so that it has given back what is free
            time.sleep(1)
            found.append(memory(self.server.pid))
        self.at_rest.append(min(found))


def settings(number: int) -> str:
    """A configuration that differs from the one before, so that there is something to take over."""
    return f"idle-time = {300 + number % 2}\n"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Server]:
    """The server with all that the load needs."""
    port, monitor, window = free_port(), free_port(), folder / "held.json"
    command = [
        sys.executable, Path(__file__).with_name("watched.py"), window, "-n", "--pidfile=", f"--logfile={folder}/log",
        "ftpsvc", "--config", folder / "config.toml", "--root", folder / "root", "--accounts", folder / "accounts.toml",
        "--anonymous", "write", "--port", f"tcp:{port}:interface=127.0.0.1", "--monitor", str(monitor),
        "--state", folder / "state", "--login-delay", "0",
    ]  # fmt: skip
    with running(port, *command) as process:
        yield Server(port, monitor, process.pid, window)


def prepare(folder: Path) -> None:
    (folder / "root").mkdir()
    (folder / "state").mkdir(mode=0o700)
    (folder / "config.toml").write_text(settings(0))
    program = "import sys; from ftpsvc.program import main; sys.exit(main())"
    words = ["user", "add", USER, "--password-stdin", "--accounts", str(folder / "accounts.toml")]
    add = [sys.executable, "-c", program, *words]
    subprocess.run(add, input=f"{PASSWORD}\n", text=True, check=True, stdout=subprocess.DEVNULL)


def at_rest(look: Callable[[], list[str]]) -> list[str]:
    """What is left, when it has had time to go."""
    give_up = time.monotonic() + REST
    while (left := look()) and time.monotonic() < give_up:
        time.sleep(0.5)
    return left


def more_than(before: list[str], now: list[str]) -> list[str]:
    """What is there now and wasn't."""
    left = list(now)
    for thing in before:
        if thing in left:
            left.remove(thing)
    return left


def parts_in(root: Path) -> list[Path]:
    return sorted(root.rglob(".ftpsvc-*"))


def unexpected_parts(root: Path, actors: list[Actor]) -> list[str]:
    """Parts that nobody could go on from: of uploads that didn't break off, with made-up names, or still held."""
    allowed = {
        actor.folder.path / os.fsdecode(known_part(name.encode(), actor.owner))
        for actor in actors
        for name in actor.folder.cut
    }
    faults = [f"{part} is of no upload that broke off" for part in parts_in(root) if part not in allowed]
    for part in parts_in(root):
        with open(part, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                faults.append(f"{part} is still held")
    return faults


def load(server: Server, folder: Path, seconds: float, chance: random.Random) -> tuple[list[Actor], Mirrors, Watch]:
    """All of it at once, in laps, until the time is over."""
    root, is_short = folder / "root", seconds < LONG
    actors = [Actor(number, server.port, root, random.Random(chance.random())) for number in range(ACTORS)]
    home = folder / "mirrors"
    home.mkdir()
    mirrors = Mirrors(server.port, root, home, random.Random(chance.random()))
    watch = Watch(server, folder / "config.toml", RELOADS[is_short])
    settled = SETTLED[is_short]
    for lap in (settled, *[(seconds - settled) / LAPS] * LAPS):
        until = time.monotonic() + lap
        threads = [threading.Thread(target=actor.run, args=(until,)) for actor in (*actors, mirrors)]
        for thread in threads:
            thread.start()
        watch.run(lap)
        for thread in threads:
            thread.join()
        watch.rest()
    return actors, mirrors, watch


def judge_files(outcome: Outcome, actors: list[Actor], mirrors: Mirrors) -> None:
    for actor in actors:
        actor.folder.check_all()
    folders: list[Folder] = [actor.folder for actor in actors]
    lost = [fault for folder in folders for fault in folder.lost] + mirrors.lost
    done: dict[str, int] = {}
    for who in (*actors, mirrors):
        for what, count in who.done.items():
            done[what] = done.get(what, 0) + count
    print(", ".join(f"{count} {what.replace('_', ' ')}" for what, count in sorted(done.items())))
    files = sum(len(folder.digests) for folder in folders)
    outcome.say("no file is lost, and none that was cut is another", lost, f"{files} there at the end")
    errors = [error for who in (*actors, mirrors) for error in who.errors]
    outcome.say("every answer was what it had to be", errors, f"{sum(done.values())} things done")


def judge_rest(outcome: Outcome, server: Server, before: list[str], held: dict[str, int]) -> None:
    busy = at_rest(lambda: [f"{name}: {value:g}" for name, value in server.metrics().items() if value])
    outcome.say("no session, no transfer and no passive port is left", busy, "by /metrics")
    left = at_rest(lambda: more_than(before, server.descriptors()))
    outcome.say("no descriptor is left", left, f"{len(before)} before")
    tasks = at_rest(lambda: [f"{n} more: {kind}" for kind, now in server.held().items() if (n := now - held[kind]) > 0])
    outcome.say("no task is left: coroutine, Deferred, session, timer", tasks, f"{sum(held.values())} before")


def judge_memory(outcome: Outcome, watch: Watch, seconds: float) -> None:
    settled, growth = SETTLED[seconds < LONG], GROWTH[seconds < LONG]
    first, *_, last = watch.at_rest
    detail = f"{', '.join(f'{found / 1e6:.1f}' for found in watch.at_rest)} MB at rest: {last / first - 1:+.1%}"
    promise = f"memory is flat within {growth:.0%} after {settled:g} s"
    outcome.say(promise, [] if last <= first * (1 + growth) else [detail], detail)


def judge_log(outcome: Outcome, log: str, reloads: int) -> None:
    done = len(re.findall(r"Reload: .*idle-time", log))
    faults = (
        [] if done == reloads else [f"the log tells of {done} reloads, and of: {re.findall('Reload: .*', log)[:5]}"]
    )
    outcome.say("every reload was carried out", faults, f"{reloads} of them")
    trouble = re.findall(r".*(?:Traceback|Unhandled|CRITICAL).*(?:\n.*){0,12}", log)
    outcome.say("nothing went wrong in the server that its log knows of", trouble)


def main() -> None:
    seconds = float(sys.argv[1]) if sys.argv[1:] else SECONDS
    if seconds < 2 * SETTLED[True]:
        raise SystemExit(f"{2 * SETTLED[True]:g} seconds are the least: the memory has to settle first")
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    print(f"{seconds:g} seconds, SEED={seed}", flush=True)
    outcome, chance = Outcome(), random.Random(seed)
    with scratch() as folder:
        prepare(folder)
        with served(folder) as server:
            warm_up(server, folder, chance)
            before, held = server.descriptors(), server.held()
            actors, mirrors, watch = load(server, folder, seconds, chance)
            judge_files(outcome, actors, mirrors)
            judge_rest(outcome, server, before, held)
            judge_memory(outcome, watch, seconds)
            outcome.say(
                "no part is left but those of uploads that broke off",
                unexpected_parts(folder / "root", actors),
                f"{len(parts_in(folder / 'root'))} that can be gone on from",
            )
        judge_log(outcome, (folder / "log").read_text(), watch.reloads)
        judge_sweep(outcome, folder)
    raise SystemExit(not outcome.is_good)


def warm_up(server: Server, folder: Path, chance: random.Random) -> None:
    """One of everything, so that what is made once and kept is there before anything is counted."""
    for number in (ACTORS, ACTORS + 1):
        actor = Actor(number, server.port, folder / "root", chance)
        for act in (actor.store, actor.store_inline, actor.visit, actor.abort_upload, actor.cut_download):
            act()
    at_rest(lambda: [name for name, value in server.metrics().items() if value])


def judge_sweep(outcome: Outcome, folder: Path) -> None:
    """What broken uploads have left goes when its time is over: by the sweep of the next start."""
    root = folder / "root"
    for part in parts_in(root):
        os.utime(part, (time.time() - DAYS,) * 2)
    with served(folder):
        left = at_rest(lambda: [str(part) for part in parts_in(root)])
    outcome.say("the sweep removes those when nobody has come back for them", left)


if __name__ == "__main__":
    main()
