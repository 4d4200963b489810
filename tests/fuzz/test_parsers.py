"""The parsers under Hypothesis, and a short run under atheris. A long one is a command in docs/security.md."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import parsers
import pytest
import serverprocess
from hypothesis import given
from hypothesis import strategies as st

RUN = Path(__file__).with_name("run.py")

words = [
    word.encode().decode("unicode_escape").encode("latin-1")
    for word in re.findall(r'^"(.*)"$', RUN.with_name("words.dict").read_text(), re.MULTILINE)
]
inputs = st.lists(st.sampled_from(words) | st.binary(max_size=8), max_size=12).map(b"".join)


@pytest.mark.parametrize("target", parsers.TARGETS, ids=lambda target: target.__name__)
@given(data=inputs)
def test_any_bytes_are_understood_or_refused(target: Callable[[bytes], None], data: bytes) -> None:
    target(data)


def test_no_input_that_reaches_new_code_breaks_anything(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not made for this Python or this system")
    with serverprocess.python_path() as environment:
        run = [sys.executable, str(RUN), "-runs=30000", "-seed=1", "-max_len=400", f"-artifact_prefix={tmp_path}/"]
        ended = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Done 30000 runs" in ended.stderr
