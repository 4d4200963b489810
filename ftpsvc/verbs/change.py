"""Changing the tree: MKD RMD DELE RNFR RNTO MFMT MFF SITE, MDTM where it sets, and those of old, XMKD XRMD."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from ftpsvc import model
from ftpsvc.frames import format_time, parse_mode, parse_time
from ftpsvc.model import NO_FACTS, Facts, Permission
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.states import Renaming
from ftpsvc.verbs.digest import part_digest
from ftpsvc.wire import Reply, quoted

# -- folders and names


async def _change(session: Session, work: Coroutine[Any, Any, None], verb: str, path: str, target: str = "") -> None:
    """Change the tree, and take that down. In some storages it takes several steps, a quota counts behind them, and
    whose connection is lost between two must not leave the rest undone."""
    account = session.ready.account.name

    async def change() -> None:
        await work
        session.changed(account, verb, path, target)

    await session.control.to_its_end(change())


async def make_directory(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, Permission.MAKE_DIRECTORY)
    await _change(session, session.ready.storage.make_dir(path), "MKD", path)
    return Reply(257, f"{quoted(path)} created.")


async def remove_directory(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, Permission.DELETE)
    if path == session.ready.cwd:
        raise model.Denied(f"{path} is the current folder.")
    await _change(session, session.ready.storage.remove_dir(path), "RMD", path)
    return Reply(250, f"{path} removed.")


async def delete(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, Permission.DELETE)
    await _change(session, session.ready.storage.remove(path), "DELE", path)
    return Reply(250, f"{path} deleted.")


async def rename_from(session: Session, argument: str) -> Reply:
    path = session.resolve(argument, Permission.RENAME)
    if path == "/":
        raise model.Denied("The root has no name that could be changed.")
    await session.ready.storage.stat(path)
    session.state = replace(session.ready, marker=Renaming(path))
    return Reply(350, "Send the new name with RNTO.")


async def rename_to(session: Session, argument: str) -> Reply:
    marker = session.ready.marker
    if not isinstance(marker, Renaming):
        raise model.BadSequence("RNFR goes directly before RNTO.")
    path = session.resolve(argument, Permission.RENAME)
    account = session.ready.account
    may_replace = account.may(path).allows(Permission.OVERWRITE)
    if not may_replace and await _exists(session, path):
        session.demand(Permission.OVERWRITE, path)
    if account.rules:
        entry = await session.ready.storage.stat(marker.source)
        if account.would_gain(marker.source, path, entry.is_directory):
            raise model.Denied(f"{marker.source}: as {path} this account might do with it what it may not do now.")
    await _change(session, session.ready.storage.rename(marker.source, path, may_replace), "RNTO", marker.source, path)
    return Reply(250, f"{marker.source} is {path} now.")


async def _exists(session: Session, path: str) -> bool:
    try:
        await session.ready.storage.stat(path)
    except model.NotFound:
        return False
    return True


# -- times and modes


async def set_modify_time(session: Session, argument: str) -> Reply:
    """`MFMT 20261122055957 name` (draft-somers-ftp-mfxx); the answer has the name as it was sent, as HASH's does."""
    text, path = _value_and_path(session, argument, "MFMT")
    modified = parse_time(text)
    await _set(session, path, Facts(modified=modified))
    return Reply(213, f"Modify={format_time(modified)}; {argument.partition(' ')[2]}")


async def set_facts(session: Session, argument: str) -> Reply:
    """`MFF Modify=20261122055957;UNIX.mode=0644; name`: all of them, or none if one can't be set."""
    text, path = _value_and_path(session, argument, "MFF")
    facts, told = _facts_in(text)
    await _set(session, path, facts)
    return Reply(213, f"{told} {argument.partition(' ')[2]}")


def _facts_in(text: str) -> tuple[Facts, str]:
    """What `Modify=20261122055957;UNIX.mode=0644;` says, and that once more as it was understood."""
    facts, told = NO_FACTS, ""
    for fact in text.removesuffix(";").split(";"):
        name, _, value = fact.partition("=")
        if name.lower() == "modify":
            facts = facts._replace(modified=parse_time(value))
        elif name.lower() == "unix.mode":
            facts = facts._replace(mode=parse_mode(value))
        else:
            raise model.BadArgument("The facts that can be set are modify and UNIX.mode.")
        told += f"{name}={value};"
    return facts, told


#: A time of RFC 3659, section 2.3, which may have a fraction of any length, and a name.
_SETTING_TIME = re.compile(r"([0-9]{14}(?:\.[0-9]+)?) (.+)", re.DOTALL)


async def set_by_mdtm(session: Session, argument: str) -> Reply | None:
    """`MDTM 20261122055957 name`, which old clients send where MFMT is meant; None if it isn't that."""
    match = _SETTING_TIME.fullmatch(argument)
    if match is None:
        return None
    path = session.resolve(match[2], Permission.SET_FACTS)
    modified = parse_time(match[1])
    await _set(session, path, Facts(modified=modified))
    return Reply(213, format_time(modified))


def _value_and_path(session: Session, argument: str, verb: str) -> tuple[str, str]:
    value, _, name = argument.partition(" ")
    if not name:
        raise model.BadArgument(f"It takes a value and a name: {session.verbs[verb].usage}")
    return value, session.resolve(name, Permission.SET_FACTS)


