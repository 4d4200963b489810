"""The client against servers of others once more, with TLS."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ftpsvc import model
from ftpsvc.clienttls import ChangedServer, ClientTLS, Protection, UnknownServer
from ftpsvc.remote import Remote

from .test_peers import Pyftpdlib, Vsftpd

#: Nothing in clear is taken, and data connections have to resume the session of the control connection.
TLS = """\
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
rsa_cert_file={pair}
rsa_private_key_file={pair}
"""


class TestVsftpdWithReuse(Vsftpd, TestCase):
    """It takes data connections only from who can resume the session of the control connection."""

    protection = Protection.OFFERED
    tls = TLS + "require_ssl_reuse=YES"

    async def test_who_does_not_resume_the_session_hears_why(self: Any) -> None:
        remote = await self.connect()
        remote._tls._control.get_session = lambda: None
        with pytest.raises(model.TransferError, match="522"):
            await remote.put("/up/file", model.Whole(b"x"))
        await remote.quit()


class TestVsftpdWithoutReuse(Vsftpd, TestCase):
    """The same without that."""

    protection = Protection.REQUIRED
    tls = TLS + "require_ssl_reuse=NO"


class TestVsftpdImplicit(Vsftpd, TestCase):
    """TLS from the first byte."""

    protection = Protection.IMPLICIT
    tls = TLS + "implicit_ssl=YES"

    async def test_what_to_do_about_an_unknown_one_names_the_option(self: Any) -> None:
        tls = ClientTLS("127.0.0.1", self.port, self.known, Protection.IMPLICIT)
        with pytest.raises(UnknownServer, match=f"use: connect --implicit --fingerprint {self.fingerprint} "):
            await Remote.connect(reactor, "127.0.0.1", self.port, tls=tls)


class TestPyftpdlibTLS(Pyftpdlib, TestCase):
    """With MLSD, and TLS for everything."""

    protection = Protection.OFFERED

    async def test_trust_on_first_use(self: Any) -> None:
        def tls() -> ClientTLS:
            return ClientTLS("127.0.0.1", self.port, self.known)

        with pytest.raises(UnknownServer) as raised:
            await Remote.connect(reactor, "127.0.0.1", self.port, tls=tls())
        assert raised.value.certificate.fingerprint == self.fingerprint
        tls().trust(raised.value.certificate)
        await (await Remote.connect(reactor, "127.0.0.1", self.port, tls=tls())).quit()
        self.known.remember("127.0.0.1", self.port, "AA")
        with pytest.raises(ChangedServer):
            await Remote.connect(reactor, "127.0.0.1", self.port, tls=tls())
