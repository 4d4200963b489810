"""What follows `twistd ftpsvc` on the command line."""

from __future__ import annotations

import getopt
import inspect
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NoReturn, cast

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python import usage

from ftpsvc import __version__, configuration
from ftpsvc.accounts import Anonymous
from ftpsvc.addresses import network_of
from ftpsvc.configuration import Configuration, Setting, Takes
from ftpsvc.everywhere.address import address
from ftpsvc.hooks import HOOKS
from ftpsvc.limits import THIS_MACHINE, Limits
from ftpsvc.objects.options import OBJECT_PARAMETERS, object_options
from ftpsvc.objects.urls import is_address
from ftpsvc.passive import PassiveOptions
from ftpsvc.programs import split
from ftpsvc.securing import refuse, with_type
from ftpsvc.states import Required
from ftpsvc.tomllines import Unreadable
from ftpsvc.wire import DEFAULT_PORT

#: The limits that are options, each with a number.
LIMITS = [limit for limit in fields(Limits) if limit.metadata]

#: How many workers there may be: each has a column in the tables that all share, and its own memory.
MAX_WORKERS = 64

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kMG]?)")
_TIMES = {"": 1, "k": 1000, "M": 1000_000, "G": 1000_000_000}


def _option(limit: Field[float]) -> str:
    option: str = limit.metadata["option"]
    return option


def _amount_for(limit: Field[float]) -> Callable[[str], float]:
    """Reads the number of one limit."""

    def amount(text: str) -> float:
        match = _AMOUNT.fullmatch(text)
        value = round(float(match[1]) * _TIMES[match[2]], 6) if match else -1.0
        least = limit.metadata["least"]
        if value < least or (limit.type == "int" and value % 1):
            kind = "a whole number" if limit.type == "int" else "a number"
            raise usage.UsageError(
                f"--{_option(limit)} takes {kind}, {least:g} or more; 10k, 10M and 10G are known too"
            )
        return int(value) if limit.type == "int" else value

    return amount


def _workers(text: str) -> int:
    """How many processes are to serve."""
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > MAX_WORKERS:
        raise usage.UsageError(f"--workers takes a number up to {MAX_WORKERS}; 0: one for each processor")
    return int(text) or min(len(os.sched_getaffinity(0)), MAX_WORKERS)


