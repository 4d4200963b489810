"""What is told by HTTP: whether the server lives, whether it serves, and its numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import LoggedErrors
from prometheus_client.parser import text_string_to_metric_families
from support import Conversation, at_once, by_hand, frames, local_disk, make_clock, parts_in, result_of
from twisted.internet.testing import StringTransportWithDisconnection

from ftpsvc.counts import OTHER, Counts, Histogram
from ftpsvc.lateness import EVERY, WINDOW, Lateness
from ftpsvc.limits import Limits
from ftpsvc.monitor import Monitor
from ftpsvc.probing import PATIENCE, Probe, free_in
from ftpsvc.verbs import VERBS


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Watched:
    """A server and its monitor, in memory."""

    def __init__(self, folder: Path, run: Any = at_once, limits: Limits | None = None, look: Any = None) -> None:
        self.talk = Conversation(local_disk(folder), limits=limits)
        self.trouble = ""
        self.probe = Probe(look or (lambda: free_in(str(folder))), run, self.talk.clock)
        self.monitor = Monitor(self.talk.factory, self.probe, lambda: self.trouble)

    def begin(self, path: str, method: str = "GET", **headers: str) -> StringTransportWithDisconnection:
        protocol = self.monitor.site.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        lines = [f"{method} {path} HTTP/1.0", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        protocol.dataReceived("\r\n".join(lines).encode("utf-8", "surrogateescape"))
        return transport

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return answer_in(self.begin(path, method, **headers))

    def samples(self) -> dict[str, float]:
        """All numbers, by their names and labels as they are written."""
        found = {}
        for family in text_string_to_metric_families(self.ask("/metrics").body):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


def answer_in(transport: StringTransportWithDisconnection) -> Answer:
    assert not transport.connected, "it is still waiting"
    head, _, body = transport.value().decode().partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in rest)
    return Answer(int(first.split()[1]), headers, body)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


class Gone:
    """A port at a Unix socket whose file somebody has removed, which is Twisted's to do."""

    def stopListening(self) -> None:
        raise FileNotFoundError


def test_its_end_takes_a_socket_that_is_gone_already(tmp_path: Path) -> None:
    monitor = Watched(tmp_path).monitor
    monitor.port = Gone()  # type: ignore[assignment]
    monitor.start()
    result_of(monitor.stop())


def test_who_lives_says_so_whatever_else_is_wrong(watched: Watched) -> None:
    watched.trouble = "the server is stopping"
    assert watched.ask("/healthz")[::2] == (200, "ok\n")


def test_who_serves_is_ready(watched: Watched) -> None:
    answer = watched.ask("/readyz")
    assert answer[::2] == (200, "ready\n")
    assert answer.headers["cache-control"] == "no-store"


def test_who_knows_of_a_trouble_is_not_ready_and_says_why(watched: Watched) -> None:
    watched.trouble = "the server is stopping"
    assert watched.ask("/readyz")[::2] == (503, "not ready: the server is stopping\n")


