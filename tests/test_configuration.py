"""`--config FILE`: every option in a file, by the same code as on the command line, which goes before it."""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from support import parsed

from ftpsvc import configuration
from ftpsvc.options import Options


def refusal(*words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "there" / "config.toml"


def written(file: Path, text: str) -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return f"--config={file}"


def test_each_kind_of_value(file: Path) -> None:
    options = parsed(
        written(
            file,
            """
port = [5071, "tls:5072"]
"root" = "files"          # beside this file
anonymous = 'read'
passive-ports = "50000-50010"
max-per-address = 7
idle-time = 1.5
session-rate-down = "2M"
exempt = "10.0.0.0/8"
""",
        )
    )
    assert options["ports"] == ["tcp:5071", "tls:tcp:5072"]
    assert options["root"] == str(file.parent / "files")
    assert (options["anonymous"], options["passive"].ports) == ("read", range(50000, 50011))
    limits = options["limits"]
    assert (limits.per_address, limits.idle, limits.session_down) == (7, 1.5, 2_000_000)
    assert ip_network("10.0.0.0/8") in limits.exempt


def test_the_command_line_wins_over_lists_too(file: Path) -> None:
    config = written(file, 'port = [5071, 5072]\nroot = "there"\npassive-local = ["10.0.0.0/8"]\nban-after = 3\n')
    options = parsed("--port", "5080", config, "--root=/srv", "--passive-loc=private", "--ban-after", "4")
    assert (options["ports"], options["root"]) == (["tcp:5080"], "/srv")
    assert ip_network("192.168.0.0/16") in options["passive-local"]
    assert len(options["passive-local"]) == len(parsed("--passive-local", "private")["passive-local"])
    assert options["limits"].ban_after == 4


def test_what_the_command_line_replaces_is_not_looked_at(file: Path) -> None:
    assert parsed(written(file, 'sync = "perhaps"\n'), "--sync=off")["sync"] == "off"


@pytest.mark.parametrize("name", ["root", "accounts", "certificate", "key", "state"])
def test_paths_begin_at_the_files_folder(
    name: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(file, f'{name} = "x"\ncertificate = "c"\n' if name == "key" else f'{name} = "x"\n')
    monkeypatch.chdir(tmp_path)
    assert parsed(config)[name] == str(file.parent / "x")
    assert parsed("--config", "there/config.toml")[name] == str(file.parent / "x")
    written(file, f'{name} = "/x"\ncertificate = "c"\n' if name == "key" else f'{name} = "/x"\n')
    assert parsed(config)[name] == "/x"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("\nprot = 5000", 2, "there is no option prot. Did you mean root or port?"),
        ("max_line = 5000", 1, "there is no option max_line. Did you mean max-line?"),
        ("# x\nfrobnicate = 1", 2, "there is no option frobnicate. Those there are: port, root, accounts"),
        ('config = "x"', 1, "there is no option config"),
        ("help = 1", 1, "there is no option help"),
        ("root = 5", 1, 'root takes a path in quotes, as in root = "...". The folder to serve.'),
        ("sync = true", 1, 'sync takes text in quotes, as in sync = "...". on: what was stored survives'),
        ("port = {}", 1, "[port] begins a table, and there are none here"),
        ("\n[port]\na = 1", 2, "[port] begins a table, and there are none here"),
        ("port = [true]", 1, 'port takes a list, as in port = ["...", "..."]'),
        ("\n\nidle-time = [5]", 3, 'idle-time takes a number, or one in quotes as "10k" or "10M"'),
        ('root = "a\\u0000b"', 1, "root takes a path in quotes"),
        ("port = 5000\nport = 5001", 2, "Cannot overwrite a value"),
        ("port = ", 1, "Invalid value"),
        pytest.param(f"port = 1{'0' * 5000}", 0, "a number in it is too long", id="a long number"),
        pytest.param(f"port = {'[' * 100_000}", 0, "lists or tables in it are nested too deeply", id="nested"),
        # What the options themselves have to say:
        ('root = "."\nsync = "perhaps"', 2, "--sync is on or off. See: twistd ftpsvc --help"),
        ("#\nidle-time = 0", 2, "--idle-time takes a number, 1 or more"),
        ("max-line = 10_000_000", 1, "no line could be longer than what may wait (--max-line, --max-waiting)"),
        ('passive-local = ["10.0.0.0/8", "there"]', 1, "--passive-local: 'there' does not appear to be"),
        ('auth = "nothing:x"', 1, "--auth nothing: Auth plugin not recognized"),
        ('key = "x"', 1, "--key goes with --certificate"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(file: Path, text: str, line: int, why: str) -> None:
    said = refusal(written(file, text))
    assert (f"{file}, line {line}: {why}" if line else f"{file}: {why}") in said
    assert "\n" not in said


def test_what_stands_behind_a_checkers_kind_is_not_repeated(file: Path) -> None:
    """At a reload it would be logged, and a password may be in it."""
    said = refusal(written(file, 'auth = ["memory:mia:secret:max"]\n'))
    assert f"{file}, line 1: --auth memory: " in said
    assert "secret" not in said


def test_an_error_of_the_command_line_is_not_blamed_on_the_file(file: Path) -> None:
    config = written(file, 'sync = "on"\n')
    assert str(file) not in refusal(config, "--sync=perhaps")
    assert str(file) not in refusal(config, "--prot=1")


def test_a_file_that_can_not_be_read(file: Path) -> None:
    assert refusal(f"--config={file}").endswith(f"{file}: No such file or directory. ftpsvc init DIR makes one")
    config = written(file, "")
    file.write_bytes(b"\n\xff")
    assert f"{file}, line 2: it is not UTF-8" in refusal(config)
    file.write_bytes(b"#" * (configuration.MAX_FILE + 1))
    assert "is larger than" in refusal(config)
    assert refusal("--config", str(file.parent)).endswith("Is a directory")
    file.unlink()
    os.mkfifo(file)  # whose writer never comes
    assert refusal(config).endswith("it is a pipe, and can't be read again")
    assert "is larger than" in refusal("--config=/dev/zero")


# -- the file that is made -----------------------------------------------------------------------------------


def test_the_template_has_every_option_of_the_command_line() -> None:
    options = Options()
    valued = {name.removesuffix("=") for name in options.longOpt if name.endswith("=")}
    template = configuration.template(options.settings(), {})
    assert set(re.findall(r"^# ([a-z-]+) = ", template, re.MULTILINE)) == valued - {"config", "help-auth-type"}


def test_each_option_is_explained_and_no_line_is_too_long() -> None:
    settings = Options().settings()
    assert all(len(setting.text) > 10 for setting in settings.values())
    lines = configuration.template(settings, {}).split("\n")
    assert max(map(len, lines)) <= configuration.WIDTH
    assert all(line == "" or line.startswith("# ") or line == "#" for line in lines)


def test_the_help_is_in_plain_lines_and_tells_each_default_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    for line in Options().getUsage().splitlines():
        option, _, text = line.strip().partition(" ")
        assert "  " not in text.strip(), option
        assert text.count("[default: ") <= 1 and "[default: ]" not in text, option


def test_the_values_in_the_comments_are_the_defaults(file: Path) -> None:
    template = configuration.template(Options().settings(), {})
    uncommented = re.sub(r"^# ([a-z-]+ = )", r"\1", template, flags=re.MULTILINE)
    options = parsed(written(file, uncommented))
    usual = parsed("--root", str(file.parent))  # the one that depends on where the file is
    same = [name for name in usual if name != "config"]
    assert [options[name] for name in same] == [usual[name] for name in same]


def test_what_is_chosen_stands_there_without_a_comment(file: Path) -> None:
    chosen = {"root": 'a "b" ä', "require-tls": "login"}
    options = parsed(written(file, configuration.template(Options().settings(), chosen)))
    assert (options["root"], options["require-tls"]) == (str(file.parent / 'a "b" ä'), "login")
