"""This machine: lls lcd lpwd, and its other programs."""

from __future__ import annotations

import signal
from typing import ClassVar

from ftpsvc import display
from ftpsvc.commands.base import Commands
from ftpsvc.console import Offer, Stopped
from ftpsvc.model import LocalFault
from ftpsvc.words import escape


class LocalFiles(Commands):
    """The commands about this machine."""

    heading = "This machine"
    planning: ClassVar[frozenset[str]] = frozenset(["local"])

    def words_of(self, line: str) -> list[str]:
        # All that stands behind ! is for the system's shell, as it is.
        if not line.startswith("!"):
            return super().words_of(line)
        command = line[1:].strip()
        return ["local", command] if command else ["local"]

    async def do_lls(self, path: str = ".") -> None:
        """lls [path]

        List a folder of this machine.

        Example: lls ~/Downloads
        """
        found = await self._here.matching(path)
        is_folder = len(found) == 1 and found[0][1].is_directory
        entries = await self._here.entries(found[0][0]) if is_folder else [entry for _, entry in found]
        self.say("\n".join(display.listing(entries, self._colour)))

    async def complete_lls(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._here, text) if position == 1 else []

    async def do_lcd(self, path: str = "~") -> None:
        """lcd [path]

        Go to a folder of this machine.

        Without a path it goes home.

        Example: lcd ~/Downloads
        """
        await self._here.enter(path)

    async def complete_lcd(self, text: str, position: int) -> list[Offer]:
        return await self._offers(self._here, text, only_folders=True) if position == 1 else []

    async def do_lpwd(self) -> None:
        """lpwd

        Show the current folder of this machine, where files come to and go from.

        Example: lpwd
        """
        self.say(escape(self._here.folder))

    async def do_local(self, command: str) -> None:
        """local <command>

        Run a command of this machine's shell, in the current folder of this machine.

        Written with an exclamation mark it takes the line as it is, pipes and all.

        Example: local 'ls -l'
        Example: !ls -l | tail -3
        """
        self._job.has_terminal = True
        status = await self._around.spawn(f"cd {_shell_quoted(self._here.folder)} && {command}")
        if status in (-signal.SIGINT, 128 + signal.SIGINT):
            raise Stopped("stopped.")
        if status:
            raise LocalFault(f"it ended with the exit status {status}.")


def _shell_quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''") + "'"
