"""Tables in shared memory: two views of the same, as two processes have them, and a process that dies."""

from __future__ import annotations

import os
import signal
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsvc.commons import OwnCounts, OwnNotes
from ftpsvc.sharedtable import KEY, WINDOW, Memory, SharedCounts, SharedNotes

ROWS = 256
WORKERS = 3


class Views:
    """The same tables as each of some processes sees them."""

    def __init__(self, rows: int = ROWS, numbers: int = 2) -> None:
        first = Memory.create(SharedCounts.size(rows, WORKERS) + SharedNotes.size(rows))
        self.memories = [first, *(Memory(os.dup(first.descriptor)) for _ in range(WORKERS - 1))]
        self.counts = [SharedCounts(memory, rows, WORKERS, n) for n, memory in enumerate(self.memories)]
        self.notes = [SharedNotes(memory, rows, numbers) for memory in self.memories]

    def close(self) -> None:
        for memory in self.memories:
            memory.close()


@pytest.fixture
def views() -> Iterator[Views]:
    views = Views()
    yield views
    views.close()


KEYS = st.sampled_from(["a", "address 192.0.2.1", "x" * 60, "y" * 60, "a\x01b", "\x01", "", "#a", "é\udcff"])


@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), KEYS, st.sampled_from(["more", "less"]), st.integers(0, 3))))
def test_what_several_count_is_what_one_would_have_counted(steps: list[tuple[int, str, str, int]]) -> None:
    views, one = Views(), OwnCounts()
    own = [Counter[str]() for _ in range(WORKERS)]
    try:
        for worker, key, what, most in steps:
            if what == "more":
                assert views.counts[worker].more(key, most) == one.more(key, most)
                own[worker][key] += views.counts[worker].count(key) > sum(counter[key] for counter in own)
            elif own[worker][key]:
                views.counts[worker].less(key)
                one.less(key)
                own[worker][key] -= 1
            assert all(view.count(key) == one.count(key) for view in views.counts)
    finally:
        views.close()


def test_less_takes_nothing_of_what_others_have_counted(views: Views) -> None:
    views.counts[0].more("a")
    views.counts[1].less("a")
    assert views.counts[2].count("a") == 1


def test_what_a_dead_worker_had_counted_is_gone_and_the_rest_stays(views: Views) -> None:
    for worker, key in ((0, "a"), (0, "b"), (1, "b"), (1, "c")):
        views.counts[worker].more(key)
    views.counts[2].forget(0)
    assert [views.counts[1].count(key) for key in "abc"] == [0, 1, 1]
    assert views.counts[1].columns("b") == [0, 1, 0]


def test_a_key_without_a_row_is_not_let_in_and_rows_are_used_again(views: Views) -> None:
    counts = SharedCounts(Memory.create(SharedCounts.size(WINDOW, 1)), WINDOW, 1, 0)
    keys = [f"key {n}" for n in range(WINDOW)]
    assert all(counts.more(key) for key in keys)
    assert not counts.more("one more")
    assert counts.count("one more") == 0
    assert counts.more(keys[0])
    counts.less(keys[1])
    assert counts.more("one more")
    counts._memory.close()


STEPS = st.lists(
    st.tuples(st.integers(0, WORKERS - 1), KEYS, st.sampled_from(["set", "forget", "clear"]), st.floats(0, 1e15))
)


@given(STEPS)
def test_what_one_writes_all_read(steps: list[tuple[int, str, str, float]]) -> None:
    views, one = Views(), OwnNotes()
    try:
        for worker, key, what, number in steps:
            notes: Any
            for notes in (views.notes[worker], one):
                if what == "set":
                    notes.change(key, lambda old, n=number: (n, old[0] if old else -1.0))
                elif what == "forget":
                    notes.change(key, lambda _: None)
                else:
                    notes.clear()
            assert all(view.get(key) == one.get(key) for view in views.notes)
            assert len(list(views.notes[0].items())) == len(list(one.items()))
    finally:
        views.close()


def test_short_keys_can_be_read_by_people(views: Views) -> None:
    views.notes[0].change("192.0.2.1", lambda _: (1.0, 2.0))
    views.notes[0].change("2001:db8::/64", lambda _: (3.0, 4.0))
    assert sorted(views.notes[1].items()) == [("192.0.2.1", (1.0, 2.0)), ("2001:db8::/64", (3.0, 4.0))]


def test_where_all_rows_are_taken_the_oldest_is_forgotten() -> None:
    memory = Memory.create(SharedNotes.size(WINDOW))
    notes = SharedNotes(memory, WINDOW, 1)
    for n in range(WINDOW):
        notes.change(f"key {n}", lambda _: (1.0,))
    notes.change("key 0", lambda _: (2.0,))
    notes.change("one more", lambda _: (3.0,))
    assert (notes.get("key 0"), notes.get("key 1"), notes.get("one more")) == ((2.0,), None, (3.0,))
    memory.close()


def test_an_error_in_a_change_leaves_things_as_they_were(views: Views) -> None:
    views.notes[0].change("a", lambda _: (1.0, 1.0))
    with pytest.raises(ZeroDivisionError):
        views.notes[0].change("a", lambda _: (1 / 0, 0.0))
    assert views.notes[1].change("a", lambda old: old) == (1.0, 1.0)


def in_another_process(work: Any) -> int:
    """The process that does this, and ends with the number that comes of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads; what is done here needs none
        child = os.fork()
    if not child:
        try:
            os._exit(work())
        finally:
            os._exit(255)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_who_dies_with_the_lock_held_keeps_nobody_waiting(views: Views) -> None:
    def die_in_the_middle() -> Any:
        views.notes[1].change("a", lambda _: os.kill(os.getpid(), signal.SIGKILL))  # type: ignore[func-returns-value]

    assert ended(in_another_process(die_in_the_middle)) == -signal.SIGKILL
    assert views.notes[0].change("a", lambda _: (1.0, 2.0)) == (1.0, 2.0)


def test_many_processes_never_count_more_than_the_limit(views: Views) -> None:
    most, tries = 50, 400

    def count(worker: int) -> int:
        return sum(views.counts[worker].more("a", most) for _ in range(tries))

    children = [in_another_process(lambda worker=worker: count(worker)) for worker in range(WORKERS)]
    got = [ended(child) for child in children]
    assert sum(got) == most == views.counts[0].count("a")
    assert views.counts[0].columns("a") == got


def test_no_update_is_lost_between_processes(views: Views) -> None:
    tries = 300

    def add(worker: int) -> int:
        for _ in range(tries):
            views.notes[worker].change("a", lambda old: ((old or (0.0, 0.0))[0] + 1, 0.0))
        return 0

    children = [in_another_process(lambda worker=worker: add(worker)) for worker in range(WORKERS)]
    assert [ended(child) for child in children] == [0] * WORKERS
    assert views.notes[0].get("a") == (WORKERS * tries, 0.0)


def test_what_is_shared_tells_no_key_from_the_bytes_around_it(views: Views) -> None:
    """A key that ends where another begins is not found there."""
    for n in range(ROWS - WINDOW):
        assert views.counts[0].count("\x01" * n) == 0
        views.counts[0].more("z" * (KEY - 2) + str(n % 10))
        assert views.counts[0].count("z" * (n % KEY)) == 0
