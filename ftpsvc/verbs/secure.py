"""Protection: AUTH ADAT PBSZ PROT CCC (RFC 2228, with TLS as in RFC 4217)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ftpsvc import model
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.states import Closed, Greeted, Parameters
from ftpsvc.wire import Reply

#: TLS-C is the older name of TLS, and SSL what clients from before RFC 4217 say. All of them mean the same here.
MECHANISMS = frozenset({"TLS", "TLS-C", "SSL"})


async def authenticate(session: Session, mechanism: str) -> Reply:
    """The server begins with TLS behind the answer. Whoever was logged in is so no more (RFC 4217, section 4.2)."""
    security = session.security
    if not security.is_offered:
        raise model.NotImplementedHere("There is no TLS here.")
    if security.is_on:
        raise model.BadSequence("This connection speaks TLS already.")
    if mechanism.upper() not in MECHANISMS:
        raise model.BadParameter("AUTH TLS is the one that is known.")
    if session.control.has_more:
        # In clear, and so perhaps from somebody between the two ends: never to be taken for a part of what is protected
        # (CVE-2011-0411). No client has a reason to send on before it has the answer.
        session.state = Closed()
        return Reply(421, "Commands were sent behind AUTH, in clear; closing. Wait for the answer to it.")
    session.state = Greeted()
    session.parameters = Parameters()
    session.security = replace(security, is_on=True)
    return Reply(234, "Begin with TLS now.")


async def more_data(session: Session, _: str) -> Reply:
    raise model.BadSequence("TLS needs no ADAT: it begins behind AUTH TLS.")


async def buffer_size(session: Session, size: str) -> Reply:
    _demand_tls(session)
    if not (size.isascii() and size.isdigit() and len(size) <= 10):
        raise model.BadArgument("PBSZ takes a number; with TLS it is 0.")
    session.parameters = replace(session.parameters, has_buffer_size=True)
    return Reply(200, "PBSZ=0")


async def protection(session: Session, level: str) -> Reply:
    _demand_tls(session)
    if not session.parameters.has_buffer_size:
        raise model.BadSequence("PBSZ 0 goes before PROT.")
    level = level.upper()
    if level in ("S", "E"):
        raise model.UnsupportedProtection("TLS knows PROT P, protected, and PROT C, in clear.")
    if level not in ("C", "P"):
        raise model.BadParameter("PROT P is protected, PROT C in clear.")
    session.parameters = replace(session.parameters, is_protected=level == "P")
    return Reply(200, "Data connections speak TLS." if level == "P" else "Data connections are in clear.")


async def clear_commands(session: Session, _: str) -> Reply:
    if not session.security.is_on:
        raise model.NotProtected("There is no protection that could be cleared.")
    raise model.RefusedByPolicy("Commands stay protected: whoever is in between could send others.")


def _demand_tls(session: Session) -> None:
    if not session.security.is_on:
        raise model.BadSequence("AUTH TLS goes first.")


def _offered(line: str) -> Callable[[Session], str]:
    """A line in FEAT, where there is a certificate."""
    return lambda session: line if session.security.is_offered else ""


VERBS = (
    Verb("AUTH", authenticate, Takes.TEXT, "AUTH TLS", before_login=True, feature=_offered("AUTH TLS")),
    Verb("ADAT", more_data, Takes.MAYBE, "ADAT <data>", before_login=True),
    Verb("PBSZ", buffer_size, Takes.TEXT, "PBSZ 0", before_login=True, feature=_offered("PBSZ")),
    Verb("PROT", protection, Takes.TEXT, "PROT C | P", before_login=True, feature=_offered("PROT")),
    Verb("CCC", clear_commands, Takes.NOTHING, "CCC", before_login=True),
)
