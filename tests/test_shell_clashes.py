"""Files that are there already, several files at once, and what is looked at before the first byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import support
from desk import Desk

from ftpsvc import model
from ftpsvc.pacing import SHARES


def both(desk: Desk, *names: str) -> None:
    """Files here and there, those there newer and larger."""
    for name in names:
        (desk.here / name).write_bytes(b"here")
        os.utime(desk.here / name, (1_000_000_000, 1_000_000_000))
        (desk.there / name).write_bytes(b"there" * 300)


# -- what is there already -----------------------------------------------------------------------------------


def test_both_are_shown_and_the_answer_counts(desk: Desk) -> None:
    both(desk, "a")
    desk.is_attended("s", "o")
    assert desk.type("get a") == "skipped a: kept the one that is there\n"
    question = desk.asked[0].splitlines()
    assert question[0] == f"{desk.here}/a is there already:"
    assert question[1].startswith("  here       4 B  2001-09-09") and question[2].startswith("  server  1.5 kB  ")
    assert question[3].startswith("[o]verwrite, [s]kip, [r]esume, [n]ewer only;")
    assert (desk.here / "a").read_bytes() == b"here"
    assert desk.type("get a").endswith(", replaced the old one\n")
    assert (desk.here / "a").read_bytes() == b"there" * 300


def test_newer_replaces_what_is_older(desk: Desk) -> None:
    both(desk, "a", "b")
    desk.is_attended("n", "n")
    assert desk.type("get a").startswith("retrieved a")
    assert desk.type("put b") == "skipped b: the one that is there is as new\n"
    assert (desk.there / "b").read_bytes() == b"there" * 300


def test_a_capital_letter_answers_for_all(desk: Desk) -> None:
    both(desk, "a", "b", "c", "d")
    desk.is_attended("s", "O")
    said = desk.type("mget *")
    assert len(desk.asked) == 2
    assert "skipped a" in said and said.endswith(" of 3 files: 4.5 kB in 0 ms\n")
    assert (desk.here / "a").read_bytes() == b"here"
    assert all((desk.here / name).read_bytes() == b"there" * 300 for name in "bcd")


@pytest.mark.parametrize(("policy", "size"), [("skip", 4), ("replace", 1500), ("newer", 1500)])
def test_a_setting_answers_without_a_question(desk: Desk, policy: str, size: int) -> None:
    both(desk, "a")
    desk.is_attended()
    desk.type(f"set overwrite {policy}")
    desk.type("get a")
    assert (desk.here / "a").stat().st_size == size and not desk.asked


def test_without_anybody_to_be_asked_files_are_replaced(desk: Desk) -> None:
    both(desk, "a")
    desk.type("get a")
    assert (desk.here / "a").read_bytes() == b"there" * 300


# -- several at once -----------------------------------------------------------------------------------------


def test_patterns_mean_the_files_of_a_folder(desk: Desk) -> None:
    (desk.there / "pub" / "folder.jpg").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "c.txt"):
        (desk.there / "pub" / name).write_bytes(b"x" * 1000)
    (desk.here / "in").mkdir()
    said = desk.type("get pub/*.jpg in").splitlines()
    assert sorted(said)[-1] == "retrieved b.jpg as " + f"{desk.here}/in/b.jpg: 1.0 kB in 0 ms, digest checked"
    assert said[-1] == "retrieved 2 of 2 files: 2.0 kB in 0 ms"
    assert sorted(os.listdir(desk.here / "in")) == ["a.jpg", "b.jpg"]
    desk.type("lcd in")
    desk.type("mkdir up")
    desk.type("cd up")
    assert desk.type("mput *.jpg").endswith("stored 2 of 2 files: 2.0 kB in 0 ms\n")
    assert sorted(os.listdir(desk.there / "up")) == ["a.jpg", "b.jpg"]


def test_a_folder_that_is_not_carried_is_said(desk: Desk) -> None:
    (desk.there / "folder").mkdir()
    (desk.there / "a").write_bytes(b"x")
    said = "/folder is a folder. Use -r to carry it with all that is in it.\n"
    assert desk.type("mget a folder") == f"retrieved a: 1 B in 0 ms, digest checked\nmget: {said}"
    assert desk.type("get f*") == f"get: {said}"
    assert desk.type("mget f* a").startswith("retrieved a: ")


def test_many_names_are_looked_up_at_once(desk: Desk) -> None:
    for number in range(40):
        (desk.here / str(number)).write_bytes(b"x")
    started = support.start(desk.shell.onecmd("mput *"))
    turns = 0
    while not started.is_over:
        desk.step()
        turns += 1
    assert "stored 40 of 40 files" in desk.said()
    assert turns < 40


def test_what_is_there_of_many_files_is_looked_up_at_once(desk: Desk) -> None:
    for number in range(40):
        (desk.here / str(number)).write_bytes(b"x")

    async def space(path: str) -> int:
        return 39

    desk.remote.space = space  # type: ignore[method-assign]
    started = support.start(desk.shell.onecmd("mput *"))
    turns = 0
    while not started.is_over:
        desk.step()
        turns += 1
    assert "need 40 B, the server has 39 B free" in desk.said()
    assert turns < 40


class Costly(dict[str, Any]):
    """Says how often it was looked through."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        Costly.passes += 1
        return super().__iter__()

    def keys(self) -> Any:
        Costly.passes += 1
        return super().keys()


