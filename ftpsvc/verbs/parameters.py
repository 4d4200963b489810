"""What a client says of itself and how it wants to be served: OPTS LANG CLNT STRU ALLO."""

from __future__ import annotations

import re
from dataclasses import replace

from ftpsvc import checksums, listing, model
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.states import Ready
from ftpsvc.wire import Reply

#: RFC 2640, section 4.1: a tag of RFC 1766.
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")

#: What ALLO may be given: the bytes, and a record size, which means nothing here.
_ALLOCATION = re.compile(r"([0-9]{1,19})(?: [Rr] [0-9]{1,19})?")

# The largest size that fits a file's offset on every system.
_MAX_SIZE = 2**63 - 1


async def options(session: Session, argument: str) -> Reply:
    """RFC 2389, section 4: how another command is to behave."""
    name, _, rest = argument.partition(" ")
    set_option = _OPTIONS.get(name.upper())
    if set_option is None:
        raise model.BadArgument("There are options for HASH, MLST and UTF8.")
    return set_option(session, rest if " " in argument else None)


def _utf8(_: Session, value: str | None) -> Reply:
    if (value or "on").strip().upper() not in ("ON", "NLST"):
        raise model.BadArgument("Names are always UTF-8 here.")
    return Reply(200, "Names are UTF-8.")


def _facts(session: Session, value: str | None) -> Reply:
    """RFC 3659, section 7.9: only the facts that are named and known here; none is a choice too."""
    if " " in (value or ""):
        raise model.BadArgument("Facts are written fact;fact; without a space.")
    wanted = {fact.lower() for fact in (value or "").split(";")}
    chosen = tuple(fact for fact in listing.FACTS if fact.lower() in wanted)
    session.parameters = replace(session.parameters, facts=chosen)
    return Reply(200, f"MLST OPTS {''.join(f'{fact};' for fact in chosen)}".rstrip())


def _hash(session: Session, value: str | None) -> Reply:
    if value is not None:
        if value.upper() not in checksums.ALGORITHMS:
            raise model.BadArgument(f"HASH can be {', '.join(checksums.ALGORITHMS)}.")
        session.parameters = replace(session.parameters, algorithm=value.upper())
    return Reply(200, session.parameters.algorithm)


_OPTIONS = {"UTF8": _utf8, "UTF-8": _utf8, "MLST": _facts, "HASH": _hash}


async def language(_: Session, tag: str) -> Reply:
    if not tag:
        return Reply(200, "Replies are in English, as ever.")
    if _LANGUAGE.fullmatch(tag) is None:
        raise model.BadArgument("A language is written as in LANG en or LANG en-GB.")
    if tag.lower().partition("-")[0] != "en":
        raise model.BadParameter("Replies are in English (EN) only.")
    return Reply(200, "Replies are in English.")


async def client(_: Session, name: str) -> Reply:
    return Reply(200, "Noted.")


async def structure(_: Session, argument: str) -> Reply:
    if argument.upper() in ("R", "P"):
        raise model.BadParameter("Files have no records and no pages here: STRU F.")
    if argument.upper() != "F":
        raise model.BadArgument("Structures are F (file), R and P.")
    return Reply(200, "Structure F: a file is its bytes.")


async def _demand_space(ready: Ready, wanted: int) -> None:
    try:
        space = await ready.storage.space(ready.cwd)
    except (model.NotImplementedHere, model.Unavailable):
        return  # it can't be told; the upload itself will find out
    if space < wanted:
        raise model.NoSpace(f"Only {space} bytes are free.")


async def allocate(session: Session, argument: str) -> Reply:
    """The size of the next upload, which then has to have it: so a client can make the end of its data certain.

    Nothing is reserved: a number from the network is no reason to fill a disk.
    """
    match = _ALLOCATION.fullmatch(argument)
    if match is None or int(match[1]) > _MAX_SIZE:
        raise model.BadArgument("ALLO takes a number of bytes.")
    ready = session.ready
    wanted = int(match[1])
    quota = ready.account.quota_bytes
    if quota is None:
        await _demand_space(ready, wanted)
    elif wanted > quota:
        raise model.OverQuota(f"This account's quota is {quota} bytes.")
    # Whether it fits beside what is there is known when the file has a name: what it replaces is given back.
    # ALLO 0 is an old way of saying "whatever it takes".
    session.state = replace(ready, declared=wanted or None)
    return Reply(200, f"The next upload has {wanted} bytes." if wanted else "Space is made as it is needed.")


VERBS = (
    Verb("OPTS", options, Takes.TEXT, "OPTS HASH [<algorithm>] | MLST [<facts>] | UTF8 ON", before_login=True),
    Verb("LANG", language, Takes.MAYBE, "LANG [<tag>]", before_login=True, feature="LANG EN*"),
    Verb("CLNT", client, Takes.MAYBE, "CLNT <name>", before_login=True, feature="CLNT"),
    Verb("STRU", structure, Takes.TEXT, "STRU F", before_login=True),
    Verb("ALLO", allocate, Takes.TEXT, "ALLO <bytes>"),
)
