"""One-shot commands for scripts: `ftpsvc get ftp://host/file`, and the like. They are the shell's own commands.

docs/scripts.md documents what they take, what they print, and how they end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib import import_module
from itertools import groupby
from typing import Any, ClassVar, cast

from twisted.python.failure import Failure

from ftpsvc import assembly, connecting, oneshotoptions, piped, settings, views
from ftpsvc.clienttls import Protection
from ftpsvc.commands.base import Surroundings
from ftpsvc.commands.connections import Connections
from ftpsvc.console import Event, Stopped
from ftpsvc.jobs import Job
from ftpsvc.model import BadArgument, TransferError, parent_and_name
from ftpsvc.oneshotoptions import as_it_is, check_names, check_urls, goal, tree_words
from ftpsvc.outcomes import outcome
from ftpsvc.output import writing_out
from ftpsvc.progress import Progress
from ftpsvc.storage import Storage
from ftpsvc.targets import Names, Target, is_url, target_of
from ftpsvc.threads import Run, pool_of
from ftpsvc.words import escape, quote

#: Standard input or output in the place of a file.
STANDARD = "-"

#: Seconds between two progress events, with --json.
EVENT_EVERY = 1.0


class OneShot(Connections):
    """The shell's commands without a shell: nobody is asked, and the first failure is remembered.

    `kind_for` adds the commands that one of the programs needs.
    """

    aliases: ClassVar[dict[str, str]] = {"ls": "list", "get": "retrieve", "put": "store"}
    protection = Protection.OFFERED
    fingerprint = ""
    is_quiet = is_json = False
    names_given: Names | None = None
    pours = False  #: standard output takes the bytes of files, and so nothing else

    def say(self, text: str, *events: Event) -> None:
        if not self.is_json:
            super().say(text)
            return
        for event in events:
            self.tell(event)

    def note(self, text: str, *events: Event) -> None:
        if self.is_json or not self.is_quiet:
            self.say(text, *events)

    def warn(self, text: str) -> None:
        if self.is_json:
            self.tell({"event": "warning", "text": text})
        else:
            super().warn(text)

    def complain(self, text: str, error: Exception | None = None) -> None:
        if not self.is_json:
            super().complain(text, error)
            return
        self.failures += 1
        self.first_failure = self.first_failure or error
        code, cause = outcome(error) if error is not None else (1, "other")
        self.tell({"event": "failed", "cause": cause, "code": code, "error": escape(text)})

    def failed(self, job: Job, error: TransferError) -> str:
        super().failed(job, error)
        return ""  # here is no prompt at which one could connect again

    def tell(self, event: Event) -> None:
        """Say what happened to a program: an object of JSON on a line."""
        # Names that are no text are escaped as the shell shows them: JSON has no bytes.
        clean = {key: escape(value) if isinstance(value, str) else value for key, value in event.items()}
        self._write(self._stderr if self.pours else self.stdout, json.dumps(clean, ensure_ascii=False))

    async def at(self, target: Target) -> bool:
        """Be connected to a server. False if that failed, which was said, with words to type behind `ftpsvc`."""
        whole = replace(connecting.secured(target, self.protection, self.fingerprint), path="")
        if self._there is not None and self._there.target == whole:
            return True
        await self._leave()
        try:
            await self._connect(whole)
        except TransferError as error:
            self.complain(f"connect: {error}".replace(": connect --", ": ftpsvc --"), error)
            return False
        return True

    async def carry_out(self, *words: str) -> None:
        """Carry out a command of the shell."""
        await self.onecmd(" ".join(map(quote, words)))

    def algorithm(self, name: str) -> tuple[str, ...]:
        """The word for a digest, if one was named. Raises `BadArgument` for one that the server doesn't offer."""
        assert self._there is not None
        offered = self._there.remote.hashes
        if name and offered and name.upper() not in offered:
            raise BadArgument(f"{quote(name)} is no digest that {self._there.host} has. It has: {', '.join(offered)}")
        return (name,) if name and offered else ()

    @contextlib.contextmanager
    def streaming(self, source: str, target: str, size: int = 0) -> Iterator[Progress]:
        """While bytes go from one to the other, of which one is standard input or output. Programs are told."""
        progress = Progress(size, self._reactor.seconds)
        name = parent_and_name(source if target == STANDARD else target)[1]
        with self._around.show(progress, name) if self.is_json else contextlib.nullcontext():
            yield progress
        if self.is_json and self._there is not None:
            facts = {"event": "done", "from": source, "to": target, "size": progress.done, "resumed": 0}
            checked = self._there.remote.checked or None
            self.tell({**facts, "seconds": round(progress.elapsed, 3), "checked": checked})

    async def store_input(self, path: str, run: Run) -> None:
        """Store what comes from standard input, or say why that failed: where it breaks off nothing is stored."""
        server = self._there
        assert server is not None
        try:
            size = await server.doing(path, self._stored_input(server.storage, path, run), is_new=True)
        except TransferError as error:
            self.complain(f"put: {error} {server.leaves(path)}".rstrip(), error)
        else:
            self.note(f"stored {quote(path)}: {size} bytes")

    async def _stored_input(self, storage: Storage, path: str, run: Run) -> int:
        writing = await storage.open_write(path)
        pace = self._pace
        try:
            with self.streaming(STANDARD, path) as progress:
                async for chunk in piped.chunks(self._reactor, 0, run, pace.share):
                    await writing.write(chunk)
                    progress.total += len(chunk)  # how much there will be nobody knows
                    progress.advance(len(chunk))
                    await pace.keep(len(chunk))
                await writing.commit()
        finally:
            await writing.abort()
        return progress.done