def test_thousands_of_words_are_not_gone_through_for_each_of_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (desk.here / name).write_bytes(b"x")
    desk.shell.names_given = Costly()
    desk.type("mput a b c")
    assert (len(desk.shell.names_given), Costly.passes) == (3, 0)
    taken_apart: list[str] = []
    monkeypatch.setattr(desk.shell, "words_of", lambda line: taken_apart.append(line) or line.split())
    few, many = (len(taken_apart) for words in ("1 2", "1 2 3 4 5 6 7 8") if desk.type(f"mput {words}"))
    assert many == 2 * few


def test_a_name_that_looks_like_a_pattern_is_a_name(desk: Desk) -> None:
    for name in ("a[1]", "a1"):
        (desk.there / name).write_bytes(b"x")
    desk.type("get a[1]")
    assert os.listdir(desk.here) == ["a[1]"]


def test_one_that_fails_does_not_keep_the_others(desk: Desk) -> None:
    for name in "abc":
        (desk.there / name).write_bytes(b"x")
    (desk.there / "b").chmod(0)
    real = desk.remote.open_read

    async def open_read(path: str, offset: int = 0) -> Any:
        return await real("/nosuch" if path == "/b" else path, offset)

    desk.remote.open_read = open_read  # type: ignore[method-assign]
    said = desk.type("mget *")
    assert "b: 550" in said and "retrieved 2 of 3 files" in said
    assert "mget: 1 of 3 files failed; what was wrong with each stands above." in said
    assert sorted(os.listdir(desk.here)) == ["a", "c"]


def test_several_files_need_a_folder_and_names_of_their_own(desk: Desk) -> None:
    for name in ("a/x", "b/x", "y"):
        (desk.there / name).parent.mkdir(exist_ok=True)
        (desk.there / name).write_bytes(b"x")
    assert desk.type("get ? nodir").startswith(f"get: there is no folder {desk.here}/nodir.")
    assert desk.type("get y a/x nodir/").startswith(f"get: there is no folder {desk.here}/nodir.")
    assert os.listdir(desk.here) == []
    said = desk.type("mget a/x b/x")
    assert said.startswith("retrieved x: ")
    assert said.endswith(f"mget: /a/x and /b/x would both become {desk.here}/x.\n")
    assert os.listdir(desk.here) == ["x"]


def test_several_files_go_into_a_folder_and_one_that_is_missing_keeps_none_of_them(desk: Desk) -> None:
    (desk.here / "sub").mkdir()
    for name in ("a", "b", "my c"):
        (desk.there / name).write_bytes(name.encode())
    said = desk.type('get a nosuch "my c" a b* sub/')
    assert said.endswith('retrieved 3 of 3 files: 6 B in 0 ms\nget: no "nosuch" in / (550).\n')
    assert sorted(os.listdir(desk.here / "sub")) == ["a", "b", "my c"]
    assert "retrieved 2 of 2 files" in desk.type("get a b .")
    assert (desk.here / "a").exists()
    (desk.there / "up").mkdir()
    desk.type("lcd sub")
    assert "stored 2 of 2 files" in desk.type("put a b up/")
    assert sorted(os.listdir(desk.there / "up")) == ["a", "b"]
    assert desk.type("get nosuch neither sub/").count("get: no ") == 2


