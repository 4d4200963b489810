"""Looking around: PWD CWD CDUP LIST NLST MLSD MLST SIZE MDTM AVBL STAT, and those of old, XPWD XCWD XCUP."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import NamedTuple

from ftpsvc import listing, model
from ftpsvc.frames import format_time
from ftpsvc.model import EVERYTHING, SEE, Account, Entry, Permission
from ftpsvc.patterns import Pattern, is_pattern
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.states import Authenticating, Ready
from ftpsvc.storage import lacking
from ftpsvc.verbs.change import set_by_mdtm
from ftpsvc.verbs.digest import tell_size
from ftpsvc.wire import Reply, quoted

#: So many lines of a listing are sent together: 60 KB of them, and 200 KB where all names are as long as can be.
BLOCK = 512

#: The most entries in the reply to STAT of a folder: a reply has to sit in memory whole. LIST and MLSD have no limit.
MAX_STAT_ENTRIES = 1000

Line = Callable[[Entry], str]


async def working_directory(session: Session, _: str) -> Reply:
    return Reply(257, f"{quoted(session.ready.cwd)} is the current folder.")


async def change_directory(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, EVERYTHING)
    entry = await session.ready.storage.stat(path)
    if not entry.is_directory:
        raise model.NotADirectory(f"{path} is not a folder.")
    session.state = replace(session.ready, cwd=path)
    return Reply(250, f"{quoted(path)} is the current folder.")


async def change_to_parent(session: Session, _: str) -> Reply:
    return await change_directory(session, "..")


async def size(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, SEE)
    if session.parameters.ascii and not session.is_inline:
        raise model.Unavailable("SIZE needs TYPE I: in TYPE A the whole file would have to be read for it.")
    entry = await session.ready.storage.stat(path)
    if not entry.is_file:
        raise model.NotAFile(f"{path} is not a plain file.")
    tell_size(session, path, entry)
    return Reply(213, str(entry.size))


async def modify_time(session: Session, argument: str) -> Reply:
    """Tells the time; sets it for those who send one, unless a file has exactly that for its name."""
    try:
        entry = await session.ready.storage.stat(session.resolve(argument, SEE))
    except (model.NotFound, model.NotADirectory, model.Denied, model.InvalidName):
        if reply := await set_by_mdtm(session, argument):
            return reply
        raise
    return Reply(213, format_time(entry.modified // model.SECOND * model.SECOND))


async def available(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, EVERYTHING)
    return Reply(213, str(await session.ready.storage.space(path)))


async def machine_entry(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, SEE)
    entry = await session.ready.storage.stat(path)
    may = session.ready.account.may(path) & ~lacking(session.ready.storage, entry.is_directory)
    line = listing.machine_line(entry._replace(name=path), may, session.parameters.facts, session.is_inline)
    return Reply(250, "End", ("Facts:", line))


async def machine_list(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, Permission.LIST)
    if not (await session.ready.storage.stat(path)).is_directory:
        raise model.BadArgument(f"{path} is not a folder: MLST tells of a single entry.")
    return await _send(session, _Shown(path), _machine_lines(session, path.rstrip("/")))


def _machine_lines(session: Session, folder: str) -> Line:
    """What makes a line of each entry there. As little as possible is done for each: there may be a million."""
    account, facts, storage = session.ready.account, session.parameters.facts, session.ready.storage
    exact = session.is_inline  # who knows MODE I knows times of any length
    lacks = {is_directory: lacking(storage, is_directory) for is_directory in (False, True)}
    if any(lacks.values()):
        may = account.may
        return lambda entry: listing.machine_line(
            entry, may(f"{folder}/{entry.name}") & ~lacks[entry.is_directory], facts, exact
        )
    if account.rules:
        return lambda entry: listing.machine_line(entry, account.may(f"{folder}/{entry.name}"), facts, exact)
    return listing.machine_lines(account.permissions, facts, exact)


async def long_list(session: Session, argument: str) -> Reply:
    now = time.time()
    return await _send(session, await _what(session, argument), lambda entry: listing.long_line(entry, now))


async def name_list(session: Session, argument: str) -> Reply:
    shown = await _what(session, argument)
    # Each name so that RETR takes it as it is: with the folder before it, if the client named one.
    return await _send(session, shown, lambda entry: shown.prefix + entry.name)


class _Shown(NamedTuple):
    """What a listing is of: a folder, all of it or what a pattern means; or the one entry that is no folder."""

    path: str
    prefix: str = ""  #: what stands before the names, as the client wrote it
    only: Entry | None = None
    pattern: Pattern | None = None

    def entries(self, session: Session) -> AsyncGenerator[Entry, None]:
        if self.only is not None:
            return _one(self.only)
        entries = session.ready.storage.list(self.path)
        if session.ready.account.rules:
            entries = _not_hidden(entries, session.ready.account, self.path.rstrip("/"))
        return entries if self.pattern is None else _matching(entries, self.pattern)


#: Clients send the options of `ls`, and mean what LIST does anyway.
_OPTION = re.compile(r"-[A-Za-z0-9]+(?: |$)")


def _readings(argument: str) -> Iterator[str]:
    """The ways to read it, the most literal first: as it is, and without each of the options before it. A name may
    begin with a space; only where there is none like that are more spaces behind an option nothing."""
    yield argument
    while option := _OPTION.match(argument):
        argument = argument[option.end() :]
        yield argument
        if argument.startswith(" "):
            argument = argument.lstrip(" ")
            yield argument


async def _what(session: Session, argument: str) -> _Shown:
    """What the argument of LIST, NLST or STAT means: a name, if something bears it; else options, else a pattern."""
    entry, argument = await _found(session, argument)
    path = session.resolve(argument, Permission.LIST)
    folder, slash, last = argument.rpartition("/")
    if entry is None and is_pattern(last):
        parent = session.resolve(folder + slash, Permission.LIST)
        await _demand_folder(session, parent)
        return _Shown(parent, folder + slash, pattern=Pattern(last))
    if entry is None:
        raise model.NotFound(f"{path}: there is no such file or directory.")
    if entry.is_directory:
        return _Shown(path, argument.rstrip("/") + "/" if argument else "")
    parent, name = model.parent_and_name(path)
    # `file/` and `file/.` are the file too.
    return _Shown(path, folder + slash if last == name else f"{parent.rstrip('/')}/", only=entry)


async def _found(session: Session, argument: str) -> tuple[Entry | None, str]:
    """What is there under the first reading that means something, and that reading; the last, if none does."""
    *literal, last = _readings(argument)
    for reading in literal:
        # With options before it a name may be too long, or stand where the account may do nothing.
        with suppress(model.NotFound, model.NotADirectory, model.InvalidName, model.Denied):
            return await _entry(session, reading), reading
    with suppress(model.NotFound, model.NotADirectory):
        return await _entry(session, last), last
    return None, last


async def _entry(session: Session, argument: str) -> Entry:
    return await session.ready.storage.stat(session.resolve(argument, Permission.LIST))


async def _demand_folder(session: Session, path: str) -> None:
    if not (await session.ready.storage.stat(path)).is_directory:
        raise model.NotADirectory(f"{path} is not a folder.")


async def _send(session: Session, shown: _Shown, line: Line) -> Reply:
    """Send a listing over the session's channel."""
    channel = session.control.channel()
    async with aclosing(shown.entries(session)) as entries, aclosing(_blocks(entries, line)) as blocks:
        # A folder that can't be read is refused before the 150: behind that, 451 would be all that tells why.
        first = b""
        try:
            async for first in blocks:  # noqa: B007  # awaiting anext() with a default loses what it waits for (3.11)
                break
        except BaseException:
            channel.give_up()  # nobody else knows of the data connection any more
            raise
        session.control.reply(Reply(150, f"Listing {shown.path}"))
        await channel.send_lines(_begun(first, blocks))
    return Reply(226, "Listing complete.")


