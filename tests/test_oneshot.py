"""One-shot commands, as a script runs them: what they print, and the exit code for each cause."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import nursery
import pytest
import serverprocess
import streams
import support
import twotrees
from daemon import DEADLINE
from scripts import RUN, Run, run, served

from ftpsvc import model, wire
from ftpsvc.oneshot import COMMANDS
from ftpsvc.oneshotoptions import check_urls
from ftpsvc.outcomes import OUTCOMES, outcome

__all__ = ["run", "served"]  # fixtures, which pytest finds by their names


def test_files_go_up_and_come_back(served: tuple[Path, str], run: Run, tmp_path: Path) -> None:
    folder, url = served
    for name in ("a 1", "b"):
        (tmp_path / "here" / name).write_bytes(name.encode() * 1000)
    ended = run("put", "a 1", "b", f"{url}/")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (folder / "a 1").read_bytes() == b"a 1" * 1000
    (tmp_path / "here" / "back").mkdir()
    ended = run("get", f"{url}/a%201", f"{url}/b", "back", "--quiet")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert (tmp_path / "here" / "back" / "a 1").read_bytes() == b"a 1" * 1000


def test_names_that_look_like_options_or_the_home_folder(served: tuple[Path, str], run: Run, tmp_path: Path) -> None:
    folder, url = served
    here = tmp_path / "here"
    for name in ("-r", "--json", "~"):
        (here / name).write_text(name)
        ended = run("put", "--", name, f"{url}/")
        assert (ended.returncode, ended.stderr, (folder / name).read_text()) == (0, b"", name)
        (here / name).unlink()
    assert run("get", "--", f"{url}/~", "~").returncode == 0
    assert (here / "~").read_text() == "~"
    assert run("mirror", "--quiet", "--", f"{url}/", "-d").returncode == 0
    assert (here / "-d" / "--json").read_text() == "--json"
    assert run("put", "--", "-r").returncode == 2


def test_events_are_json_a_line_each(served: tuple[Path, str], run: Run) -> None:
    folder, url = served
    (folder / "a").write_bytes(b"x" * 5000)
    ended = run("get", "--json", f"{url}/a", f"{url}/nosuch")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [event["event"] for event in events] == ["failed", "start", "done"]
    assert events[0]["cause"] == "missing" and events[0]["code"] == ended.returncode == 7
    assert events[2]["size"] == 5000 and events[2]["checked"] == "digest"
    (listed,) = [json.loads(line) for line in run("ls", "--json", f"{url}/a").stdout.splitlines()]
    assert listed["name"] == "a" and listed["size"] == 5000 and listed["type"] == "file"


def test_events_of_standard_input_and_of_what_is_misunderstood(served: tuple[Path, str], run: Run) -> None:
    url = served[1]
    ended = run("put", "--json", "-", f"{url}/told", input=bytes(5000))
    start, done = map(json.loads, ended.stdout.splitlines())
    assert start == {"event": "start", "name": "told", "size": 0, "files": 1}
    assert 0 <= done.pop("seconds") < DEADLINE
    facts = {"from": "-", "to": "/told", "size": 5000, "resumed": 0, "checked": "digest"}
    assert done == {"event": "done", **facts}
    ended = run("get", "--json", f"{url}/told", "-")
    start, done = map(json.loads, ended.stderr.splitlines())
    assert (ended.stdout, start["name"], start["size"]) == (bytes(5000), "told", 5000)
    del done["seconds"]
    assert done == {"event": "done", **facts, "from": "/told", "to": "-"}
    for words in (["not-a-url"], ["--nosuch", f"{url}/told"], ["--overwrite", "x", f"{url}/told"], []):
        ended = run("get", "--json", *words)
        event = json.loads(ended.stdout)
        assert (ended.returncode, ended.stderr, event["event"], event["cause"]) == (2, b"", "failed", "usage")


def test_the_first_failure_decides_and_the_rest_is_done(served: tuple[Path, str], run: Run, tmp_path: Path) -> None:
    folder, url = served
    (folder / "a").write_bytes(b"x")
    ended = run("get", f"{url}/nosuch", f"{url}/a", "ftp://nosuch.invalid/b")
    assert ended.returncode == 7
    assert (tmp_path / "here" / "a").exists()


def test_what_two_patterns_match_never_takes_each_others_place(
    served: tuple[Path, str], run: Run, tmp_path: Path
) -> None:
    folder, url = served
    here = tmp_path / "here"
    for path in ("one/1.jpg", "one/2.jpg", "two/2.jpg", "two/3.jpg", "three/4.jpg"):
        twotrees.write(folder / "shots" / path, path.encode())
    other = f"{url.replace('127.0.0.1', 'localhost')}/shots"
    url += "/shots"
    ended = run("get", f"{url}/one/*.jpg", f"{url}/two/?.jpg", f"{url}/three/*.jpg", ".")
    assert ended.returncode == 2
    assert b"/shots/one/2.jpg and /shots/two/2.jpg would both become " in ended.stderr
    assert {path.name: path.read_text() for path in here.iterdir()} == {
        "1.jpg": "one/1.jpg",
        "2.jpg": "one/2.jpg",
        "4.jpg": "three/4.jpg",
    }
    ended = run("get", f"{url}/one/1.jpg", f"{other}/one/?.jpg", ".")
    assert ended.returncode == 2 and f"{other}/one/1.jpg".encode() in ended.stderr
    assert run("get", f"{url}/one/*.jpg", f"{url}/one/1*", ".").returncode == 0
    ended = run("get", "-r", f"{url}/one", f"{url[:-6]}/sh*", ".")
    assert ended.returncode == 0
    twotrees.write(folder / "more" / "one" / "1.jpg", b"another")
    ended = run("get", "-r", f"{url}/one", f"{url[:-6]}/more/o*", ".")
    assert ended.returncode == 2 and b"/shots/one and /more/one would both become " in ended.stderr
    assert (here / "one" / "1.jpg").read_text() == "one/1.jpg"
    (here / "sub").mkdir()
    (here / "sub" / "1.jpg").touch()
    assert run("put", "*.jpg", "sub/1*", f"{url}/").returncode == 2
    assert (folder / "shots" / "1.jpg").read_text() == "one/1.jpg"


def test_changing_and_looking(served: tuple[Path, str], run: Run) -> None:
    folder, url = served
    assert run("mkdir", "-p", f"{url}/d/e/f").returncode == 0
    (folder / "d" / "x").write_bytes(b"hello\n")
    digest = run("hash", f"{url}/d/x")
    assert digest.stdout.split()[0].decode() == hashlib.sha256(b"hello\n").hexdigest()
    digest = run("hash", "--algorithm", "md5", f"{url}/d/x")
    assert digest.stdout.split()[0].decode() == hashlib.md5(b"hello\n").hexdigest()
    ended = run("hash", "--algorithm", "MD4", f"{url}/d/x")
    assert (ended.returncode, ended.stdout) == (2, b"") and b"MD4 is no digest that 127.0.0.1 has." in ended.stderr
    assert run("mv", f"{url}/d/x", "/d/e/f/").returncode == 0
    assert b"  x\n" in run("ls", f"{url}/d/e/f").stdout
    assert run("rm", f"{url}/d").returncode == 8
    assert run("rm", "-r", f"{url}/d").returncode == 0
    assert not (folder / "d").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["get"], 2),
        (["get", "not-a-url"], 2),
        (["ls", "not-a-url"], 2),
        (["ls", "http://h/"], 2),
        (["put", "-", "ftp://h/"], 2),
        (["ls", "ftp://nosuch.invalid/"], 3),
        (["ls", "ftp://maria@{host}/"], 5),
        (["ls", "ftps://{host}/"], 5),
        (["ls", "--clear", "ftp://maria@{host}/"], 6),
        (["get", "{url}/nosuch"], 7),
        (["put", "-", "{url}/no/folder"], 7),
        (["cat", "{url}/"], 8),
        (["get", "{url}/*.nothing"], 7),
        (["mirror", "{url}/nosuch"], 7),
        (["mirror", "nosuch"], 2),
        (["mirror", "{url}/a", "{url}/b"], 2),
        (["get", "--newer", "{url}/a"], 2),
        (["get", "-r", "--overwrite", "skip", "{url}/a"], 2),
        (["put", "-r", "-", "{url}/a"], 2),
        (["get", "{url}/a/x", "{url}/b/x", "."], 2),
        (["put", "a/x", "x", "{url}/"], 2),
        (["mirror", "--delete", "", "{url}/"], 2),
        (["get", "{url}/a", "{url}/b", ""], 2),
        (["mv", "{url}/d/x", ""], 2),
        (["get", "{url}"], 8),
    ],
)
def test_exit_codes(served: tuple[Path, str], run: Run, words: list[str], code: int) -> None:
    url = served[1]
    ended = run(*(word.format(url=url, host=url[6:]) for word in words))
    assert ended.returncode == code
    assert ended.stderr and b"Traceback" not in ended.stderr


@pytest.mark.parametrize(("word", "said"), [("h/a", "h/a is no URL"), ("mia:s3cr3t@h/a", "no URL"), ("a:b", "a:b is")])
def test_what_may_be_a_password_is_not_repeated(word: str, said: str) -> None:
    with pytest.raises(model.BadArgument, match=said) as refusal:
        check_urls([word])
    assert "s3cr3t" not in str(refusal.value)


def test_nobody_there_is_another_code(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ended = run("ls", f"ftp://127.0.0.1:{unused.getsockname()[1]}/")
    assert ended.returncode == 4


def test_every_error_has_one_code_and_those_without_are_others() -> None:
    assert outcome(model.NoSuchHost("x"))[1] == "name"
    assert outcome(model.TimedOut("x"))[1] == "lost"
    assert outcome(model.NotFound("x"))[0] != outcome(model.Denied("x"))[0]
    assert outcome(ZeroDivisionError())[0] == outcome(model.Busy("x"))[0] == 1
    names = {code: name for _, code, name in OUTCOMES}
    assert all(names[code] == name for _, code, name in OUTCOMES)


def test_what_a_server_does_not_understand_is_not_the_usage_of_our_command() -> None:
    assert outcome(model.BadCommand("x")) == outcome(model.BadArgument("x")) == (2, "usage")
    assert outcome(wire.error_for(wire.Reply(500, "OOPS: cannot locate user entry"))) == (1, "other")
    assert outcome(wire.error_for(wire.Reply(501, "Not that"))) == (1, "other")


def test_what_is_documented_is_what_there_is() -> None:
    text = (Path(__file__).parent.parent / "docs" / "scripts.md").read_text()
    for _, code, name in OUTCOMES:
        assert f"| {code} | {name} |" in text
    for command in COMMANDS:
        assert f"`{command}`" in text


def test_what_a_signal_ends_leaves_a_part_that_another_command_goes_on_from(
    served: tuple[Path, str], run: Run, tmp_path: Path
) -> None:
    folder, url = served
    data = random.Random(1).randbytes(8_000_000)
    (folder / "large").write_bytes(data)
    here = tmp_path / "here"
    with serverprocess.python_path() as path:
        command = (sys.executable, "-c", RUN, "get", "--json", "--limit-rate", "1M", f"{url}/large")
        environment = {**path, "XDG_STATE_HOME": str(tmp_path / "state")}
        with nursery.Child(command, stdout=subprocess.PIPE, env=environment, cwd=here) as process:
            assert process.stdout is not None
            assert b"start" in process.stdout.readline()
            streams.eventually(lambda: any(part.stat().st_size for part in support.parts_in(here)))
            process.send_signal(signal.SIGINT)
            events = [json.loads(line) for line in process.stdout]
            assert process.wait(DEADLINE) == 128 + signal.SIGINT
    assert events[-1]["cause"] == "interrupted"
    assert [path.name for path in here.iterdir() if not path.name.startswith(".")] == []
    (listed,) = [json.loads(line) for line in run("resume", "--json").stdout.splitlines()]
    assert (listed["url"], listed["local"]) == (url, f"{here}/large")
    (_, done) = [json.loads(line) for line in run("resume", "--json", "all").stdout.splitlines()]
    assert done["resumed"] > 0 and done["checked"] == "digest"
    assert (here / "large").read_bytes() == data and len(list(here.iterdir())) == 1


def test_folders_go_both_ways(served: tuple[Path, str], run: Run, tmp_path: Path) -> None:
    folder, url = served
    here = tmp_path / "here"
    twotrees.write(folder / "tree" / "sub" / "a", b"1")
    twotrees.write(folder / "tree" / "b", b"2" * 100_000)
    assert run("mirror", f"{url}/tree").returncode == 0
    assert twotrees.content(here / "tree") == twotrees.content(folder / "tree")
    twotrees.write(here / "tree" / "c.o", b"3")
    assert run("put", "-r", "--exclude", "*.o", "tree", f"{url}/copy").returncode == 0
    assert twotrees.content(folder / "copy") == twotrees.content(folder / "tree")
    ended = run("mirror", "--json", "tree", f"{url}/copy")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [event["event"] for event in events] == ["start", "done"]
    assert (events[-1]["copied"], events[-1]["same"], events[-1]["to"]) == (1, 2, "/copy")
    assert run("get", "-r", f"{url}/copy", "back").returncode == 0
    assert twotrees.content(here / "back") == twotrees.content(here / "tree")
    steps = [json.loads(line) for line in run("mirror", "-n", "--json", f"{url}/tree", "new").stdout.splitlines()]
    assert {(step["do"], step["path"]) for step in steps if step["event"] == "step"} >= {("copy", "sub/a")}


def test_what_fails_in_a_folder_decides_the_exit_code(served: tuple[Path, str], run: Run, tmp_path: Path) -> None:
    folder, url = served
    twotrees.write(folder / "few" / "a")
    for name in ("a", "b", "c"):
        twotrees.write(tmp_path / "here" / "few" / name)
    ended = run("mirror", "--delete", f"{url}/few")
    assert ended.returncode == 1 and b"none was" in ended.stderr
    assert run("mirror", "--delete", "--force", f"{url}/few").returncode == 0
    assert [path.name for path in (tmp_path / "here" / "few").iterdir()] == ["a"]
    (tmp_path / "here" / "few" / "a").unlink()
    (tmp_path / "here" / "few" / "a").mkdir()
    ended = run("mirror", "--json", f"{url}/few")
    assert [json.loads(line)["event"] for line in ended.stdout.splitlines()][-2:] == ["failed", "done"]
    assert ended.returncode == 8


def test_a_part_of_another_client_is_gone_on_from(served: tuple[Path, str], run: Run, tmp_path: Path) -> None:
    folder, url = served
    (folder / "whole").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "here" / "whole").write_bytes(bytes(range(256)) * 10)
    ended = run("get", "--overwrite", "resume", f"{url}/whole")
    assert b"went on from 2.6 kB, digest checked" in ended.stdout
    assert (tmp_path / "here" / "whole").read_bytes() == bytes(range(256)) * 1000


@pytest.mark.parametrize("words", [("put", "a", "b"), ("put", "-r", "t", "u")])
def test_several_do_not_become_one_name(
    served: tuple[Path, str], run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder, url = served
    for name in ("a", "b", "t/f", "u/f"):
        twotrees.write(tmp_path / "here" / name, name.encode())
    assert run(*words, f"{url}/onename").returncode == 7
    assert not (folder / "onename").exists()
    for name in ("one", "two"):
        (folder / name).write_bytes(name.encode())
    assert run("get", f"{url}/one", f"{url}/two", "onename").returncode == 7
    assert not (tmp_path / "here" / "onename").exists()


def test_nothing_comes_home_from_a_folder_that_was_removed(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    (folder / "notes").write_bytes(b"theirs")
    (tmp_path / "notes").write_bytes(b"mine")
    (tmp_path / "gone").mkdir()
    script = f"import os; os.chdir({str(tmp_path / 'gone')!r}); os.rmdir(os.getcwd()); " + RUN
    for words in (("get", f"{url}/notes"), ("put", "notes", f"{url}/notes"), ("mirror", f"{url}/", ".")):
        with serverprocess.python_path() as path:
            environment = {**path, "HOME": str(tmp_path)}
            command = (sys.executable, "-c", script, *words)
            (tmp_path / "gone").mkdir(exist_ok=True)
            ended = nursery.run(command, env=environment, timeout=DEADLINE)
        assert ended.returncode == 7
        assert b"no folder" in ended.stderr or words[0] == "mirror"
    assert (folder / "notes").read_bytes() == b"theirs"
    assert (tmp_path / "notes").read_bytes() == b"mine"
    assert not [found for found in tmp_path.iterdir() if found.name.startswith("gone")]


def test_what_a_server_says_that_is_no_reply_is_told_without_the_shells_advice(run: Run) -> None:
    def serve() -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines, contextlib.suppress(ConnectionError):
            connection.sendall(b"220 x\r\n")
            for line in lines:
                verb = line.split()[0]
                connection.sendall(b"zzz\r\n" if verb == b"EPSV" else b"230 x\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve)
        server.start()
        done = run("ls", f"ftp://127.0.0.1:{listening.getsockname()[1]}/")
        server.join(DEADLINE)
    assert done.returncode == 1 and b"no reply: 'zzz'" in done.stderr
    assert b"Use: connect" not in done.stderr
