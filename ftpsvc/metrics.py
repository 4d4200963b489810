"""The server's numbers as Prometheus wants them. They are read when they are asked for, and not before."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ftpsvc import __version__
from ftpsvc.counts import Counts, Histogram
from ftpsvc.factory import ServerFactory
from ftpsvc.lateness import Lateness


class Gauges(NamedTuple):
    """What one process has at this moment."""

    known: int  #: sessions that are logged in
    sessions: int
    transferring: int
    passive_ports: int
    hooks_waiting: int
    lateness: float  #: the reactor's

    @classmethod
    def of(cls, factory: ServerFactory, lateness: Lateness) -> Gauges:
        known = transferring = 0
        for session in factory.sessions:
            known += session.is_known
            transferring += session.is_transferring
        ports, waiting = len(factory.passive_ports), factory.counts.hooks_waiting
        return cls(known, len(factory.connections), transferring, ports, waiting, lateness.longest)


class Everywhere(Protocol):
    """The nodes that this one counts with."""

    @property
    def is_up(self) -> bool:
        """Whether they can be told, and hear."""

    @property
    def others(self) -> int:
        """How many there are."""


class ServerMetrics(Collector):
    """What one server's counters and gauges come to. Its registry has those of the process too, and nobody else's."""

    def __init__(self, factory: ServerFactory, lateness: Lateness) -> None:
        self._factory = factory
        self._lateness = lateness
        self.free: int | None = None  #: how many bytes can still be stored, if that is known
        #: Asks the other processes of this server, if there are any, and has what they have counted added to ours.
        self.ask_others: Callable[[], Awaitable[Sequence[Gauges]]] | None = None
        self._others: Sequence[Gauges] = ()
        self.everywhere: Everywhere | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    async def look(self) -> None:
        """Ask the others. To be called before the numbers are read."""
        if self.ask_others is not None:
            self._others = await self.ask_others()

    def collect(self) -> Iterable[Metric]:
        self._factory.records.flush()  # those of the last moment too
        yield InfoMetricFamily("ftpsvc", "The program.", {"version": __version__})
        yield from _counted(self._factory.counts)
        yield from self._gauges()

    def _gauges(self) -> Iterable[Metric]:
        factory = self._factory
        everywhere = (Gauges.of(factory, self._lateness), *self._others)
        known, there, transferring, ports, waiting = (sum(column) for column in list(zip(*everywhere, strict=True))[:5])
        sessions = GaugeMetricFamily("ftpsvc_sessions", "Who is connected: logged in, or not yet.", labels=["state"])
        sessions.add_metric(["ready"], known)
        sessions.add_metric(["stranger"], max(there - known, 0))
        yield sessions
        yield _gauge("sessions_limit", "How many may be connected; 0 for any number.", factory.limits.connections)
        yield _gauge("transfers_under_way", "Transfers and listings whose data moves.", transferring)
        yield _gauge("passive_ports", "Ports that wait for the client's data connection.", ports)
        yield _gauge("hooks_waiting", "Records that wait for their hook.", waiting)
        yield _gauge(
            "passive_ports_limit", "How many ports may wait at once; 0 for any number.", factory.passive_ports.most
        )
        yield _gauge("banned_addresses", "Addresses that have failed to log in too often.", len(factory.bans))
        yield _gauge(
            "reactor_lateness_seconds",
            "The longest, in the last minute, that something due had to wait for its turn.",
            max(gauges.lateness for gauges in everywhere),
        )
        if self.everywhere is not None:
            yield _gauge("shared_up", "Whether what nodes count together can be asked for.", self.everywhere.is_up)
            yield _gauge("shared_nodes", "Other nodes that it is counted with, as known last.", self.everywhere.others)
        if self.free is not None:
            yield _gauge("storage_free_bytes", "What can still be stored; missing while nobody can tell.", self.free)


def _counted(counts: Counts) -> Iterable[Metric]:
    replies = CounterMetricFamily(
        "ftpsvc_replies", "Replies, by the command that they answer and their code.", labels=["verb", "code"]
    )
    for (verb, code), count in sorted(counts.replies.items()):
        replies.add_metric([verb, str(code)], count)
    yield replies
    events = CounterMetricFamily(
        "ftpsvc_session_events", "What has happened to sessions; refusals by a limit not among it.", labels=["event"]
    )
    for event, count in counts.events.items():
        events.add_metric([event.replace(" ", "_")], count)
    yield events
    refused = CounterMetricFamily(
        "ftpsvc_refused", "Connections turned away, by the limit behind it.", labels=["limit"]
    )
    for limit, count in sorted(counts.refusals.items()):
        refused.add_metric([limit], count)
    yield refused
    hooks = CounterMetricFamily(
        "ftpsvc_hooks", "Hooks, by what they are for and how they ended.", labels=["hook", "ending"]
    )
    for (hook, ending), count in sorted(counts.hooks.items()):
        hooks.add_metric([hook, ending], count)
    yield hooks
    transfers = CounterMetricFamily(
        "ftpsvc_transfers", "Transfers, by command and by how they ended.", labels=["verb", "ending"]
    )
    moved = CounterMetricFamily(
        "ftpsvc_transfer_bytes", "Bytes of files that have moved, of whole and of broken transfers.", labels=["verb"]
    )
    by_verb = sorted(counts.transfers.items())
    for verb, made in by_verb:
        for ending, count in made.endings.items():
            transfers.add_metric([verb, ending], count)
        moved.add_metric([verb], made.bytes)
    yield transfers
    yield moved
    yield _histogram("transfer_seconds", "How long complete transfers took.", {v: m.seconds for v, m in by_verb})
    yield _histogram("transfer_size_bytes", "How large complete transfers were.", {v: m.sizes for v, m in by_verb})


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ftpsvc_{name}", text, value)


def _histogram(name: str, text: str, found: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"ftpsvc_{name}", text, labels=["verb"])
    for verb, histogram in found.items():
        below, buckets = 0, []
        for bound, count in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
            below += count
            buckets.append((floatToGoString(bound), float(below)))
        family.add_metric([verb], buckets, histogram.total)
    return family
