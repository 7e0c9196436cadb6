"""The kinds of faults: what each does to the stack, with signals and commands that also break things outside of tests."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psycopg
from tests.faults.mixed.fleet import Seat
from tests.faults.mixed.history import Fault
from tests.faults.mixed.longhaul_side import LonghaulSide
from tests.faults.mixed.stack import Stack
from tests.waiting import wait_for

SHORT_SECONDS = 3.0
"""Shorter than a lease less a renewal."""
PAST_LEASE_SECONDS = 18.0
SILENT_LEADER_SECONDS = 13.0
"""PostgreSQL ends a leader's session that is silent for 10 s."""
DRAIN_LIMIT_SECONDS = 45.0
"""A drain takes 8 s here, and Celery may have 20 s to end."""
COPIES = 100


@dataclass
class Scene:
    """What a fault works on."""

    stack: Stack
    fault: Fault
    seat: Seat | None
    """The process, where the fault is about one."""
    pick: float
    over: threading.Event
    """Set where the run is over early."""

    @property
    def chosen(self) -> Seat:
        assert self.seat is not None
        return self.seat

    def hold(self, seconds: float) -> None:
        """The fault lasts."""
        self.over.wait(seconds)


@dataclass(frozen=True)
class Kind:
    name: str
    shows: str
    """Ids of the list of faults in docs/reference/faults.md."""
    on: Literal["worker", "api", "leader", "standby", "redis", "postgres"]
    strike: Callable[[Scene], None]
    longhaul_only: bool = False
    needs_proxy: bool = False


def _kill(scene: Scene) -> None:
    scene.fault.pids = scene.stack.fleet.kill(scene.chosen)


def _kill_main(scene: Scene) -> None:
    """The keeper alone: its children must not outlive it."""
    scene.fault.pids = scene.stack.fleet.kill(scene.chosen, below=False)


def _kill_celery(scene: Scene) -> None:
    family = scene.stack.fleet.family(scene.chosen)
    if len(family) > 1:
        scene.fault.pids = [process.pid for process in family[1:]]
        family[1].kill()


def _kill_child(scene: Scene) -> None:
    """One process of Celery's pool: below the keeper and Celery here, below Celery in the blueprint."""
    depth = 2 if isinstance(scene.stack, LonghaulSide) else 1
    children = scene.stack.fleet.family(scene.chosen)[depth:]
    if children:
        child = children[int(scene.pick * len(children))]
        scene.fault.pids = [child.pid]
        child.kill()


def _kill_api(scene: Scene) -> None:
    scene.stack.fleet.kill(scene.chosen)
    # The watcher sees the end, and starts the next: until it answers, its address refuses.
    before = scene.chosen.generation
    wait_for(lambda: scene.chosen.generation > before, timeout_seconds=30, what="the API was started again")
    scene.stack.wait_ready(scene.chosen)


def _freeze(seconds: float) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        scene.stack.fleet.signal(scene.chosen, signal.SIGSTOP)
        try:
            scene.hold(seconds)
        finally:
            scene.stack.fleet.signal(scene.chosen, signal.SIGCONT)

    return strike


def _freeze_then_kill(scene: Scene) -> None:
    """What it was handed while it was frozen goes with it."""
    scene.stack.fleet.signal(scene.chosen, signal.SIGSTOP)
    scene.hold(SHORT_SECONDS)
    scene.fault.killed_at = time.monotonic()
    scene.fault.pids = scene.stack.fleet.kill(scene.chosen)


