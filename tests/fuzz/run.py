"""The parsers under atheris, which looks for inputs that reach new code. `-help=1` lists its options.

It goes on until something fails or it is stopped; docs/security.md has the command for a long run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))

with atheris.instrument_imports(include=["ftpsvc"]):
    import parsers

#: What the parsers look for. A fuzzer would have to guess it, one byte after the other.
WORDS = Path(__file__).with_name("words.dict")

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], f"-dict={WORDS}", *sys.argv[1:]], parsers.check)
    atheris.Fuzz()
