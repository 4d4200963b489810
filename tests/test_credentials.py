"""Where passwords come from, and where they never go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import support
from support import result_of

from ftpsvc import connecting, netrc
from ftpsvc.assembly import Dialling, Remembered
from ftpsvc.credentials import COMMAND, PASSWORD, Login, login_for
from ftpsvc.model import BadArgument, ConnectionFailed, Denied, LocalFault, NotLoggedIn, TransferError
from ftpsvc.netrc import Known
from ftpsvc.targets import Target

SECRET = "sécret pw"


class Somebody:
    """A person who types the same to everything."""

    def __init__(self, typed: str) -> None:
        self.typed = typed
        self.asked: list[str] = []

    async def answer(self, question: str) -> str:
        self.asked.append(question)
        return self.typed

    secret = answer


def login(home: Path, user: str = "mia", person: Somebody | None = None, **environment: str) -> Login:
    found = result_of(
        login_for(user, "h", support.at_once, person, True, {"HOME": str(home), "PATH": "/usr/bin:/bin", **environment})
    )
    assert isinstance(found, Login)
    return found


def write_netrc(home: Path, text: str, mode: int = 0o600) -> None:
    (home / ".netrc").write_text(text)
    (home / ".netrc").chmod(mode)


def test_nobody_in_particular_is_anonymous(tmp_path: Path) -> None:
    assert login(tmp_path, "", FTPSVC_PASSWORD=SECRET) == Login("anonymous", "ftpsvc@")
    assert login(tmp_path, "anonymous", FTPSVC_PASSWORD=SECRET).password == "ftpsvc@"


def test_the_sources_in_their_order(tmp_path: Path) -> None:
    write_netrc(tmp_path, "machine h login mia password third")
    command = {COMMAND: "echo second; echo more"}
    assert login(tmp_path, **command, **{PASSWORD: "first"}) == Login("mia", "first", PASSWORD)
    assert login(tmp_path, **command) == Login("mia", "second", COMMAND)
    assert login(tmp_path) == Login("mia", "third", "~/.netrc")
    person = Somebody("fourth")
    assert login(tmp_path, "tom", person).password == "fourth"
    assert person.asked == ["Password of tom on h: "]
    assert login(tmp_path, "", person, **command) == Login("mia", "third", "~/.netrc")


def test_nobody_to_ask_and_nothing_typed(tmp_path: Path) -> None:
    with pytest.raises(NotLoggedIn, match=f"nobody to ask. Give it in {PASSWORD}"):
        login(tmp_path)
    with pytest.raises(NotLoggedIn, match="no password was typed"):
        login(tmp_path, person=Somebody(""))


def test_who_types_is_told_when_it_goes_in_clear(tmp_path: Path) -> None:
    person = Somebody("x")
    result_of(login_for("mia\x1b[2J", "h", support.at_once, person, False, {"HOME": str(tmp_path)}))
    assert person.asked == ["Password of mia\\x1b[2J on h, sent in clear: "]


def test_the_command_knows_whom_it_is_asked_about(tmp_path: Path) -> None:
    assert login(tmp_path, **{COMMAND: 'printf "%s\\r\\n" "$FTPSVC_USER at $FTPSVC_HOST"'}).password == "mia at h"


def test_a_command_that_fails_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalFault, match="exit status 3"):
        login(tmp_path, **{COMMAND: "echo secret; exit 3"})
    with pytest.raises(LocalFault, match="printed nothing"):
        login(tmp_path, **{COMMAND: "true"})


def test_a_password_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="more than one line") as raised:
        login(tmp_path, **{PASSWORD: f"{SECRET}\nDELE x"})
    assert SECRET not in str(raised.value)


def test_passwords_do_not_print(tmp_path: Path) -> None:
    write_netrc(tmp_path, f'machine h login mia password "{SECRET}"')
    assert SECRET not in repr(login(tmp_path)) + repr(netrc.find(tmp_path / ".netrc", "h"))
    assert login(tmp_path).password == SECRET


# -- ~/.netrc ------------------------------------------------------------------------------------------------

NETRC = """\
# a note: machine h login nobody password nothing
machine first.example.org
    login a
    password b
