"""The entries of a folder, packed or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.model import Entry, Kind
from ftpsvc.rolls import Pile, Roll, Shelf

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
ENTRIES = st.lists(
    st.builds(
        Entry,
        NAMES,
        st.sampled_from(Kind),
        st.integers(0, 2**63 - 1),
        st.integers(-(2**60), 2**60),
        st.integers(0, 0o777),
        st.just(1),
        st.sampled_from(["", "801g2f"]),
        st.booleans(),
    ).map(lambda entry: entry if entry.is_directory else entry._replace(unique="")),
    unique_by=lambda entry: entry.name,
    max_size=12,
)


@given(ENTRIES, st.integers(0, 12), st.data())
def test_what_was_added_is_taken_once_or_is_the_rest(entries: list[Entry], shelf: int, data: st.DataObject) -> None:
    roll = Roll(Shelf(shelf))
    for entry in entries:
        roll.add(entry)
    roll.seal()
    assert len(roll) == len(entries)
    taken = data.draw(st.lists(st.sampled_from(entries), unique=True)) if entries else []
    for entry in taken:
        assert roll.take(entry.name) == entry
        assert roll.take(entry.name) is None
    assert roll.take("not there, or too long") is None
    assert {entry.name: entry for entry in roll.rest()} == {e.name: e for e in entries if e not in taken}


@given(ENTRIES, st.integers(0, 12))
def test_a_pile_gives_back_what_was_put_on_it_in_its_order(entries: list[Entry], shelf: int) -> None:
    pile = Pile(Shelf(shelf))
    for entry in entries:
        pile.add(entry)
    assert list(pile.entries()) == entries


def test_names_that_are_no_text_and_numbers_that_no_disk_has_are_packed_all_the_same() -> None:
    roll = Roll(Shelf(0))
    roll.add(Entry("caf\udce9", Kind.FILE, 2**70, 2**70, 0o644))
    roll.seal()
    entry = roll.take("caf\udce9")
    assert entry is not None and entry.size == entry.modified == 2**63 - 1


def test_a_roll_gives_its_place_on_the_shelf_back() -> None:
    shelf = Shelf(2)
    first = Roll(shelf)
    for name in "abc":
        first.add(Entry(name, Kind.FILE))
    assert shelf.left == 0
    first.close()
    first.close()
    assert shelf.left == 2


@pytest.mark.parametrize("plain", [0, 1, 9])
def test_a_name_that_comes_twice_is_taken_as_one(plain: int) -> None:
    roll = Roll(Shelf(plain))
    for size in (1, 2):
        roll.add(Entry("twice", Kind.FILE, size))
    roll.add(Entry("twice more", Kind.FILE))
    roll.seal()
    assert roll.take("twice") is not None
    assert [entry.name for entry in roll.rest()] == ["twice more"]
    assert roll.take("twice") is None
