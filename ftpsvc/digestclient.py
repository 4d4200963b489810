"""What the server has, told by digests: HASH of a range, and SITE PART for what it kept of an upload."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred

from ftpsvc import model
from ftpsvc.checksums import ALGORITHMS
from ftpsvc.model import ProtocolViolation
from ftpsvc.wire import Reply

Ask = Callable[[str, str], Deferred[Reply]]

_HASH = re.compile(
    r"(?P<algorithm>[A-Z0-9-]+) (?P<first>[0-9]{1,19})-(?P<last>[0-9]{1,19}) (?P<digest>[0-9A-Fa-f]{8,128})\b"
)
_PART = re.compile(r"(?P<size>[0-9]{1,19}) " + _HASH.pattern)


class RemoteDigests:
    """What a `Remote` can tell of bytes that stay where they are: `storage.TellsDigests`."""

    def __init__(self, ask: Ask, features: Mapping[str, str]) -> None:
        self._ask = ask
        self._features = features
        self._chosen = ""

    @property
    def offered(self) -> tuple[str, ...]:
        """Those that the server computes of whole files (HASH in FEAT)."""
        names = self._features.get("HASH", "").replace("*", "").upper().split(";")
        return tuple(name.strip() for name in names if name.strip())

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Those of ours that the server has, the quickest first. None, if it knows no ranges."""
        offered = self.offered if "RANG" in self._features else ()
        return tuple(name for name in reversed(ALGORITHMS) if name in offered)

    async def hash(self, path: str, algorithm: str) -> str:
        """The digest of a whole file (draft-bryan-ftpext-hash). Raises `BadParameter`."""
        words = (await self._answer(algorithm, ("HASH", path))).text.split(" ")
        if len(words) < 3 or words[0].upper() != algorithm:
            raise ProtocolViolation("The server's answer to HASH can't be understood.")
        return words[2].lower()

    def forget(self) -> None:
        """Somebody else may have chosen another algorithm."""
        self._chosen = ""

    async def digest(self, path: str, algorithm: str, first: int, end: int, of_part: bool = False) -> str:
        match = await self._told(path, algorithm, first, end, of_part)
        if (int(match["first"]), int(match["last"])) != (first, end - 1):
            raise model.BadOffset(f"{path} has no bytes {first} to {end - 1}.")
        return match["digest"].lower()

    async def kept(self, path: str) -> int:
        if "SITE PART" not in self._features or not self.algorithms:
            raise model.NotImplementedHere("This server doesn't say what it keeps of a broken upload.")
        return int((await self._told(path, self.algorithms[0], 0, 1, True))["size"])

    async def _told(self, path: str, algorithm: str, first: int, end: int, of_part: bool) -> re.Match[str]:
        what = ("SITE", f"PART {path}") if of_part else ("HASH", path)
        answer = await self._answer(algorithm, ("RANG", f"{first} {end - 1}"), what)
        match = (_PART if of_part else _HASH).match(answer.text)
        if match is None or match["algorithm"] != algorithm:
            raise ProtocolViolation("The server's digest can't be understood, or is of another kind.")
        return match

    async def _answer(self, algorithm: str, *commands: tuple[str, str]) -> Reply:
        """The answer to the last of these commands, with an algorithm chosen before."""
        # All at once: a command of somebody else between RANG and the next would use the range up.
        if algorithm != self._chosen:
            self._chosen = algorithm
            commands = (("OPTS", f"HASH {algorithm}"), *commands)
        *asked, answer = [self._ask(verb, argument) for verb, argument in commands]
        try:
            for step in asked:
                await step
        except BaseException:
            self._chosen = ""
            for step in (*asked, answer):
                step.addErrback(lambda _: None)
            raise
        return await answer
