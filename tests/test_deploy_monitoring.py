"""The dashboard and the alerts: they can be read, and ask for nothing that there isn't."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from support import Conversation, local_disk

from ftpsvc.hooks import HOOKS
from ftpsvc.lateness import Lateness
from ftpsvc.metrics import ServerMetrics
from ftpsvc.records import Ending, Happening
from ftpsvc.verbs import VERBS

MONITORING = Path(__file__).parents[1] / "deploy" / "monitoring"
OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"

ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "prometheus-alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [rule["expr"] for rule in ALERTS] + [target["expr"] for panel in PANELS for target in panel["targets"]]

#: The endings of a family's names, by its type.
ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}

#: The values that a label may have, where they are few.
VALUES = {
    "verb": {*VERBS, ""},
    "ending": {ending.value for ending in Ending} | {"done", "failed", "late", "dropped"},
    "event": {happening.value.replace(" ", "_") for happening in Happening},
    "hook": set(HOOKS),
    "state": {"ready", "stranger"},
}


@pytest.fixture
def families(tmp_path: Path) -> dict[str, str]:
    """All that a server tells: names, and the types of their families."""
    factory = Conversation(local_disk(tmp_path)).factory
    metrics = ServerMetrics(factory, Lateness(factory.clock))
    metrics.free = 1
    metrics.everywhere = SimpleNamespace(is_up=True, others=1)
    return {
        name + end: family.type
        for family in metrics.registry.collect()
        for name in [family.name]
        for end in ENDINGS[family.type]
    }


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:ftpsvc|process)_[a-z_]+", expression))


def test_no_expression_names_a_metric_that_there_is_not(families: dict[str, str]) -> None:
    asked = set().union(*map(names_in, EXPRESSIONS))
    assert len(asked) > 15
    assert asked - set(families) == set()


def test_each_metric_of_ours_is_shown_or_watched_and_documented(families: dict[str, str]) -> None:
    asked, text = set().union(*map(names_in, EXPRESSIONS)), OPERATIONS.read_text()
    for name in families:
        family = re.sub(r"_(bucket|sum|count)$", "", name) if families[name] == "histogram" else name
        if name.startswith("ftpsvc_"):
            assert f"`{family}" in text, name
            assert name == "ftpsvc_info" or any(one.startswith(family) for one in asked), name


def matchers() -> Iterator[tuple[str, str]]:
    for expression in EXPRESSIONS:
        yield from re.findall(r'([a-z]+)!?="([^"$]*)"', expression)


def test_each_label_has_a_value_that_it_can_have() -> None:
    found = [(label, value) for label, value in matchers() if label in VALUES]
    assert len(found) > 5
    assert [pair for pair in found if pair[1] not in VALUES[pair[0]]] == []


def test_counters_are_asked_for_their_growth() -> None:
    for expression in EXPRESSIONS:
        for name in names_in(expression):
            if name.endswith(("_total", "_bucket")):
                assert re.search(rf"(rate|increase)\({name}[^)]*\[", expression), expression


def test_each_alert_says_what_is_wrong_where_and_is_documented() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)
    for rule in ALERTS:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in OPERATIONS.read_text()


def test_no_panel_lies_on_another_and_each_has_its_number() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all('instance=~"$instance"' in target["expr"] for panel in PANELS for target in panel["targets"])
