"""The servers that the client has met with TLS: a file with a line for each, beside the history.

    files.example.org 5000 A6:CC:CF:04:…     a person has trusted the certificate with this fingerprint
    ftp.example.net 21 valid                 its certificate was one that an authority vouches for

Both kinds of line say too that the server speaks TLS, so that nobody is led back to clear text.
"""

from __future__ import annotations

import re
from pathlib import Path

from ftpsvc.certificates import write_private
from ftpsvc.model import LocalFault
from ftpsvc.wholefile import alone_in

#: In the place of a fingerprint: what authorities vouch for may be replaced by another such certificate at any time.
VALID = "valid"

#: How long the file may be. It bounds what a damaged one costs; ten thousand servers fit.
MAX_SIZE = 2 * 1024 * 1024

_FINGERPRINT = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){31}")


def fingerprint(typed: str) -> str | None:
    """A SHA-256 fingerprint in the form that it is shown in, however it was typed, or printed; None if it is none."""
    digits = re.sub(r"^sha-?256( fingerprint)?[:= ]|[:\s]", "", typed.strip(), flags=re.IGNORECASE).upper()
    shown = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
    return shown if _FINGERPRINT.fullmatch(shown) else None


class KnownServers:
    """The file. It is read each time, because another shell may have written to it meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, host: str, port: int) -> str | None:
        """The fingerprint that is trusted, or `VALID`; None for a server that was never met with TLS.

        Raises `LocalFault` if there is a file and it can't be read: not to know is not the same as not to have met.
        """
        known = None
        for line in self._lines():
            if (words := line.split())[:2] == [_name(host), str(port)] and len(words) == 3:
                known = words[2]
        return known

    def remember(self, host: str, port: int, what: str) -> None:
        """Put a fingerprint, or `VALID`, in the place of what was known of a server. Raises `LocalFault`."""
        key = [_name(host), str(port)]
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with alone_in(self.path.parent):
                others = [line for line in self._lines() if line.split()[:2] != key]
                text = "".join(f"{line}\n" for line in [*others, " ".join([*key, what])])
                write_private(self.path, text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise self._fault("written", error) from error

    def _lines(self) -> list[str]:
        try:
            with open(self.path, "rb") as file:
                data = file.read(MAX_SIZE + 1)
        except (FileNotFoundError, NotADirectoryError):  # system accounts have /dev/null for their home
            return []
        except OSError as error:
            raise self._fault("read", error) from error
        if len(data) > MAX_SIZE:
            raise LocalFault(
                f"{self.path} has more than {MAX_SIZE} bytes; it holds a line for each server. Look at it."
            )
        return data.decode("utf-8", "surrogateescape").splitlines()

    def _fault(self, done: str, error: OSError) -> LocalFault:
        return LocalFault(f"the servers that are known stand in {self.path}, which can't be {done}: {error.strerror}.")


def _name(host: str) -> str:
    return host.lower().rstrip(".")
