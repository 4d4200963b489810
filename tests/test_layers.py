"""Who may import whom. The rules keep each half readable without the other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import ftpsvc

HOUSE = Path(ftpsvc.__file__).parent
MODULES = {".".join(path.relative_to(HOUSE).with_suffix("").parts): path for path in HOUSE.rglob("*.py")}
ALL = {module.split(".")[0] for module in MODULES}

#: What would stay as it is on any other event loop.
NO_TWISTED = set(
    "addresses newlines model rules wire frames listing states session verbs storage records channel lookahead".split()
    + "commons copying tunnel filters rolls steps plans lines removing reports journal treeoptions counts".split()
    + "livelist blocklist control ctltables".split()
)
#: What only the server's own modules may import: neither the client nor what both share needs it.
SERVER = set(
    "server states session verbs outbox lookahead inline stream datasetup way passive active".split()
    + "tls securing proxied rules accountfile passwords accounts checkers homes around quota usage admission".split()
    + "factory options configuration allocator service usercommand initcommand pump".split()
    + "commons connections bans logins refusals passiveports rates watchdog objects everywhere".split()
    + "closing draining reloading notify".split()
    + "counts recording lateness probing metrics monitor logfiles jsonlog xferlog".split()
    + "programs hooks gate companions".split()
    + "livelist throughput blocklist diskspace overview control controlsocket ctlcommand".split()
    + "plot operatortoken livepage".split()
    + "sharedtable sharing turnstile workerlink workerlog workers worker allworkers premises".split()
)
#: Where the parts are put together. Nobody else knows which storage there is, or that there is one reactor.
ASSEMBLE = set("service premises worker shell oneshot assembly underasyncio doctorcommand".split())


def imported(module: str) -> Iterator[str]:
    """Every name that a module imports, in full; what only a type checker sees is left out."""
    tree = ast.parse(MODULES[module].read_text())
    unseen = {id(child) for node in ast.walk(tree) if is_for_types(node) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in unseen:
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and id(node) not in unseen:
            assert node.level == 0, f"{module}: an import is written in full"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def offences(importers: set[str], forbidden: set[str]) -> list[str]:
    assert importers <= ALL, "a rule for a module that is not there"
    return [
        f"{module} imports {name}"
        for module in sorted(MODULES)
        if module.split(".")[0] in importers
        for name in imported(module)
        if any(f"{name}.".startswith(f"{prefix}.") for prefix in forbidden)
    ]


def test_imports_make_no_circle() -> None:
    """Not even where one waits inside a function."""
    order = TopologicalSorter(
        {
            module: {
                other
                for name in imported(module)
                for other in (name.removeprefix("ftpsvc."), name.removeprefix("ftpsvc.").rpartition(".")[0])
                if name.startswith("ftpsvc.") and other in MODULES
            }
            for module in MODULES
        }
    )
    order.prepare()


def test_the_model_stands_alone() -> None:
    assert offences({"model"}, {"ftpsvc", "twisted"}) == []


def test_the_core_knows_no_twisted() -> None:
    assert offences(NO_TWISTED, {"twisted", "zope"}) == []


def test_only_the_server_imports_the_server() -> None:
    assert offences(ALL - SERVER, {f"ftpsvc.{module}" for module in SERVER}) == []


def test_only_those_who_assemble_name_the_reactor_or_a_storage() -> None:
    assert offences(ALL - ASSEMBLE, {"twisted.internet.reactor", "ftpsvc.localdisk", "ftpsvc.objects.opening"}) == []
