"""Quotas over several nodes: in memory, but for Redis, which is real."""

from __future__ import annotations

from pathlib import Path

import pytest
import support
from redisserver import needs_redis
from site_of_nodes import Node, Site, redis, site
from storage_contract import StorageContract
from storage_place import Place
from tree_contract import TreeContract

from ftpsvc.everywhere import claims
from ftpsvc.limits import Limits
from ftpsvc.model import Account, Busy, OverQuota, Whole
from ftpsvc.quota import Quota

__all__ = ["redis", "site"]

pytestmark = needs_redis

MOST = 1_000_000


def quota(node: Node, home: Path, size: int | None = MOST, files: int | None = None) -> Quota:
    home.mkdir(exist_ok=True)
    storage = node.homes.storage(str(home), Account("ann", quota_bytes=size, quota_files=files), "ann")
    assert isinstance(storage, Quota)
    return storage


def stored(home: Path) -> int:
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


@pytest.fixture
def two(site: Site, tmp_path: Path) -> tuple[Quota, Quota]:
    """The same home, through two nodes."""
    one, other = (quota(site.node(Limits()), tmp_path / "home") for _ in range(2))
    site.pump()
    return one, other


class TestQuotaOfOneOfManyNodes(StorageContract, TreeContract):
    """One that is never reached changes nothing."""

    @pytest.fixture
    def place(self, site: Site, tmp_path: Path) -> Place:
        site.is_at_once = True
        return Place(
            quota(site.node(Limits()), tmp_path / "home", 1 << 40, 1 << 40), tmp_path / "home", support.result_of
        )


def put(site: Site, storage: Quota, path: str, size: int) -> None:
    site.result_of(storage.put(path, Whole(bytes(size))))


def test_a_quota_is_used_to_its_end_over_two_nodes_and_never_beyond(
    site: Site, two: tuple[Quota, Quota], tmp_path: Path
) -> None:
    one, other = two
    put(site, one, "/a", 600_000)
    put(site, other, "/b", 399_999)
    for storage in two:
        with pytest.raises(OverQuota):
            put(site, storage, "/c", 2)
    put(site, other, "/c", 1)
    assert stored(tmp_path / "home") == MOST
    site.result_of(one.remove("/b"))
    put(site, other, "/d", 399_999)
    assert site.result_of(one.space("/")) == 0 and site.result_of(other.space("/d")) == 399_999


def test_files_and_folders_count_over_both(site: Site, tmp_path: Path) -> None:
    one, other = (quota(site.node(Limits()), tmp_path / "home", None, 3) for _ in range(2))
    site.pump()
    put(site, one, "/a", 1)
    site.result_of(other.make_dir("/b"))
    put(site, one, "/b/c", 1)
    for storage in (one, other):
        with pytest.raises(OverQuota):
            site.result_of(storage.make_dir("/d"))


def test_uploads_at_both_nodes_at_once_can_not_pass_it_together(
    site: Site, two: tuple[Quota, Quota], tmp_path: Path
) -> None:
    files = [site.result_of(storage.open_write(f"/{n}")) for n, storage in enumerate(two)]
    written, over = [0, 0], 0
    while over < 2:
        for n, file in enumerate(files):
            if file is not None:
                try:
                    site.result_of(file.write(bytes(30_000)))
                    written[n] += 30_000
                except OverQuota:
                    over += 1
    assert MOST - 30_000 < sum(written) <= MOST
    for file in files:
        site.result_of(file.commit())
    assert stored(tmp_path / "home") == sum(written)


def test_what_a_node_has_claimed_ahead_it_gives_back_when_nobody_uploads(
    site: Site, two: tuple[Quota, Quota], tmp_path: Path
) -> None:
    home = f"ftpsvc:home:{tmp_path / 'home'}"
    put(site, two[0], "/a", 500_000)
    assert 500_000 < site.kept(home)["size"] <= 500_000 + 500_000 // 16
    assert two[0].usage.size == 500_000
    site.clock.advance(claims.LINGER)
    site.pump()
    assert site.kept(home)["size"] == 500_000 and site.kept(home)["files"] == 1
    assert [key for key in site.kept() if key.startswith("uploads")] == []


