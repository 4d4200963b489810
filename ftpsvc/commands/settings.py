"""The shell's own affairs: set alias history."""

from __future__ import annotations

from ftpsvc import settings
from ftpsvc.commands.base import Commands
from ftpsvc.console import Offer
from ftpsvc.model import BadArgument
from ftpsvc.settings import SETTINGS
from ftpsvc.words import escape, quote

#: How many lines `history` shows unless told otherwise.
SHOWN = 20


class SettingCommands(Commands):
    """The commands about the shell itself."""

    heading = "The shell"

    async def do_set(self, name: str = "", value: str = "") -> None:
        """set [name] [value]

        Show the settings, or change one until the end of the shell.

        A rate holds for what is under way too.

        What stands in ~/.config/ftpsvc/startup is carried out at the start of each shell: a place for set and alias.

        Example: set limit-rate 500k
        """
        if value:
            self.settings = settings.changed(self.settings, name, value)
        rows = [(each, settings.shown(self.settings, each), SETTINGS[each].meaning) for each in SETTINGS]
        if name:
            rows = [(name, settings.shown(self.settings, name), SETTINGS[name].meaning)]
        self.say("\n".join(f"{each:12}  {value:10}  {meaning}" for each, value, meaning in rows))

    async def complete_set(self, text: str, position: int) -> list[Offer]:
        offers = [Offer(name, setting.meaning) for name, setting in SETTINGS.items()] if position == 1 else []
        if position == 2:
            offers = [Offer(value) for value in settings.known(self._typed_before[0]).values]
        return [offer for offer in offers if offer.text.startswith(text)]

    async def do_alias(self, name: str = "", *words: str) -> None:
        """alias [name] [command]

        Give a command of several words a name of its own, or show those that have one.

        With - for the command the name is forgotten.

        Example: alias photos list "/pub/summer photos"
        """
        if not name:
            rows = [f"{each}  {escape(meaning)}" for each, meaning in sorted(self.meanings.items())]
            self.say("\n".join(rows) or "There are no aliases. Use: alias <name> <command>")
            return
        if not words or words == ("-",):
            if name not in self.meanings:
                raise BadArgument(f'there is no alias "{name}".')
            if words:
                del self.meanings[name]
            else:
                self.say(escape(self.meanings[name]))
            return
        if name in self.commands() or name in self.aliases:
            raise BadArgument(f"{name} is a command already. Choose another name.")
        self.meanings[name] = " ".join(map(quote, words))

    async def do_history(self, count: str = str(SHOWN)) -> None:
        """history [count]

        Show the lines that were typed last.

        A line that begins with a space is not kept.

        Example: history 50
        """
        if not (count.isascii() and count.isdigit()):
            raise BadArgument(f'"{count}" is no number of lines.')
        lines = list(self._around.history())
        self.say("\n".join(map(escape, lines[max(0, len(lines) - int(count)) :])) or "Nothing was typed yet.")