# -- what each does ------------------------------------------------------------------------------------------


async def _each(
    shell: OneShot, urls: Iterable[str], *words: str, behind: Callable[[], tuple[str, ...]] = tuple
) -> None:
    """The same command for each URL. `behind` tells the words behind it, once its server is there."""
    for url in urls:
        target = target_of(url)
        if await shell.at(target):
            await shell.carry_out(*words, target.path or "/", *behind())


async def _get(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    *urls, last = given.words
    urls, local = ([*urls, last], ".") if is_url(last) or not urls else (urls, last)
    check_urls(urls)
    if given.r and local == STANDARD:
        raise BadArgument("standard output is no folder.")
    if local != STANDARD:
        local = goal(as_it_is(local), len(urls))
        check_names(urls, lambda url: target_of(url).path, given.r)
    trees = tree_words(given)
    for server, targets in groupby(map(target_of, urls), lambda target: replace(target, path="")):
        paths = [target.path or "/" for target in targets]
        for line in [["cat", path] for path in paths] if local == STANDARD else [["get", *trees, *paths, local]]:
            if await shell.at(server):
                await shell.carry_out(*line)


async def _put(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    *files, url = given.words
    check_urls([url])
    target = target_of(url)
    if not files:
        raise BadArgument("a file is missing. Use: ftpsvc put <file>... <url>")
    if STANDARD in files and (given.r or len(files) > 1 or not parent_and_name(target.path)[1]):
        raise BadArgument("standard input is one file, and its URL says the name: ftp://host/folder/name")
    check_names(files, str, given.r)
    if not await shell.at(target):
        return
    if files == [STANDARD]:
        await shell.store_input(target.path, run)
        return
    await shell.carry_out("put", *tree_words(given), *map(as_it_is, files), goal(target.path or "/", len(files)))


async def _mirror(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    first, *rest = given.words
    if is_url(first):
        target = target_of(first)
        words = [target.path or "/", *map(as_it_is, rest)]
        if any(map(is_url, rest)):
            raise BadArgument("one of the two folders is here. Use: ftpsvc mirror <url> [local], or <local> <url>")
    else:
        if not rest:
            raise BadArgument("a URL is missing. Use: ftpsvc mirror <url> [local], or <local> <url>")
        check_urls(rest)
        target = target_of(rest[0])
        words = [as_it_is(first), target.path or "/"]
    if await shell.at(target):
        await shell.carry_out("mirror", *([] if is_url(first) else ["-R"]), *given.tree, "--", *words)


async def _resume(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    await shell.carry_out("resume", *given.words)


async def _mv(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    source, last = target_of(given.words[0]), given.words[1]
    if is_url(last):
        other = target_of(last)
        if (other.host, other.port) != (source.host, source.port):
            raise BadArgument("a file can be renamed on its own server only. Use get and put.")
        last = other.path or "/"
    if await shell.at(source):
        await shell.carry_out("mv", source.path or "/", last)


async def _hash(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
    await _each(shell, given.words, "hash", behind=lambda: shell.algorithm(given.algorithm))


def _plain(*words: str, option: str = "") -> Callable[..., Any]:
    async def run_plain(shell: OneShot, given: argparse.Namespace, run: Run) -> None:
        chosen = (f"-{option}",) if option and getattr(given, option) else ()
        await _each(shell, given.words, *words, *chosen)

    return run_plain


#: name -> what it does, its words, how many at least and at most, and in a line what it is for.
COMMANDS: dict[str, tuple[Callable[..., Any], str, int, int, str]] = {
    "get": (_get, "<url>... [local]", 1, 9999, "Bring files here; - writes them to standard output."),
    "put": (_put, "<file>... <url>", 1, 9999, "Bring files to the server; - is standard input."),
    "mirror": (_mirror, "<url> [local] | <local> <url>", 1, 2, "Make one folder like the other."),
    "resume": (_resume, "[number | all | forget]", 0, 1, "List what is unfinished, or finish it."),
    "ls": (_plain("ls"), "<url>...", 1, 9999, "List folders."),
    "cat": (_plain("cat"), "<url>...", 1, 9999, "Write files to standard output."),
    "rm": (_plain("rm", option="r"), "<url>...", 1, 9999, "Remove files."),
    "mv": (_mv, "<url> <path>", 2, 2, "Give a file or a folder another name."),
    "mkdir": (_plain("mkdir", option="p"), "<url>...", 1, 9999, "Make folders."),
    "hash": (_hash, "<url>...", 1, 9999, "Have the server compute the digests of files."),
}


#: The groups of the shell's commands that each of them is made of. The others aren't imported: a script may run
#: thousands of these, and each would take longer to start.
GROUPS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["ls", "rm", "mv", "mkdir"], ("remote_files.RemoteFiles",)),
    **dict.fromkeys(["put", "mirror", "resume"], ("unfinished.UnfinishedWork",)),
    "get": ("unfinished.UnfinishedWork", "reading.Reading"),
    "cat": ("reading.Reading",),
    "hash": ("looking.Looking",),
}


def kind_for(name: str) -> type[OneShot]:
    """A shell with the commands that one of the programs needs."""
    named = [group.split(".") for group in GROUPS[name]]
    groups = [getattr(import_module(f"ftpsvc.commands.{module}"), group) for module, group in named]
    return type("OneShot", (OneShot, *groups), {})


# -- the program ---------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    """Run one command; its exit status (docs/scripts.md)."""
    name, *rest = words
    _, usage, least, most, summary = COMMANDS[name]
    try:
        given = oneshotoptions.parsed(name, rest, usage, least, most, summary)
    except BadArgument as error:
        return _misused(error, argparse.Namespace(json=True), name == "cat" or (name == "get" and STANDARD in rest))
    from twisted.internet import reactor  # the default one: asyncio's would only take time to start

    pours = name == "cat" or (name == "get" and given.words[-1] == STANDARD)
    try:
        shell = _shell(kind_for(name), reactor, given)
        shell.pours = pours
        if "" in given.words:  # it would be the current folder, or the top one
            raise BadArgument("an empty word is no name. Is that a variable that has no value?")
        if name not in ("get", "put", "mv", "mirror", "resume"):
            check_urls(given.words)
        work = COMMANDS[name][0](shell, given, pool_of(reactor))
    except TransferError as error:
        return _misused(error, given, pours)
    ended_by, misuse = _run(cast(Any, reactor), shell, work)
    if misuse is not None:
        return _misused(misuse, given, pours)
    assembly.finish_output()
    if ended_by:
        return 128 + ended_by
    if shell.first_failure is not None:
        return outcome(shell.first_failure)[0]
    return 1 if shell.failures else 0


def _misused(error: TransferError, given: argparse.Namespace, pours: bool) -> int:
    code, cause = outcome(error)
    if given.json:
        event = {"event": "failed", "cause": cause, "code": code, "error": escape(str(error))}
        print(json.dumps(event, ensure_ascii=False), file=sys.stderr if pours else sys.stdout, flush=True)
    else:
        sys.stderr.write(f"ftpsvc: {escape(str(error))}\n")
    return code


def _run(reactor: Any, shell: OneShot, work: Any) -> tuple[int, TransferError | None]:
    """Run the reactor until the work is done: the signal that ended it before its time, and what was misunderstood."""
    misuse: TransferError | None = None
    signalled = 0

    async def whole() -> None:
        nonlocal misuse
        try:
            await work
        except TransferError as error:
            misuse = error
        if not signalled:
            await shell.onecmd("quit")

    def broken(failure: Failure) -> None:
        OneShot.log.failure("the command broke down", failure)
        shell.complain("Something in ftpsvc itself is wrong; please report what stands above.")

    def listen(end: Callable[[int], None]) -> None:
        def heard(number: int, frame: object) -> None:
            nonlocal signalled
            signalled = number
            reactor.callFromThread(end, number)
            if writing_out.is_under_way:
                # Whoever should take it may never do so, and a write that is left goes on when this has returned.
                assembly.give_up_output()
                raise Stopped("stopped.")

        for number in assembly.ENDING:
            signal.signal(number, heard)

    return assembly.run(reactor, whole(), broken, shell.stop, listen) or signalled, misuse


def _shell(kind: type[OneShot], reactor: Any, given: argparse.Namespace) -> OneShot:
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

    columns = views.width if has_terminal else None
    around = Surroundings(colour=colour, show=show, columns=columns, journal=assembly.journal())
    here = assembly.here_of(reactor, may_be_home=False)
    shell = kind(reactor, assembly.Dialling(reactor, None), here, sys.stdout, sys.stderr, around)
    # The words of `connect`, for their checks; the server stands in each URL.
    pinned = ["--fingerprint", given.fingerprint] if given.fingerprint is not None else []
    asked = connecting.target_of([*given.options, *pinned, "h"])
    shell.protection, shell.fingerprint = asked.protection, asked.fingerprint
    shell.is_quiet, shell.is_json, shell.names_given = given.quiet, given.json, {}
    shell.settings = settings.changed(shell.settings, "limit-rate", given.limit_rate)
    shell.settings = settings.changed(shell.settings, "overwrite", getattr(given, "overwrite", "replace"))
    return shell


def _logged(progress: Progress, label: str) -> None:
    print(f"{label}: {views.far(progress)}", file=sys.stderr, flush=True)


def _told(shell: OneShot) -> Callable[[Progress, str], None]:
    def tell(progress: Progress, label: str) -> None:
        facts: dict[str, Any] = {"event": "progress", "name": label, "done": progress.done, "size": progress.total}
        shell.tell({**facts, "rate": round(progress.rate), "stalled": round(progress.stalled_for)})

    return tell
