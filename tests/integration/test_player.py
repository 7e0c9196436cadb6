"""The player of jobs on pods that run nothing shows the autoscaler what real workers would."""

from __future__ import annotations

from collections import deque

import redis
from tests.model.player import POOL, QUEUE, Player

from longhaul import doorbell
from longhaul_cli.simulator import Job


def shown(client: redis.Redis) -> tuple[int, int]:
    """What KEDA reads: waiting, running."""
    return client.llen(doorbell.key(QUEUE)), client.scard(doorbell.running_key(POOL))


def test_jobs_wait_run_and_end(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        player = Player(deque(Job(due_seconds=1, run_seconds=10) for _ in range(5)), slots=2, client=client)
        player.play(0, {"a"})
        assert shown(client) == (0, 0)
        player.play(1, {"a"})
        assert shown(client) == (3, 2)
        player.play(2, {"a", "b"})
        assert shown(client) == (1, 4)
        player.play(11, {"a", "b"})
        assert shown(client) == (0, 3)
        player.play(30, {"a", "b"})
        assert shown(client) == (0, 0)
        assert player.work() == []


def test_what_runs_on_a_pod_that_goes_ends_and_is_no_demand(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        player = Player(deque(Job(due_seconds=0, run_seconds=10) for _ in range(3)), slots=2, client=client)
        player.play(0, {"a"})
        assert [one.worker for one in player.work()] == ["a"]
        assert shown(client) == (1, 2)
        player.play(1, {"b"})
        assert shown(client) == (0, 1)
        player.play(10.5, {"b"})
        assert shown(client) == (0, 1)
        player.play(11, {"b"})
        assert shown(client) == (0, 0)
