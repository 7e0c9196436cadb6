"""A Redis whose replica takes over with what it knew a while ago."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as sync_redis
from tests import servers
from tests.faults.service import Service, service
from tests.pods import free_port
from tests.waiting import eventually, wait_for

from longhaul import doorbell
from longhaul_cli.embedded import EmbeddedValkey

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

QUEUE = doorbell.key("default")
RERING_SECONDS = 5.0


class Pair:
    """A primary, a replica that follows it, and one address for clients: a link to the primary's Unix socket."""

    def __init__(self, primary: EmbeddedValkey, replica: EmbeddedValkey, folder: Path) -> None:
        self._primary, self._replica = primary, replica
        self._link = folder / "redis.sock"
        self._link.symlink_to(_socket(primary))
        self.url = f"unix://:{primary.password}@{self._link}?db=0"
        with sync_redis.Redis.from_url(replica.url) as client:
            client.config_set("masterauth", primary.password)
            client.replicaof("127.0.0.1", str(primary.port))
            client.config_set("requirepass", primary.password)  # clients know one password
        self._to_replica = f"unix://:{primary.password}@{_socket(replica)}?db=0"

    def wait_equal(self) -> None:
        """Until the replica has all that the primary has."""
        with (
            sync_redis.Redis.from_url(self._primary.url) as primary,
            sync_redis.Redis.from_url(self._to_replica) as replica,
        ):

            def is_equal() -> bool:
                ours, theirs = primary.info("replication"), replica.info("replication")
                caught_up = bool(ours["master_repl_offset"] == theirs["slave_repl_offset"])
                return caught_up and theirs["master_link_status"] == "up"

            wait_for(is_equal, timeout_seconds=20, what="the replica has caught up")

    def lag(self) -> None:
        """From now on the replica hears nothing of the primary."""
        with sync_redis.Redis.from_url(self._to_replica) as client:
            client.replicaof("127.0.0.1", str(free_port()))

    def fail_over(self) -> None:
        """The primary dies, the replica is promoted, and the address leads to it."""
        self._primary.kill()
        with sync_redis.Redis.from_url(self._to_replica) as client:
            client.replicaof("NO", "ONE")
        new = self._link.with_suffix(".new")
        new.symlink_to(_socket(self._replica))
        new.replace(self._link)


def _socket(server: EmbeddedValkey) -> Path:
    return server.folder.socket_folder / "valkey.sock"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with (
        servers.temporary_home() as one,
        servers.temporary_home() as other,
        EmbeddedValkey(one, tcp=True) as primary,
        EmbeddedValkey(other, tcp=True) as replica,
    ):
        yield Pair(primary, replica, tmp_path)


@pytest.mark.fault("F17")
async def test_a_failover_with_lag_loses_rings_and_brings_old_ones_back_and_harms_no_job(
    pair: Pair, database_url: str, tmp_path: Path
) -> None:
    with service(database_url, pair.url, tmp_path) as running:
        done = await running.submit(running.slots)
        await running.wait_succeeded(done)
        async with running.deaf():
            # These are known to the replica as waiting, and are over when it takes over: their rings rise again.
            over = await running.submit(200)
            await wait_rung(running, pair, 200)
            pair.wait_equal()
            pair.lag()
        await running.wait_succeeded(over)
        computing = await running.submit(2, seconds=8)

        async def all_run() -> bool:
            return (await running.states(computing))["running"] == 2

        await eventually(all_run, what="two jobs run")
        async with running.deaf():
            # Their rings are known to the old primary only.
            lost = await running.submit(300)
            pair.fail_over()
            # Those that rose again count as rings: the controller adds what is missing.
            await wait_rung(running, pair, 300, timeout_seconds=RERING_SECONDS)
        ids = over + computing + lost
        await running.wait_succeeded(ids)
        running.assert_each_once(ids)


async def wait_rung(running: Service, pair: Pair, count: int, *, timeout_seconds: float = 10) -> None:
    async with doorbell.create_client(pair.url) as client:

        async def is_rung() -> bool:
            return await client.llen(QUEUE) >= count

        await eventually(is_rung, timeout_seconds=timeout_seconds, what=f"{count} doorbells wait")