def test_a_name_that_a_server_does_not_like_keeps_none_of_the_others(desk: Desk) -> None:
    for name in ("a", "odd", "z"):
        (desk.here / name).write_bytes(b"x")
    look = desk.remote.stat

    async def stat(path: str) -> Any:
        if path == "/odd":
            raise model.InvalidName("553 Such a name can't be.")
        return await look(path)

    desk.remote.stat = stat  # type: ignore[method-assign]
    said = desk.type("mput a odd z")
    assert "stored 2 of 2 files" in said and said.endswith("mput: 553 Such a name can't be.\n")
    assert sorted(os.listdir(desk.there)) == ["a", "z"]
    assert desk.type("mput o*") == "mput: 553 Such a name can't be.\n"


def test_of_several_it_is_said_which_name_can_not_be(desk: Desk) -> None:
    for name in ("a", "b\nc"):
        (desk.here / name).write_bytes(b"x")
    said = desk.type("mput a $'b\\nc' $'d\\ne'")
    assert said.startswith("stored a: ")
    assert "mput: $'b\\x0ac': A name can't hold NUL, CR or LF.\nmput: $'d\\x0ae': A name can't hold" in said


def test_an_interrupt_in_the_middle_of_several(desk: Desk) -> None:
    for name in "abc":
        (desk.there / name).write_bytes(b"x" * 30_000)
    desk.type("set limit-rate 10k")
    started = desk.start("mget *")
    desk.clock.advance(1)
    desk.pump()
    desk.shell.interrupt()
    assert started.result() is False
    assert desk.said() == ("mget: stopped. 0 of 3 files had been carried, and of the others none was replaced.\n")
    assert os.listdir(desk.here) == []


# -- before the first byte -----------------------------------------------------------------------------------


def test_space_is_needed_for_all_of_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (desk.here / name).write_bytes(b"x" * 5000)

    async def space(path: str) -> int:
        return 8000

    monkeypatch.setattr(desk.remote, "space", space)
    assert desk.type("mput *") == "mput: need 10.0 kB, the server has 8.0 kB free. Nothing transferred.\n"
    assert os.listdir(desk.there) == []


@pytest.mark.parametrize("refusal", [model.BadParameter, model.BadArgument, model.Busy, model.BadCommand])
def test_a_server_that_does_not_tell_its_space_after_all_takes_files(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, refusal: type[model.TransferError]
) -> None:
    (desk.here / "a").write_bytes(b"x")
    desk.remote.features["AVBL"] = ""

    async def space(path: str) -> int:
        raise refusal("500 No.")

    monkeypatch.setattr(desk.remote, "space", space)
    assert desk.type("put a").startswith("stored a:")
    assert desk.type("df").startswith("server  not told")


def test_a_folder_that_takes_no_files_is_known_before(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.here / "a").write_bytes(b"x")
    (desk.there / "b").write_bytes(b"x")

    async def permissions(path: str) -> str:
        return "el"

    monkeypatch.setattr(desk.remote, "permissions", permissions)
    assert desk.type("put a") == "put: you may not make files in / there. Nothing transferred.\n"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert desk.type("get b") == f"get: you may not make files in {desk.here} on this machine. Nothing transferred.\n"


def test_what_the_server_permits_is_told_by_it(desk: Desk) -> None:
    permissions = support.result_of(desk.remote.permissions("/"), desk)
    assert set("clm") <= set(permissions)
    assert support.result_of(desk.remote.permissions("/nosuch"), desk) is None


# -- the pace ------------------------------------------------------------------------------------------------


def test_a_limit_on_the_rate_holds_for_all_together(desk: Desk) -> None:
    for name in "ab":
        (desk.there / name).write_bytes(b"x" * 10_000)
    desk.type("set limit-rate 2k")
    started = desk.start("mget *")
    for _ in range(9 * SHARES):
        desk.clock.advance(1 / SHARES)
        desk.pump()
    assert not started.is_over
    for _ in range(2 * SHARES):
        desk.clock.advance(1 / SHARES)
        desk.pump()
    assert started.result() is False
    assert "2 of 2 files" in desk.said()


@pytest.mark.parametrize("value", ["fast", "0", "-1", "1T", "k"])
def test_a_rate_that_is_none_is_refused(desk: Desk, value: str) -> None:
    assert f'"{value}" is no rate' in desk.type(f"set limit-rate {value}")