async def _begun(first: bytes, blocks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
        async for block in blocks:
            yield block


async def _one(entry: Entry) -> AsyncGenerator[Entry, None]:
    yield entry


async def _not_hidden(
    entries: AsyncGenerator[Entry, None], account: Account, folder: str
) -> AsyncGenerator[Entry, None]:
    """Those that the account may do anything with. Of the others it doesn't hear."""
    async with aclosing(entries):
        async for entry in entries:
            if account.may(f"{folder}/{entry.name}"):
                yield entry


async def _matching(entries: AsyncGenerator[Entry, None], pattern: Pattern) -> AsyncGenerator[Entry, None]:
    async with aclosing(entries):
        async for entry in entries:
            if pattern.matches(entry.name):
                yield entry


async def _blocks(entries: AsyncGenerator[Entry, None], line: Line) -> AsyncGenerator[bytes, None]:
    lines: list[str] = []
    async for entry in entries:
        lines.append(line(entry))
        if len(lines) == BLOCK:
            yield listing.joined(lines)
            lines = []
    if lines:
        yield listing.joined(lines)


async def status(session: Session, argument: str) -> Reply:
    if argument:
        return await _status_of(session, argument)
    state = session.state
    who = "Nobody is logged in."
    if isinstance(state, Ready):
        who = f"Logged in as {state.account.name}; the current folder is {state.cwd}."
    elif isinstance(state, Authenticating):
        who = "A name was given; the password is due."
    kind = "A (text)" if session.parameters.ascii else "I (bytes)"
    mode = "I (inline)" if session.is_inline else "S (stream)"
    return Reply(211, "End of status.", ("ftpsvc status:", who, f"Type {kind}, mode {mode}."))


async def _status_of(session: Session, argument: str) -> Reply:
    if not isinstance(session.state, Ready):
        raise model.NotLoggedIn("Log in first, with USER and PASS.")
    shown = await _what(session, argument)
    now = time.time()
    lines: list[str] = []
    async with aclosing(shown.entries(session)) as entries:
        async for entry in entries:
            if len(lines) == MAX_STAT_ENTRIES:
                lines.append(f"Only the first {MAX_STAT_ENTRIES}; LIST shows all.")
                break
            if listing.is_listable(entry.name):
                lines.append(listing.long_line(entry, now))
    return Reply(213, "End of status.", (f"Status of {shown.path}:", *lines))


def _facts_feature(session: Session) -> str:
    """With a star at each fact that is told."""
    return "MLST " + "".join(f"{fact}{'*' * (fact in session.parameters.facts)};" for fact in listing.FACTS)


VERBS = (
    Verb("PWD", working_directory, Takes.NOTHING, "PWD"),
    Verb("XPWD", working_directory, Takes.NOTHING, "XPWD"),
    Verb("CWD", change_directory, Takes.TEXT, "CWD <folder>"),
    Verb("XCWD", change_directory, Takes.TEXT, "XCWD <folder>"),
    Verb("CDUP", change_to_parent, Takes.NOTHING, "CDUP"),
    Verb("XCUP", change_to_parent, Takes.NOTHING, "XCUP"),
    Verb("LIST", long_list, Takes.MAYBE, "LIST [<path>]", permission=Permission.LIST, moves_data=True),
    Verb("NLST", name_list, Takes.MAYBE, "NLST [<path>]", permission=Permission.LIST, moves_data=True),
    Verb("MLSD", machine_list, Takes.MAYBE, "MLSD [<folder>]", permission=Permission.LIST, moves_data=True),
    Verb(
        "MLST",
        machine_entry,
        Takes.MAYBE,
        "MLST [<path>]",
        permission=SEE,
        feature=_facts_feature,
    ),
    Verb("SIZE", size, Takes.TEXT, "SIZE <file>", permission=SEE, feature="SIZE"),
    Verb("MDTM", modify_time, Takes.TEXT, "MDTM <path>", permission=SEE | Permission.SET_FACTS, feature="MDTM"),
    Verb("AVBL", available, Takes.MAYBE, "AVBL [<folder>]", feature="AVBL"),
    Verb("STAT", status, Takes.MAYBE, "STAT [<path>]", before_login=True),
)
