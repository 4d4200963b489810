"""How much a call to sendfile is given."""

from __future__ import annotations

import socket

from ftpsvc import pump


def test_a_call_to_sendfile_fills_segments_to_the_last_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        client.connect(port.getsockname())
        size = pump.whole_segments(client)
        segment = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        assert size == 65536 // segment * segment < 65536
    for end in (ends := socket.socketpair()):
        assert pump.whole_segments(end) == 65536
    for end in ends:
        end.close()
