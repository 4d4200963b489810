"""`ftpsvc init`: a folder with all that a server needs, safe and ready to start.

Nothing that is there is replaced, and the configuration is written last: what was broken off can be done again.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import tomlkit

from ftpsvc import accountfile, certificates, configuration, passwords, usercommand
from ftpsvc.accountfile import BadAccounts
from ftpsvc.certificates import BadCertificate
from ftpsvc.options import Options
from ftpsvc.records import printable
from ftpsvc.usercommand import Refused
from ftpsvc.wire import DEFAULT_PORT

#: What differs from the defaults: where things are, and that no password crosses the network in clear.
CHOSEN = {"root": "files", "accounts": "accounts.toml", "state": "state", "require-tls": "login"}


def main(words: Sequence[str]) -> int:
    """Carry out `init …`; the exit status."""
    arguments = _parser().parse_args(words[1:])
    try:
        _init(Path(os.path.abspath(arguments.folder)), arguments)
    except BadAccounts as error:
        for problem in error.problems:
            print(printable(problem), file=sys.stderr)
    except (Refused, BadCertificate) as error:
        print(f"ftpsvc init: {printable(str(error))}", file=sys.stderr)
    except OSError as error:
        where = printable(str(error.filename or arguments.folder))
        print(f"ftpsvc init: {where}: {error.strerror}. Choose a folder that may be written.", file=sys.stderr)
    except (KeyboardInterrupt, EOFError):
        print("\nftpsvc init: nothing was made.", file=sys.stderr)
    else:
        return 0
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ftpsvc init", description="Make a folder for a server: its configuration, certificate and first account."
    )
    parser.add_argument("folder", metavar="DIR", help="the folder; it is made if there is none")
    parser.add_argument("--user", metavar="NAME", help="the first account's name (default: it is asked for)")
    parser.add_argument("--password-stdin", action="store_true", help="take the password from the first line of stdin")
    return parser


def _init(folder: Path, arguments: argparse.Namespace) -> None:
    file, accounts = folder / "config.toml", folder / CHOSEN["accounts"]
    if os.path.lexists(file):
        raise Refused(f"there is {file} already, and nothing was changed. To start its server: {start(file)}")
    account = _account(accounts, arguments)  # all questions first: who stops there has changed nothing
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / CHOSEN["root"]).mkdir(mode=0o700, exist_ok=True)
    pair = certificates.read(*certificates.ensure(folder / CHOSEN["state"]))
    if account is not None:
        usercommand.add(accounts, *account)
    _write_new(file, configuration.template(Options().settings(), CHOSEN))
    print("\n".join(_told(file, accounts, account[0] if account else None, pair.fingerprint)))


def _account(file: Path, arguments: argparse.Namespace) -> tuple[str, dict[str, object]] | None:
    """The first account's name and table; None where there are accounts already. Raises `Refused`."""
    if os.path.lexists(file):
        if arguments.user or arguments.password_stdin:
            raise Refused(f"there are accounts already. Another: ftpsvc user add NAME --accounts {_quoted(file)}")
        accountfile.read(file)
        return None
    name = arguments.user or _typed_name()
    table: dict[str, object] = {"permissions": tomlkit.item(["all"])}
    usercommand.check(file, name, table)
    table["password"] = passwords.hashed(usercommand.password_for(name, arguments.password_stdin))
    return name, table


def _typed_name() -> str:
    if not sys.stdin.isatty():
        raise Refused("there is no terminal to ask for the first account's name on. Give it: --user NAME")
    try:
        usual = getpass.getuser()
    except (KeyError, OSError):
        usual = ""  # nobody here has a name, as in some containers
    usual = "" if usual == "root" else usual
    typed = input(f"Name of the first account{f' [{usual}]' if usual else ''}: ").strip() or usual
    if not typed:
        raise Refused("without a name there is no account; nothing was made.")
    return typed


def _write_new(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(descriptor)


def start(file: Path) -> str:
    """The command that starts a server with this configuration."""
    return f"twistd -n --pidfile= ftpsvc --config {_quoted(file)}"


def _told(file: Path, accounts: Path, name: str | None, fingerprint: str) -> list[str]:
    """What was made, and what to do next."""
    who = f"{name}, who may do everything in files/" if name else "as it was"
    user = f"{shlex.quote(name)}@" if name else ""
    return [
        f"In {printable(str(file.parent))} there are now",
        "",
        "  config.toml    all options, each with its meaning",
        f"  accounts.toml  who may log in: {printable(who)}",
        "  files/         what is served",
        "  state/         the certificate and its key",
        "",
        "Start the server, which listens on all addresses of this machine and needs TLS for each login:",
        f"  {start(file)}",
        "Connect from here, or with this machine's name from another:",
        f"  ftpsvc {user}127.0.0.1 {DEFAULT_PORT}",
        "See whether all is well, from here or from another machine:",
        f"  ftpsvc doctor {user}127.0.0.1 {DEFAULT_PORT}",
        "Let somebody else in, now or while it runs:",
        f"  ftpsvc user add NAME --accounts {_quoted(accounts)}",
        "",
        "The first connection from each machine shows the certificate's SHA-256 fingerprint. It has to be this one:",
        f"  {fingerprint}",
    ]


def _quoted(path: Path) -> str:
    return shlex.quote(printable(str(path)))
