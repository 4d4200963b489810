"""`ftpsvc ctl`: what an operator may ask of a server that is running on this machine."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from ftpsvc import configuration, ctltables
from ftpsvc.controlsocket import SOCKET, address_of
from ftpsvc.options import Options
from ftpsvc.records import printable
from ftpsvc.securing import state_folder
from ftpsvc.tomllines import Unreadable

#: For how many seconds an answer is waited for, or the next part of one. Nothing takes longer than to read some files.
PATIENCE = 20.0

#: The longest line of an answer, in bytes: a path of 8 KiB with every character escaped, and the rest of its row.
MAX_LINE = 64 * 1024

#: How often, in seconds, `who --watch` looks again, if nothing else is said.
WATCH_EVERY = 1.0

_TIME = re.compile(r"([0-9]{1,9})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600}

Asked = Iterator[Mapping[str, Any]]


class Refused(Exception):
    """What was asked for can't be done; the text says why, and what to do."""


def main(words: Sequence[str]) -> int:
    """Carry out `ctl …`; the exit status."""
    arguments = _parser().parse_args(words[1:])
    try:
        folder = _folder(arguments)
        with Line(folder) as line:
            run: Callable[[Line, argparse.Namespace], None] = arguments.run
            run(line, arguments)
        sys.stdout.flush()  # what can't be written is found here, and not by the interpreter behind the end
        return 0
    except Refused as error:
        print(f"ftpsvc ctl: {printable(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:  # of the output: what befalls the line is a `Refused`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # `who | head` has what it wants
            return 0
        print(f"ftpsvc ctl: what is to be said can't be written: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--state", metavar="DIR", help="the server's --state, where its socket is")
    which.add_argument("--config", metavar="FILE", type=Path, help="the server's --config, which says that")
    which.add_argument("--json", action="store_true", help="JSON objects, one on each line")
    parser = argparse.ArgumentParser(
        "ftpsvc ctl",
        description="Look after a server that is running on this machine, as its user or as root.",
        epilog="Without --state and --config, the server is meant that was started without them by the same user.",
    )
    commands = parser.add_subparsers(required=True, metavar="who|kick|ban|unban|reload|drain|stats|token")

    def command(name: str, run: Callable[[Line, argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[which])
        sub.set_defaults(run=run)
        return sub

    who = command("who", _who, "Show the sessions, and the transfers with their progress.")
    who.add_argument("--watch", action="store_true", help="refresh it in place until Ctrl-C")
    who.add_argument("--every", metavar="SECONDS", type=_every, default=WATCH_EVERY, help="how often (default: 1)")
    kick = command("kick", _kick, "End a session. Who should stay away has to be banned.")
    kick.add_argument("id", type=int, help="its number, as who shows it")
    ban = command("ban", _ban, "Let nobody in from an address or network, and end the sessions from there.")
    ban.add_argument("--time", metavar="TIME", type=_seconds, help="for how long: 90s, 10m, 2h, 7d (default: for good)")
    unban = command("unban", _unban, "Let them in again, and forget the failed logins from there.")
    for sub in (ban, unban):
        sub.add_argument("network", metavar="ADDRESS|NETWORK", type=_network, help="as 192.0.2.7 or 192.0.2.0/24")
    command("reload", _reload, "Have the server read its configuration, accounts and certificate again.")
    command("drain", _drain, "Have the server let nobody in any more, and see its clients out.")
    command("stats", _stats, "Show what the server has done, who is banned, and how much room the disks have.")
    command("token", _token, "Show the token by which the live page ends sessions.")
    return parser


def _every(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("a number of seconds, 0.1 to 3600")
    return seconds


def _seconds(text: str) -> int:
    match = _TIME.fullmatch(text)
    if not match or not int(match[1]):
        raise argparse.ArgumentTypeError("a number of seconds, or with m, h or d behind it: 90, 10m, 2h, 7d")
    return int(match[1]) * _SECONDS[match[2]]


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64") from error


def _folder(arguments: argparse.Namespace) -> Path:
    """The state folder of the server that is meant. Raises `Refused`."""
    given = arguments.state or ""
    if arguments.config is not None and not given:
        try:
            values = configuration.read(arguments.config, Options().settings()).values
        except Unreadable as error:
            raise Refused(f"can't use the configuration: {error}") from error
        given = values.get("state", [""])[-1]
    return state_folder(given)


class Line:
    """The line to a server."""

    def __init__(self, folder: Path) -> None:
        """Raises `Refused`."""
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        try:
            with address_of(folder) as address:
                self._socket.connect(address)
        except PermissionError as error:
            self._socket.close()
            raise Refused(
                f"{folder / SOCKET} is its server's own: be the user that the server runs as, or root"
            ) from error
        except OSError as error:
            self._socket.close()
            raise Refused(
                f"no server answers at {folder / SOCKET} ({error.strerror or error}). Is it running with the same"
                " --state? Say which one is meant with --state DIR or --config FILE"
            ) from error
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, order: str, **values: Any) -> Asked:
        """What the server answers, object by object. Raises `Refused`."""
        try:
            self._socket.sendall(json.dumps({"order": order, **values}).encode() + b"\n")
            while True:
                answer = self._answer()
                if "error" in answer:
                    raise Refused(str(answer["error"]))
                if "done" in answer:
                    return
                yield answer
        except TimeoutError as error:
            raise Refused(f"the server at {self._folder} has not answered within {PATIENCE:g} seconds") from error
        except OSError as error:
            raise Refused(f"the server at {self._folder} has ended: {error.strerror}") from error

    def _answer(self) -> Mapping[str, Any]:
        line = self._file.readline(MAX_LINE)
        if not line:
            raise Refused(
                f"the server at {self._folder} has closed the line: it has ended, or has no place for one more"
            )
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Refused(f"what answers at {self._folder / SOCKET} is no ftpsvc")
        return answer


# -- the commands


def _who(line: Line, arguments: argparse.Namespace) -> None:
    if arguments.json:
        if arguments.watch:
            raise Refused("--watch is for people and --json for programs: one of them")
        _print_json(line.ask("who"))
    elif arguments.watch and sys.stdout.isatty():
        _watch(line, arguments.every)
    elif arguments.watch:
        raise Refused("--watch needs a terminal. Without it, who shows the sessions once")
    else:
        print(*ctltables.sessions(list(line.ask("who")), _width()), sep="\n")


def _watch(line: Line, every: float) -> None:
    """Show the sessions until Ctrl-C, each time in the place of the last."""
    clear, home, erase, erase_below = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"
    print(clear, end="")
    try:
        while True:
            size = shutil.get_terminal_size()
            rows = list(line.ask("who"))
            shown = ctltables.sessions(rows, size.columns, size.lines - 2)
            print(home + "".join(f"{one}{erase}\n" for one in shown) + erase_below, end="", flush=True)
            time.sleep(every)
    except KeyboardInterrupt:
        print()


def _kick(line: Line, arguments: argparse.Namespace) -> None:
    _told(line.ask("kick", id=arguments.id), arguments, ctltables.kicked)


def _ban(line: Line, arguments: argparse.Namespace) -> None:
    _told(line.ask("ban", network=arguments.network, seconds=arguments.time), arguments, ctltables.banned)


def _unban(line: Line, arguments: argparse.Namespace) -> None:
    _told(line.ask("unban", network=arguments.network), arguments, lambda one: f"{one['network']} may come again.")


def _reload(line: Line, arguments: argparse.Namespace) -> None:
    _told(line.ask("reload"), arguments, lambda one: "\n".join(map(printable, one["lines"])))


def _drain(line: Line, arguments: argparse.Namespace) -> None:
    _told(line.ask("drain"), arguments, ctltables.draining)


def _stats(line: Line, arguments: argparse.Namespace) -> None:
    _told(line.ask("stats"), arguments, lambda one: "\n".join(ctltables.stats(one)))


def _token(line: Line, arguments: argparse.Namespace) -> None:
    _told(line.ask("token"), arguments, lambda one: str(one["token"]))


def _told(answer: Asked, arguments: argparse.Namespace, words: Callable[[Mapping[str, Any]], str]) -> None:
    if arguments.json:
        _print_json(answer)
    else:
        for one in answer:
            print(words(one))


def _print_json(answer: Asked) -> None:
    for one in answer:
        print(json.dumps(one))


def _width() -> int:
    """How wide the terminal is; as wide as it takes where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
