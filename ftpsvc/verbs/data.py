"""Preparing a data connection: PASV EPSV PORT EPRT."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from ftpsvc import model
from ftpsvc.addresses import FAMILIES, Address, format_passive, number_of, parse_extended, parse_port
from ftpsvc.session import Session, Takes, Verb
from ftpsvc.wire import Reply


def _demand_stream(session: Session, may_be_old: bool = False) -> None:
    if session.is_inline:
        raise model.BadSequence("In MODE I the data travels on this connection: nothing has to be prepared.")
    if session.parameters.only_extended and not may_be_old:
        raise model.BadSequence("After EPSV ALL there is EPSV and nothing else.")


async def passive(session: Session, _: str) -> Reply:
    _demand_stream(session)
    data = session.control.data
    if not isinstance(data.local, IPv4Address):
        return _wrong_family("2", "PASV is for IPv4; use EPSV")
    address = data.listen()
    return Reply(227, f"Entering Passive Mode ({format_passive(address)}).")


async def extended_passive(session: Session, argument: str) -> Reply:
    _demand_stream(session, may_be_old=True)
    if argument.upper() == "ALL":
        session.parameters = replace(session.parameters, only_extended=True)
        return Reply(200, "From now on EPSV and nothing else.")
    if argument and not (argument.isascii() and argument.isdigit()):
        raise model.BadArgument("EPSV takes nothing, 1, 2 or ALL.")
    data = session.control.data
    family = number_of(data.local)
    if argument and argument != family:
        return _wrong_family(family, "Network protocol not supported, use")
    return Reply(229, f"Entering Extended Passive Mode (|||{data.listen(tells_address=False).port}|)")


async def port(session: Session, argument: str) -> Reply:
    _demand_stream(session)
    return _connect_to(session, parse_port(argument))


async def extended_port(session: Session, argument: str) -> Reply:
    _demand_stream(session)
    address = parse_extended(argument)
    family = number_of(session.control.data.local)
    if address is None or not isinstance(address.host, FAMILIES[family]):
        return _wrong_family(family, "Network protocol not supported, use")
    return _connect_to(session, address)


def _connect_to(session: Session, address: Address) -> Reply:
    session.control.data.connect_to(address)
    return Reply(200, "The data will go there.")


def _wrong_family(right: str, text: str) -> Reply:
    # The numbers in the parentheses are for programs to read: those that would do (RFC 2428, section 2).
    return Reply(522, f"{text} ({right})")


VERBS = (
    Verb("PASV", passive, Takes.NOTHING, "PASV", feature="PASV", keeps_marker=True),
    Verb("EPSV", extended_passive, Takes.MAYBE, "EPSV [1 | 2 | ALL]", feature="EPSV", keeps_marker=True),
    Verb("PORT", port, Takes.TEXT, "PORT <h1>,<h2>,<h3>,<h4>,<p1>,<p2>", keeps_marker=True),
    Verb("EPRT", extended_port, Takes.TEXT, "EPRT |<family>|<address>|<port>|", feature="EPRT", keeps_marker=True),
)
