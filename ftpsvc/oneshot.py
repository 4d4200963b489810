"""One-shot commands for scripts: `ftpsvc get ftp://host/file`, and the like. They are the shell's own commands.

docs/scripts.md documents what they take, what they print, and how they end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, ClassVar, cast

from twisted.internet.defer import CancelledError, Deferred

from ftpsvc import assembly, connecting, settings, views
from ftpsvc.clienttls import Protection
from ftpsvc.commands.base import Surroundings
from ftpsvc.commands.connections import Connections
from ftpsvc.commands.looking import Looking
from ftpsvc.commands.reading import Reading
from ftpsvc.commands.remote_files import RemoteFiles
from ftpsvc.commands.transfers import Transfers
from ftpsvc.console import Event
from ftpsvc.model import BadArgument, TransferError, parent_and_name
from ftpsvc.outcomes import outcome
from ftpsvc.progress import Progress
from ftpsvc.storage import CHUNK, Storage
from ftpsvc.targets import Target, is_url, target_of
from ftpsvc.threads import Run, done_with, pool_of
from ftpsvc.words import escape, quote

#: Standard input or output in the place of a file.
STANDARD = "-"

#: Seconds between two progress events, with --json.
EVENT_EVERY = 1.0


class OneShot(Connections, RemoteFiles, Looking, Reading, Transfers):
    """The shell's commands without a shell: nobody is asked, and the first failure is remembered."""

    aliases: ClassVar[dict[str, str]] = {"ls": "list", "get": "retrieve", "put": "store"}
    protection = Protection.OFFERED
    fingerprint = ""
    is_quiet = False
    is_json = False

    def say(self, text: str, *events: Event) -> None:
        if not self.is_json:
            super().say(text)
            return
        for event in events:
            self.tell(event)

    def note(self, text: str, *events: Event) -> None:
        if self.is_json or not self.is_quiet:
            self.say(text, *events)

    def complain(self, text: str, error: Exception | None = None) -> None:
        if not self.is_json:
            super().complain(text, error)
            return
        self.failures += 1
        self.first_failure = self.first_failure or error
        code, cause = outcome(error) if error is not None else (1, "other")
        self.tell({"event": "failed", "cause": cause, "code": code, "error": escape(text)})

    def tell(self, event: Event) -> None:
        """Say what happened to a program: an object of JSON on a line."""
        # Names that are no text are escaped as the shell shows them: JSON has no bytes.
        clean = {key: escape(value) if isinstance(value, str) else value for key, value in event.items()}
        self._write(self.stdout, json.dumps(clean, ensure_ascii=False))

    async def at(self, target: Target) -> bool:
        """Be connected to a server. False if that failed, which was said."""
        whole = replace(connecting.secured(target, self.protection, self.fingerprint), path="")
        if self._there is not None and self._there.target == whole:
            return True
        await self._leave()
        try:
            await self._connect(whole)
        except TransferError as error:
            self.complain(f"connect: {error}", error)
            return False
        return True

    async def carry_out(self, *words: str) -> None:
        """Carry out a command of the shell."""
        await self.onecmd(" ".join(map(quote, words)))

    async def store_input(self, path: str, run: Run) -> None:
        """Store what comes from standard input; nothing is stored if it breaks off."""
        assert self._there is not None
        size = await self._there.doing(path, self._stored_input(self._there.storage, path, run))
        self.note(f"stored {quote(path)}: {size} bytes", {"event": "done", "from": STANDARD, "to": path, "size": size})

    async def _stored_input(self, storage: Storage, path: str, run: Run) -> int:
        writing = await storage.open_write(path)
        size = 0
        try:
            async for chunk in _input(run):
                await writing.write(chunk)
                size += len(chunk)
            await writing.commit()
        finally:
            await writing.abort()
        return size


async def _input(run: Run) -> AsyncGenerator[bytes, None]:
    while chunk := await done_with(run(os.read, 0, CHUNK)):
        yield chunk


# -- what each does ------------------------------------------------------------------------------------------


async def _each(shell: OneShot, urls: Iterable[str], *words: str, behind: tuple[str, ...] = ()) -> None:
    """The same command for each URL."""
    for url in urls:
        target = target_of(url)
        if await shell.at(target):
            await shell.carry_out(*words, target.path or "/", *behind)