def _drain(scene: Scene) -> None:
    """SIGTERM with a replacement, as in a rolling update."""
    name, process = scene.stack.fleet.drain(scene.chosen)
    try:
        process.wait_exit(DRAIN_LIMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{name} did not end {DRAIN_LIMIT_SECONDS:g} s after SIGTERM") from error


def _drain_then_kill(scene: Scene) -> None:
    scene.chosen.was_told = True
    scene.stack.fleet.signal(scene.chosen, signal.SIGTERM, below=False)
    scene.hold(SHORT_SECONDS)
    scene.fault.killed_at = time.monotonic()
    scene.fault.pids = scene.stack.fleet.kill(scene.chosen)


def _cut_postgres(scene: Scene) -> None:
    proxy = scene.stack.roads[scene.chosen.name].postgres
    assert proxy is not None
    proxy.cut()
    scene.hold(PAST_LEASE_SECONDS)
    proxy.restore()


def _silence_postgres(scene: Scene) -> None:
    proxy = scene.stack.roads[scene.chosen.name].postgres
    assert proxy is not None
    proxy.silence()
    scene.hold(PAST_LEASE_SECONDS)
    proxy.restore()


def _cut_redis(scene: Scene) -> None:
    proxy = scene.stack.roads[scene.chosen.name].redis
    assert proxy is not None
    proxy.cut()
    scene.hold(2 * SHORT_SECONDS)
    proxy.restore()


def _slow(scene: Scene) -> None:
    road = scene.stack.roads[scene.chosen.name]
    for proxy in (road.postgres, road.redis):
        assert proxy is not None
        proxy.slow(latency_ms=100, jitter_ms=50)
    scene.hold(2 * SHORT_SECONDS)
    for proxy in (road.postgres, road.redis):
        assert proxy is not None
        proxy.restore()


def _kill_clients(type: Literal["normal", "pubsub"]) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        with scene.stack.redis() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")

    return strike


def _pause_clients(scene: Scene) -> None:
    with scene.stack.redis() as client:
        client.execute_command("CLIENT", "PAUSE", int(SHORT_SECONDS * 1000), "ALL")
    scene.hold(SHORT_SECONDS)


def _flush(scene: Scene) -> None:
    with scene.stack.redis() as client:
        client.flushall()


def _delete_queue(scene: Scene) -> None:
    with scene.stack.redis() as client:
        client.delete(scene.stack.queue_key)


def _restart_empty(scene: Scene) -> None:
    scene.stack.valkey.stop()
    shutil.rmtree(scene.stack.valkey.data)
    scene.stack.valkey.start()


def _crash_redis(scene: Scene) -> None:
    scene.stack.valkey.kill()
    scene.stack.valkey.start()


def _freeze_redis(scene: Scene) -> None:
    scene.stack.valkey.pause()
    scene.hold(SHORT_SECONDS)
    scene.stack.valkey.resume()


def _crash_postgres(scene: Scene) -> None:
    scene.stack.postgres.kill()
    scene.stack.postgres.start()


def _freeze_postgres(scene: Scene) -> None:
    scene.stack.postgres.pause()
    scene.hold(2 * SHORT_SECONDS)
    scene.stack.postgres.resume()


def _terminate_backends(scene: Scene) -> None:
    with psycopg.connect(scene.stack.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
        )


def _duplicate(scene: Scene) -> None:
    with scene.stack.redis() as client:
        if copies := scene.stack.copies(COPIES):
            client.lpush(scene.stack.queue_key, *copies)


def _forge(scene: Scene) -> None:
    with scene.stack.redis() as client:
        client.lpush(scene.stack.queue_key, *scene.stack.forgeries())


KINDS = {
    kind.name: kind
    for kind in (
        Kind("worker.kill", "F1", "worker", _kill),
        Kind("worker.kill_keeper", "F1", "worker", _kill_main, longhaul_only=True),
        Kind("worker.kill_celery", "F1", "worker", _kill_celery, longhaul_only=True),
        Kind("worker.kill_child", "F2", "worker", _kill_child),
        Kind("worker.freeze_then_kill", "F5", "worker", _freeze_then_kill),
        Kind("worker.freeze_past_lease", "F6", "worker", _freeze(PAST_LEASE_SECONDS)),
        Kind("worker.freeze_3s", "F7", "worker", _freeze(SHORT_SECONDS)),
        Kind("worker.drain", "F8 F9", "worker", _drain),
        Kind("worker.drain_then_kill", "F10", "worker", _drain_then_kill),
        Kind("worker.cut_postgres", "F31", "worker", _cut_postgres, needs_proxy=True),
        Kind("worker.silence_postgres", "F31", "worker", _silence_postgres, needs_proxy=True),
        Kind("worker.cut_redis", "F32", "worker", _cut_redis, needs_proxy=True),
        Kind("worker.slow", "F24", "worker", _slow, needs_proxy=True),
        Kind("api.kill", "F25 F26", "api", _kill_api),
        Kind("leader.kill", "F27 F28", "leader", _kill, longhaul_only=True),
        Kind("leader.freeze", "F28", "leader", _freeze(SILENT_LEADER_SECONDS), longhaul_only=True),
        Kind("standby.kill", "F28", "standby", _kill, longhaul_only=True),
        Kind("redis.client_kill_normal", "F12", "redis", _kill_clients("normal")),
        Kind("redis.client_kill_pubsub", "F12", "redis", _kill_clients("pubsub")),
        Kind("redis.client_pause", "F16", "redis", _pause_clients),
        Kind("redis.freeze", "F16", "redis", _freeze_redis),
        Kind("redis.restart", "F13", "redis", lambda scene: scene.stack.valkey.restart()),
        Kind("redis.crash", "F13", "redis", _crash_redis),
        Kind("redis.restart_empty", "F14", "redis", _restart_empty),
        Kind("redis.flushall", "F14", "redis", _flush),
        Kind("redis.delete_queue", "F14", "redis", _delete_queue),
        Kind("postgres.restart_fast", "F21", "postgres", lambda scene: scene.stack.postgres.restart()),
        Kind(
            "postgres.restart_immediate", "F21", "postgres", lambda scene: scene.stack.postgres.restart(immediate=True)
        ),
        Kind("postgres.crash", "F21", "postgres", _crash_postgres),
        Kind("postgres.freeze", "F22", "postgres", _freeze_postgres),
        Kind("postgres.terminate_backends", "F21", "postgres", _terminate_backends),
        Kind("queue.duplicate", "F19", "redis", _duplicate),
        Kind("queue.forge", "F20", "redis", _forge),
    )
}
