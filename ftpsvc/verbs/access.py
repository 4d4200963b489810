"""Coming, going, and what one may know of the server: USER PASS QUIT NOOP FEAT HELP SYST."""

from __future__ import annotations

from ftpsvc import model
from ftpsvc.session import Authenticating, Closed, Greeted, Ready, Session, Takes, Verb
from ftpsvc.wire import Reply


async def user(session: Session, name: str) -> Reply:
    """Ends an earlier login at once (RFC 959, section 4.1.1). The answer is the same for every name."""
    session.state = Authenticating(name)
    return Reply(331, "Name received; send the password with PASS.")


async def password(session: Session, secret: str) -> Reply:
    if not isinstance(session.state, Authenticating):
        raise model.BadSequence("Send the name with USER first.")
    name = session.state.user
    session.state = Greeted()
    account, storage = await session.accounts.login(name, secret)
    session.state = Ready(account, storage)
    return Reply(230, f"Logged in as {account.name}.")


async def quit_(session: Session, _: str) -> Reply:
    session.state = Closed()
    return Reply(221, "Goodbye.")


async def noop(session: Session, _: str) -> Reply:
    return Reply(200, "Nothing done, as asked.")


async def features(session: Session, _: str) -> Reply:
    lines = sorted({feature for verb in session.verbs.values() for feature in verb.feature.split("|") if feature})
    return Reply(211, "End", ("Features:", *lines))


async def help_(session: Session, name: str) -> Reply:
    if not name:
        names = sorted(session.verbs)
        rows = (" ".join(f"{verb:5}" for verb in names[at : at + 10]).rstrip() for at in range(0, len(names), 10))
        return Reply(214, "HELP <command> tells how one is used.", ("These commands are carried out:", *rows))
    verb = session.verbs.get(name.upper())
    if verb is None:
        raise model.BadParameter("There is no such command here. HELP lists those there are.")
    return Reply(214, f"Syntax: {verb.usage}")


async def system(session: Session, _: str) -> Reply:
    # Clients choose their parser for LIST by exactly this text.
    return Reply(215, "UNIX Type: L8")


VERBS = (
    Verb("USER", user, Takes.TEXT, "USER <name>", before_login=True),
    Verb("PASS", password, Takes.MAYBE, "PASS <password>", before_login=True),
    Verb("QUIT", quit_, Takes.NOTHING, "QUIT", before_login=True),
    Verb("NOOP", noop, Takes.MAYBE, "NOOP", before_login=True),
    Verb("FEAT", features, Takes.NOTHING, "FEAT", before_login=True, feature="UTF8|TVFS"),
    Verb("HELP", help_, Takes.MAYBE, "HELP [<command>]", before_login=True),
    Verb("SYST", system, Takes.NOTHING, "SYST", before_login=True),
)
