"""`ftpsvc doctor`: examine a server from the outside, and say what to do."""

from __future__ import annotations

import argparse
import getpass
import json
import shutil
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from ftpsvc import assembly, connecting
from ftpsvc.checks import STEPS
from ftpsvc.doctor import Outcome, Result, examine
from ftpsvc.model import BadArgument
from ftpsvc.patient import Looking, Patient
from ftpsvc.targets import Target
from ftpsvc.threads import pool_of
from ftpsvc.words import escape
from ftpsvc.xdg import state_folder

#: The widest that a line gets.
WIDTH = 120

#: Where the text of a finding begins: behind the outcome, the name and the time.
INDENT = 34


def main(words: Sequence[str]) -> int:
    """Carry out `doctor …`. Raises `SystemExit`, with 0 if nothing failed."""
    from twisted.internet import reactor

    arguments = _parser().parse_args(words[1:])
    try:
        target = _target(arguments)
    except BadArgument as error:
        print(f"ftpsvc doctor: {error}".replace("Use: connect", "Use: ftpsvc doctor"), file=sys.stderr)
        return 2
    person = _AtTerminal() if sys.stdin.isatty() and sys.stderr.isatty() else None
    known = Looking(state_folder() / "known_servers")
    patient = Patient(reactor, target, known, pool_of(reactor), person)
    react(_started, (patient, arguments.json), reactor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ftpsvc doctor", description="Examine an FTP server from the outside, step by step, and say what to do."
    )
    connecting.add_arguments(parser, "the server; without one, this machine")
    parser.add_argument(
        "--user", metavar="NAME", help="log in with this name (default: as ~/.netrc says, or anonymous)"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object on each line, for each step")
    return parser


def _target(arguments: argparse.Namespace) -> Target:
    """The server that is meant: on this machine, if nothing is said. Raises `BadArgument`."""
    arguments.server = arguments.server or "127.0.0.1"
    target = connecting.target_of(connecting.words_of(arguments))
    if arguments.user and target.user not in ("", arguments.user):
        raise BadArgument("two names are one too many: --user NAME, or NAME@HOST.")
    return replace(target, user=arguments.user or target.user)


async def _examined(reactor: Any, patient: Patient, is_json: bool) -> None:
    """Examine, and tell of it. Raises `SystemExit`, with the exit status."""
    left: list[str] = []

    def tell(result: Result) -> None:
        if is_json:
            _tell_json(result)
        elif result.is_left_out:
            left.append(result.name)  # for one line: what failed is to stand out
        else:
            _tell(result)

    if not is_json:
        _say(f"{escape(patient.target.host)}, port {patient.target.port}\n")
    try:
        outcomes = list((await examine(STEPS, patient, reactor, tell)).values())
    except CancelledError:
        raise SystemExit(130) from None
    finally:
        await patient.leave()
    if not is_json:
        if left:
            _say(*_wrapped(f"not without what failed: {', '.join(left)}", f"{'skipped':{INDENT}}", _width()))
        _say(f"\n{_summary(outcomes)}")
    raise SystemExit(1 if Outcome.FAILED in outcomes else 0)


def _started(reactor: Any, patient: Patient, is_json: bool) -> Deferred[None]:
    examining = Deferred.fromCoroutine(_examined(reactor, patient, is_json))

    def interrupt() -> Deferred[None]:
        examining.cancel()  # what was stored is removed all the same, before the reactor stops
        return examining

    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    return examining


# -- what is said --------------------------------------------------------------------------------------------


def _say(*lines: str) -> None:
    """Raises `SystemExit` if nobody takes it. What was stored at the server is removed all the same."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        assembly.give_up_output()
        if not isinstance(error, BrokenPipeError):  # who has gone, as `head` does, has seen enough
            print(f"ftpsvc doctor: what is to be said can't be written: {error.strerror}.", file=sys.stderr)
        raise SystemExit(1) from None


def _tell(result: Result) -> None:
    width = _width()
    finding = result.finding
    spent = f"{result.seconds * 1000:.0f} ms" if result.seconds else ""
    head = f"{finding.outcome.value:9}{result.name:13}{spent:>9}   "
    lines = _wrapped(escape(finding.text), head, width)
    if finding.advice:
        lines += _wrapped(escape(finding.advice), f"{'→ ':>{INDENT}}", width)
    _say(*lines)


def _width() -> int:
    return min(shutil.get_terminal_size((WIDTH, 0)).columns, WIDTH)


def _wrapped(text: str, head: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, INDENT + 30),
        initial_indent=head,
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _tell_json(result: Result) -> None:
    finding = result.finding
    row = {
        "step": result.name,
        "outcome": finding.outcome.value,
        "seconds": round(result.seconds, 6),
        "text": finding.text,
        "advice": finding.advice,
    }
    _say(json.dumps(row))


def _summary(outcomes: Sequence[Outcome]) -> str:
    counted = Counter(outcomes)
    bad = [f"{outcome.value}: {counted[outcome]}" for outcome in (Outcome.FAILED, Outcome.WARNING) if counted[outcome]]
    return ", ".join(bad) or "All is well."


class _AtTerminal:
    """The person who started it. Nothing else goes on while they type."""

    async def answer(self, question: str) -> str:
        return input(question)

    async def secret(self, question: str) -> str:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # so that Ctrl-C ends the question
        try:
            return getpass.getpass(question)
        except (KeyboardInterrupt, EOFError):
            print(file=sys.stderr)
            return ""
        finally:
            signal.signal(signal.SIGINT, before)
