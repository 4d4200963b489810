"""Who gets in at a real server: options, sockets, certificates, proxies, and a peer that isn't this machine."""

from __future__ import annotations

import ftplib
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import argon2
import pytest
from daemon import DEADLINE, ENVIRONMENT, FOREGROUND
from secured import Server, Talk, serving, trusting
from support import parsed
from twisted.python.usage import UsageError

from ftpsvc import certificates
from ftpsvc.service import Options, makeService

HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(b"secret")

#: A login that fails is answered without the delay, which is tried elsewhere, on a clock.
AT_ONCE = ("--login-delay", "0")


def accounts(folder: Path, name: str = "alice", **settings: str) -> Path:
    """A file with one account, whose home is a folder with its name."""
    (folder / "etc").mkdir(exist_ok=True)
    (folder / name).mkdir(exist_ok=True)
    settings = {"password": f'"{HASH}"', "permissions": '["all"]', "home": f'"{folder / name}"', **settings}
    lines = [f"[{name}]", *(f"{key} = {value}" for key, value in settings.items() if value)]
    file = folder / "etc" / "accounts.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


# -- options


@pytest.mark.parametrize(
    "arguments", [("--anonymous", "maybe"), ("--auth", "pigeon:x"), ("--auth", "anonymous"), ("--accounts",)]
)
def test_an_option_that_means_nothing_is_one_line(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match=r"\Aftpsvc: [^\n]+ See: twistd ftpsvc --help\Z") as caught:
        parsed(*arguments)
    assert isinstance(caught.value.__context__, UsageError)


