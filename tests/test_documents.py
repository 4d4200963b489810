"""The documents know the code: every module is on the maps, and what they name is there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_layers import ALL

from ftpsvc.options import Options

TOP = Path(__file__).parents[1]
DOCUMENTS = {path.relative_to(TOP).as_posix(): path.read_text() for path in (*TOP.glob("*.md"), *TOP.glob("docs/*.md"))}
#: Where the names in a table of limits may be, after the table's own module.
PACKAGES = ("ftpsvc", "ftpsvc.objects", "ftpsvc.everywhere")


@pytest.mark.parametrize("document", ["ftpsvc/__init__.py", "README.md", "docs/architecture.md"])
def test_every_module_is_on_the_map(document: str) -> None:
    named = set(re.findall(r"`(\w+)/?`", (TOP / document).read_text()))
    assert ALL - {"__init__"} - named == set()


def limits_named() -> Iterator[tuple[str, str]]:
    """The module and the name of each limit in the documents' tables, where a name alone is of the module before."""
    for text in DOCUMENTS.values():
        for table in re.findall(r"\| what \| limit \| name \|\n(.*?)\n\n", text, re.DOTALL):
            for row in table.splitlines()[1:]:
                module = ""
                for name in re.findall(r"`([\w.]+)`", row.split(" | ")[-1]):
                    module, name = name.rsplit(".", 1) if "." in name else (module, name)
                    yield module, name


def is_there(module: str, name: str) -> bool:
    places = [f"{package}.{module}" for package in PACKAGES]
    return any(hasattr(importlib.import_module(place), name) for place in places if importlib.util.find_spec(place))


def test_every_limit_that_the_documents_name_is_there() -> None:
    found = list(limits_named())
    assert len(found) > 100
    assert [f"{module}.{name}" for module, name in found if not is_there(module, name)] == []


def test_every_option_of_the_server_is_in_some_document() -> None:
    everything = "\n".join(DOCUMENTS.values())
    options = [name.rstrip("=") for name in Options().longOpt]
    assert [name for name in options if not re.search(rf"--{name}(?![\w-])", everything)] == []


def anchors_of(text: str) -> set[str]:
    """As GitHub makes them of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_between_the_documents_leads_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[document]):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = (TOP / document).parent / path if path else TOP / document
            assert target.exists(), link
            assert not anchor or anchor in anchors_of(target.read_text()), link
