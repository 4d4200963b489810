"""What `ftpsvc doctor` finds at our own server, at others, and at what is no FTP server at all."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import support
from authority import Authority
from test_credentials import SECRET, Somebody
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import TestCase

from ftpsvc import certificates, servicechecks, strangers
from ftpsvc.accounts import GUESTS, Anonymous, AnonymousOnly
from ftpsvc.checks import STEPS
from ftpsvc.clienttls import Protection
from ftpsvc.connecting import Target
from ftpsvc.doctor import Outcome, Result, examine
from ftpsvc.factory import ServerFactory
from ftpsvc.knownservers import VALID, KnownServers
from ftpsvc.limits import Limits
from ftpsvc.localdisk import LocalDisk
from ftpsvc.model import EVERYTHING, Account, Permission
from ftpsvc.patient import Looking, Patient
from ftpsvc.rules import PathRule
from ftpsvc.session import Accounts
from ftpsvc.threads import pool_of
from ftpsvc.tls import ServerTLS


class Played(LineReceiver):
    """A server that says what the test has written down."""

    def __init__(self, greeting: bytes, replies: dict[str, str], heard: list[str]) -> None:
        self.greeting, self.replies, self.heard = greeting, replies, heard

    def connectionMade(self) -> None:
        if self.greeting:
            self.transport.write(self.greeting)  # type: ignore[attr-defined]

    def lineReceived(self, line: bytes) -> None:
        verb = line.decode().partition(" ")[0]
        self.heard.append(line.decode())
        self.sendLine(self.replies.get(verb, "502 No.").encode())


USUAL = {
    "USER": "331 Password.",
    "PASS": "230 In.",
    "TYPE": "200 Fine.",
    "PWD": '257 "/"',
    "CWD": "250 Fine.",
    "QUIT": "221 Bye.",
}


class TestDoctor(TestCase):
    @pytest.fixture(autouse=True)
    def take_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = tmp_path, monkeypatch
        monkeypatch.setattr(strangers, "SILENT", 0.05)
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "root").mkdir()
        self.known = tmp_path / "known_servers"
        self.heard: list[str] = []
        self.asked: list[str] = []

    async def listen(self, factory: Any, tls: ServerTLS | None = None) -> int:
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await (wrapServerTLS(tls, endpoint, reactor) if tls else endpoint).listen(factory)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def play(self, greeting: bytes = b"220 Hello.\r\n", replies: dict[str, str] | None = None) -> int:
        factory = Factory()
        factory.buildProtocol = lambda _: Played(greeting, replies or {}, self.heard)  # type: ignore[method-assign]
        return await self.listen(factory)

    async def serve(
        self, accounts: Callable[[Any], Accounts] = AnonymousOnly, tls: ServerTLS | None = None, implicit: bool = False
    ) -> int:
        """A server of ours, over `root`."""
        run = pool_of(reactor)
        disk = LocalDisk(str(self.folder / "root"), run)
        self.addCleanup(disk.close)
        self.tls = tls or ServerTLS(*certificates.ensure(self.folder / "state"))
        factory = ServerFactory(accounts(disk), reactor, run, Limits(delay=0), tls=self.tls)
        self.addCleanup(support.seen_out, factory)
        return await self.listen(factory, self.tls if implicit else None)

    async def found(self, port: int, host: str = "127.0.0.1", typed: str = "", **target: Any) -> dict[str, Result]:
        results: list[Result] = []
        person = Somebody(typed)
        run: Any = pool_of(reactor) if host == "127.0.0.1" else lambda *_: fail(socket.gaierror(-2, "Not known"))
        patient = Patient(reactor, Target(host, port, **target), Looking(self.known), run, person)
        try:
            await examine(STEPS, patient, reactor, results.append)
        finally:
            await patient.leave()
        self.asked = person.asked
        assert all(result.finding.text for result in results)
        assert all(result.finding.advice for result in results if result.finding.outcome is Outcome.FAILED)
        return {result.name: result for result in results}

    def outcomes(self, results: dict[str, Result]) -> str:
        return " ".join(result.finding.outcome.value for result in results.values())

    # -- the way there

    async def test_a_server_of_ours_that_is_in_order(self) -> None:
        port = await self.serve()
        results = await self.found(port, fingerprint=self.tls.fingerprint)
        assert self.outcomes(results) == "ok " * 9 + "ok", results
        assert os.listdir(self.folder / "root") == []
        assert not self.known.exists()  # who looks trusts nobody in the person's place

    async def test_one_with_tls_from_the_first_byte(self) -> None:
        port = await self.serve(implicit=True)
        target = {"protection": Protection.IMPLICIT, "fingerprint": self.tls.fingerprint}
        results = await self.found(port, **target)
        assert self.outcomes(results) == "ok " * 9 + "ok", results

    async def test_a_name_that_nobody_has(self) -> None:
        results = await self.found(5000, host="nowhere.example.org")
        assert results["name"].finding.text == "there is no host nowhere.example.org (Not known)"
        assert self.outcomes(results).startswith("failed skipped skipped")

    async def test_a_port_where_nothing_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            results = await self.found(taken.getsockname()[1])
        assert "connection refused" in results["tcp"].finding.text
        assert "Start the server" in results["tcp"].finding.advice

    async def test_other_servers_are_named(self) -> None:
        for greeting, kind in [
            (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server"),
            (b"220 mail.example.org ESMTP\r\n", "a mail server"),
            (b"+OK ready\r\n", "a POP3 server"),
            (b"\x00\x01\xff\r\n", "no FTP server"),
        ]:
            results = await self.found(await self.play(greeting))
            assert f"This is {kind}" in results["greeting"].finding.text, greeting
            assert "Give the port" in results["greeting"].finding.advice
            assert results["tls"].is_left_out

    async def test_a_web_server_which_waits_to_be_asked(self) -> None:
        port = await self.play(b"", {"GET": "HTTP/1.0 400 Bad Request"})
        results = await self.found(port)
        assert results["greeting"].finding.text == "This is a web server, not an FTP server."

    async def test_tls_from_the_first_byte_where_it_was_not_expected(self) -> None:
        results = await self.found(port := await self.serve(implicit=True))
        assert results["greeting"].finding.advice == f"ftpsvc doctor --implicit 127.0.0.1 {port}"

    async def test_tls_from_the_first_byte_where_there_is_none(self) -> None:
        results = await self.found(await self.play(), protection=Protection.IMPLICIT)
        assert results["greeting"].finding.outcome is Outcome.FAILED
        assert "without --implicit" in results["greeting"].finding.advice

    async def test_a_server_that_turns_away(self) -> None:
        results = await self.found(await self.play(b"421 Protected mode.\r\n"))
        assert results["greeting"].finding.text == "it turns us away: 421 Protected mode."
        assert "ftpsvc user add" in results["greeting"].finding.advice

    # -- TLS

    async def test_an_unknown_certificate_is_a_warning_and_gets_no_password(self) -> None:
        port = await self.serve(lambda disk: support.OneAccount(Account("mia"), disk))
        results = await self.found(port, user="mia", typed="secret")
        assert results["tls"].finding.outcome is Outcome.WARNING
        assert self.tls.fingerprint in results["tls"].finding.text
        assert results["login"].finding.text == "no password was sent: the certificate is not trusted"
        assert self.asked == []

    async def test_a_netrc_gives_no_password_to_an_unknown_server_either(self) -> None:
        netrc = self.folder / ".netrc"
        netrc.write_text("machine 127.0.0.1 login mia password secret")
        netrc.chmod(0o600)
        port = await self.serve(lambda disk: support.OneAccount(Account("mia"), disk))
        assert (await self.found(port))["login"].finding.text.startswith("no password was sent")
        assert (await self.found(port, fingerprint=self.tls.fingerprint))["login"].finding.text == "as mia, in /"

    async def test_a_changed_certificate_stops_it(self) -> None:
        port = await self.serve()
        KnownServers(self.known).remember("127.0.0.1", port, ":".join(["AB"] * 32))
        before = self.known.read_text()
        results = await self.found(port)
        assert "IS ANOTHER ONE" in results["tls"].finding.text
        assert self.outcomes(results) == "ok ok ok failed" + " skipped" * 6
        assert self.known.read_text() == before

    async def test_a_certificate_that_ends_soon(self) -> None:
        authority = Authority(self.folder)
        self.monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        for days, outcome in [(100, Outcome.OK), (10, Outcome.WARNING)]:
            port = await self.serve(tls=authority.server("127.0.0.1", days=days))
            assert (await self.found(port))["tls"].finding.outcome is outcome
        assert not self.known.exists()

    async def test_no_tls_is_a_warning_but_not_where_it_was_seen_before(self) -> None:
        port = await self.play(replies={**USUAL, "FEAT": "211 End"})
        results = await self.found(port)
        assert results["tls"].finding.outcome is Outcome.WARNING and results["login"].finding.outcome is Outcome.OK
        KnownServers(self.known).remember("127.0.0.1", port, VALID)
        self.heard.clear()
        results = await self.found(port, user="mia", typed=SECRET)
        assert results["tls"].finding.outcome is Outcome.FAILED
        assert self.heard and not any(line.startswith(("USER", "PASS")) for line in self.heard)

    # -- inside

    async def test_a_login_that_is_refused(self) -> None:
        port = await self.serve(lambda disk: support.OneAccount(Account("mia"), disk))
        results = await self.found(port, user="mia", typed=SECRET, fingerprint=self.tls.fingerprint)
        assert results["login"].finding.text.startswith("mia is refused: 530")
        assert SECRET not in str(results)
        results = await self.found(port, fingerprint=self.tls.fingerprint)
        assert results["login"].finding.advice == f"Log in with a name: ftpsvc doctor NAME@127.0.0.1 {port}"

    async def test_the_password_is_asked_for_behind_tls(self) -> None:
        port = await self.serve(lambda disk: support.OneAccount(Account("mia"), disk))
        results = await self.found(port, user="mia", typed="secret", fingerprint=self.tls.fingerprint)
        assert results["login"].finding.text == "as mia, in /"
        assert self.asked == ["Password of mia on 127.0.0.1: "]

    async def test_a_passive_port_that_can_not_be_reached(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            number = taken.getsockname()[1]
            port = await self.play(replies={**USUAL, "EPSV": f"229 Here (|||{number}|)"})
            results = await self.found(port)
        finding = results["passive"].finding
        assert finding.outcome is Outcome.FAILED and str(number) in finding.text
        assert "--passive-ports" in finding.advice
        assert results["inline"].finding.outcome is Outcome.SKIPPED
        results = await self.found(await self.play(replies=USUAL))
        assert results["passive"].finding.text == "the server gives no port for data: 502 No."

    async def test_what_pasv_says_is_looked_at_and_not_followed(self) -> None:
        for told, outcome in [
            ("127,0,0,1,200,1", Outcome.OK),
            ("192,168,1,5,200,1", Outcome.SKIPPED),  # from its own machine that may be right
            ("999,0,0,1,200,1", Outcome.FAILED),
            ("nothing", Outcome.FAILED),
        ]:
            port = await self.play(replies={**USUAL, "PASV": f"227 Here ({told})."})
            assert (await self.found(port))["address"].finding.outcome is outcome, told
        port = await self.play(replies=USUAL)
        assert (await self.found(port))["address"].finding.text == "the server has no PASV (502 No.)"

    async def test_nothing_is_stored_where_it_could_not_be_removed(self) -> None:
        no_delete = EVERYTHING & ~Permission.DELETE
        for permissions in (GUESTS[Anonymous.DROP], GUESTS[Anonymous.READ], no_delete):
            port = await self.serve(lambda disk, may=permissions: AnonymousOnly(disk, may))  # type: ignore[misc]
            results = await self.found(port, fingerprint=self.tls.fingerprint)
            assert results["clock"].finding.outcome is Outcome.SKIPPED
            assert os.listdir(self.folder / "root") == []

    async def test_what_is_allowed_is_said_in_words(self) -> None:
        port = await self.serve(lambda disk: AnonymousOnly(disk, GUESTS[Anonymous.READ]))
        assert (await self.found(port))["permissions"].finding.text == "allowed in /: list"
        port = await self.serve(lambda disk: AnonymousOnly(disk, GUESTS[Anonymous.DROP]))
        results = await self.found(port)
        warned = [name for name, result in results.items() if result.finding.outcome is Outcome.WARNING]
        assert warned == ["tls", "inline", "passive"]

    async def test_what_can_not_be_removed_after_all_is_named(self) -> None:
        rules = (PathRule("/ftpsvc-doctor-*", EVERYTHING & ~Permission.DELETE),)
        account = Account("anonymous", EVERYTHING, rules)
        port = await self.serve(lambda disk: Guest(account, disk))
        finding = (await self.found(port))["clock"].finding
        (left,) = os.listdir(self.folder / "root")
        assert finding.outcome is Outcome.FAILED and f"/{left} was stored, and can't be removed" in finding.text

    async def test_clocks_that_differ(self) -> None:
        port = await self.serve()
        real = servicechecks.time.time
        for off, said in [(3600, "s behind"), (-60, "s ahead of")]:
            self.monkeypatch.setattr(servicechecks, "now", lambda off=off: real() + off)
            finding = (await self.found(port))["clock"].finding
            assert finding.outcome is Outcome.WARNING and said in finding.text
            assert os.listdir(self.folder / "root") == []

    async def test_who_interrupts_it_leaves_nothing_behind(self) -> None:
        port = await self.serve()
        for moment in (1, 2):  # while the file is stored, and when it is
            told = await self.interrupted(port, moment)
            assert told[-1].name == "permissions"
            assert os.listdir(self.folder / "root") == []

    async def interrupted(self, port: int, moment: int) -> list[Result]:
        """What was told until an examination was interrupted, when it looked at the clock for so many times."""
        patient = Patient(reactor, Target("127.0.0.1", port), Looking(self.known), pool_of(reactor))
        told: list[Result] = []
        looks = iter(range(1, 10))

        def now() -> float:
            if next(looks) == moment:
                reactor.callLater(0, running.cancel)  # type: ignore[attr-defined]
            return time.time()

        self.monkeypatch.setattr(servicechecks, "now", now)
        running = Deferred.fromCoroutine(examine(STEPS, patient, reactor, told.append))
        with pytest.raises(CancelledError):
            await running
        await patient.leave()
        return told


@pytest.mark.parametrize(
    ("told", "peer", "outcome"),
    [
        ("203.0.113.9", "203.0.113.9", Outcome.OK),
        ("192.168.1.5", "192.168.1.5", Outcome.OK),
        ("192.168.1.5", "9.9.9.9", Outcome.FAILED),
        ("0.0.0.0", "9.9.9.9", Outcome.FAILED),
        ("127.0.0.1", "192.168.1.5", Outcome.FAILED),
        ("8.8.8.8", "9.9.9.9", Outcome.WARNING),
        ("8.8.8.8", "192.168.1.5", Outcome.WARNING),
        ("8.8.8.8", "127.0.0.1", Outcome.SKIPPED),
    ],
)
def test_the_address_for_data_should_be_that_of_the_connection(told: str, peer: str, outcome: Outcome) -> None:
    finding = servicechecks.judged(IPv4Address(told), IPv4Address(peer))
    assert finding.outcome is outcome and told in finding.text
    assert bool(finding.advice) is (outcome is not Outcome.OK)


class Guest(support.OneAccount):
    async def login(self, user: str, password: str, visitor: Any) -> tuple[Account, Any]:
        return self.account, self.storage
