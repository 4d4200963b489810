"""What Tab offers in the shell."""

from __future__ import annotations

import support
from desk import Desk


def test_commands_complete(stranger: Desk) -> None:
    assert stranger.completed("c") == ["cat", "cd", "chmod", "close", "connect"]
    assert stranger.completed("retr") == ["retrieve "]
    assert stranger.completed("help sto") == ["help store "]
    assert stranger.completed("nosuch x") == []
    assert stranger.completed("retrieve x") == []


def test_remote_paths_complete(desk: Desk) -> None:
    (desk.there / "summer photos").mkdir()
    for name in ("my notes.txt", "my old notes.txt", "it's", ".hidden", "summer photos/a b.jpg"):
        (desk.there / name).touch()
    assert desk.completed("get my") == [r"get my\ notes.txt", r"get my\ old\ notes.txt"]
    assert desk.completed(r"get my\ n") == [r"get my\ notes.txt "]
    assert desk.completed('get "my n') == ['get "my notes.txt" ']
    assert desk.completed("get 'it") == ['get "it\'s" ']
    assert desk.completed("cd s") == ["cd summer\\ photos/"]
    assert desk.completed('ls "su') == ['ls "summer photos/']
    assert desk.completed('ls "summer photos/') == ['ls "summer photos/a b.jpg" ']
    assert desk.completed("get .h") == ["get .hidden "]
    assert desk.completed("get ") == [
        "get it\\'s",
        r"get my\ notes.txt",
        r"get my\ old\ notes.txt",
        "get summer\\ photos/",
    ]
    assert desk.completed("cd m") == desk.completed("get nosuch/") == desk.completed("ls a b") == []


def test_local_paths_complete(desk: Desk) -> None:
    (desk.here / "papers").mkdir()
    (desk.here / "paper.txt").touch()
    assert desk.completed("put pap") == ["put paper.txt", "put papers/"]
    assert desk.completed("get x pap") == ["get x paper.txt", "get x papers/"]
    assert desk.completed("lcd pap") == ["lcd papers/"]
    assert desk.completed(f"put {desk.here}/paper.") == [f"put {desk.here}/paper.txt "]
    assert desk.completed("lcd ~/her") == ["lcd ~/here/"]


def test_a_completion_that_nobody_waits_for_any_more_holds_up_nothing(desk: Desk) -> None:
    (desk.there / "a").touch()
    asked = support.start(desk.shell.completions("get "))
    asked.deferred.cancel()
    desk.link.pump()
    asked.deferred.addErrback(lambda _: None)
    assert desk.type("list").endswith("1 file, 0 B\n")


def test_a_listing_that_a_command_has_overtaken_is_not_believed(desk: Desk) -> None:
    support.start(desk.shell.completions("get "))  # while one types; the answer comes later
    desk.type("mkdir new")
    assert desk.completed("cd n") == ["cd new/"]


def test_behind_two_words_there_may_be_one_more_or_the_folder_for_all(desk: Desk) -> None:
    for name in ("a", "b", "box"):
        (desk.here / name).write_bytes(b"x")
    (desk.there / "bin").mkdir()
    (desk.there / "bin" / "deep").mkdir()
    (desk.there / "big").write_bytes(b"x")
    assert desk.completed("store a b b") == ["store a b b", "store a b bin/", "store a b box"]
    assert desk.completed("store -r a b bin/") == ["store -r a b bin/deep/"]
    assert desk.completed("retrieve bin big bi") == ["retrieve bin big big", "retrieve bin big bin/"]