macdef init
machine h login in-a-macro password x

machine H login mia password "with \\"quotes\\" and # more"
machine h account ignored login tom password #tom
machine empty login just-a-name
default login guest password anybody
"""


def test_netrc(tmp_path: Path) -> None:
    write_netrc(tmp_path, NETRC)
    path = tmp_path / ".netrc"
    for host, user, expected in (
        ("h", "", ("mia", 'with "quotes" and # more')),
        ("h", "tom", ("tom", "#tom")),
        ("first.example.org", "", ("a", "b")),
        ("empty", "", ("just-a-name", "")),
        ("elsewhere", "", ("guest", "anybody")),
        ("h", "guest", ("guest", "anybody")),
    ):
        found = netrc.find(path, host, user)
        assert found is not None and (found.user, found.password) == expected
    assert netrc.find(path, "h", "nobody") is None
    assert netrc.find(tmp_path / "none", "h") is None


@pytest.mark.parametrize("comment", ["# mine", "# my old one", "#", '# that "one', "#x\n\n# y z\n#"])
def test_a_comment_behind_an_entry_of_a_netrc_hides_none(tmp_path: Path, comment: str) -> None:
    write_netrc(tmp_path, f"machine first login a password #b {comment}\nmachine h login mia password p\n")
    path = tmp_path / ".netrc"
    assert netrc.find(path, "first") == Known("first", "a", "#b")
    assert netrc.find(path, "h") == Known("h", "mia", "p")


def test_the_lines_of_a_netrc_may_end_as_on_windows(tmp_path: Path) -> None:
    write_netrc(tmp_path, "machine first login a password b\nmacdef init\ncd x\n\nmachine h login mia password p\n")
    path = tmp_path / ".netrc"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert netrc.find(path, "h") == Known("h", "mia", "p")


@pytest.mark.parametrize("text", ["", "machine", "machine h", "login x password y", '"', 'machine h login "mia'])
def test_a_netrc_that_makes_no_sense_breaks_nothing(tmp_path: Path, text: str) -> None:
    write_netrc(tmp_path, text)
    found = netrc.find(tmp_path / ".netrc", "h")
    assert found is None or not found.password


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_netrc_that_others_can_read_is_refused_where_it_would_be_used(tmp_path: Path, mode: int) -> None:
    write_netrc(tmp_path, f"machine h login mia password {SECRET}", mode)
    with pytest.raises(Denied, match=f"mode {mode:03o}.*chmod 600") as raised:
        login(tmp_path)
    assert SECRET not in str(raised.value)
    assert netrc.find(tmp_path / ".netrc", "elsewhere") is None
    write_netrc(tmp_path, "machine h login mia", mode)
    assert login(tmp_path, "", Somebody("x")).user == "mia"


def test_what_was_wrong_for_one_login_is_forgotten_and_what_was_right_for_others_is_not() -> None:
    secrets: dict[str, str] = {}
    person = Somebody(SECRET)
    assert result_of(Remembered(person, secrets).secret("mia?")) == SECRET
    failing = Remembered(person, secrets)
    result_of(failing.secret("bob?"))
    failing.forget()
    for question in ("mia?", "bob?"):
        result_of(Remembered(person, secrets).secret(question))
    assert person.asked == ["mia?", "bob?", "bob?"]


@pytest.mark.parametrize(("error", "times"), [(BadArgument, 2), (NotLoggedIn, 2), (ConnectionFailed, 1)])
def test_what_can_not_be_a_password_is_asked_for_once_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[TransferError], times: int
) -> None:
    async def connected(reactor: Any, target: Target, known: Any, run: Any, person: Somebody) -> None:
        await person.secret("mia?")
        raise error("no.")

    monkeypatch.setattr(connecting, "connected", connected)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    person = Somebody("two\nlines")
    dial = Dialling(support.make_clock(), person)
    for _ in range(2):
        with pytest.raises(error):
            result_of(dial(Target("h")))
    assert person.asked == ["mia?"] * times
