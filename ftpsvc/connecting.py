"""Connecting: to which server, with how much TLS, as whom. What is decided on the way by whoever sits there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from ftpsvc import knownservers, targets
from ftpsvc.clienttls import ClientTLS, PeerCertificate, Protection, UnknownServer
from ftpsvc.credentials import ANONYMOUS, Person, Run, login_for
from ftpsvc.knownservers import KnownServers
from ftpsvc.model import BadArgument, ConnectionFailed, NotLoggedIn, NoTLS, ServiceClosing
from ftpsvc.remote import Remote
from ftpsvc.targets import OPTIONS, USAGE, Target
from ftpsvc.wire import DEFAULT_PORT
from ftpsvc.words import escape, quote

#: Gives a connection to a server, logged in.
Dial = Callable[[Target], Awaitable[Remote]]


def target_of(words: Sequence[str]) -> Target:
    """What is meant by the words behind `connect`. Raises `BadArgument`, and never repeats what may be a password."""
    protection, fingerprint = Protection.OFFERED, ""
    left = list(words)
    while left and left[0].startswith("--"):
        option = left.pop(0)
        if option in OPTIONS:
            if protection not in (Protection.OFFERED, OPTIONS[option]):
                raise BadArgument(f"--tls, --implicit and --clear exclude each other. {USAGE}")
            protection = OPTIONS[option]
        elif option == "--fingerprint" and left:
            fingerprint = _fingerprint(left.pop(0))
        else:
            raise BadArgument(f"there is no option {quote(option)} that could stand there. {USAGE}")
    if not 1 <= len(left) <= 2:
        raise BadArgument(f"{'too many words' if left else 'a word is missing'}. {USAGE}")
    if fingerprint and protection is Protection.NONE:
        raise BadArgument(f"without TLS there is no certificate that has a fingerprint. {USAGE}")
    return secured(targets.target_of(*left), protection, fingerprint)


def secured(target: Target, protection: Protection, fingerprint: str) -> Target:
    """The target with what was said of TLS beside it, which goes before what its URL says."""
    if protection is Protection.OFFERED:
        protection = target.protection
    return replace(target, protection=protection, fingerprint=fingerprint)


def _fingerprint(typed: str) -> str:
    if (found := knownservers.fingerprint(typed)) is None:
        raise BadArgument(f"{quote(typed)} is no SHA-256 fingerprint: that has 64 digits of 0-9 and A-F. {USAGE}")
    return found


async def connected(
    reactor: Any, target: Target, known: KnownServers, run: Run, person: Person | None = None
) -> Remote:
    """A connection, logged in. Without a person, what would have been asked is an error that says what to do.

    Raises `ConnectionFailed`, `NotLoggedIn`, and what `login_for` raises.
    """
    remote = await _reached(reactor, target, known, person)
    try:
        login = await login_for(target.user, target.host, run, person, remote.is_protected)
        try:
            await remote.login(login.user, login.password)
        except NotLoggedIn as refusal:
            source = f" The password was that from {login.source}." if login.source else ""
            hint = f" It was without TLS, which there is: connect --tls {target.host} {target.port}"
            clear = hint if remote.offers_tls and not remote.is_protected else ""
            raise NotLoggedIn(f"{refusal}{source}{clear}") from refusal
    except BaseException:
        remote.close()
        raise
    return remote


async def _reached(reactor: Any, target: Target, known: KnownServers, person: Person | None) -> Remote:
    # A password is worth TLS even here.
    has_secret = target.user not in ("", ANONYMOUS)
    tls = ClientTLS(target.host, target.port, known, target.protection, target.fingerprint, not has_secret)
    try:
        return await Remote.connect(reactor, target.host, target.port, tls=tls)
    except UnknownServer as unknown:
        # The connection is gone by now: the server would not wait as long as a person may take to compare.
        if person is None:
            raise
        if (await person.answer(question(target, unknown.certificate))).strip().lower() not in ("y", "yes"):
            raise NoTLS("the certificate was not trusted. Nothing was sent.") from unknown
        tls.trust(unknown.certificate)
    return await Remote.connect(reactor, target.host, target.port, tls=tls)


def question(target: Target, certificate: PeerCertificate) -> str:
    """Whether to trust a certificate. What it claims of itself is whatever its maker liked, so it is escaped."""
    names = ", ".join(escape(name) for name in certificate.names) or "none"
    half = len(certificate.fingerprint) // 2 + 1  # a terminal of 80 columns is too narrow for the whole
    return (
        f"{quote(target.host)}, port {target.port}, is not known here, and its certificate proves nothing:\n"
        f"{escape(', '.join(certificate.problems))}.\n\n"
        f"  SHA-256  {certificate.fingerprint[:half]}\n"
        f"           {certificate.fingerprint[half:]}\n"
        f"  names    {names}\n"
        f"  valid    {certificate.begins:%Y-%m-%d} to {certificate.ends:%Y-%m-%d}\n\n"
        "If that is the server's fingerprint (ftpsvc prints its own at the start),\n"
        "nobody is in between.\n"
        "Trust it from now on? [y/N] "
    )


async def dialled(dial: Dial, target: Target) -> Remote:
    """What `dial` gives. Errors say which server they are about."""
    try:
        return await dial(target)
    except (ConnectionFailed, ServiceClosing) as error:
        if target.host in re.findall(r'[^\s",]+', str(error)):
            raise
        raise type(error)(f"{target.host} {target.port}: {error}") from error
    except UnicodeError as error:
        raise BadArgument(f'"{target.host}" is no name that a host can have. Check the spelling.') from error


def report(remote: Remote, target: Target) -> str:
    """What there is to say about a connection."""
    protection = "with TLS" if remote.is_protected else "without TLS"
    return f"Connected to {target.host}, port {target.port}, as {escape(remote.user)}, {protection}."


# -- for programs --------------------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, for a command line."""
    for option, meant in OPTIONS.items():
        parser.add_argument(option, action="append_const", const=option, dest="options", default=[], help=meant.value)
    parser.add_argument(
        "--fingerprint", metavar="SHA-256", help="with TLS, and with no other certificate than this one"
    )


def add_arguments(parser: argparse.ArgumentParser, server: str) -> None:
    """The same words for a command line. `server` says what becomes of the one that is named."""
    add_options(parser)
    parser.add_argument("server", nargs="?", metavar="[user@]host", help=server)
    parser.add_argument("port", nargs="?", help=f"its port (default: {DEFAULT_PORT})")


def words_of(arguments: argparse.Namespace) -> list[str]:
    """What was given, as the words behind `connect`; none if nothing was."""
    fingerprint = ["--fingerprint", arguments.fingerprint] if arguments.fingerprint is not None else []
    server = [word for word in (arguments.server, arguments.port) if word is not None]
    return [*arguments.options, *fingerprint, *server]