def test_a_part_that_uploads_at_both_nodes_begin_with_is_given_back_once_at_the_most(
    site: Site, two: tuple[Quota, Quota], tmp_path: Path
) -> None:
    put(site, two[0], "/other", 300_000)
    broken = site.result_of(two[0].open_write("/a"))
    site.result_of(broken.write(bytes(200_000)))
    site.result_of(broken.abort(keep=True))
    files = [site.result_of(storage.open_write("/a", 200_000)) for storage in two]
    site.result_of(files[0].write(bytes(1000)))
    site.result_of(files[0].commit())
    site.result_of(files[1].abort())
    site.pump()
    site.clock.advance(claims.LINGER)
    site.pump()
    for storage in two:
        assert MOST - site.result_of(storage.space("/")) >= stored(tmp_path / "home") == 501_000


def test_who_goes_away_while_claiming_has_claimed_nothing(site: Site, two: tuple[Quota, Quota], tmp_path: Path) -> None:
    file = site.result_of(two[0].open_write("/a"))
    writing = support.start(file.write(bytes(400_000)))
    writing.deferred.cancel()
    site.pump()
    site.result_of(file.abort())
    site.clock.advance(claims.LINGER)
    site.pump()
    assert site.kept(f"ftpsvc:home:{tmp_path / 'home'}")["size"] == 0


def test_a_node_that_comes_later_does_not_count_what_another_has_counted(site: Site, tmp_path: Path) -> None:
    home = tmp_path / "home"
    put(site, quota(site.node(Limits()), home), "/a", 10)
    site.clock.advance(claims.LINGER)
    (home / "b").write_bytes(bytes(90))  # behind our back
    later = quota(site.node(Limits()), home)
    site.pump()
    assert (later.usage.size, later.usage.files) == (10, 1)
    site.server.ask("HSET", f"ftpsvc:home:{home}", "counted", 1)
    later = quota(site.nodes[0], home)
    site.pump()
    assert site.result_of(later.space("/")) == MOST - 100


def test_after_a_node_has_died_in_an_upload_the_home_is_counted_again(site: Site, tmp_path: Path) -> None:
    home = tmp_path / "home"
    one, two = (site.node(Limits()) for _ in range(2))
    storage = quota(one, home)
    site.pump()
    file = site.result_of(storage.open_write("/a"))
    site.result_of(file.write(bytes(300_000)))
    one.cut_off()
    site.server.ask("ZADD", "ftpsvc:runs", 1, one.run)
    two.joined._since -= 100
    two.joined._beat()
    site.pump()
    assert site.kept(f"ftpsvc:home:{home}")["counted"] == 0
    site.result_of(file.abort())
    again = quota(two, home)
    site.pump()
    assert again.usage.size == 0


def test_without_redis_a_quota_holds_for_what_is_known(site: Site, two: tuple[Quota, Quota], tmp_path: Path) -> None:
    one, other = two
    put(site, one, "/a", 300_000)
    put(site, other, "/b", 300_000)
    site.clock.advance(claims.LINGER)
    site.pump()
    site.server.kill()
    site.pump()
    put(site, other, "/c", 300_000)
    with pytest.raises(OverQuota):
        put(site, other, "/d", 100_001)
    site.server.start()
    site.until(lambda: all(node.joined.is_up for node in site.nodes))
    site.pump()
    assert site.kept(f"ftpsvc:home:{tmp_path / 'home'}")["counted"] == 0  # to be counted at the next login
    for storage in (quota(site.nodes[0], tmp_path / "home"), quota(site.nodes[1], tmp_path / "home")):
        site.clock.advance(claims.LINGER)
        site.pump()
        storage.usage.look_again()
        site.pump()
    assert one.usage.size == other.usage.size == 900_000


def test_a_home_that_redis_has_forgotten_is_counted_again(site: Site, two: tuple[Quota, Quota]) -> None:
    put(site, two[0], "/a", 300_000)
    site.clock.advance(claims.LINGER)
    site.pump()
    site.server.ask("FLUSHALL")
    with pytest.raises(Busy):
        put(site, two[0], "/b", 300_000)
    site.pump()
    put(site, two[0], "/b", 300_000)
    assert site.kept(next(iter(site.server.ask("KEYS", "ftpsvc:home:*"))))["size"] >= 600_000
