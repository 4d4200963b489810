"""`ftpsvc user`: the accounts' file kept by commands, so that nobody has to make a hash by hand.

What a person has written there stays as it is, comments and order too. The file is replaced as a whole, by one that was
read successfully before, and it is nobody's but its owner's to read.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ftpsvc import accountfile, passwords
from ftpsvc.accountfile import PERMISSIONS, BadAccounts, Record
from ftpsvc.display import size as shown_size
from ftpsvc.model import EVERYTHING, Permission
from ftpsvc.objects.urls import is_address
from ftpsvc.records import printable
from ftpsvc.wholefile import alone_in

#: What somebody may do in a home of their own if nothing else is said.
USUAL = "all"


class Refused(Exception):
    """What was asked for can't be done; the text says why, and what to do."""


def main(words: Sequence[str]) -> int:
    """Carry out `user …`; the exit status."""
    arguments = _parser().parse_args(words[1:])
    try:
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except BadAccounts as error:
        for problem in error.problems:
            print(printable(problem), file=sys.stderr)
    except Refused as error:
        print(f"ftpsvc user: {printable(str(error))}", file=sys.stderr)
    except OSError as error:
        print(f"ftpsvc user: {printable(str(error.filename or arguments.accounts))}: {error.strerror}", file=sys.stderr)
    except (KeyboardInterrupt, EOFError):
        print("\nftpsvc user: nothing was changed.", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ftpsvc user", description="Those who may log in at an ftpsvc server.")
    commands = parser.add_subparsers(required=True, metavar="add|passwd|remove|list|check")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str, named: bool) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if named:
            sub.add_argument("name", help="the account's name")
        sub.add_argument("--accounts", required=True, metavar="FILE", type=Path, help="the accounts' file")
        sub.set_defaults(run=run)
        return sub

    add = command("add", _add, "Make an account, and the file too if there is none.", True)
    passwd = command("passwd", _passwd, "Give an account another password.", True)
    command("remove", _remove, "Remove an account. Its files stay.", True)
    command("list", _list, "Show the accounts, one on each line.", False)
    command("check", _check, "Say whether the file can be used, and on which line it can't.", False)
    for sub in (add, passwd):
        sub.add_argument("--password-stdin", action="store_true", help="take the password from the first line of stdin")
    add.add_argument("--home", metavar="DIR", help="its files, and all that it sees (default: the server's --root)")
    add.add_argument(
        "--permissions", metavar="WORD,...", default=USUAL, help=f"some of {', '.join(PERMISSIONS)} (default: {USUAL})"
    )
    add.add_argument("--quota", metavar="SIZE", help='how much its home may hold, as "10 GB"')
    add.add_argument("--certificate", metavar="FINGERPRINT", help="a client's certificate, instead of a password")
    return parser


# -- the commands


def _add(arguments: argparse.Namespace) -> int:
    name, file, table = arguments.name, arguments.accounts, _table(arguments)
    check(file, name, table)  # what is wrong is said before anybody is asked for a password
    if arguments.password_stdin or not arguments.certificate:
        table["password"] = passwords.hashed(password_for(name, arguments.password_stdin))
    add(file, name, table)
    if arguments.home and not is_address(arguments.home) and not os.path.isdir(arguments.home):
        print(f"Note: there is no folder {printable(arguments.home)} yet, and until there is nobody logs in as {name}.")
    print(f"{name} may log in at a server that was started with --accounts {file}.")
    return 0


def check(file: Path, name: str, table: Mapping[str, Any]) -> None:
    """Whether an account could be added. Raises `Refused` if not, and `BadAccounts` for what is in the file already."""
    if file.exists() and name in accountfile.read(file):
        raise Refused(f"there is an account {name} already. Another password: ftpsvc user passwd")
    document = tomlkit.document()
    document[name] = table
    try:
        _parsed(document, file)
    except BadAccounts as error:
        # What would stand on which line is nothing to people who have typed it as words.
        whys = (problem.removeprefix(f"{file}, ").partition(": ")[2] for problem in error.problems)
        raise Refused("; ".join(whys)) from error


def add(file: Path, name: str, table: Mapping[str, Any]) -> None:
    """Add an account to a file, which is made if there is none. Raises `BadAccounts`, `Refused` and `OSError`."""
    with _changing(file, may_be_new=True) as document:
        if name in document:
            raise Refused(f"somebody else has just made the account {name}")
        document[name] = table


def _table(arguments: argparse.Namespace) -> Any:
    table = tomlkit.table()
    if arguments.certificate:
        table["certificates"] = [arguments.certificate]
    if arguments.home:
        table["home"] = arguments.home if is_address(arguments.home) else os.path.abspath(arguments.home)
    table["permissions"] = arguments.permissions.split(",")
    if arguments.quota:
        table["quota_bytes"] = arguments.quota
    return table


