"""What `ftpsvc doctor` looks at on the way to a server: name, TCP, who answers, TLS."""

from __future__ import annotations

import datetime
import socket

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol, wrapClientTLS

from ftpsvc import strangers
from ftpsvc.addresses import host_of
from ftpsvc.client import ClientProtocol
from ftpsvc.clienttls import ChangedServer, Protection, UnknownServer
from ftpsvc.doctor import Finding, Outcome, Trouble
from ftpsvc.model import ConnectionFailed, ProtocolViolation, TransferError
from ftpsvc.patient import CONNECT_TIME, Patient
from ftpsvc.remote import NO_TLS
from ftpsvc.strangers import what_answered
from ftpsvc.wire import DEFAULT_PORT, Reply

#: A certificate that ends sooner than this many days from now is about to be forgotten.
SOON = 21


async def name(patient: Patient) -> Finding:
    host = patient.target.host
    if host_of(host.partition("%")[0]) is not None:
        patient.addresses = [host]
        return Finding(Outcome.OK, "it is an address, and needs no name")
    try:
        found = await patient.run(socket.getaddrinfo, host, patient.target.port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as cause:
        advice = f"Check the spelling, and the name's record in DNS: getent hosts {host}"
        raise Trouble(
            f"there is no host {host} ({getattr(cause, 'strerror', None) or 'no valid name'})", advice
        ) from cause
    patient.addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    return Finding(Outcome.OK, ", ".join(patient.addresses))


async def tcp(patient: Patient) -> Finding:
    port = patient.target.port
    silent: list[tuple[str, Exception]] = []
    for address in patient.addresses:
        patient.begin()
        patient.endpoint = way = patient.way(address, port)
        if patient.target.protection is Protection.IMPLICIT:
            way = wrapClientTLS(patient.tls, way)
        try:
            await connectProtocol(way, patient.protocol)
        except error.ConnectError as failure:
            silent.append((address, failure))
            continue
        if not silent:
            return Finding(Outcome.OK, f"{address} port {port} accepts connections")
        others = ", ".join(f"{other} ({_why(why)})" for other, why in silent)
        advice = "Take these addresses out of DNS, or have the server listen there: some clients try only the first."
        return Finding(Outcome.WARNING, f"{address} port {port} accepts connections, but not {others}", advice)
    _, cause = silent[0]
    if isinstance(cause, error.ConnectionRefusedError):
        advice = (
            f"Start the server, or give the port that it listens on: ftpsvc doctor {patient.target.host} PORT. "
            f"ftpsvc's own is {DEFAULT_PORT}, others use 21."
        )
        raise Trouble(f"nothing listens on port {port} (connection refused)", advice)
    raise Trouble(f"no connection to port {port}: {_why(cause)}", _advice_tcp(port))


def _why(cause: Exception) -> str:
    if isinstance(cause, error.ConnectionRefusedError):
        return "refused"
    if isinstance(cause, error.TimeoutError | error.TCPTimedOutError):
        return f"no answer for {CONNECT_TIME:g} s"
    return str(cause).rstrip(".")


def _advice_tcp(port: int) -> str:
    return f"Is the machine up, and do its firewall and its router let TCP port {port} in? Try it from there first."


async def greeting(patient: Patient) -> Finding:
    plain = None if patient.target.protection is Protection.IMPLICIT else patient.endpoint
    advice = f"Give the port of the FTP server: ftpsvc doctor {patient.target.host} PORT"
    if patient.secured is not None:
        await _handshake(patient, patient.secured)
    try:
        reply = await strangers.unless_stranger(patient.protocol.greeting.finished, patient.reactor, plain)
    except ProtocolViolation as violation:
        raise Trouble(_stranger(what_answered(str(violation))), advice) from violation
    except ConnectionFailed as cause:
        if "--implicit" in str(cause):
            advice = f"ftpsvc doctor --implicit {patient.target.host} {patient.target.port}"
        raise Trouble(_stranger(str(cause)), advice) from cause
    except TransferError as cause:
        advice = "Its text says why. In ftpsvc's protected mode: make an account with ftpsvc user add, or ftpsvc init."
        raise Trouble(f"it turns us away: {cause}", advice) from cause
    if "SMTP" in reply.text:
        raise Trouble(_stranger(what_answered(f"{reply.code} {reply.text}")), advice)
    patient.is_greeted = True
    return Finding(Outcome.OK, f"{reply.code} {reply.text}")


async def _handshake(patient: Patient, secured: Deferred[Reply]) -> None:
    """TLS from the first byte: without it there is no greeting."""
    try:
        await secured
    except BaseException as cause:
        patient.protocol.greeting.finished.addErrback(lambda _: None)  # nobody will wait for it
        if not isinstance(cause, ConnectionFailed):
            raise
        advice = "Perhaps TLS begins with AUTH TLS there, as it does most of the time: try it without --implicit."
        raise Trouble(str(cause), advice) from cause


def _stranger(text: str) -> str:
    return text.removesuffix(f" Check the port: ftpsvc uses {DEFAULT_PORT}.")


async def tls(patient: Patient) -> Finding:
    tls, protocol = patient.tls, patient.protocol
    if not await _agreed(patient):
        patient.is_proven = True  # as far as can be without TLS; who wants more says --tls
        advice = "Turn TLS on at the server. ftpsvc has it without being asked; --require-tls login makes it needed."
        text = "without TLS: whoever is on the way can read names, passwords and files"
        return Finding(Outcome.WARNING, text, advice)
    try:
        tls.verify()
    except UnknownServer as unknown:
        certificate = unknown.certificate
        advice = (
            "Compare this with the fingerprint that the server prints at its start. If it is the same, connect once "
            "with ftpsvc and say yes, or say it with --fingerprint. With a certificate that an authority vouches for "
            "(--certificate at the server) nobody is asked."
        )
        text = f"{_version(protocol)}; its certificate proves nothing: {', '.join(certificate.problems)}. "
        return Finding(Outcome.WARNING, f"{text}SHA-256 {certificate.fingerprint}", advice)
    except ChangedServer as changed:
        advice = "Ask whoever runs the server whether the certificate is new, on another way than this one."
        raise Trouble(str(changed), advice) from changed
    patient.is_proven = True
    return _validity(protocol)


async def _agreed(patient: Patient) -> bool:
    """Have TLS, if it is offered or needed, and isn't there from the first byte."""
    tls = patient.tls
    tls.check_choice()
    await patient.ask_features()
    if patient.protocol.is_secure:
        return True
    offers = any(name.startswith("AUTH") and "TLS" in name for name in patient.features) if patient.features else None
    if not tls.is_to_be_tried(offers):
        return False
    try:
        await patient.protocol.secure(tls)
    except NO_TLS as refusal:
        tls.refused(refusal, offers)
        return False
    await patient.ask_features()  # anybody may have written what was said in clear
    return True


def _version(protocol: ClientProtocol) -> str:
    version: str = protocol.transport.getHandle().get_protocol_version_name()
    return version.replace("v", " ")


def _validity(protocol: ClientProtocol) -> Finding:
    certificate = protocol.transport.getHandle().get_peer_certificate(as_cryptography=True)
    end = certificate.not_valid_after_utc
    days = (end - datetime.datetime.now(datetime.UTC)).days
    text = f"{_version(protocol)}, and its certificate is trusted; it is valid until {end:%Y-%m-%d}"
    if days < SOON:
        advice = "Renew the certificate. ftpsvc reads its files again by itself when they change."
        return Finding(Outcome.WARNING, f"{text}, {days} days from now", advice)
    return Finding(Outcome.OK, text)