class Options(usage.Options, AuthOptionMixin):
    """What follows `twistd ftpsvc` on the command line."""

    longdesc = (
        "Serves folders over FTP. Until it is told who may log in, with --accounts, --auth or --anonymous, it serves"
        " this machine only."
    )
    supportedInterfaces = (IUsernamePassword,)

    optParameters = (
        ("config", None, "", "A file with any of these options; ftpsvc init makes one. The command line wins."),
        (
            "root",
            None,
            ".",
            "The folder to serve. Or an object storage: s3://bucket/prefix, gs://bucket or az://container.",
        ),
        ("accounts", None, "", "A file with those who may log in; ftpsvc user makes one."),
        ("anonymous", None, "", "Who has no account may: none, read, drop (store new files, see nothing) or write."),
        ("passive-ports", None, "", "Where to listen for data connections, as 50000-50100. [default: any port]"),
        ("passive-address", None, "auto", "What PASV tells: an address, or auto, the one that the client came to."),
        ("certificate", None, "", "A certificate for TLS, in PEM. [default: one is made at the first start, and kept]"),
        ("key", None, "", "The certificate's key, in PEM. [default: it is in the certificate's file]"),
        ("state", None, "", "Where to keep what is made. [default: $STATE_DIRECTORY, or ~/.local/state/ftpsvc]"),
        ("require-tls", None, "none", "Where TLS is needed: none; login; data: for both, login and data connections."),
        ("log", None, "", "The file for the log, reopened on SIGUSR1. [default: where twistd puts it]"),
        ("log-format", None, "text", "text: lines for people; json: an object on each line, for programs."),
        ("xferlog", None, "", "A file for one line about each transfer, in wu-ftpd's format; reopened on SIGUSR1."),
        *(
            (f"on-{hook}", None, "", f"A command that is run for {text}, with its record.")
            for hook, text in HOOKS.items()
        ),
        ("check-upload", None, "", "A command that looks at each upload before its name is seen, and may refuse it."),
        ("monitor", None, "", "Where to serve metrics and health by HTTP, as 9090 (for this machine) or an endpoint."),
        ("workers", None, 1, "Processes that serve; 0: one for each processor.", _workers),
        (
            "shared",
            None,
            "",
            "Redis or Valkey, as redis://host:6379/0, in which bans, sessions and quotas are counted over many nodes.",
            address,
        ),
        ("sync", None, "on", "on: what was stored survives a power cut. off: faster, and it may not."),
        *OBJECT_PARAMETERS,
        *((_option(limit), None, limit.default, limit.metadata["text"], _amount_for(limit)) for limit in LIMITS),
    )

    def __init__(self, folder: str = "") -> None:
        """`folder`: where relative paths begin, if not in the current folder."""
        super().__init__()
        for name, text in self.docs.items():
            self.docs[name] = " ".join(text.split())  # docstrings come with their line ends and indents
            if self.defaults.get(name) == "":
                del self.defaults[name]  # what is so without the option stands in the text
        self.folder = folder
        self._words: list[str] = []
        self._said: dict[str, tuple[str, ...]] = {}  #: what stood behind each option, wherever
        self["ports"] = []
        self["passive-local"] = ()
        self["exempt"] = THIS_MACHINE

    def opt_port(self, port: str) -> None:
        """Where to listen: a port number, or an endpoint like tcp:5000:interface=127.0.0.1; with tls: before it,
        for TLS from the first byte. May be given more than once. [default: 5000]"""
        # Twisted's endpoints are always named with their type; a number alone is ours.
        self["ports"].append(with_type(port))

    def opt_passive_local(self, network: str) -> None:
        """Clients from this network (as 192.168.0.0/16; private: all that are) are told the address that they came to,
        whatever --passive-address says. May be given more than once."""
        try:
            self["passive-local"] += PRIVATE if network == "private" else (network_of(network),)
        except ValueError as error:
            raise usage.UsageError(f"--passive-local: {error}") from error

    def opt_exempt(self, network: str) -> None:
        """Clients from this network (as 192.168.0.0/16) are not held to the limits per address; a proxy's clients all
        have the proxy's. May be given more than once. This machine's 127.0.0.1 and ::1 are exempt but for: none."""
        try:
            self["exempt"] = () if network == "none" else (*self["exempt"], network_of(network))
        except ValueError as error:
            raise usage.UsageError(f"--exempt: {error}") from error

    def opt_auth(self, checker: str) -> None:
        """A checker of Twisted's for names and passwords, as file:/etc/passwords; --help-auth lists them. May be given
        more than once."""
        try:
            super().opt_auth(checker)
        except usage.UsageError as error:
            # Without what stands behind the kind, in which a password may be: at a reload this goes to the log.
            raise usage.UsageError(f"--auth {checker.partition(':')[0]}: {error}") from error

    def opt_version(self) -> NoReturn:
        """Display the version and exit."""
        print(f"ftpsvc {__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        given = self._words = list(sys.argv[1:] if options is None else options)
        self.folder = self.folder or _current_folder()
        file, names = None, set[str]()
        try:
            names = self._given(given)
            if "config" in names:
                file = self._configuration(given)
                given = [*file.words(names), *given]
            for option, value in self._split(given):
                name = option.removeprefix("--")
                self._said[name] = (*self._said.get(name, ()), value)
            super().parseOptions(given)
        except usage.UsageError as error:
            # Not left to twistd, which would print forty lines of its own help.
            why = str(error) if file is None else file.located(str(error), names)
            refuse(f"{why.rstrip('.')}. See: twistd ftpsvc --help")

    def again(self, words: Sequence[str] | None = None) -> Options:
        """The same words, with what the configuration file says by now; or other words.

        Raises `SystemExit`, as the start does. Paths on the command line are what they were, though a daemon is in
        another folder by now.
        """
        fresh = Options(self.folder)
        fresh.parseOptions(self._words if words is None else words)
        return fresh

    @property
    def words(self) -> list[str]:
        """These options without a file, for a process that is to have them whatever has become of the file."""
        return [f"--{name}={value}" for name, said in self._said.items() if name != "config" for value in said]

    @property
    def runs_as(self) -> int | None:
        """The user whom twistd makes of root behind the start (--uid): who has to read then what was made before."""
        uid: int | None = self.parent.get("uid") if self.parent is not None else None
        return uid

    def chosen(self) -> dict[str, object]:
        """What each option comes to that a file may have, or the words behind it where it is kept under other names."""
        return {name: self[name] if name in self else self._said.get(name, ()) for name in self.settings()}

    def keep(self, name: str, other: Options) -> None:
        """Have this option as the other has it."""
        self._said[name] = other._said.get(name, ())
        if name in self:
            self[name] = other[name]

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.folder, path))

    def _given(self, words: Sequence[str]) -> set[str]:
        """The options that are there, by their whole names."""
        return {option.removeprefix("--") for option, _ in self._split(words)}

    def _split(self, words: Sequence[str]) -> list[tuple[str, str]]:
        try:
            return getopt.getopt(list(words), self.shortOpt, self.longOpt)[0]
        except getopt.GetoptError as error:
            raise usage.UsageError(str(error)) from error

    def _configuration(self, words: Sequence[str]) -> Configuration:
        file = [value for option, value in self._split(words) if option == "--config"][-1]
        try:
            return configuration.read(Path(self._absolute(file)), self.settings())
        except Unreadable as error:
            advice = "" if os.path.exists(self._absolute(file)) else ". ftpsvc init DIR makes one"
            refuse(f"can't use the configuration: {error}{advice}")

    def settings(self) -> dict[str, Setting]:
        """The options that a file can have: all that take a value, but for those that say where the file is and show
        some help."""
        found = {}
        for name, _, default, text, *_ in cast(Iterable[tuple[Any, ...]], self.optParameters):
            found[name] = Setting(name, text, default, _kind(name))
        for name in [option[:-1] for option in self.longOpt if option.endswith("=") and option[:-1] not in found]:
            text = inspect.cleandoc(getattr(self, f"opt_{name.replace('-', '_')}").__doc__)
            found[name] = Setting(name, " ".join(text.split()), _DEFAULTS.get(name, ()), Takes.LIST)
        order = [*_FIRST, *(name for name in found if name not in _FIRST)]
        return {name: found[name] for name in order if name not in _NOT_IN_FILES}

    def postOptions(self) -> None:
        if not self["root"]:
            raise usage.UsageError("--root takes a folder")  # a script's empty variable doesn't mean the current one
        if not is_address(self["root"]):
            self["root"] = self._absolute(self["root"])  # now: twistd goes to another folder later
        self["ports"] = self["ports"] or [f"tcp:{DEFAULT_PORT}"]
        if self["sync"] not in ("on", "off"):
            raise usage.UsageError("--sync is on or off")
        if self["require-tls"] not in [required.value for required in Required]:
            raise usage.UsageError("--require-tls is none, login or data")
        if self["anonymous"] not in ["", *(mode.value for mode in Anonymous)]:
            raise usage.UsageError("--anonymous is none, read, drop or write")
        if self["log-format"] not in ("text", "json"):
            raise usage.UsageError("--log-format is text or json")
        if self["key"] and not self["certificate"]:
            raise usage.UsageError("--key goes with --certificate")
        for name in ("accounts", "certificate", "key", "state", "log", "xferlog", "object-credentials"):
            self[name] = self[name] and self._absolute(self[name])
        self["hooks"] = {hook: words for hook in HOOKS if (words := self._command(f"on-{hook}"))}
        self["check"] = self._command("check-upload")
        if self["monitor"].isdecimal():
            self["monitor"] = f"tcp:{self['monitor']}:interface=127.0.0.1"  # it tells no secrets, and yet a lot
        self["monitor"] = with_type(self["monitor"])
        self["shared"] = self["shared"] or None
        self["objects"] = object_options(self)
        self["passive"] = PassiveOptions(
            _ports(self["passive-ports"]), _address(self["passive-address"]), self["passive-local"]
        )
        try:
            self["limits"] = Limits(exempt=self["exempt"], **{limit.name: self[_option(limit)] for limit in LIMITS})
        except ValueError as error:
            raise usage.UsageError(str(error)) from error

    def _command(self, option: str) -> list[str]:
        """The words of a command; none, if there is none."""
        try:
            return split(self[option], self.folder) if self[option] else []
        except ValueError as error:
            raise usage.UsageError(f"--{option}: {error}") from error


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        refuse(f"can't tell the current folder: {error.strerror}. Start it from one that is there")


