"""Coming and going: connect user bookmark close quit, and the server as it is: site quote status."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ftpsvc import connecting, views
from ftpsvc.commands.base import Commands
from ftpsvc.console import Offer
from ftpsvc.jobs import Job
from ftpsvc.model import (
    BadArgument,
    BadSequence,
    ConnectionFailed,
    NotLoggedIn,
    ProtocolViolation,
    ServiceClosing,
    TransferError,
    Unavailable,
)
from ftpsvc.places import There
from ftpsvc.remote import Remote
from ftpsvc.targets import Target, is_url, target_of
from ftpsvc.threads import done_with
from ftpsvc.words import escape, quote

#: What works without a connection.
OFFLINE = frozenset(
    "connect close bookmark lls lcd lpwd local alias set history resume jobs wait kill status help quit".split()
)

#: What may be done to the server's folders without making what was listed ahead a thing of the past.
HARMLESS = frozenset("list pwd stat find du df hash cat more tail help history set alias jobs status lpwd lls".split())

NOT_CONNECTED = "Not connected. Use: connect <host> [port]"

#: How many turns of the reactor a good-bye takes to leave, through TLS. Nobody needs the answer: what was stored was
#: confirmed before.
TURNS = 2

#: What `quote` doesn't send, because it would put the two ends out of step, and what to use instead.
_OURS = {
    **dict.fromkeys("RETR STOR APPE STOU LIST NLST MLSD".split(), "Use: retrieve, store or list"),
    **dict.fromkeys("PASV EPSV PORT EPRT REST RANG ABOR".split(), "ftpsvc sends it where it is needed."),
    **dict.fromkeys("TYPE MODE STRU PROT PBSZ AUTH CCC".split(), "ftpsvc has set that, and relies on it."),
    **dict.fromkeys("USER PASS ACCT REIN".split(), "Use: user <name>"),
    **dict.fromkeys("CWD XCWD CDUP XCUP".split(), "Use: cd"),
    "QUIT": "Use: close",
}


class Connections(Commands):
    """The commands about connections."""

    heading = "Connections"
    planning: ClassVar[frozenset[str]] = frozenset(["connect", "user"])
    everyday: ClassVar[tuple[str, ...]] = ()
    _was_warned = False
    _again: Deferred[None] | None = None  #: a connection in the place of one that is lent

    @property
    def prompt(self) -> str:  # type: ignore[override]  # it changes with the connection and the folder
        """What stands before the line that is typed."""
        return f"{self._there.host}:{escape(self._there.folder)}> " if self._there else "ftpsvc> "

    # -- what the console asks

    async def prepare(self, job: Job, command: str) -> None:
        self._was_warned = self._was_warned and command == "quit"
        if command in OFFLINE:
            return
        if self._there is None:
            raise ConnectionFailed(NOT_CONNECTED)
        if self._there.remote.lost and not self._there.is_lent:
            # It was lost while nothing was asked, as servers end what is idle, and so nothing is lost with it.
            if job.line:
                self.warn(f"{self._there.remote.lost} Connecting again.")
            await self._have_another(self._there)
        while self._there is not None and self._there.is_lent:
            # A job in the background has the connection, and would hold up whatever is asked behind it.
            await self._have_another(self._there)
        if self._there is None:
            raise ConnectionFailed("Not connected any more. Use: connect <host> [port]")
        job.server = self._there
        if job.number:
            self.parted(job)  # it has waited for this in the background
        if job.line and command not in HARMLESS:  # a line, and not a completion
            self._there.forget()
            self._here.forget()

    async def _have_another(self, before: There) -> None:
        """Have another connection in the place of one. Completion may be waiting for the same at the same time."""
        if self._again is None or self._again.called:
            self._again = Deferred.fromCoroutine(self._connect_again(before))
        waiting = done_with(self._again)
        self._again.addErrback(lambda _: None)
        await waiting

    async def _connect_again(self, before: There) -> None:
        remote = await self._dialled(before.target)
        if self._there is before and (before.is_lent or before.remote.lost):
            self._there = There(remote, before.target, before.folder)
        else:
            remote.close()  # the old one has come back meanwhile

    def parted(self, job: Job) -> None:
        if job.server is not None:
            job.server.is_lent = True

    def released(self, job: Job) -> None:
        server = job.server
        if server is None or not job.number:
            return
        server.forget()
        self._here.forget()
        if self._there is server:
            server.is_lent = False
        else:
            server.remote.close()

    def failed(self, job: Job, error: TransferError) -> str:
        # After these the connection is of no use any more, whatever its own end has noticed so far.
        if not isinstance(error, ConnectionFailed | ServiceClosing | ProtocolViolation):
            return ""
        there = job.server or self._there
        if job.server is None and there is not None and (there.is_lent or not there.remote.lost):
            return ""  # it was another one that could not be had: with this one a job goes on, or the next line
        return self._forget(there)

    def _forget(self, there: There | None) -> str:
        if self._there is there:
            self._there = None
        if there is None:
            return ""
        there.remote.close()
        return f"Use: connect {there.target.typed}"

    # -- connecting

    async def do_connect(self, *words: str) -> None:
        """connect [user@]<host> [port]

        Connect to a server.

        The host may be a bookmark too, or a URL: ftp://user@host:port/folder, ftpes:// with TLS, ftps:// with TLS from
        the first byte. Logs in as <user>; without one, as ~/.netrc says, or as anonymous. The password is asked for, or
        comes from FTPSVC_PASSWORD, from what the command in FTPSVC_PASSWORD_COMMAND prints, or from ~/.netrc. Without a
        port it is 5000. Before the host may stand:
          --tls                    with TLS, or not at all; without it, with TLS where the server offers it, but not as
                                   anonymous on this machine
          --implicit               with TLS from the first byte
          --clear                  without TLS, so that anybody on the way can read along
          --fingerprint <SHA-256>  with TLS, and with no other certificate than the one that has this fingerprint

        Example: connect mia@files.example.org
        """
        if self._there is not None:
            raise BadSequence(f"connected to {self._there.host} already. Use close first, then connect; or quit.")
        self._job.has_questions = True
        marks = self._around.addresses.bookmarks
        target = connecting.target_of([marks.get(word, word) for word in words])
        there = await self._connect(target)
        report = connecting.report(there.remote, target)
        self.note(f"{report} Now all commands work:\n\n{self.short_overview()}\n")

    async def complete_connect(self, text: str, position: int) -> list[Offer]:
        if position != 1:
            return []
        book = self._around.addresses
        hosts = [_offer(url) for url in dict.fromkeys(reversed(book.recent))]
        offers = [Offer(name, url) for name, url in sorted(book.bookmarks.items())] + hosts
        return [offer for offer in offers if offer.text.startswith(text)]

    async def _connect(self, target: Target) -> There:
        remote = await self._dialled(target)
        there = There(remote, replace(target, path=""))
        if target.path.strip("/"):
            try:
                await there.enter(target.path)
            except BaseException:
                remote.close()
                raise
        self._there = there
        self._around.addresses.met(there.target.url)
        return there

    async def _dialled(self, target: Target) -> Remote:
        return await connecting.dialled(self._dial, target)

    async def do_user(self, name: str) -> None:
        """user <name>

        Log in as somebody else.

        Connects to the same server again, and asks for the password.

        Example: user maria
        """
        self._job.has_questions = True
        target, folder = self._server.target, self._server.folder
        new = replace(target, user=name)
        try:
            remote = await self._dialled(new)
        except (ConnectionFailed, ServiceClosing, ProtocolViolation) as error:  # which says nothing of the old one
            stays = f"You are still logged in as {escape(self._server.remote.user)}."
            raise NotLoggedIn(f"{error} {stays}") from error
        await self._leave()
        self._there = There(remote, new, folder)
        try:
            await self._there.enter(folder)
        except Unavailable:
            self._there.folder = "/"
        self._around.addresses.met(new.url)
        self.note(f"Logged in to {target.host} as {escape(name)}.")

    # -- bookmarks

    async def do_bookmark(self, name: str = "", where: str = "") -> None:
        """bookmark [name] [url]

        Remember a server and a folder by a name, or show what is remembered.

        Without a URL the name stands for where you are now; with - for the URL it is forgotten. No password is kept.

        Example: bookmark photos
        """
        book = self._around.addresses
        if not name:
            rows = [f"{escape(name)}  {escape(url)}" for name, url in sorted(book.bookmarks.items())]
            self.say("\n".join(rows) or "There are no bookmarks. Use: bookmark <name>")
            return
        try:
            if where == "-":
                if name not in book.bookmarks:
                    raise BadArgument(f'there is no bookmark "{name}".')
                book.remove(name)
                self.note(f"Forgot {quote(name)}.")
                return
            if not re.fullmatch(r"[^\s:/@]+", name) or is_url(name):
                raise BadArgument("a bookmark's name is one word without : / @")
            url = (target_of(where) if where else self._whereabouts()).url
            book.add(name, url)
        except OSError as error:
            raise BadArgument(f"the bookmarks can't be written: {error.strerror}.") from error
        self.note(f"{quote(name)} is {escape(url)}. Use: connect {quote(name)}")

    async def complete_bookmark(self, text: str, position: int) -> list[Offer]:
        book = self._around.addresses.bookmarks if position == 1 else {}
        return [Offer(name, url) for name, url in sorted(book.items()) if name.startswith(text)]

    def _whereabouts(self) -> Target:
        if self._there is None:
            raise ConnectionFailed("Not connected, so there is no place to remember. Use: bookmark <name> <url>")
        return replace(self._there.target, path=self._there.folder)

    # -- the server as it is

    async def do_site(self, command: str, *words: str) -> None:
        """site <command> [words]

        Send a SITE command, for what only this server can do.

        Example: site help
        """
        await self._tell("SITE", " ".join([command, *words]))

    async def do_quote(self, verb: str, *words: str) -> None:
        """quote <verb> [words]

        Send a command of FTP as it is, and show the answer.

        Those that move data or change how it is moved are not sent.

        Example: quote FEAT
        """
        if ours := _OURS.get(verb.upper()):
            raise BadArgument(f"{verb.upper()} is not sent from here. {ours}")
        if not re.fullmatch("[A-Za-z]{3,8}", verb):
            raise BadArgument(f"{quote(verb)} is no verb of FTP. Example: quote FEAT")
        await self._tell(verb.upper(), " ".join(words) or None)

    async def _tell(self, verb: str, argument: str | None) -> None:
        reply = await self._server.remote.command(verb, argument)
        self.say(escape_lines([*reply.inner, f"{reply.code} {reply.text}"]))

    async def do_status(self) -> None:
        """status

        Show where you are, how this server is spoken to, and what is under way.

        Example: status
        """
        there = self._there
        rows = ["Not connected."]
        if there is not None:
            how = "inline, digests checked" if there.remote.is_inline else "stream mode, a connection for each file"
            rows = [
                f"server   {there.host}, port {there.port}, as {escape(there.remote.user)}",
                f"TLS      {'yes' if there.remote.is_protected else 'no: anybody on the way can read along'}",
                f"folder   {escape(there.folder)}",
                f"data     {how}",
            ]
        rows.append(f"here     {escape(self._here.folder)}")
        rows += [f"[{job.number}] {escape(job.line)}: {views.state(job)}" for job in self.jobs]
        self.say("\n".join(rows))

    # -- leaving

    async def do_close(self) -> None:
        """close

        End the connection, and stay in the shell.

        Jobs in the background go on: they have connections of their own.

        Example: close
        """
        if self._there is None:
            raise ConnectionFailed(NOT_CONNECTED)
        host = self._there.host
        await self._leave()
        self.note(f"Closed the connection to {host}.")

    async def do_quit(self) -> bool:
        """quit

        End the connection, if there is one, and the shell.

        While jobs are in the background it says so, and a second quit stops them. Ctrl-D does the same.

        Example: quit
        """
        if len(self.jobs) and not self._was_warned:
            self._was_warned = True
            there_are = "is a job" if len(self.jobs) == 1 else f"are {len(self.jobs)} jobs"
            self.note(f"There {there_are} in the background. Use: wait; or quit once more, which stops what is left.")
            return False
        for job in self.jobs:
            job.stop()
        await self._leave()
        return True

    async def _leave(self) -> None:
        there, self._there = self._there, None
        if there is not None and not there.is_lent:
            there.remote.leave()
            for _ in range(TURNS):
                await deferLater(self._reactor, 0)

    def short_overview(self) -> str:
        """The commands of every day, a line for each, and the names of the others."""
        others = [name for name in self.commands() if name not in self.everyday]
        names = "\n".join(_wrapped(others, min(100, self.width() - 1 if self.width else 100)))
        return self.fitted(f"{self.summary(list(self.everyday))}\n\nMore, with help <command>:\n{names}")


def _offer(url: str) -> Offer:
    target = target_of(url)
    is_plain = target == Target(target.host)
    return Offer(target.host if is_plain else url, "connected before")


def escape_lines(lines: list[str]) -> str:
    """Lines of the other end's, fit for a terminal."""
    return "\n".join(map(escape, lines))


def _wrapped(words: list[str], width: int) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) + 2 > width:
            lines.append("")
        lines[-1] += f"  {word}"
    return lines