def test_the_checkers_that_can_be_of_use_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    options = Options()
    options.authOutput = sys.stdout
    with pytest.raises(SystemExit):
        options.parseOptions(["--help-auth"])
    listed = capsys.readouterr().out
    assert "memory" in listed and "file" in listed and "unix" in listed and "sshkey" not in listed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            None,
            r"can't use the accounts: .*etc/accounts.toml: No such file or directory. ftpsvc user add makes it,",
        ),
        ("[alice]\nhome = 3\n", r"accounts.toml, line 2: account alice home: text in quotes"),
        ("[alice\n", r"accounts.toml, line 1: Expected"),
    ],
)
def test_a_file_that_can_not_be_used_stops_the_start(tmp_path: Path, content: str | None, said: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "accounts.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit, match=said):
        makeService(parsed("--root", str(tmp_path / "root"), "--accounts", str(file)))


@pytest.mark.parametrize("more", [("--anonymous", "read"), ()])
def test_a_root_with_the_accounts_in_it_is_not_served(tmp_path: Path, more: tuple[str, ...]) -> None:
    file = accounts(tmp_path, home="")
    with pytest.raises(SystemExit, match=r"accounts.toml lies in .* where others could reach it"):
        makeService(parsed("--root", str(tmp_path), "--accounts", str(file), *more))


# -- a peer that isn't this machine

#: Connects to a server in a network of its own, from an address that isn't a loopback one.
ELSEWHERE = """
ip link set lo up && ip address add 192.0.2.7/32 dev lo || exit 77
"$@" > log 2>&1 &
server=$!
until grep -q "fingerprint is" log; do kill -0 $server || break; sleep 0.05; done
port=$(sed -n 's/.* on 0.0.0.0:\\([0-9]*\\);.*/\\1/p' log)
for address in 192.0.2.7 127.0.0.1; do
    exec 3<>/dev/tcp/$address/$port && head -n 1 <&3
    exec 3<&-
done
kill $server
wait $server
cat log
"""


@pytest.mark.parametrize(
    ("options", "greeting"),
    [
        ((), "421 This server has no accounts yet"),
        (("--anonymous", "read"), "220 "),
        (("--auth", "memory:a:b"), "220 "),
    ],
)
def test_a_start_without_accounts_serves_this_machine_only(
    tmp_path: Path, options: tuple[str, ...], greeting: str
) -> None:
    (tmp_path / "root").mkdir()
    command = [*FOREGROUND, "ftpsvc", "--port", "tcp:0", "--root", "root", "--state", "state", *options]
    ended = subprocess.run(
        ["unshare", "--net", "--map-root-user", "bash", "-c", ELSEWHERE, "bash", *command],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE,
    )  # fmt: skip
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("this system lets nobody make a network of their own")
    elsewhere, here, *log = ended.stdout.splitlines()
    assert elsewhere.startswith(greeting) and here.startswith("220 ")
    said = "\n".join(log)
    is_protected = not options
    assert ("Protected mode: nobody has said who may log in" in said) is is_protected
    assert ("192.0.2.7" in said and "refused: This server has no accounts yet" in said) is is_protected


# -- accounts at a real server


def test_an_account_made_by_the_command_logs_in_at_once(tmp_path: Path) -> None:
    file = accounts(tmp_path)
    command = [sys.executable, "-c", "from ftpsvc.program import main; raise SystemExit(main())", "user"]
    with (
        serving(tmp_path / "root", *AT_ONCE, "--accounts", str(file)) as server,
        ftplib.FTP() as client,
    ):
        (tmp_path / "bob").mkdir()
        client.connect("127.0.0.1", server.port, DEADLINE)
        with pytest.raises(ftplib.error_perm, match="530 Login failed"):
            client.login("bob", "hunter2")
        made = subprocess.run(
            [*command, "add", "bob", "--accounts", str(file), "--home", str(tmp_path / "bob"), "--password-stdin"],
            env=ENVIRONMENT, input="hunter2\n", capture_output=True, text=True,
        )  # fmt: skip
        assert (made.returncode, made.stderr) == (0, "")
        assert client.login("bob", "hunter2") == "230 Logged in as bob."
        client.mkd("made")
        assert (tmp_path / "bob" / "made").is_dir()
        client.quit()  # who stays is waited for
        log = server.ended()
        assert "bob@127.0.0.1" in log and "hunter2" not in log


def test_twisteds_checkers_at_a_real_server(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("dora:explorer\n")
    options = ("--auth", f"file:{tmp_path / 'passwords'}", "--auth", "memory:max:moritz")
    with serving(tmp_path / "root", *AT_ONCE, *options) as server, Talk(server) as talk:
        assert talk.codes("USER dora", "PASS explorer", "MKD d") == [331, 230, 257]
        assert talk.codes("USER max", "PASS moritz", "RMD d") == [331, 230, 250]
        assert talk.codes("USER max", "PASS explorer", "USER anonymous", "PASS x") == [331, 530, 331, 530]


def test_an_account_that_needs_tls_needs_it_for_its_data_too(tmp_path: Path) -> None:
    file = accounts(tmp_path, require_tls="true")
    with serving(tmp_path / "root", *AT_ONCE, "--accounts", str(file)) as server:
        with Talk(server) as talk:
            assert talk.codes("USER alice", "PASS secret") == [331, 530]
        with Talk(server).secure() as talk:
            assert talk.codes("USER alice", "PASS secret", "LIST", "PBSZ 0", "PROT P", "EPSV") == [
                331, 230, 521, 200, 200, 229,
            ]  # fmt: skip


# -- certificates of clients


def client_certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A context that shows a certificate, and its fingerprint."""
    files = certificates.ensure(folder)
    context = trusting()
    context.load_cert_chain(*files)
    return context, certificates.read(*files).fingerprint


@pytest.mark.parametrize(("version", "implicit"), [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, False)])
def test_a_certificate_logs_in_without_a_password(tmp_path: Path, version: ssl.TLSVersion, implicit: bool) -> None:
    context, fingerprint = client_certificate(tmp_path / "client")
    other, _ = client_certificate(tmp_path / "other")
    context.maximum_version = version
    file = accounts(tmp_path, password="", certificates=f'["{fingerprint}"]')
    endpoint = "tls:tcp:0:interface=127.0.0.1" if implicit else "tcp:0:interface=127.0.0.1"
    with serving(tmp_path / "root", *AT_ONCE, "--accounts", str(file), endpoint=endpoint) as server:
        for offered, codes in ((context, [232]), (other, [331, 530]), (trusting(), [331, 530])):
            with secure(server, offered, implicit) as talk:
                assert talk.codes(*["USER alice", "PASS secret"][: len(codes)]) == codes
        with secure(server, context, implicit) as talk:
            assert talk.codes("USER bob", "PASS x") == [331, 530]
            assert talk.codes("USER alice", "MKD d", "USER bob", "MKD e") == [232, 257, 331, 530]
        assert (tmp_path / "alice" / "d").is_dir()
        with Talk(server) if not implicit else secure(server, trusting(), True) as talk:
            assert talk.codes("USER alice", "PASS") == [331, 530]


def secure(server: Server, context: ssl.SSLContext, implicit: bool) -> Talk:
    if not implicit:
        return Talk(server).secure(context)
    talk = Talk.__new__(Talk)
    talk.port = server.port
    talk.socket = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), DEADLINE))
    talk.file = talk.socket.makefile("rb")
    assert talk.code() == 220
    return talk


def test_a_session_that_is_resumed_still_has_its_certificate(tmp_path: Path) -> None:
    context, fingerprint = client_certificate(tmp_path / "client")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    file = accounts(tmp_path, password="", certificates=f'["{fingerprint}"]')
    with serving(tmp_path / "root", *AT_ONCE, "--accounts", str(file)) as server, Talk(server).secure(context) as first:
        assert first.codes("USER alice", "PBSZ 0", "PROT P", "TYPE I") == [232, 200, 200, 200]
        data = first.data()
        assert first.codes("STOR x") == [150]
        protected = context.wrap_socket(data, session=first.socket.session)
        protected.sendall(b"x")
        protected.unwrap().close()
        assert first.code() == 226
        with Talk(server) as second:
            assert second.codes("AUTH TLS") == [234]
            second.file.close()
            second.socket = context.wrap_socket(second.socket, session=first.socket.session)
            second.file = second.socket.makefile("rb")
            assert second.socket.session_reused
            assert second.codes("USER alice") == [232]


def asked_for_certificate(server: Server) -> bool:
    """What a client sees of it."""
    program = f"openssl s_client -connect 127.0.0.1:{server.port} -starttls ftp -tls1_2"
    shown = subprocess.run(program.split(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
    return "Client Certificate Types" in shown.stdout


def test_clients_are_asked_for_one_only_where_it_can_be_of_use(tmp_path: Path) -> None:
    file = accounts(tmp_path)
    with serving(tmp_path / "root", *AT_ONCE, "--accounts", str(file)) as server:
        assert not asked_for_certificate(server)
        accounts(tmp_path, certificates=f'["{"ab" * 32}"]')
        assert asked_for_certificate(server)