#: The order in which a file has them, as far as it isn't that of the help.
_FIRST = (
    "port root accounts anonymous auth require-tls certificate key state passive-ports passive-address passive-local"
    " sync exempt"
).split()

_NOT_IN_FILES = ("config", "help-auth-type")

_PATHS = ("root", "accounts", "certificate", "key", "state", "log", "xferlog", "object-credentials")

_DEFAULTS = {"port": (str(DEFAULT_PORT),)}


def _kind(name: str) -> Takes:
    if name in _PATHS:
        return Takes.PATH
    return Takes.NUMBER if name == "workers" or any(_option(limit) == name for limit in LIMITS) else Takes.TEXT


#: The networks that no router leads to (RFC 1918, RFC 4193, and the link-local ones).
PRIVATE = tuple(
    ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)


def _ports(text: str) -> range:
    if not text:
        return range(0)
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    low, high = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < low <= high < 65536:
        raise usage.UsageError("--passive-ports takes the first and the last port, as 50000-50100")
    return range(low, high + 1)


#: Not all that is reserved: some clouds use 240.0.0.0/4 inside.
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def _address(text: str) -> ipaddress.IPv4Address | None:
    if text == "auto":
        return None
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError as error:
        raise usage.UsageError("--passive-address is auto or an IPv4 address; EPSV, for IPv6, tells none") from error
    if address.is_unspecified or address.is_multicast or address == _BROADCAST:
        raise usage.UsageError(f"--passive-address: no client can connect to {text}; auto tells what each has come to")
    return address
