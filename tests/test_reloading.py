"""A reload takes over what can change while the server runs, all of it or nothing, and leaves everybody in peace."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from daemon import FOREGROUND, Process
from hall import Visitor
from support import frames

from ftpsvc import passwords, wholefile
from ftpsvc.admission import Entrance, admitted
from ftpsvc.factory import ServerFactory
from ftpsvc.homes import Homes
from ftpsvc.options import Options
from ftpsvc.reloading import Reloaded, Reloading
from ftpsvc.securing import secured
from ftpsvc.states import Required

#: A hash of "secret" that costs nothing to compare with.
SECRET = passwords.hashed("secret")


class Running:
    """A server in memory, as the start makes it of a configuration."""

    def __init__(self, folder: Path, text: str) -> None:
        self.file = folder / "config.toml"
        (folder / "files").mkdir()
        self.write(f'root = "files"\nstate = "state"\n{text}')
        self.options = Options()
        self.options.parseOptions(["--config", str(self.file)])
        self.clock = support.make_clock()
        self.homes = Homes(lambda home, owner: support.local_disk(home, owner=owner), support.at_once, time.time)
        entrance = Entrance(admitted(self.options, self.homes, support.at_once))
        tls = secured(self.options["certificate"], self.options["key"], self.options["state"])
        limits = self.options["limits"]
        self.factory = ServerFactory(entrance, self.clock, support.at_once, limits, self.options["passive"], tls)
        self.reloading = Reloading(self.options, self.factory, entrance, self.homes, lambda limits: limits)
        support.LEFT_OPEN.append(self)

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def reload(self, text: str | None = None) -> Reloaded:
        if text is not None:
            self.write(f'root = "files"\nstate = "state"\n{text}')
        return self.reloading.reload()

    def visit(self, host: str = "127.0.0.1") -> Visitor:
        return Visitor(self, host, lambda: 1 << 16)  # type: ignore[arg-type]

    def close(self) -> None:
        self.factory._refusals.flush()


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path, "idle-time = 300\n")


def test_limits_hold_from_now_on_for_those_that_are_there_too(running: Running) -> None:
    idle = running.visit()
    assert idle.log_in() == [220, 331, 230]
    outcome = running.reload("idle-time = 500\nmax-connections = 1\n")
    assert outcome.is_done
    assert "idle-time is 500; it was 300" in outcome.lines
    assert "max-connections is 1; it was 10,000" in outcome.lines
    running.clock.advance(499)
    assert idle.codes() == []
    assert running.visit().codes() == [421]
    running.clock.advance(2)
    assert idle.codes() == [421]


def test_a_transfer_goes_on(running: Running, tmp_path: Path) -> None:
    storing = running.visit()
    storing.log_in()
    storing.ask(b"MODE I\r\nSTOR file\r\nDATA 5\r\nbegun")
    assert running.reload('idle-time = 400\nrequire-tls = "login"\n').is_done
    assert storing.codes(b"DATA 6\r\n, doneDONE\r\n") == [226]
    assert (tmp_path / "files" / "file").read_bytes() == b"begun, done"
    assert running.factory.required is Required.LOGIN


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("idle-time = 0", "config.toml, line 3: --idle-time takes a number, 1 or more"),
        ("idle-time = ", "config.toml, line 3: "),
        ("idel-time = 1", "line 3: there is no option idel-time. Did you mean idle-time"),
        ('accounts = "nowhere.toml"', "can't use the accounts: "),
        ('certificate = "nowhere.pem"', "can't use the certificate: "),
        ('anonymous = "read"\naccounts = "files/accounts.toml"', "where others could reach it"),
    ],
)
def test_what_is_wrong_changes_nothing_and_is_said(running: Running, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "files" / "accounts.toml").touch()
    fingerprint, accounts = running.factory.tls.fingerprint, running.reloading._entrance.now  # type: ignore[union-attr]
    outcome = running.reload(f"{text}\nmax-connections = 1\n")
    assert not outcome.is_done
    (line,) = outcome.lines
    assert line.startswith("nothing was changed: ") and why in line
    assert running.factory.limits.idle == 300 and running.factory.limits.connections == 10_000
    assert running.factory.tls is not None and running.factory.tls.fingerprint == fingerprint
    assert running.reloading._entrance.now is accounts
    assert running.reload("idle-time = 400").is_done


def test_a_file_that_is_gone_changes_nothing(running: Running) -> None:
    running.file.unlink()
    assert "config.toml: No such file or directory" in running.reload().lines[0]


@pytest.mark.parametrize("text", ["port = 5071\n", 'sync = "off"\n', 'root = "other"\n', 'state = "other"\n'])
def test_what_needs_a_restart_is_said_each_time_and_the_rest_is_done(
    tmp_path: Path, running: Running, text: str
) -> None:
    name = text.split()[0]
    (tmp_path / "other").mkdir()
    places = {"root": 'root = "files"', "state": 'state = "state"'}
    places[name] = text
    for idle in (400, 500):
        running.write("\n".join([*places.values(), f"idle-time = {idle}\n"]))
        outcome = running.reloading.reload()
        assert f"{name} is another, which needs a restart; until then it stays as it was" in outcome.lines
        assert running.factory.limits.idle == idle
    assert not (tmp_path / "other").exists() or not list((tmp_path / "other").iterdir())
    visitor = running.visit()
    visitor.log_in()
    visitor.ask(b"MODE I\r\nSTOR file\r\n" + frames(b"data"))
    assert (tmp_path / "files" / "file").exists()
    places[name] = {"root": 'root = "files"', "state": 'state = "state"'}.get(name, "")
    running.write("\n".join([*places.values(), "idle-time = 500\n"]))
    assert not any("restart" in line for line in running.reloading.reload().lines)


def with_accounts(folder: Path, *names: str) -> str:
    file = folder / "accounts.toml"
    file.write_text("".join(f'[{name}]\npassword = "{SECRET}"\npermissions = ["all"]\n' for name in names))
    return 'accounts = "accounts.toml"\n'


def test_another_way_to_log_in_holds_for_those_who_are_connected_already(running: Running, tmp_path: Path) -> None:
    connected, guest = running.visit(), running.visit()
    assert guest.log_in() == [220, 331, 230]
    outcome = running.reload(with_accounts(tmp_path, "mia"))
    assert outcome.is_done and "Accounts that may log in: 1" in outcome.lines
    assert connected.log_in() == [220, 331]  # the answer to a failed login takes its time
    running.clock.advance(2)
    assert connected.codes() == [530]
    assert connected.log_in("mia", "secret") == [331, 230]
    assert guest.codes(b"NOOP\r\n") == [200]
    assert running.visit("192.0.2.1").log_in("mia", "secret") == [220, 331, 230]


def test_accounts_that_became_wrong_refuse_the_whole_reload(tmp_path: Path, logged_errors: Any) -> None:
    running = Running(tmp_path, with_accounts(tmp_path, "mia"))
    (tmp_path / "accounts.toml").write_text("[mia]\npermissions = 5\n")
    for _ in range(2):
        outcome = running.reload('accounts = "accounts.toml"\nidle-time = 5\n')
        assert not outcome.is_done and "accounts.toml, line 2" in outcome.lines[0]
    assert running.factory.limits.idle == 300
    assert running.visit().log_in("mia", "secret") == [220, 331, 230]
    with_accounts(tmp_path, "mia", "bob")
    assert "the accounts were read again; there are 2" in running.reload().lines
    logged_errors.events.clear()


def test_accounts_that_could_not_be_read_are_read_by_the_next_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_errors: Any
) -> None:
    running = Running(tmp_path, with_accounts(tmp_path, "mia"))
    with_accounts(tmp_path, "mia", "bob")

    def refused(file: Path, most: int) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(file))

    with monkeypatch.context() as without_descriptors:
        without_descriptors.setattr(wholefile, "read", refused)
        assert running.visit().log_in("bob", "secret")[:2] == [220, 331]
    assert "the accounts were read again; there are 2" in running.reload().lines
    logged_errors.take()


def test_the_way_to_log_in_is_left_alone_where_it_has_not_changed(running: Running, tmp_path: Path) -> None:
    before = running.reloading._entrance.now
    running.reload("idle-time = 7\n")
    assert running.reloading._entrance.now is before


def test_the_certificate_may_be_another_file(running: Running, tmp_path: Path) -> None:
    from ftpsvc import certificates

    assert running.factory.tls is not None
    old = running.factory.tls.fingerprint
    certificate, key = certificates.ensure(tmp_path / "mine")
    outcome = running.reload(f'certificate = "{certificate}"\nkey = "{key}"\n')
    assert running.factory.tls.fingerprint != old
    assert f"the certificate was read again; SHA-256 fingerprint {running.factory.tls.fingerprint}" in outcome.lines


def test_data_connections_come_another_way_for_those_who_come(running: Running) -> None:
    assert running.reload('passive-ports = "50000-50004"\npassive-address = "203.0.113.5"\n').is_done
    assert running.factory.passive.ports == range(50_000, 50_005)
    assert running.factory.passive_ports.most == 5


def test_no_value_that_could_be_a_secret_is_said(running: Running) -> None:
    outcome = running.reload('auth = ["memory:mia:hidden"]\n')
    assert outcome.is_done and "auth is another" in outcome.lines
    assert "hidden" not in " ".join(outcome.lines)
    assert running.visit().log_in("mia", "hidden") == [220, 331, 230]


def test_paths_of_the_command_line_are_what_they_were_for_a_daemon_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    options = Options()
    (tmp_path / "told").touch(0o700)
    options.parseOptions(["--config", "config.toml", "--root", ".", "--state", "state", "--on-upload", "./told x"])
    monkeypatch.chdir("/")
    again = options.again()
    assert again.chosen() == options.chosen()
    assert (again["root"], again["state"]) == (str(tmp_path), str(tmp_path / "state"))
    assert again["hooks"] == {"upload": [str(tmp_path / "told"), "x"]}


# -- a real process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "config.toml").write_text('port = "tcp:0:interface=127.0.0.1"\nidle-time = 300\n')
    with Process((*FOREGROUND, "ftpsvc", "--config", "config.toml"), tmp_path) as server:
        yield server


def test_sighup_reloads_in_the_middle_of_a_transfer(server: Process, tmp_path: Path) -> None:
    server.serving()
    with server.session() as storing:
        storing.say("STOR file", "DATA 10", "begun")
        storing.expect("150")
        (tmp_path / "config.toml").write_text('port = 5071\nidle-time = 400\nanonymous = "write"\n')
        os.kill(server.process.pid, signal.SIGHUP)
        server.expect("port is another, which needs a restart")
        assert "Reload: idle-time is 400; it was 300" in server.log
        assert "Reload: Anybody may read, change and delete everything, without an account" in server.log
        (tmp_path / "config.toml").write_text("idle-time = never\n")
        os.kill(server.process.pid, signal.SIGHUP)
        assert "config.toml, line 1: " in server.expect("Reload: nothing was changed: ")
        storing.say("donDONE")
        storing.expect("226")
    assert (tmp_path / "file").read_bytes() == b"begun\r\ndon"
