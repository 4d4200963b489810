"""The shell's commands, from the typed line to what is said: connecting, lines, help, looking around, leaving."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from conftest import LoggedErrors
from desk import Desk
from twisted.internet.defer import Deferred

from ftpsvc import model
from ftpsvc.remote import Remote
from ftpsvc.targets import Target

EVERYDAY = "connect list cd pwd lcd lpwd retrieve store close quit help".split()

#: All of them, in the groups in which help shows them.
COMMANDS = (
    "connect user bookmark site quote status close quit list cd pwd mkdir rmdir rm mv chmod touch stat du find df hash "
    "cat more tail edit resume retrieve store mget mput reget reput mirror lls lcd lpwd local jobs wait kill set alias "
    "history help"
).split()


# -- before a connection -------------------------------------------------------------------------------------


def test_the_welcome_lists_the_commands_and_says_what_works(stranger: Desk) -> None:
    stranger.shell.welcome()
    said = stranger.said()
    assert re.findall(r"^  (\w+)", said, re.MULTILINE)[: len(EVERYDAY)] == EVERYDAY
    assert set(COMMANDS) <= set(re.findall(r"\w+", said))
    assert "Only connect, help and quit work yet" in said
    assert stranger.shell.prompt == "ftpsvc> "


@pytest.mark.parametrize("line", ["list", "ls", "pwd", "retrieve a", "put a", "close", "cd /", "df"])
def test_what_needs_a_connection_says_what_to_do(stranger: Desk, line: str) -> None:
    assert stranger.type(line) == f"{line.split()[0]}: Not connected. Use: connect <host> [port]\n"
    assert stranger.shell.failures == 1


def test_connecting_shows_all_commands_again(stranger: Desk) -> None:
    said = stranger.type("connect files.example.org")
    assert "Now all commands work" in said
    assert re.findall(r"^  (\w+)", said, re.MULTILINE)[: len(EVERYDAY)] == EVERYDAY
    assert set(COMMANDS) <= set(re.findall(r"\w+", said))
    assert stranger.dialled == [("files.example.org", 5000)]
    assert stranger.shell.prompt == "files.example.org:/> "
    assert stranger.shell.failures == 0


def test_a_port_can_be_given(stranger: Desk) -> None:
    stranger.type("connect localhost 5061")
    assert stranger.dialled == [("localhost", 5061)]


@pytest.mark.parametrize("port", ["0", "65536", "ftp", "-1", "5000x", "٣", "9" * 5000])
def test_a_port_that_is_none_is_refused(stranger: Desk, port: str) -> None:
    assert f'"{port}" is no port; those are 1 to 65535. Use: connect h 5000' in stranger.type(f"connect h {port}")
    assert not stranger.dialled


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("h:5061", ("h", 5061)),
        ("[::1]:5061", ("::1", 5061)),
        ("ftp://h:5061/", ("h", 5061)),
        ("ftp://h", ("h", 5000)),
    ],
)
def test_host_and_port_in_one_word(stranger: Desk, typed: str, meant: tuple[str, int]) -> None:
    stranger.type(f"connect {typed}")
    assert stranger.dialled == [meant]


def test_addresses_of_ipv6_are_hosts(stranger: Desk) -> None:
    stranger.type("connect ::1")
    stranger.type("close")
    stranger.type("connect [::1] 5061")
    assert stranger.dialled == [("::1", 5000), ("::1", 5061)]


@pytest.mark.parametrize("typed", ["''", "a\\ b", "h/folder", "ftp://", "[]"])
def test_what_can_be_no_host_is_not_dialled(stranger: Desk, typed: str) -> None:
    assert "is no name that a host can have" in stranger.type(f"connect {typed}")
    assert not stranger.dialled


def test_a_connection_that_fails_says_why_and_to_whom(stranger: Desk) -> None:
    stranger.refuses = model.ConnectionFailed("This is an SSH server.")
    assert stranger.type("connect h 22") == "connect: h 22: This is an SSH server.\n"
    stranger.refuses = model.ConnectionFailed('There is no host "h". Check the spelling.')
    assert stranger.type("connect h 22") == 'connect: There is no host "h". Check the spelling.\n'
    assert stranger.shell.prompt == "ftpsvc> "


def test_a_host_that_can_have_no_such_name(stranger: Desk) -> None:
    stranger.refuses = UnicodeError("label empty or too long")
    assert "no name that a host can have" in stranger.type("connect ü..x")


def test_a_second_connect_says_what_to_do(desk: Desk) -> None:
    assert desk.type("connect other") == (
        "connect: connected to files.example.org already. Use close first, then connect; or quit.\n"
    )
    assert len(desk.dialled) == 1


# -- lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["", "   ", "# a note", "  # list"])
def test_nothing_is_nothing(stranger: Desk, line: str) -> None:
    assert stranger.type(line) == ""
    assert stranger.shell.failures == 0


def test_an_unknown_command_may_be_a_known_one(stranger: Desk) -> None:
    assert stranger.type("gte x") == "gte: there is no such command. Did you mean get?\n"
    assert stranger.type("frobnicate") == "frobnicate: there is no such command. Use: help\n"


def test_what_a_command_is_called_inside_is_no_command(stranger: Desk) -> None:
    for line in ("prompt", "_running", "EOF", "complete_list", "?"):
        assert "there is no such command" in stranger.type(line)


def test_words_that_are_missing_or_too_many(desk: Desk) -> None:
    assert desk.type("retrieve") == "retrieve: a word is missing. Use: retrieve [-r] <file>... [local]\n"
    said = desk.type("get my old notes.txt")
    usage = "Use: retrieve [-r] <file>... [local]."
    assert said.startswith(f"get: too many words; a name with spaces needs quotes. {usage}")
    assert said.endswith('Example: retrieve "my notes.txt" papers/\n')


def test_an_open_quote(desk: Desk) -> None:
    assert desk.type('list "a') == 'A quote (") is not closed.\n'
    assert desk.shell.failures == 1


def test_a_mistake_of_our_own_is_logged_and_the_shell_goes_on(stranger: Desk, logged_errors: LoggedErrors) -> None:
    stranger.refuses = ZeroDivisionError()
    assert "Something in ftpsvc itself is wrong" in stranger.type("connect h")
    assert [type(error) for error in logged_errors.take()] == [ZeroDivisionError]
    assert stranger.type("help quit").startswith("quit   (also: exit, bye)\n")


def test_output_that_nobody_reads_ends_the_shell(stranger: Desk) -> None:
    class Gone(StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stranger.shell.stdout = Gone()
    assert stranger.start("help").result() is True
    assert stranger.start("help").result() is True


# -- help ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 200])
def test_help_fits_the_terminal(stranger: Desk, width: int) -> None:
    stranger.shell.width = lambda: width
    stranger.shell.welcome()
    said = stranger.out.getvalue()
    said += "".join(stranger.type(f"help {command}") for command in ("", *stranger.shell.commands()))
    assert max(map(len, said.split("\n"))) < width


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(stranger: Desk, command: str) -> None:
    usage, summary, more = stranger.shell.described(command)
    assert usage.split()[0] == command
    assert summary.endswith(".") and "\n" not in summary
    assert f"Example: {command}" in more
    said = stranger.type(f"help {command}")
    assert usage in said and summary in said and more in said


def test_help_of_an_alias_and_of_nothing(stranger: Desk) -> None:
    assert stranger.type("help get").startswith("retrieve [-r] <file>... [local]   (also: get)\n\nBring a file")
    assert stranger.type("help lst") == 'help: there is no command "lst". Did you mean list or ls or set?\n'
    assert re.findall(r"^  (\w+)", stranger.type("help"), re.MULTILINE) == COMMANDS


# -- looking around ------------------------------------------------------------------------------------------


def test_list(desk: Desk) -> None:
    (desk.there / "b.txt").write_bytes(b"x" * 1200)
    (desk.there / "A b").mkdir()
    lines = desk.type("ls").splitlines()
    assert [line[:6] for line in lines] == ["      ", "1.2 kB", "1 fold"]
    assert lines[0].endswith("  A b/") and lines[1].endswith("  b.txt")
    assert lines[2] == "1 folder, 1 file, 1.2 kB"


def test_list_of_a_file_and_of_another_folder(desk: Desk) -> None:
    (desk.there / "a b").mkdir()
    (desk.there / "a b" / "c").write_bytes(b"")
    assert desk.type('list "a b"').endswith("  c\n1 file, 0 B\n")
    assert desk.type("list a\\ b/c").endswith("  c\n1 file, 0 B\n")


def test_cd_and_pwd(desk: Desk) -> None:
    (desk.there / "pub" / "in").mkdir(parents=True)
    (desk.there / "f").touch()
    assert desk.type("cd pub/in") == ""
    assert desk.type("pwd") == "/pub/in\n"
    assert desk.shell.prompt == "files.example.org:/pub/in> "
    desk.type("cd ..")
    assert desk.type("cd /f") == "cd: /f is a file, not a folder.\n"
    assert desk.type("cd pubb") == 'cd: no "pubb" in /pub (550).\n'
    assert desk.type("pwd") == "/pub\n"
    desk.type("cd")
    assert desk.type("pwd") == "/\n"


def test_lcd_and_lpwd(desk: Desk) -> None:
    (desk.here / "papers").mkdir()
    desk.type("lcd papers")
    assert desk.type("lpwd") == f"{desk.here}/papers\n"
    assert desk.type("lcd paper") == f'lcd: no "paper" in {desk.here}/papers.\n'
    desk.type("lcd")
    assert desk.type("lpwd") == f"{desk.here.parent}\n"
    desk.type("lcd ~/here")
    assert desk.type("lpwd") == f"{desk.here}\n"


def test_a_part_is_nobodys_file(desk: Desk) -> None:
    assert desk.type("list .ftpsvc-x").startswith("list: .ftpsvc-x: Names that begin with .ftpsvc-")


# -- stopping, and lost connections --------------------------------------------------------------------------


def test_a_connection_that_was_lost_meanwhile_is_made_again_by_the_next_command(desk: Desk) -> None:
    (desk.there / "pub").mkdir()
    desk.type("cd pub")
    desk.link.lose()
    assert desk.type("pwd") == "/pub\nThe server has gone, or the network to it. Connecting again.\n"
    assert desk.type("pwd") == "/pub\n" and len(desk.remotes) == 2


def test_where_it_can_not_be_made_again_that_is_said(desk: Desk) -> None:
    desk.link.lose()
    desk.refuses = model.ConnectionRefused("nothing listens there.")
    said = desk.type("list")
    assert "Connecting again.\nlist: " in said and said.endswith(" Use: connect files.example.org 5000\n")
    assert desk.type("list") == "list: Not connected. Use: connect <host> [port]\n"


def test_a_server_that_ends_each_connection_is_not_asked_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Remote, "lost", model.ConnectionFailed("gone."))
    desk.type("pwd")
    assert len(desk.remotes) == 2


def test_completion_has_a_lost_connection_made_again_in_silence(desk: Desk) -> None:
    (desk.there / "pub").mkdir()
    desk.link.lose()
    assert desk.completed("cd p") == ["cd pub/"] and desk.said() == ""


def test_what_needs_no_connection_works_in_spite_of_a_lost_one(desk: Desk) -> None:
    desk.link.lose()
    assert desk.type("help pwd").startswith("pwd\n\nShow the current folder of the server.")
    assert len(desk.remotes) == 1


def test_an_interrupted_connect(stranger: Desk) -> None:
    waiting: Deferred[Any] = Deferred()

    async def dial(target: Target) -> Any:
        return await waiting

    stranger.shell._dial = dial
    started = stranger.start("connect h")
    stranger.shell.interrupt()
    assert started.result() is False
    assert stranger.said() == "connect: stopped.\n"
    assert stranger.shell.prompt == "ftpsvc> "


def test_an_interrupt_between_commands_does_nothing(desk: Desk) -> None:
    desk.shell.interrupt()
    assert desk.type("pwd") == "/\n"


def test_a_stopped_shell_carries_out_no_more(desk: Desk) -> None:
    desk.shell.stop()
    assert desk.start("pwd").result() is True
    assert desk.said() == ""


# -- leaving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["quit", "exit"])
def test_quit_says_good_bye(desk: Desk, line: str) -> None:
    assert desk.start(line).result() is True
    assert desk.link.client_end.lost is not None


def test_quit_without_a_connection(stranger: Desk) -> None:
    assert stranger.start("quit").result() is True


def test_quit_does_not_wait_for_a_server_that_is_silent(desk: Desk) -> None:
    desk.link.server_end.is_reading = False
    assert desk.start("quit").result() is True
    assert bytes(desk.link.client_end.outgoing) == b"QUIT\r\n"


def test_close_stays_in_the_shell(desk: Desk) -> None:
    assert desk.type("close") == "Closed the connection to files.example.org.\n"
    assert desk.link.client_end.lost is not None
    assert desk.shell.prompt == "ftpsvc> "
