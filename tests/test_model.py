from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc import model
from ftpsvc.model import InvalidName, Permission, decode_name, encode_name, parent_and_name, resolve


@pytest.mark.parametrize(
    ("cwd", "argument", "path"),
    [
        ("/", "a", "/a"),
        ("/", "", "/"),
        ("/a/b", "c", "/a/b/c"),
        ("/a/b", "/c", "/c"),
        ("/a/b", "..", "/a"),
        ("/a/b", "../../../../../etc/passwd", "/etc/passwd"),
        ("/a", "nosuch/../../x", "/x"),
        ("/", "a//b/./c/", "/a/b/c"),
        ("/a", ".", "/a"),
        ("/", " a ", "/ a "),
        ("/", "..%2f", "/..%2f"),
        ("/", "....//x", "/..../x"),
        ("/", "..\\x", "/..\\x"),
        ("/", "~root", "/~root"),
        ("/", "*", "/*"),
    ],
)
def test_a_path_is_taken_by_its_text_and_stops_at_the_root(cwd: str, argument: str, path: str) -> None:
    assert resolve(cwd, argument) == path


@pytest.mark.parametrize("argument", ["a\0b", "a\rb", "a\nb", "\0", "a/\r/b"])
def test_a_name_with_nul_cr_or_lf_is_refused(argument: str) -> None:
    with pytest.raises(InvalidName):
        resolve("/", argument)


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127 + "a", "\udcff" * 255])
def test_a_name_of_255_bytes_is_taken(name: str) -> None:
    assert resolve("/", name) == "/" + name


@pytest.mark.parametrize("name", ["a" * 256, "ä" * 128, "\udcff" * 256, "😀" * 64])
def test_a_name_of_256_bytes_is_refused(name: str) -> None:
    assert len(encode_name(name)) >= 256
    with pytest.raises(InvalidName):
        resolve("/", name)


@pytest.mark.parametrize("path", [".ftpsvc-x", "a/.ftpsvc-x/b", "/.ftpsvc-"])
def test_the_servers_own_names_are_out_of_reach(path: str) -> None:
    with pytest.raises(InvalidName):
        resolve("/", path)


def test_a_reserved_name_that_is_left_again_is_refused_too() -> None:
    with pytest.raises(InvalidName):
        resolve("/", ".ftpsvc-x/../a")


@given(st.text(alphabet=st.sampled_from("ab./ \udc80\t"), max_size=30), st.text(alphabet="a/.", max_size=12))
def test_whatever_is_resolved_is_absolute_normal_and_stays_so(argument: str, folder: str) -> None:
    path = resolve(resolve("/", folder), argument)
    assert path.startswith("/")
    assert path == "/" or not {"", ".", ".."} & set(path[1:].split("/"))
    assert resolve("/anywhere", path) == path


@given(st.binary(max_size=300))
def test_any_bytes_survive_as_a_name(name: bytes) -> None:
    assert encode_name(decode_name(name)) == name


@pytest.mark.parametrize(("path", "parts"), [("/a/b", ("/a", "b")), ("/a", ("/", "a")), ("/", ("/", ""))])
def test_a_path_is_its_parent_and_its_name(path: str, parts: tuple[str, str]) -> None:
    assert parent_and_name(path) == parts


def test_everything_holds_every_permission() -> None:
    assert all(permission in model.EVERYTHING for permission in Permission)
    assert all(permission in model.ANONYMOUS.permissions for permission in Permission)
