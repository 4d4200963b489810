from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest

from ftpsvc.addresses import (
    Address,
    format_passive,
    host_of,
    network_of,
    parse_extended,
    parse_port,
    socket_name,
    without_scope,
)
from ftpsvc.model import BadArgument
from ftpsvc.passive import PassiveOptions

HERE = Address(ip_address("192.0.2.7"), 50_001)

#: The one interface that there is everywhere.
LOOPBACK = socket.if_nametoindex("lo")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("192.0.2.7", ("192.0.2.7", 5000)),
        ("fd00::2", ("fd00::2", 5000)),
        ("fe80::2%lo", ("fe80::2", 5000, 0, LOOPBACK)),
        ("fe80::2%7", ("fe80::2", 5000, 0, 7)),
    ],
)
def test_an_interface_goes_beside_the_address_that_is_reached_through_it(text: str, name: tuple[object, ...]) -> None:
    assert socket_name(ip_address(text), 5000) == name
    assert without_scope(ip_address(text)) == ip_address(text.partition("%")[0])


def test_an_interface_that_has_gone_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError):
        socket_name(ip_address("fe80::2%gone"), 5000)


def test_port_and_the_reply_to_pasv_are_one_form() -> None:
    assert format_passive(HERE) == "192,0,2,7,195,81"
    assert parse_port("192,0,2,7,195,81") == HERE


@pytest.mark.parametrize(
    "argument", ["", "1,2,3,4,5", "1,2,3,4,5,6,7", "256,0,0,1,4,4", "-1,0,0,1,4,4", "+1,0,0,1,4,4", "1,2,3,4,5, 6"]
)
def test_what_is_no_port(argument: str) -> None:
    with pytest.raises(BadArgument):
        parse_port(argument)


@pytest.mark.parametrize("argument", ["|1|192.0.2.7|50001|", "!1!192.0.2.7!50001!", "a1a192.0.2.7a50001a"])
def test_any_delimiter_will_do(argument: str) -> None:
    assert parse_extended(argument) == HERE


def test_an_ipv6_address_is_family_2() -> None:
    assert parse_extended("|2|2001:db8::1|50001|") == Address(ip_address("2001:db8::1"), 50_001)


@pytest.mark.parametrize("argument", ["|3|x|50001|", "|0|192.0.2.7|1|"])
def test_a_family_that_nobody_knows(argument: str) -> None:
    assert parse_extended(argument) is None


@pytest.mark.parametrize(
    "argument",
    ["", "|", "|||", "|1|192.0.2.7|50001", "|1|192.0.2.7|70000|", "|1|::1|50001|", "|2|192.0.2.7|5001|", "|1|a|5001|"],
)
def test_what_is_no_extended_address(argument: str) -> None:
    with pytest.raises(BadArgument):
        parse_extended(argument)


def test_an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() -> None:
    assert host_of("::ffff:192.0.2.7") == HERE.host
    assert host_of("/run/socket") is None


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
        ("fe80::7%eth0", "fe80::7/128"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_a_network_is_that_of_its_clients_in_whatever_notation(text: str, network: str) -> None:
    assert network_of(text) == ip_network(network)


def test_the_public_address_is_for_those_who_come_from_outside() -> None:
    public, inside = ip_address("203.0.113.5"), ip_address("192.168.1.2")
    options = PassiveOptions(address=public, local=(ip_network("192.168.0.0/16"),))
    assert options.advertised(inside, ip_address("198.51.100.9")) == public
    assert options.advertised(inside, ip_address("192.168.1.9")) == inside
    assert options.advertised(ip_address("127.0.0.1"), ip_address("127.0.0.1")) == ip_address("127.0.0.1")
    assert PassiveOptions().advertised(inside, ip_address("198.51.100.9")) == inside
