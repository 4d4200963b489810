"""The limits as options: each can be given, is checked, and stands in the documentation."""

from __future__ import annotations

import resource
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from support import parsed

from ftpsvc.limits import THIS_MACHINE, Limits
from ftpsvc.options import LIMITS
from ftpsvc.premises import affordable

DOCUMENTED = (Path(__file__).parents[1] / "docs" / "limits.md").read_text()


def test_without_options_the_limits_are_the_usual_ones() -> None:
    assert parsed()["limits"] == Limits()


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_each_limit_is_an_option_and_documented_with_its_default(limit: Any) -> None:
    option = limit.metadata["option"]
    given = parsed(f"--{option}", "9000")["limits"]
    assert given == replace(Limits(), **{limit.name: 9000})
    (row,) = [line for line in DOCUMENTED.splitlines() if line.startswith(f"| `--{option}` |")]
    default = row.split("|")[2].strip().replace(",", "")
    assert default == (f"{limit.default:g}" if limit.default or limit.metadata["least"] else "none")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--max-connections", "-1"), "whole number, 0 or more"),
        (("--max-connections", "1.5"), "whole number, 0 or more"),
        (("--max-connections", "many"), "whole number, 0 or more"),
        (("--max-login-attempts", "0"), "whole number, 1 or more"),
        (("--idle-time", "0"), "a number, 1 or more"),
        (("--max-line", "100"), "512 or more"),
        (("--max-line", "100k"), "max-waiting"),
        (("--exempt", "192.168.0.1/16"), "--exempt"),
    ],
)
def test_what_can_not_be_a_limit_is_refused(arguments: tuple[str, ...], problem: str) -> None:
    with pytest.raises(SystemExit, match=problem):
        parsed(*arguments)


def test_rates_may_be_given_by_thousands() -> None:
    limits = parsed("--session-rate-up", "1.1M", "--account-rate-down", "2G", "--session-rate-down", "300k")["limits"]
    assert (limits.session_up, limits.account_down, limits.session_down) == (1_100_000, 2_000_000_000, 300_000)


def test_networks_are_exempt_beside_this_machine_or_in_its_place() -> None:
    assert parsed("--exempt", "10.0.0.0/8")["limits"].exempt == (*THIS_MACHINE, ip_network("10.0.0.0/8"))
    assert parsed("--exempt", "none")["limits"].exempt == ()
    assert not any(ip_address("127.0.0.2") in network for network in THIS_MACHINE)


@pytest.mark.parametrize(
    ("descriptors", "wanted", "most"),
    [(20_000, 10_000, 10_000), (1_000, 10_000, 666), (1_000, 0, 666), (1_000, 100, 100), (None, 0, 0)],
)
def test_no_more_connections_than_there_are_descriptors_for(
    monkeypatch: pytest.MonkeyPatch, descriptors: int | None, wanted: int, most: int
) -> None:
    hard = resource.RLIM_INFINITY if descriptors is None else descriptors
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    assert affordable(Limits(connections=wanted)).connections == most
