"""Coming, going, and what one may know of the server: USER PASS ACCT REIN QUIT HOST NOOP FEAT HELP SYST."""

from __future__ import annotations

import ipaddress
import re

from ftpsvc import model
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.states import Authenticating, Closed, Greeted, Parameters, Ready
from ftpsvc.wire import Reply


async def user(session: Session, name: str) -> Reply:
    """Ends an earlier login at once (RFC 959, section 4.1.1). The answer is the same for every name, but for one whose
    certificate the client has (RFC 4217, section 13.2)."""
    session.state = Authenticating(name)
    recognised = await session.accounts.recognise(name, session.visitor)
    if recognised is not None:
        session.control.data.forget()  # what was prepared belongs to the login before
        await session.control.enter(recognised[0])
        session.state = Ready(*recognised)
        return Reply(232, f"Logged in as {name}, by certificate.")
    return Reply(331, "Name received; send the password with PASS.")


async def password(session: Session, secret: str) -> Reply:
    if not isinstance(session.state, Authenticating):
        raise model.BadSequence("Send the name with USER first.")
    name = session.state.user
    session.state = Greeted()
    account, storage = await session.control.attempt(
        name, lambda: session.accounts.login(name, secret, session.visitor)
    )
    await session.control.enter(account)
    session.state = Ready(account, storage)
    return Reply(230, f"Logged in as {account.name}.")


async def account(session: Session, _: str) -> Reply:
    """Nobody needs one here, and a client that has been told to send one is not to fail for it."""
    if isinstance(session.state, Greeted):
        raise model.BadSequence("Send the name with USER first.")
    return Reply(202, "No account is needed here.")


async def reinitialize(session: Session, _: str) -> Reply:
    """As after the connection: nobody is logged in, and every parameter is what it was.

    TLS would have to end with it (RFC 4217, section 13), and who goes on in clear then might not know that they do.
    """
    if session.security.is_on:
        raise model.RefusedByPolicy("Commands stay protected: log in anew with USER, or connect again.")
    session.state = Greeted()
    session.parameters = Parameters()
    return Reply(220, "Ready for a new user.")


# A dot between any two: without it a text of letters could be cut into labels in more ways than could ever be tried.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\.?$){_LABEL}(?:\.{_LABEL})*\.?")


async def host(session: Session, name: str) -> Reply:
    """RFC 7151: which of its names the server was reached by. It has one set of files for all of them."""
    if isinstance(session.state, Ready):
        raise model.BadSequence("HOST goes before USER.")
    if name.startswith("["):
        _check_literal(name)
    elif _HOST.fullmatch(name) is None:
        raise model.BadArgument("A host is a name, an IPv4 address, or an IPv6 address in brackets; without a port.")
    asked = session.control.server_name
    if asked and asked.lower() != name.lower().rstrip("."):
        raise model.BadParameter("TLS has begun for another name, and that is the one which its certificate is for.")
    session.state = Greeted()
    return Reply(220, "The same files are served under every name.")


def _check_literal(name: str) -> None:
    try:
        if not name.endswith("]"):
            raise ValueError(name)
        ipaddress.IPv6Address(name[1:-1])
    except ValueError:
        raise model.BadArgument("That is no IPv6 address in brackets.") from None


async def quit_(session: Session, _: str) -> Reply:
    session.state = Closed()
    return Reply(221, "Goodbye.")


async def noop(session: Session, _: str) -> Reply:
    return Reply(200, "Nothing done, as asked.")


async def features(session: Session, _: str) -> Reply:
    lines = {line for verb in session.verbs.values() for line in _features_of(verb, session).split("|") if line}
    return Reply(211, "End", ("Features:", *sorted(lines)))


def _features_of(verb: Verb, session: Session) -> str:
    return verb.feature if isinstance(verb.feature, str) else verb.feature(session)


async def help_(session: Session, name: str) -> Reply:
    if not name:
        names = sorted(session.verbs)
        rows = (" ".join(f"{verb:5}" for verb in names[at : at + 10]).rstrip() for at in range(0, len(names), 10))
        return Reply(214, "HELP <command> tells how one is used.", ("These commands are carried out:", *rows))
    verb = session.verbs.get(name.upper())
    if verb is None:
        raise model.NotImplementedHere("There is no such command here. HELP lists those there are.")
    return Reply(214, f"Syntax: {verb.usage}")


async def system(session: Session, _: str) -> Reply:
    # Clients choose their parser for LIST by exactly this text.
    return Reply(215, "UNIX Type: L8")


VERBS = (
    Verb("USER", user, Takes.TEXT, "USER <name>", before_login=True),
    Verb("PASS", password, Takes.MAYBE, "PASS <password>", before_login=True),
    Verb("ACCT", account, Takes.MAYBE, "ACCT <account>", before_login=True),
    Verb("REIN", reinitialize, Takes.NOTHING, "REIN", before_login=True),
    Verb("HOST", host, Takes.TEXT, "HOST <name>", before_login=True, feature="HOST"),
    Verb("QUIT", quit_, Takes.NOTHING, "QUIT", before_login=True),
    Verb("NOOP", noop, Takes.MAYBE, "NOOP", before_login=True),
    Verb("FEAT", features, Takes.NOTHING, "FEAT", before_login=True, feature="UTF8|TVFS"),
    Verb("HELP", help_, Takes.MAYBE, "HELP [<command>]", before_login=True),
    Verb("SYST", system, Takes.NOTHING, "SYST", before_login=True),
)