async def _set(session: Session, path: str, facts: Facts) -> None:
    if path == "/":
        raise model.Denied("The root stays as it is.")
    await session.ready.storage.set_facts(path, facts)
    session.forget_told(path)


# -- SITE


async def site(session: Session, argument: str) -> Reply:
    name, _, rest = argument.partition(" ")
    command = SITE_COMMANDS.get(name.upper())
    if command is None:
        raise model.BadCommand("There is no such SITE command. SITE HELP lists those there are.")
    return await command.run(session, rest)


async def _site_help(_: Session, __: str) -> Reply:
    return Reply(214, "End", ("SITE commands:", *(command.usage for command in SITE_COMMANDS.values())))


async def _change_mode(session: Session, argument: str) -> Reply:
    text, _, name = argument.partition(" ")
    mode = parse_mode(text)
    if not name:
        raise model.BadArgument("SITE CHMOD takes a mode and a name.")
    path = session.resolve(name, Permission.SET_FACTS)
    await _set(session, path, Facts(mode=mode))
    return Reply(200, f"{path} has mode {mode:04o} now.")


#: `name atime mtime ctime UTC`, as lftp and others send it, and `mtime name`. Only the modify time is set.
_UTIME_LONG = re.compile(r"(.+) ([0-9]{14}) ([0-9]{14}) ([0-9]{14}) UTC", re.DOTALL)
_UTIME_SHORT = re.compile(r"([0-9]{12}|[0-9]{14}) (.+)", re.DOTALL)


async def _set_time(session: Session, argument: str) -> Reply:
    if match := _UTIME_LONG.fullmatch(argument):
        name, text = match[1], match[3]
    elif match := _UTIME_SHORT.fullmatch(argument):
        name, text = match[2], match[1].ljust(14, "0")
    else:
        raise model.BadArgument("SITE UTIME takes a time as YYYYMMDDHHMMSS and a name.")
    modified = parse_time(text)
    path = session.resolve(name, Permission.SET_FACTS)
    await _set(session, path, Facts(modified=modified))
    return Reply(200, f"{path} was modified at {format_time(modified)}.")


async def _expect_facts(session: Session, argument: str) -> Reply:
    """`SITE FACTS modify=20261122055957; name`: what the next upload, a STOR of that name, will bring.

    An object storage takes facts at the beginning of an upload; later they cost it a copy.
    """
    text, _, name = argument.partition(" ")
    if not name:
        raise model.BadArgument("SITE FACTS takes facts and a name.")
    path = session.resolve(name, Permission.WRITE | Permission.OVERWRITE)
    facts, told = _facts_in(text)
    session.state = replace(session.ready, expected=(path, facts))
    return Reply(200, f"{told} {path}")


async def _idle(session: Session, wanted: str) -> Reply:
    limit = f"A session may be idle for {session.control.idle_limit:g} seconds"
    if wanted:
        raise model.BadParameter(f"{limit}; that is for the server's operator to say.")
    return Reply(200, f"{limit}.")


@dataclass(frozen=True, slots=True)
class SiteCommand:
    """One SITE command as data, as `Verb` is for the others."""

    run: Callable[[Session, str], Awaitable[Reply]]
    usage: str


SITE_COMMANDS = {
    "CHMOD": SiteCommand(_change_mode, "CHMOD <mode> <path>"),
    "UTIME": SiteCommand(_set_time, "UTIME <YYYYMMDDHHMMSS> <path>"),
    "PART": SiteCommand(part_digest, "PART <path>"),
    "FACTS": SiteCommand(_expect_facts, "FACTS <fact>=<value>; <path>"),
    "IDLE": SiteCommand(_idle, "IDLE"),
    "HELP": SiteCommand(_site_help, "HELP"),
}


VERBS = (
    Verb("MKD", make_directory, Takes.TEXT, "MKD <folder>", permission=Permission.MAKE_DIRECTORY),
    Verb("XMKD", make_directory, Takes.TEXT, "XMKD <folder>", permission=Permission.MAKE_DIRECTORY),
    Verb("RMD", remove_directory, Takes.TEXT, "RMD <folder>", permission=Permission.DELETE),
    Verb("XRMD", remove_directory, Takes.TEXT, "XRMD <folder>", permission=Permission.DELETE),
    Verb("DELE", delete, Takes.TEXT, "DELE <file>", permission=Permission.DELETE),
    Verb("RNFR", rename_from, Takes.TEXT, "RNFR <path>", permission=Permission.RENAME),
    Verb("RNTO", rename_to, Takes.TEXT, "RNTO <path>", permission=Permission.RENAME),
    Verb(
        "MFMT",
        set_modify_time,
        Takes.TEXT,
        "MFMT <YYYYMMDDHHMMSS> <path>",
        permission=Permission.SET_FACTS,
        feature="MFMT",
    ),
    Verb(
        "MFF",
        set_facts,
        Takes.TEXT,
        "MFF <fact>=<value>; <path>",
        permission=Permission.SET_FACTS,
        feature="MFF modify;UNIX.mode;",
    ),
    Verb(
        "SITE", site, Takes.TEXT, "SITE CHMOD | UTIME | PART | FACTS | IDLE | HELP ...", feature="SITE PART|SITE FACTS"
    ),
)
