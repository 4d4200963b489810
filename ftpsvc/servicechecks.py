"""What `ftpsvc doctor` looks at inside a server: login, both ways of the data, permissions, clock.

Nothing is believed for being convenient: a password goes to nobody who isn't trusted, data connections go to the
server itself and to no address that it tells, and what is stored to be looked at is removed again.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from dataclasses import replace

from ftpsvc.addresses import host_of, passive_host
from ftpsvc.credentials import ANONYMOUS, login_for
from ftpsvc.doctor import Finding, Outcome, Skipped, Trouble
from ftpsvc.frames import parse_time
from ftpsvc.inlineclient import InlineFiles
from ftpsvc.listing import parse_machine_line
from ftpsvc.model import BadArgument, NoDataConnection, NotLoggedIn, Whole, encode_name
from ftpsvc.patient import Patient
from ftpsvc.remote import Remote
from ftpsvc.streamclient import REFUSALS

#: The clock here.
now = time.time

#: By how many seconds clocks may differ: whoever compares times of files would take one for the other beyond that.
MAX_SKEW = 5.0

#: What is stored, to see when the server thinks that was.
SAMPLE = b"ftpsvc doctor was here, and could not remove this again.\n"


async def credentials(patient: Patient) -> None:
    """Who logs in. Not asked before it is known whether the answer may be sent."""
    target, is_protected = patient.target, patient.protocol.is_secure

    def check(user: str) -> None:
        if is_protected and not patient.is_proven and user not in ("", ANONYMOUS):
            raise Trouble("no password was sent: the certificate is not trusted", "See tls, above.")

    check(target.user)
    try:
        login = await login_for(target.user, target.host, patient.run, patient.person, is_protected)
    except BadArgument as lacking:
        raise Trouble(str(lacking), "Without a name anonymous is tried.") from lacking
    check(login.user)
    patient.login = login


async def login(patient: Patient) -> Finding:
    assert patient.login is not None
    user, source = patient.login.user, patient.login.source
    remote = Remote(patient.protocol, patient.dial, patient.tls)
    remote.features = patient.features
    remote.may_be_inline = False  # data connections are looked at too, and first it has to be possible to log in
    try:
        await remote.login(user, patient.login.password)
    except NotLoggedIn as refusal:
        host = patient.target.host
        if user == ANONYMOUS:
            advice = f"Log in with a name: ftpsvc doctor NAME@{host} {patient.target.port}"
        else:
            password = f"the password from {source}" if source else "the password"
            advice = f"Check the name and {password}; the server's log has the reason."
        raise Trouble(f"{user} is refused: {refusal}", advice) from refusal
    patient.remote, patient.features = remote, remote.features
    patient.folder = await remote.working_directory()
    return Finding(Outcome.OK, f"as {user}, in {patient.folder}")


_MAY_NOT_LIST = "If this account is to see files, let it list: docs/accounts.md has the permissions."


async def inline(patient: Patient) -> Finding:
    if "MODE I" not in patient.features:
        raise Skipped("the server has no MODE I, so each file and each listing needs a data connection")
    await patient.protocol.ask("MODE", "I")
    try:
        patient.is_inline = True
        seen = [entry.name async for entry in InlineFiles(patient.protocol).list(patient.folder)]
    except REFUSALS as refusal:
        return Finding(Outcome.WARNING, f"MODE I is there, but nothing was listed: {refusal}", _MAY_NOT_LIST)
    finally:
        await patient.protocol.ask("MODE", "S")
    return Finding(Outcome.OK, f"files come on this connection; {_many(len(seen))} in {patient.folder}")


async def passive(patient: Patient) -> Finding:
    try:
        seen = [entry.name async for entry in patient.remote.list(patient.folder)]
    except NoDataConnection as cause:
        raise Trouble(str(cause), ADVICE_PASSIVE + _not_needed(patient)) from cause
    except REFUSALS as refusal:
        if not patient.data_port:
            raise Trouble(f"the server gives no port for data: {refusal}", ADVICE_PASSIVE) from refusal
        text = f"port {patient.data_port} can be reached, but nothing was listed: {refusal}"
        return Finding(Outcome.WARNING, text, _MAY_NOT_LIST)
    return Finding(Outcome.OK, f"port {patient.data_port} can be reached; {_many(len(seen))} in {patient.folder}")


ADVICE_PASSIVE = (
    "Give the data connections fixed ports (ftpsvc: --passive-ports 50000-50100), and let these through the "
    "firewall and the router."
)


def _not_needed(patient: Patient) -> str:
    return " ftpsvc's own client does without them here, other clients don't." if patient.is_inline else ""


def _many(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"


async def address(patient: Patient) -> Finding:
    peer = host_of(patient.peer)
    if not isinstance(peer, ipaddress.IPv4Address):
        raise Skipped("this connection is IPv6, for which EPSV tells a port and no address")
    try:
        reply = await patient.protocol.ask("PASV")
    except REFUSALS as refusal:
        raise Skipped(f"the server has no PASV ({refusal})") from refusal
    told = passive_host(reply.text)
    if told is None:
        raise Trouble(f"the answer to PASV has no address: {reply.text}", "Report it to whoever makes the server.")
    finding = judged(told, peer)
    return replace(finding, advice=finding.advice + _not_needed(patient)) if finding.advice else finding


def judged(told: ipaddress.IPv4Address, peer: ipaddress.IPv4Address) -> Finding:
    """Whether the address that PASV tells is one for clients that come the way that this one has come."""
    if told == peer:
        return Finding(Outcome.OK, f"PASV tells {told}, the address of this connection")
    if peer.is_loopback:
        advice = "Examine the server from another machine."
        return Finding(
            Outcome.SKIPPED, f"PASV tells {told}; whether that is right can't be seen from its own machine", advice
        )
    advice = (
        f"Have the server tell the address that clients connect to. ftpsvc: --passive-address {peer}, or auto, and "
        "--passive-local for clients on this side of a router; vsftpd: pasv_address; ProFTPD: MasqueradeAddress."
    )
    text = f"PASV tells {told}, and this connection is with {peer}: clients that go where they are told"
    if told.is_global:
        return Finding(Outcome.WARNING, f"{text} may end somewhere else", advice)
    return Finding(Outcome.FAILED, f"{text} get no data", advice)


#: What the letters of a folder's perm fact allow in it, in words (RFC 3659, section 7.5.5).
_ALLOWED = {"l": "list", "c": "store", "m": "make folders", "p": "delete", "f": "rename"}


async def permissions(patient: Patient) -> Finding:
    try:
        reply = await patient.protocol.ask("MLST", patient.folder)
        facts = parse_machine_line(encode_name(reply.inner[1].lstrip(" ")))[1] if reply.inner[1:] else {}
    except REFUSALS:
        facts = {}
    if (letters := facts.get("perm")) is None:
        raise Skipped("the server doesn't tell them (the perm fact of MLST)")
    patient.permissions = letters.lower()
    allowed = [words for letter, words in _ALLOWED.items() if letter in patient.permissions]
    if not allowed:
        return Finding(Outcome.WARNING, f"nothing is allowed in {patient.folder}", _MAY_NOT_LIST)
    return Finding(Outcome.OK, f"allowed in {patient.folder}: {', '.join(allowed)}")


async def clock(patient: Patient) -> Finding:
    if not {"c", "p"} <= set(patient.permissions or ""):
        raise Skipped("nothing was stored to look at its time: not known to be allowed to store and delete it")
    protocol = patient.protocol
    path = f"{patient.folder.rstrip('/')}/ftpsvc-doctor-{secrets.token_hex(8)}.tmp"
    before = now()
    patient.stored = path
    if patient.is_inline:
        await protocol.ask("MODE", "I")
        await InlineFiles(protocol).put(path, Whole(SAMPLE))
    else:
        await patient.remote.put(path, Whole(SAMPLE))
    after = now()
    try:
        modified = parse_time((await protocol.ask("MDTM", path)).text.strip()) / 1e9
    except REFUSALS as refusal:
        raise Skipped(f"the server doesn't tell a file's time: {refusal}") from refusal
    finally:
        await _removed(patient)
    skew = modified - after if modified > after else min(modified + 1 - before, 0.0)  # it may have whole seconds only
    if abs(skew) <= MAX_SKEW:
        return Finding(Outcome.OK, "a file was stored, has the right time, and was removed")
    advice = (
        "Have both machines set their clocks by the network: timedatectl set-ntp true. Whole hours between them mean "
        "that the server tells local time where UTC is due."
    )
    way = "ahead of" if skew > 0 else "behind"
    return Finding(Outcome.WARNING, f"the server's clock is {abs(skew):.0f} s {way} the one here", advice)


async def _removed(patient: Patient) -> None:
    try:
        await patient.protocol.ask("DELE", patient.stored)
    except REFUSALS as refusal:
        path, patient.stored = patient.stored, ""
        raise Trouble(f"{path} was stored, and can't be removed: {refusal}", "Remove it at the server.") from refusal
    patient.stored = ""
