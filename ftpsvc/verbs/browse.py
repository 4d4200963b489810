"""Looking around: PWD CWD CDUP LIST NLST MLSD MLST SIZE MDTM STAT."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from ftpsvc import listing, model
from ftpsvc.frames import format_time
from ftpsvc.model import Entry, Permission, encode_name
from ftpsvc.session import Authenticating, Ready, Session, Takes, Verb
from ftpsvc.wire import Reply, quoted

#: Lines of a listing are sent together once they come to this many bytes.
BLOCK = 64 * 1024

#: The most entries in the reply to STAT of a folder: a reply has to sit in memory whole. LIST and MLSD have no limit.
MAX_STAT_ENTRIES = 1000

Line = Callable[[Entry], bytes]


async def working_directory(session: Session, _: str) -> Reply:
    return Reply(257, f"{quoted(session.ready.cwd)} is the current folder.")


async def change_directory(session: Session, argument: str) -> Reply:
    path = session.resolve(argument)
    entry = await session.ready.storage.stat(path)
    if not entry.is_directory:
        raise model.NotADirectory(f"{path} is not a folder.")
    session.state = replace(session.ready, cwd=path)
    return Reply(250, f"{quoted(path)} is the current folder.")


async def change_to_parent(session: Session, _: str) -> Reply:
    return await change_directory(session, "..")


async def size(session: Session, argument: str) -> Reply:
    path = session.resolve(argument)
    if session.parameters.ascii and not session.is_inline:
        raise model.Unavailable("SIZE needs TYPE I: in TYPE A the whole file would have to be read for it.")
    entry = await session.ready.storage.stat(path)
    if not entry.is_file:
        raise model.NotAFile(f"{path} is not a plain file.")
    return Reply(213, str(entry.size))


async def modify_time(session: Session, argument: str) -> Reply:
    entry = await session.ready.storage.stat(session.resolve(argument))
    return Reply(213, format_time(entry.modified // 1_000_000_000 * 1_000_000_000))


async def machine_entry(session: Session, argument: str) -> Reply:
    path = session.resolve(argument)
    entry = await session.ready.storage.stat(path)
    line = listing.machine_line(entry._replace(name=path), session.ready.account.permissions)
    return Reply(250, "End", ("Facts:", model.decode_name(line)))


async def machine_list(session: Session, argument: str) -> Reply:
    path = session.resolve(argument)
    if not (await session.ready.storage.stat(path)).is_directory:
        raise model.BadArgument(f"{path} is not a folder: MLST tells of a single entry.")
    permissions = session.ready.account.permissions
    return await _send(session, path, lambda entry: listing.machine_line(entry, permissions))


async def long_list(session: Session, argument: str) -> Reply:
    now = time.time()
    return await _send(
        session, session.resolve(_without_options(argument)), lambda entry: listing.long_line(entry, now)
    )


async def name_list(session: Session, argument: str) -> Reply:
    argument = _without_options(argument)
    # Each name so that RETR takes it as it is: with the folder before it, if the client named one.
    prefix = encode_name(argument.rstrip("/") + "/") if argument else b""
    return await _send(session, session.resolve(argument), lambda entry: prefix + encode_name(entry.name))


def _without_options(argument: str) -> str:
    """The path in `-la folder`: clients send the options of `ls`, and mean what LIST does anyway."""
    while argument.startswith("-"):
        _, _, argument = argument.partition(" ")
    return argument


async def _send(session: Session, path: str, line: Line) -> Reply:
    """Send a folder's entries, or the one entry that is no folder, over the session's channel."""
    storage = session.ready.storage
    entry = await storage.stat(path)
    channel = session.control.channel()
    session.control.reply(Reply(150, f"Listing {path}"))
    entries = storage.list(path) if entry.is_directory else _only(entry)
    async with aclosing(_blocks(entries, line)) as blocks:
        await channel.send_lines(blocks)
    return Reply(226, "Listing complete.")


async def _only(entry: Entry) -> AsyncGenerator[Entry, None]:
    yield entry


async def _blocks(entries: AsyncGenerator[Entry, None], line: Line) -> AsyncGenerator[bytes, None]:
    lines: list[bytes] = []
    gathered = 0
    async for entry in entries:
        if listing.is_listable(entry.name):
            lines.append(line(entry))
            gathered += len(lines[-1]) + 2
            if gathered >= BLOCK:
                yield b"\r\n".join([*lines, b""])
                lines, gathered = [], 0
    if lines:
        yield b"\r\n".join([*lines, b""])


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
    session.demand(Permission.LIST, argument)
    path = session.resolve(_without_options(argument))
    entry = await session.ready.storage.stat(path)
    now = time.time()
    lines: list[str] = []
    async with aclosing(session.ready.storage.list(path) if entry.is_directory else _only(entry)) as entries:
        async for entry in entries:
            if len(lines) == MAX_STAT_ENTRIES:
                lines.append(f"Only the first {MAX_STAT_ENTRIES}; LIST shows all.")
                break
            if listing.is_listable(entry.name):
                lines.append(model.decode_name(listing.long_line(entry, now)))
    return Reply(213, "End of status.", (f"Status of {path}:", *lines))


VERBS = (
    Verb("PWD", working_directory, Takes.NOTHING, "PWD"),
    Verb("CWD", change_directory, Takes.TEXT, "CWD <folder>"),
    Verb("CDUP", change_to_parent, Takes.NOTHING, "CDUP"),
    Verb("LIST", long_list, Takes.MAYBE, "LIST [<path>]", permission=Permission.LIST),
    Verb("NLST", name_list, Takes.MAYBE, "NLST [<path>]", permission=Permission.LIST),
    Verb("MLSD", machine_list, Takes.MAYBE, "MLSD [<folder>]", permission=Permission.LIST),
    Verb(
        "MLST",
        machine_entry,
        Takes.MAYBE,
        "MLST [<path>]",
        permission=Permission.LIST,
        feature="MLST " + "".join(f"{fact}*;" for fact in listing.FACTS),
    ),
    Verb("SIZE", size, Takes.TEXT, "SIZE <file>", feature="SIZE"),
    Verb("MDTM", modify_time, Takes.TEXT, "MDTM <path>", feature="MDTM"),
    Verb("STAT", status, Takes.MAYBE, "STAT [<path>]", before_login=True),
)
