"""`admit`, the gate: which command is legal in which state, for which account, with which argument."""

from __future__ import annotations

from typing import Any

import pytest

from ftpsvc import model
from ftpsvc.model import EVERYTHING, Account, Facts, Permission
from ftpsvc.session import KNOWN_ELSEWHERE, Session, Takes, Verb, admit
from ftpsvc.states import Authenticating, Closed, Greeted, Parameters, Ready, Renaming, Restart, State
from ftpsvc.verbs import VERBS
from ftpsvc.wire import Command

NOBODY: Any = None

#: What may be asked before the login (RFC 959 and 2228, and what clients ask for first).
BEFORE_LOGIN = (
    "USER PASS ACCT REIN QUIT HOST NOOP FEAT HELP SYST OPTS LANG CLNT TYPE MODE STRU STAT".split()
    + "AUTH ADAT PBSZ PROT CCC".split()
)


def session(state: State, verbs: dict[str, Verb] = VERBS) -> Session:
    return Session(NOBODY, NOBODY, verbs, "somebody", lambda: 0.0, state)


def ready(permissions: Permission = EVERYTHING, **more: Any) -> Ready:
    return Ready(Account("ann", permissions), NOBODY, **more)


def sample(verb: Verb) -> Command:
    """The verb with an argument that it takes."""
    return Command(verb.name, None if verb.takes is Takes.NOTHING else "x")


@pytest.mark.parametrize("state", [Greeted(), Authenticating("ann")])
@pytest.mark.parametrize("name", sorted(VERBS))
def test_before_the_login_only_the_listed_commands_are_admitted(name: str, state: State) -> None:
    command = sample(VERBS[name])
    if name in BEFORE_LOGIN:
        assert admit(session(state), command) is VERBS[name]
    else:
        with pytest.raises(model.NotLoggedIn):
            admit(session(state), command)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_after_the_login_every_command_is_admitted(name: str) -> None:
    assert admit(session(ready()), sample(VERBS[name])) is VERBS[name]


@pytest.mark.parametrize("command", [Command("STOR"), Command("CDUP", "x"), Command("XYZZY"), Command("CONF", "x")])
def test_who_is_not_logged_in_learns_nothing_about_arguments_or_verbs(command: Command) -> None:
    with pytest.raises(model.NotLoggedIn):
        admit(session(Greeted()), command)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_missing_argument_is_refused_where_one_is_needed(name: str) -> None:
    for argument in (None, ""):
        if VERBS[name].takes is Takes.TEXT:
            with pytest.raises(model.BadArgument, match=name):
                admit(session(ready()), Command(name, argument))
        else:
            assert admit(session(ready()), Command(name, argument)) is VERBS[name]


@pytest.mark.parametrize("name", sorted(name for name, verb in VERBS.items() if verb.takes is Takes.NOTHING))
def test_an_argument_is_refused_where_none_is_taken(name: str) -> None:
    with pytest.raises(model.BadArgument):
        admit(session(ready()), Command(name, "x"))


@pytest.mark.parametrize("name", ["XYZZY", "DATA", "A"])
def test_an_unknown_verb_is_no_command(name: str) -> None:
    with pytest.raises(model.BadCommand):
        admit(session(ready()), Command(name, "227 Entering"))


@pytest.mark.parametrize("name", sorted(KNOWN_ELSEWHERE))
def test_a_verb_of_the_rfcs_that_is_not_carried_out_is_told_apart(name: str) -> None:
    assert name not in VERBS
    with pytest.raises(model.NotImplementedHere):
        admit(session(ready()), Command(name, "x"))


@pytest.mark.parametrize("name", sorted(name for name, verb in VERBS.items() if verb.permission is not None))
def test_a_command_needs_its_permission_and_no_other(name: str) -> None:
    needed = VERBS[name].permission
    assert needed is not None
    assert admit(session(ready(needed)), sample(VERBS[name])) is VERBS[name]
    with pytest.raises(model.Denied):
        admit(session(ready(EVERYTHING & ~needed)), sample(VERBS[name]))


def test_the_verbs_that_a_sequence_follows_are_the_uploads() -> None:
    assert {name for name, verb in VERBS.items() if verb.uploads} == {"STOR", "APPE", "STOU"}


def test_nothing_is_admitted_into_a_session_that_is_over() -> None:
    with pytest.raises(model.NotLoggedIn):
        admit(session(Closed()), Command("RETR", "x"))


def test_the_restart_marker_holds_for_one_command() -> None:
    marker = Restart(5)
    one = session(ready(marker=marker))
    one.parameters = Parameters(ascii=False)
    assert one.take_offset() == 5
    for verb in ("PASV", "EPSV", "PORT", "EPRT"):
        one.forget_marker(marker, verb)
        assert one.take_offset() == 5
    one.forget_marker(marker, "NOOP")
    assert one.take_offset() == 0


def test_a_new_marker_is_not_forgotten_with_the_old_one() -> None:
    one = session(ready(marker=Restart(7)))
    one.parameters = Parameters(ascii=False)
    one.forget_marker(Restart(5), "NOOP")
    assert one.take_offset() == 7


def test_a_name_that_waits_to_be_renamed_is_no_offset() -> None:
    assert session(ready(marker=Renaming("/x"))).take_offset() == 0


def test_a_permission_that_depends_on_what_is_there_is_demanded_by_name() -> None:
    one = session(ready(Permission.READ))
    one.demand(Permission.READ, "/x")
    with pytest.raises(model.Denied, match="/x"):
        one.demand(Permission.OVERWRITE, "/x")


def test_facts_are_dropped_for_an_account_that_may_not_set_them() -> None:
    facts = Facts(1, 0o600)
    assert session(ready()).allowed_facts(facts, "/x") == facts
    assert session(ready(EVERYTHING & ~Permission.SET_FACTS)).allowed_facts(facts, "/x") == Facts()


def test_paths_are_taken_from_the_current_folder() -> None:
    assert session(ready(cwd="/a")).resolve("b", EVERYTHING) == "/a/b"