def _passwd(arguments: argparse.Namespace) -> int:
    _named(accountfile.read(arguments.accounts), arguments.name)
    hash_ = passwords.hashed(password_for(arguments.name, arguments.password_stdin))
    with _changing(arguments.accounts) as document:
        _named(document, arguments.name)["password"] = hash_
    print(f"{arguments.name} has another password, from the next login on.")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    with _changing(arguments.accounts) as document:
        _named(document, arguments.name)
        del document[arguments.name]
    print(f"{arguments.name} is no account any more. Who is logged in stays so to the end of the session.")
    return 0


def _named(document: Any, name: str) -> Any:
    if name not in document:
        raise Refused(f"there is no account {name}. Those there are: ftpsvc user list")
    return document[name]


def _list(arguments: argparse.Namespace) -> int:
    for name, record in sorted(accountfile.read(arguments.accounts).items()):
        print(printable(f"{name}  {'  '.join(_described(record))}"))
    return 0


def _described(record: Record) -> Iterator[str]:
    """What is worth knowing of an account; never its hash."""
    account = record.account
    yield record.home or "(the server's --root)"
    yield in_words(account.permissions) + (" and by path" if account.rules else "")
    if account.quota_bytes is not None:
        yield f"quota {shown_size(account.quota_bytes)}"
    if record.expires is not None:
        yield f"until {record.expires:%Y-%m-%d %H:%M} UTC"
    if record.networks:
        yield "from " + " ".join(map(str, record.networks))
    if account.require_tls:
        yield "with TLS"
    if record.certificates:
        yield "by certificate" + (" or password" if record.password else "")
    elif not record.password:
        yield "no password: only --auth could let it in"


def in_words(permissions: Permission) -> str:
    """`list,read` for people."""
    if permissions == EVERYTHING:
        return "all"
    return ",".join(word for word, one in PERMISSIONS.items() if word != "all" and one in permissions) or "nothing"


def _check(arguments: argparse.Namespace) -> int:
    file: Path = arguments.accounts
    records = accountfile.read(file)
    notes = [f"{name}: there is no folder {record.home}" for name, record in records.items() if _is_missing(record)]
    if file.stat().st_mode & 0o077:
        notes.append(f"others on this machine may read the hashes in {file}: chmod 600 {file}")
    for note in notes:
        print(f"Note: {printable(note)}")
    print(f"{file} can be used; accounts: {len(records)}.")
    return 0


def _is_missing(record: Record) -> bool:
    return bool(record.home) and not is_address(record.home) and not os.path.isdir(record.home)


# -- passwords


def password_for(name: str, from_stdin: bool) -> str:
    """The password that is typed twice, or the first line of stdin. Raises `Refused`."""
    if from_stdin:
        password = _first_line()
    elif not sys.stdin.isatty():
        raise Refused("there is no terminal to ask for the password on. To pipe it in: --password-stdin")
    else:
        password = getpass.getpass(f"Password for {printable(name)}: ")
        if password and getpass.getpass("The same again: ") != password:
            raise Refused("the two are not the same; nothing was changed.")
    if not password:
        raise Refused("an empty password is none; nothing was changed.")
    return password


def _first_line() -> str:
    try:
        return sys.stdin.buffer.readline().decode("utf-8", "surrogateescape").rstrip("\r\n")
    except OSError as error:
        raise Refused(f"standard input can't be read: {error.strerror}. Pipe the password in.") from error


# -- the file


@contextlib.contextmanager
def _changing(file: Path, may_be_new: bool = False) -> Iterator[Any]:
    """The file as a document to be changed; what it has become then takes the file's place. One at a time."""
    file = Path(os.path.realpath(file))
    with alone_in(file.parent):
        try:
            text = file.read_bytes().decode("utf-8")
        except FileNotFoundError:
            if not may_be_new:
                raise
            text = _NEW
        except UnicodeDecodeError:
            accountfile.read(file)
            raise
        accountfile.parse(text, file)  # what is wrong already is to be put right first
        try:
            document = tomlkit.parse(text)
        except TOMLKitError as error:
            raise BadAccounts([f"{file}: {error}"]) from error
        yield document
        _parsed(document, file)
        _replace(file, tomlkit.dumps(document).encode("utf-8"))


_NEW = (
    "# Who may log in: docs/accounts.md tells what each account can have. Check: ftpsvc user check --accounts FILE\n\n"
)


def _parsed(document: Any, file: Path) -> None:
    accountfile.parse(tomlkit.dumps(document), file)


def _replace(file: Path, data: bytes) -> None:
    """Put a file in the other's place, whole. It keeps the owner, who may be another than the one who is typing."""
    part = file.with_name(f".{file.name}-{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            with contextlib.suppress(FileNotFoundError, PermissionError):
                status = file.stat()
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fsync(descriptor)
        part.rename(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
