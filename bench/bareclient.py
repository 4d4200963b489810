"""As little of an FTP client as can be, so that it is the server that is measured."""

from __future__ import annotations

import selectors
import socket

from peers import Peer

_BUFFER = memoryview(bytearray(1 << 18))


class Session:
    """Logged in, in TYPE I."""

    def __init__(self, peer: Peer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", peer.port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._reply()
        for line in (f"USER {peer.user}", f"PASS {peer.password}", "TYPE I"):
            self.ask(line)

    def _reply(self) -> str:
        while True:
            line, end, rest = self._unread.partition(b"\r\n")
            if end:
                self._unread = rest
                if line[:3].isdigit() and line[3:4] == b" ":
                    return line.decode()
                continue
            received = self._socket.recv(65536)
            if not received:
                raise SystemExit("the server has closed the connection")
            self._unread += received

    def _send(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\r\n")

    def ask(self, line: str) -> str:
        self._send(line)
        reply = self._reply()
        if reply[0] in "45":
            raise SystemExit(f"{line}: {reply}")
        return reply

    def begin(self, command: str) -> socket.socket:
        """Send a command that moves data; its connection, when the server has answered with 150."""
        port = int(self.ask("EPSV").rpartition("|||")[2].partition("|")[0])
        data = socket.create_connection(("127.0.0.1", port), 60)
        self.ask(command)
        return data

    def retrieve(self, command: str) -> int:
        """How many bytes a file or a listing has."""
        size = 0
        with self.begin(command) as data:
            while count := data.recv_into(_BUFFER):
                size += count
        self.end()
        return size

    def end(self) -> None:
        """The last reply of a transfer."""
        reply = self._reply()
        if reply[:3] != "226":
            raise SystemExit(reply)

    def close(self) -> None:
        self._socket.close()

    def quit(self) -> None:
        self.ask("QUIT")
        self.close()


def retrieve_at_once(sessions: list[Session], commands: list[str]) -> int:
    """One file by each session, all at the same time; how many bytes that were."""
    size = 0
    with selectors.DefaultSelector() as selector:
        for session, command in zip(sessions, commands, strict=True):
            data = session.begin(command)
            data.setblocking(False)
            selector.register(data, selectors.EVENT_READ, session)
        while selector.get_map():
            for key, _ in selector.select():
                data = key.fileobj
                assert isinstance(data, socket.socket)
                count = data.recv_into(_BUFFER)
                size += count
                if not count:
                    selector.unregister(data)
                    data.close()
                    key.data.end()
    return size
