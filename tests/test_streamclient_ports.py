"""The client in stream mode: which port of the server's it goes to, and what if nobody is there."""

from __future__ import annotations

import pytest
from support import start
from test_streamclient import PASSIVE, Far, read, store

from ftpsvc import addresses, model


def test_pasv_where_epsv_is_unknown_and_its_address_is_not_looked_at() -> None:
    far = Far()
    work = start(read(far))
    for reply in (b"550 x\r\n", b'257 "/"\r\n', b"550 x\r\n", b"500 x\r\n"):
        far.say(reply)
    far.say(b"227 Entering Passive Mode (203,0,113,9,7,209).\r\n")
    assert far.ports == [2001]
    far.say(b"550 None.\r\n")
    with pytest.raises(model.Unavailable, match="None"):
        work.result()
    assert far.heard() == b"SIZE /f\r\nPWD\r\nCWD /f\r\nEPSV\r\nPASV\r\nRETR /f\r\n"


@pytest.mark.parametrize("answer", [b"522 Use (1).", b"229 Entering Extended Passive Mode.", b"200 Fine.", b"425 No."])
def test_pasv_where_the_answer_to_epsv_is_of_no_use(answer: bytes) -> None:
    far = Far()
    work = start(store(far))
    far.say(answer + b"\r\n")
    for reply in (b"227 Entering Passive Mode (203,0,113,9,7,209).\r\n", b"150 x\r\n", b"226 x\r\n", b"213 5\r\n"):
        far.say(reply)
    assert work.result().size == 5
    assert far.ports == [2001]
    assert far.heard() == b"EPSV\r\nPASV\r\nSTOR /f\r\nSIZE /f\r\n"


def test_the_port_of_pasv_where_that_of_epsv_is_not_reached() -> None:
    far = Far()
    far.refuses = True
    work = start(store(far))
    far.say(PASSIVE)
    assert far.ports == [2001]
    far.refuses = False
    for reply in (b"227 Entering Passive Mode (203,0,113,9,7,210).\r\n", b"150 x\r\n"):
        far.say(reply)
    assert far.ports == [2001, 2002]
    far.say(b"226 x\r\n")
    far.say(b"213 5\r\n")
    assert work.result().size == 5
    assert far.heard() == b"EPSV\r\nPASV\r\nSTOR /f\r\nSIZE /f\r\n"
    start(store(far))
    assert far.heard() == b"PASV\r\n"  # it is remembered
    far.link.lose()


@pytest.mark.parametrize("second", [b"522 IPv6 here.\r\n", b"227 Entering Passive Mode (203,0,113,9,7,210).\r\n"])
def test_neither_port_is_reached(second: bytes) -> None:
    far = Far()
    far.refuses = True
    work = start(store(far))
    far.say(PASSIVE)
    far.say(second)
    with pytest.raises(model.NoDataConnection, match="2001" if second.startswith(b"522") else "2002"):
        work.result()
    far.heard()
    start(store(far))
    assert far.heard() == b"EPSV\r\n"
    far.link.lose()


def test_a_port_that_nobody_reaches_costs_no_more_than_the_transfer() -> None:
    far = Far()
    far.refuses = True
    work = start(store(far))
    far.say(PASSIVE)
    far.say(b"500 x\r\n")
    with pytest.raises(model.NoDataConnection, match="2001"):
        work.result()
    later = start(far.remote.make_dir("/d"))
    far.say(b'257 "/d"\r\n')
    assert later.is_over


@pytest.mark.parametrize("text", ["", "(|||0|)", "(|||65536|)", "(||1|)", "|||1|"])
def test_no_port_in_a_229(text: str) -> None:
    with pytest.raises(model.ProtocolViolation):
        addresses.extended_passive_port(text)


@pytest.mark.parametrize("text", ["", "(1,2,3,4,0,0)", "(1,2,3,4,256,1)", "1,2,3,4,5"])
def test_no_port_in_a_227(text: str) -> None:
    with pytest.raises(model.ProtocolViolation):
        addresses.passive_port(text)


def test_ports() -> None:
    assert addresses.extended_passive_port("x (!!!6446!) y") == 6446
    assert addresses.passive_port("Entering Passive Mode 10,0,0,1,7,209") == 2001