def test_without_its_storage_the_server_is_not_ready(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    watched = Watched(folder)
    folder.rename(tmp_path / "gone")
    assert watched.ask("/readyz")[::2] == (
        503,
        "not ready: the storage can't be reached: No such file or directory\n",
    )
    assert "ftpsvc_storage_free_bytes" not in watched.samples()


def test_a_storage_that_hangs_is_asked_once_and_not_waited_for(tmp_path: Path) -> None:
    run = by_hand()
    watched = Watched(tmp_path, run)
    asked = [watched.begin("/readyz") for _ in range(3)]
    watched.talk.clock.advance(PATIENCE)
    assert {answer_in(one)[::2] for one in asked} == {
        (503, f"not ready: the storage has not answered within {PATIENCE:g} seconds\n")
    }
    assert len(run.jobs) == 1
    watched.begin("/readyz")
    assert len(run.jobs) == 1
    run.fire()
    again = watched.begin("/readyz")
    run.fire()
    assert answer_in(again).status == 200


def test_a_storage_that_is_gone_is_gone_for_all_who_ask_at_once(tmp_path: Path) -> None:
    folder, run = tmp_path / "root", by_hand()
    folder.mkdir()
    watched = Watched(folder, run)
    folder.rename(tmp_path / "gone")
    asked = [watched.begin("/readyz") for _ in range(3)]
    run.fire()
    assert [answer_in(one).status for one in asked] == [503] * 3


def test_who_goes_away_meanwhile_is_not_answered(tmp_path: Path) -> None:
    run = by_hand()
    watched = Watched(tmp_path, run)
    asked = watched.begin("/readyz")
    asked.loseConnection()
    run.fire()
    assert asked.value() == b""


def test_head_has_the_length_and_no_body(watched: Watched) -> None:
    answer = watched.ask("/healthz", "HEAD")
    assert (answer.headers["content-length"], answer.body) == ("3", "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed_there(watched: Watched, method: str) -> None:
    assert watched.ask("/metrics", method).status == 405


@pytest.mark.parametrize("accept", ["\udcff", "application/openmetrics-text; version=x"])
def test_who_says_by_nonsense_what_they_take_gets_the_usual(tmp_path: Path, accept: str) -> None:
    answer = Watched(tmp_path).ask("/metrics", accept=accept)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")


def test_a_fault_of_ours_is_500_and_logged(tmp_path: Path, logged_errors: LoggedErrors) -> None:
    def fail() -> int:
        raise ZeroDivisionError("secret text")

    answer = Watched(tmp_path, look=fail).ask("/readyz")
    (error,) = logged_errors.take()
    assert isinstance(error, ZeroDivisionError)
    assert answer.status == 500
    assert "secret" not in answer.body


def test_other_pages_are_not_found(watched: Watched) -> None:
    assert watched.ask("/other").status == watched.ask("/").status == 404


# -- the numbers


def test_replies_are_counted_by_verb_and_code(watched: Watched) -> None:
    watched.talk.log_in()
    watched.talk.ask(b"NOOP\r\nNOOP\r\nSIZE nothing\r\n", b"STOR a\r\n", frames(b"x"), b"\xff\r\n")
    samples = watched.samples()
    expected = {("NOOP", 200): 2, ("SIZE", 550): 1, ("STOR", 150): 1, ("STOR", 226): 1, ("PASS", 230): 1, ("", 220): 1}
    for (verb, code), count in {**expected, ("", 500): 1}.items():
        assert samples[f"ftpsvc_replies_total{{code={code},verb={verb}}}"] == count


def test_invented_verbs_share_one_counter(watched: Watched) -> None:
    watched.talk.log_in()
    watched.talk.ask(*(b"V%d\r\n" % n for n in range(100)))
    assert watched.talk.factory.counts.replies[OTHER, 500] == 100
    assert {verb for verb, _ in watched.talk.factory.counts.replies} <= {*VERBS, OTHER, ""}


def test_transfers_are_counted_by_ending_with_bytes_time_and_size(watched: Watched) -> None:
    talk = watched.talk.log_in()
    talk.ask(b"STOR a\r\n", frames(b"x" * 5000), b"STOR b\r\n", b"DATA 3\r\nabcFAIL no\r\n", b"RETR none\r\n")
    samples = watched.samples()
    for verb, ending, count in (("STOR", "complete", 1), ("STOR", "aborted", 1), ("RETR", "rejected", 1)):
        assert samples[f"ftpsvc_transfers_total{{ending={ending},verb={verb}}}"] == count
    assert samples["ftpsvc_transfer_bytes_total{verb=STOR}"] == 5003
    assert samples["ftpsvc_transfer_size_bytes_count{verb=STOR}"] == 1
    assert samples["ftpsvc_transfer_size_bytes_sum{verb=STOR}"] == 5000
    assert samples["ftpsvc_transfer_size_bytes_bucket{le=1000.0,verb=STOR}"] == 0
    assert samples["ftpsvc_transfer_size_bytes_bucket{le=10000.0,verb=STOR}"] == 1
    assert samples["ftpsvc_transfer_seconds_bucket{le=+Inf,verb=STOR}"] == 1


def test_sessions_are_told_apart_by_whether_somebody_is_logged_in(watched: Watched) -> None:
    assert watched.samples()["ftpsvc_sessions{state=stranger}"] == 1
    watched.talk.log_in()
    samples = watched.samples()
    assert (samples["ftpsvc_sessions{state=stranger}"], samples["ftpsvc_sessions{state=ready}"]) == (0, 1)


def test_a_transfer_under_way_is_seen(watched: Watched) -> None:
    talk = watched.talk.log_in()
    talk.send(b"STOR a\r\nDATA 3\r\nab")
    assert watched.samples()["ftpsvc_transfers_under_way"] == 1
    talk.send(b"c", b"FAIL\r\n")
    assert watched.samples()["ftpsvc_transfers_under_way"] == 0


def test_a_transfer_that_broke_off_is_not_under_way(watched: Watched, tmp_path: Path) -> None:
    talk = watched.talk.log_in()
    talk.send(b"STOR a\r\nDATA 3\r\nab")
    talk.link.lose()
    assert watched.samples()["ftpsvc_transfers_under_way"] == 0
    for part in parts_in(tmp_path):  # it is kept, to be gone on from
        part.unlink()


def test_the_process_and_the_disk_are_told_of(watched: Watched, tmp_path: Path) -> None:
    samples = watched.samples()
    assert samples["ftpsvc_storage_free_bytes"] == pytest.approx(os.statvfs(tmp_path).f_bavail * 4096, rel=0.5)
    assert samples["process_open_fds"] > 0
    assert samples["process_resident_memory_bytes"] > 1_000_000


def test_each_server_has_numbers_of_its_own(tmp_path: Path) -> None:
    first, second = Watched(tmp_path), Watched(tmp_path)
    first.talk.ask(b"NOOP\r\n")
    assert "ftpsvc_replies_total{code=200,verb=NOOP}" in first.samples()
    assert "ftpsvc_replies_total{code=200,verb=NOOP}" not in second.samples()


def test_who_asks_for_open_metrics_gets_them(watched: Watched) -> None:
    answer = watched.ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith("# EOF\n")


def test_values_lie_in_the_bucket_up_to_whose_bound_they_reach() -> None:
    histogram = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11, 1e9):
        histogram.add(value)
    assert histogram.counts == [2, 2, 2]


def test_counting_a_reply_makes_no_counter_twice() -> None:
    counts = Counts({"NOOP"})
    for verb in ("NOOP", "NOOP", "XYZ", "ABC", ""):
        counts.replied(verb, 200)
    assert counts.replies == {("NOOP", 200): 2, (OTHER, 200): 2, ("", 200): 1}


# -- the reactor


def test_a_reactor_in_time_is_not_late() -> None:
    clock = make_clock()
    lateness = Lateness(clock)
    lateness.start()
    clock.pump([EVERY] * 10)
    assert lateness.longest == 0
    lateness.stop()


def test_what_holds_up_the_reactor_is_seen_for_a_minute() -> None:
    clock = make_clock()
    lateness = Lateness(clock)
    lateness.start()
    clock.advance(EVERY)
    clock.advance(EVERY + 3.3)
    assert lateness.longest == pytest.approx(3.3)
    clock.pump([0.05] * int((WINDOW - 1) / 0.05))
    assert lateness.longest == pytest.approx(3.3)
    clock.pump([0.05] * int(2 / 0.05))
    assert lateness.longest < 0.06
    lateness.stop()
