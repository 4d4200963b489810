"""Programs that get the terminal, and what the keys that stop them leave of it."""

from __future__ import annotations

import support
from streams import eventually

from ftpsvc.otherprograms import OtherPrograms


def test_a_program_beneath_the_systems_shell_does_not_stay_stopped() -> None:
    run = support.by_hand()
    programs = OtherPrograms(run, has_terminal=False)
    assert not programs.go_on()
    spawned = support.start(programs.spawn("sh -c 'kill -STOP $$; exit 3'; exit $?"))
    child = programs._child
    assert child is not None
    eventually(lambda: programs.go_on() and child.poll() is not None)
    run.fire()
    assert spawned.result() == 3
    assert not programs.go_on()