async def _get(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    *urls, last = given.words
    urls, local = ([*urls, last], ".") if is_url(last) else (urls, last)
    _check_urls(urls)
    for url in urls:
        target = target_of(url)
        if await shell.at(target):
            await shell.carry_out(*(("cat", target.path) if local == STANDARD else ("get", target.path, local)))


async def _put(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    *files, url = given.words
    _check_urls([url])
    target = target_of(url)
    if not files:
        raise BadArgument("a file is missing. Use: ftpsvc put <file>... <url>")
    if STANDARD in files and (len(files) > 1 or not parent_and_name(target.path)[1]):
        raise BadArgument("standard input is one file, and its URL says the name: ftp://host/folder/name")
    if not await shell.at(target):
        return
    if files == [STANDARD]:
        try:
            await shell.store_input(target.path, run)
        except TransferError as error:
            shell.complain(f"put: {error}", error)
        return
    for file in files:
        await shell.carry_out("put", file, target.path or "/")


async def _mv(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    source, last = target_of(given.words[0]), given.words[1]
    if is_url(last):
        other = target_of(last)
        if (other.host, other.port) != (source.host, source.port):
            raise BadArgument("a file can be renamed on its own server only. Use get and put.")
        last = other.path
    if await shell.at(source):
        await shell.carry_out("mv", source.path, last)


async def _hash(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    await _each(shell, given.words, "hash", behind=(given.algorithm,) if given.algorithm else ())


def _plain(*words: str, option: str = "") -> Callable[..., Any]:
    async def run_plain(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
        chosen = (f"-{option}",) if option and getattr(given, option) else ()
        await _each(shell, given.words, *words, *chosen)

    return run_plain


_URLS = "ftp://user@host:port/path"

#: name -> what it does, its words, how many at least and at most, and in a line what it is for.
COMMANDS: dict[str, tuple[Callable[..., Any], str, int, int, str]] = {
    "get": (_get, "<url>... [local]", 1, 9999, "Bring files here; - writes them to standard output."),
    "put": (_put, "<file>... <url>", 1, 9999, "Bring files to the server; - is standard input."),
    "ls": (_plain("ls"), "<url>...", 1, 9999, "List folders."),
    "cat": (_plain("cat"), "<url>...", 1, 9999, "Write files to standard output."),
    "rm": (_plain("rm", option="r"), "<url>...", 1, 9999, "Remove files."),
    "mv": (_mv, "<url> <path>", 2, 2, "Give a file another name."),
    "mkdir": (_plain("mkdir", option="p"), "<url>...", 1, 9999, "Make folders."),
    "hash": (_hash, "<url>...", 1, 9999, "Have the server compute the digests of files."),
}


def _check_urls(urls: Iterable[str]) -> None:
    for url in urls:
        if not is_url(url):
            raise BadArgument(f"{quote(url)} is no URL. Those look like this: {_URLS}")


def _arguments(words: list[str]) -> argparse.Namespace:
    name = words[0]
    _, usage, least, most, summary = COMMANDS[name]
    parser = argparse.ArgumentParser(
        f"ftpsvc {name}",
        usage=f"ftpsvc {name} [options] {usage}",
        description=f"{summary} A URL is {_URLS}; FTPSVC_PASSWORD may hold the password.",
    )
    connecting.add_options(parser)
    parser.add_argument("words", nargs="+", metavar="word", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="say what happens as objects of JSON, one on a line")
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing of what goes well")
    parser.add_argument("--limit-rate", default="off", metavar="RATE", help="bytes a second at most: 500k, 2.5M")
    if name in ("get", "put"):
        policies = [policy for policy in settings.POLICIES if policy != "ask"]
        parser.add_argument(
            "--overwrite", default="replace", choices=policies, help="what becomes of a file that is there already"
        )
    if name == "rm":
        parser.add_argument("-r", action="store_true", help="folders with all that is in them, too")
    if name == "mkdir":
        parser.add_argument("-p", action="store_true", help="the folders above, too")
    if name == "hash":
        parser.add_argument("--algorithm", default="", metavar="NAME", help="SHA-256 unless told otherwise")
    given = parser.parse_intermixed_args(words[1:])
    if not least <= len(given.words) <= most:
        parser.error(f"it takes {usage}")
    return given


# -- the program ---------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    """Run one command; its exit status (docs/scripts.md)."""
    assembly.open_streams()
    given = _arguments(words)
    from twisted.internet import reactor  # the default one: asyncio's would only take time to start

    try:
        shell = _shell(reactor, given)
        if words[0] not in ("get", "put", "mv"):
            _check_urls(given.words)
        work = COMMANDS[words[0]][0](shell, given, pool_of(reactor))
    except TransferError as error:
        return _misused(error)
    ended_by, misuse = _run(cast(Any, reactor), shell, work)
    if misuse is not None:
        return _misused(misuse)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    if isinstance(shell.first_failure, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter would complain of it at its end
    if ended_by:
        return 128 + ended_by
    if shell.first_failure is not None:
        return outcome(shell.first_failure)[0]
    return 1 if shell.failures else 0


def _misused(error: TransferError) -> int:
    sys.stderr.write(f"ftpsvc: {escape(str(error))}\n")
    return outcome(error)[0]


def _run(reactor: Any, shell: OneShot, work: Any) -> tuple[int, TransferError | None]:
    """Run the reactor until the work is done: the signal that ended it before its time, and what was misunderstood."""
    ended_by = 0
    misuse: TransferError | None = None

    async def whole() -> None:
        nonlocal misuse
        try:
            await work
        except TransferError as error:
            misuse = error
        await shell.onecmd("quit")

    def start() -> None:
        def end(number: int) -> None:
            nonlocal ended_by
            ended_by = number
            shell.stop()
            running.cancel()

        running = Deferred.fromCoroutine(whole())
        running.addErrback(lambda failure: failure.trap(CancelledError))
        running.addErrback(lambda failure: OneShot.log.failure("the command broke down", failure))
        running.addBoth(lambda _: reactor.stop())
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda number, _: reactor.callFromThread(end, number))

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    return ended_by, misuse


def _shell(reactor: Any, given: argparse.Namespace) -> OneShot:
    has_terminal = sys.stdout.isatty() and not given.json
    colour = has_terminal and assembly.wants_colour()

    def show(progress: Progress, label: str) -> AbstractContextManager[None]:
        if given.json:
            shell.tell({"event": "start", "name": label, "size": progress.total, "files": progress.files})
            return views.ProgressLog(progress, label, reactor, _told(shell), EVENT_EVERY)
        if given.quiet:
            return contextlib.nullcontext()
        if sys.stderr.isatty():
            return views.ProgressLine(progress, label, reactor, sys.stderr, assembly.wants_colour())
        return views.ProgressLog(progress, label, reactor, _logged)

    around = Surroundings(colour=colour, show=show, columns=views.width if has_terminal else None)
    here = assembly.here_of(reactor)
    shell = OneShot(reactor, assembly.Dialling(reactor, None), here, sys.stdout, sys.stderr, around)
    # The words of `connect`, for their checks; the server stands in each URL.
    pinned = ["--fingerprint", given.fingerprint] if given.fingerprint is not None else []
    asked = connecting.target_of([*given.options, *pinned, "h"])
    shell.protection, shell.fingerprint = asked.protection, asked.fingerprint
    shell.is_quiet, shell.is_json = given.quiet, given.json
    shell.settings = settings.changed(shell.settings, "limit-rate", given.limit_rate)
    shell.settings = settings.changed(shell.settings, "overwrite", getattr(given, "overwrite", "replace"))
    return shell


def _logged(progress: Progress, label: str) -> None:
    sys.stderr.write(f"{label}: {views.far(progress)}\n")
    sys.stderr.flush()


def _told(shell: OneShot) -> Callable[[Progress, str], None]:
    def tell(progress: Progress, label: str) -> None:
        facts: dict[str, Any] = {"event": "progress", "name": label, "done": progress.done, "size": progress.total}
        shell.tell({**facts, "rate": round(progress.rate), "stalled": round(progress.stalled_for)})

    return tell
