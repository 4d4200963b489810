"""The connection to Redis, kept up: made again with growing delays when it is lost, and what is said meanwhile."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ftpsvc.everywhere import scripts
from ftpsvc.everywhere.address import Address
from ftpsvc.everywhere.resp import Away, Speaker, Word
from ftpsvc.everywhere.scripts import Script
from ftpsvc.readymade import ReadyMade
from ftpsvc.records import printable

#: For how many seconds to wait before trying again, the longer the more often it was in vain. At the end less than it
#: takes to be forgotten by the others (`joining.EXPIRE`).
DELAYS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)

#: For how many seconds a connection has to have lived for the next try to be the first again.
LONG_ENOUGH = 10.0


class Link:
    """One process's."""

    _log = Logger()

    def __init__(self, reactor: Any, address: Address, run: str) -> None:
        """`run`: what this process is called there."""
        self._reactor = reactor
        self.address = address
        self.run = run
        self.channel = f"ftpsvc:{address.database}"  # channels know no databases
        self.is_up = False
        self._speaker: Speaker | None = None
        self._keeping: Deferred[None] | None = None
        self._trouble: str | None = None  #: what was said last: why there is no connection; empty: there is one
        #: Brings this process up to date, with each new connection before it is in use.
        self.greeted: Callable[[], Awaitable[str]]
        #: Takes what was published, by this process too, and may do so before `greeted` is done.
        self.heard: Callable[[dict[str, Any]], None]

    def start(self) -> None:
        self._keeping = Deferred.fromCoroutine(self._keep())
        self._keeping.addErrback(self._failed)

    async def stop(self) -> None:
        """Try no more, and hang up when all is said."""
        keeping, speaker = self._keeping, self._speaker
        self.is_up = False
        if speaker is not None:
            speaker.hang_up()
        if keeping is not None:
            keeping.cancel()
            await keeping

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self._log.failure("The connection to Redis is kept up no more", failure)

    # -- what is asked

    def ask(self, script: Script, *words: Word) -> Deferred[Any]:
        """Have Redis do something. Fails with `Away`."""
        if self._speaker is None:
            away: Deferred[Any] = Deferred()
            away.errback(Away("there is no connection"))
            return away
        answer = self._speaker.ask("EVALSHA", script.name, 0, self.channel, self.run, *words)
        return answer.addErrback(self._refused, self._speaker)

    def _refused(self, failure: Any, speaker: Speaker) -> Any:
        # What it refuses once it will refuse again: it has lost the scripts, may not write, has no memory. A new
        # connection finds out.
        if failure.check(Away):
            speaker.give_up(str(failure.value))
        return failure

    def tell(self, script: Script, *words: Word) -> Deferred[bool]:
        """The same where nobody needs the answer; whether it was done."""
        return self.ask(script, *words).addCallbacks(lambda _: True, _was_away)

    # -- how it is kept up

    async def _keep(self) -> None:
        tries = 0
        while True:
            began = self._reactor.seconds()
            lost: Deferred[str] = Deferred()
            try:
                self._say("", await self._connect(lost))
                why = await lost
            except Away as error:
                why = str(error)
            finally:
                self._down()
            self._say(why)
            if self._reactor.seconds() - began >= LONG_ENOUGH:
                tries = 0
            await deferLater(self._reactor, DELAYS[min(tries, len(DELAYS) - 1)])
            tries += 1

    async def _connect(self, lost: Deferred[str]) -> str:
        """Connect, and be up to date. What is to be told of it. Raises `Away`."""
        speaker = Speaker(self._reactor, self._hear, lambda why: None if lost.called else lost.callback(why))
        try:
            await self.address.endpoint(self._reactor).connect(ReadyMade(speaker))
        except CancelledError:
            raise
        except Exception as error:  # there are many ways not to come about: names, sockets, certificates
            raise Away(_reason(error)) from None
        try:
            await self._introduce(speaker)
            self._speaker = speaker
            told = await self.greeted()
        except _NOT_OURS:
            speaker.give_up("")
            raise Away(_NO_FTPSVC) from None
        except BaseException:
            speaker.give_up("")
            raise
        self.is_up = True
        return told

    async def _introduce(self, speaker: Speaker) -> None:
        address = self.address
        login = ("AUTH", address.user or "default", address.password) if address.password else ()
        said = [speaker.ask("HELLO", 3, *login, "SETNAME", f"ftpsvc-{self.run}")]
        if address.database:
            said.append(speaker.ask("SELECT", address.database))
        said.extend(speaker.ask("SCRIPT", "LOAD", script.text) for script in scripts.ALL)
        said.append(speaker.ask("SUBSCRIBE", self.channel))
        for is_done, answer in await DeferredList(said, consumeErrors=True):
            if not is_done:
                raise answer.value

    def _down(self) -> None:
        self.is_up = False
        if self._speaker is not None:
            self._speaker.give_up("")
        self._speaker = None

    def _say(self, trouble: str, told: str = "") -> None:
        """Once when it is lost, whatever the next tries come to, and once when it is back."""
        if self.address.password:  # a server that doesn't know AUTH repeats what it was told
            trouble = trouble.replace(self.address.password, "...")
        if self._trouble is not None and bool(self._trouble) == bool(trouble):
            return
        was_lost, self._trouble = bool(self._trouble), trouble
        if trouble:
            self._log.warn(
                "{address} can't be asked: {why}. Until it can, this node holds the limits by what it knows",
                address=self.address,
                why=printable(trouble),
            )
        else:
            again = "is back, and " if was_lost else ""
            self._log.info("{address} {again}{told}", address=self.address, again=again, told=told)

    def _hear(self, message: bytes) -> None:
        try:
            self.heard(json.loads(message.decode("utf-8", "surrogateescape")))
        except _NOT_OURS:
            self._log.warn(
                "What was told on {channel} can't be understood: {what}", channel=self.channel, what=_NO_FTPSVC
            )


# What comes of reading what this program has not written.
_NOT_OURS = (ValueError, KeyError, TypeError, IndexError)
_NO_FTPSVC = "another program uses this database, or another version of ftpsvc"


def _was_away(failure: Any) -> bool:
    failure.trap(Away)
    return False


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
