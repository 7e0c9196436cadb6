"""What may go wrong, each fault as the steps of the world that strikes: begin, wait, end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tests.faults.simulation import tasks, times
from tests.faults.simulation.network import Server
from tests.faults.simulation.pod import Pod

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

Fault = Callable[["World"], Awaitable[None]]


def draw_pod(world: World) -> Pod:
    """Any of them; often the one that wrote last, since it waits for an answer."""
    writers = [pod for pod in world.pods if pod.keeper.worker.id == world.checker.last_owner]
    return world.kernel.random.choice(writers if writers and world.flip() else world.pods)


# A worker pod, or a process in it.


async def kill_pod(world: World) -> None:
    """F1: the node is gone, and its disk with it."""
    draw_pod(world).kill(restart_seconds=world.draw(0.5, 3), keeps_disk=False)


async def kill_keeper(world: World) -> None:
    """F1: process 1 dies, so all die; the container starts again on the same disk, perhaps after a long back-off."""
    draw_pod(world).kill(restart_seconds=world.draw(0.5, 3) if world.flip() else world.draw(10, 25))


async def kill_celery(world: World) -> None:
    """F1: Celery's main process alone."""
    celery = draw_pod(world).celery
    if celery is not None:
        celery.process.kill()


async def kill_child(world: World) -> None:
    """F2, F3, F58: by any signal, or for memory."""
    children = draw_pod(world).children
    if children:
        world.oom_kills += world.flip()
        world.kernel.random.choice(children).kill(-world.kernel.random.choice((9, 9, 11, 15)))


async def kill_all_children(world: World) -> None:
    """F2: each of a pod, one after the other."""
    for child in list(draw_pod(world).children):
        child.kill()
        await asyncio.sleep(world.draw(0, 0.3))


async def freeze_pod(world: World) -> None:
    """F6, F7: for a moment, or past the lease."""
    await _freeze(world, draw_pod(world), world.draw(0.5, 4) if world.flip() else world.draw(12, 24))


async def freeze_keeper(world: World) -> None:
    """The keeper alone: its children compute on, and those that are free hear doorbells in vain."""
    world.checker.trouble()
    await _freeze(world, draw_pod(world), world.draw(1, 24), only_keeper=True)
    world.checker.relief()


async def freeze_for_good(world: World) -> None:
    """F5: frozen, and then killed."""
    pod = draw_pod(world)
    keeper = pod.keeper
    await _freeze(world, pod, world.draw(1, 20), thaws=False)
    if pod.keeper is keeper:
        pod.kill(restart_seconds=1.0, keeps_disk=False)


async def freeze_child(world: World) -> None:
    """SIGSTOP of one process of a pool, or of Celery's main one. A doorbell that it has is rung again."""
    pod = draw_pod(world)
    processes = [process for process in pod.processes if process.is_alive and process is not pod.keeper.process]
    if not processes:
        return
    process = world.kernel.random.choice(processes)
    world.checker.trouble()
    process.freeze()
    await asyncio.sleep(world.draw(0.5, 24))
    process.thaw()
    world.checker.relief()


async def drain_pod(world: World) -> None:
    """F8, F9, F11: SIGTERM."""
    draw_pod(world).keeper.terminate()


async def fill_disk(world: World) -> None:
    """F42: the spool can't be written."""
    pod = draw_pod(world)
    pod.disk.fill(True)
    await asyncio.sleep(world.draw(1, 15))
    pod.disk.fill(False)


async def cut_from_database(world: World) -> None:
    """F31."""
    await _cut(world, draw_pod(world), "database")


async def cut_from_redis(world: World) -> None:
    """F32."""
    await _cut(world, draw_pod(world), "redis")


async def stop_result_store(world: World) -> None:
    """F40."""
    if not world.store.is_up:
        return
    world.store.is_up = False
    await asyncio.sleep(world.draw(0.5, 30))
    world.store.is_up = True


async def _freeze(world: World, pod: Pod, seconds: float, *, only_keeper: bool = False, thaws: bool = True) -> None:
    keeper = pod.keeper
    processes = [keeper.process] if only_keeper else pod.processes
    world.owner_lost(pod)
    for process in processes:
        process.freeze()
    await asyncio.sleep(seconds)
    if thaws:
        for process in processes:
            process.thaw()
    keeper.healthy_since = world.kernel.now


async def _cut(world: World, pod: Pod, server: str) -> None:
    cut = (pod.name, server)
    if cut in world.network.cuts:
        return
    # A pod that can't reach the ledger still hears doorbells, in vain: meanwhile others hear theirs late.
    world.checker.trouble()
    if server == "database":
        world.owner_lost(pod)
    world.network.cuts.add(cut)
    await asyncio.sleep(world.draw(0.5, 22))
    for deliver in world.network.mend(cut):
        world.kernel.outside.after(world.draw(0, 2), deliver)
    pod.keeper.healthy_since = world.kernel.now
    while not pod.keeper.recorder.is_up and pod.keeper.process.is_alive:  # noqa: ASYNC110 - nobody tells the outside
        await asyncio.sleep(0.5)
    world.checker.relief()


# PostgreSQL.


async def restart_database(world: World) -> None:
    """F21."""
    await _stop_database(world, world.draw(0.2, 3))


async def stop_database(world: World) -> None:
    """F22: for longer than a lease."""
    await _stop_database(world, world.draw(10, 22))


async def fail_over_database(world: World) -> None:
    """F23: to a synchronous standby, whose clock is its own: ahead by up to an hour, or a little behind."""
    ahead = world.draw(0, 3600) if world.flip() else world.draw(-0.2, 0.2)
    await _stop_database(world, world.draw(0.5, 5), clock_offset=ahead)


async def hang_database(world: World) -> None:
    """F24: it does nothing, and all of it when it goes on."""
    await _hang(world, world.database)


async def refuse_writes(world: World) -> None:
    """F57: read-only, a grant on a table that is missing, a trigger that swallows each update of a job, or a schema that is
    not for this version."""
    database = world.database
    if not database.serves:
        return
    world.checker.trouble()
    kind = world.kernel.random.choice(("read-only", "swallows", "jobs", "job_events", "workers", "schema"))
    if kind == "read-only":
        database.is_read_only = True
    elif kind == "swallows":
        database.swallows = True
    elif kind == "schema":
        database.is_migrated = True
    else:
        database.refused = kind
    await asyncio.sleep(world.draw(0.5, 40))
    database.is_read_only = database.swallows = database.is_migrated = False
    database.refused = None
    world.checker.relief()


async def _stop_database(world: World, seconds: float, *, clock_offset: float = 0.0) -> None:
    database = world.database
    if not database.is_up:
        return
    world.checker.trouble()
    database.stop()
    await asyncio.sleep(seconds)
    database.clock_offset += clock_offset
    database.start()
    world.checker.relief()


async def _hang(world: World, server: Server) -> None:
    if not server.answers:
        return
    world.checker.trouble()
    server.hang()
    await asyncio.sleep(world.draw(0.5, 20))
    server.go_on()
    world.checker.relief()


# Redis.


async def flush_redis(world: World) -> None:
    """F14."""
    world.redis.flush()


async def drop_redis_clients(world: World) -> None:
    """F12: `CLIENT KILL`, again and again."""
    for _ in range(4):
        world.redis.generation += 1
        world.redis.drop(0.001)
        await asyncio.sleep(0.5)


async def stop_redis(world: World) -> None:
    """F13, F15: down, also for long; it comes back with what it had, or empty."""
    redis = world.redis
    if not redis.is_up:
        return
    world.checker.trouble()
    redis.stop()
    await asyncio.sleep(world.draw(0.2, 3) if world.flip() else world.draw(10, 45))
    if world.flip():
        redis.flush()
    redis.start()
    world.checker.relief()


async def hang_redis(world: World) -> None:
    """F16."""
    await _hang(world, world.redis)


async def fail_over_redis(world: World) -> None:
    """F17: to a replica that lags: rings of before are back, newer ones are lost."""
    doorbells = world.redis.doorbells.copy()
    await asyncio.sleep(world.draw(0.1, 2))
    if world.redis.is_up:
        world.redis.stop()
        world.redis.doorbells = doorbells
        world.redis.doorbells[tasks.QUEUE] += world.kernel.random.randint(0, 3)
        world.redis.start()


async def repeat_rings(world: World) -> None:
    """F19."""
    world.redis.repeats = world.kernel.random.choice((0, 2, 30))
    await asyncio.sleep(world.draw(1, 8))
    world.redis.repeats = 1


async def forge_rings(world: World) -> None:
    """F20: of a queue that no pod serves."""
    for _ in range(5):
        world.redis.ring({"forged": 1})
        await asyncio.sleep(world.draw(0, 1))


# The control plane and the network.


async def kill_controller(world: World) -> None:
    """F29."""
    await _replace_controller(world, world.kernel.random.randrange(len(world.controllers)))


async def freeze_controller(world: World) -> None:
    """F28: a paused leader wakes up."""
    process = world.kernel.random.choice(world.controllers).process
    process.freeze()
    await asyncio.sleep(world.draw(1, 22))
    process.thaw()


async def _replace_controller(world: World, number: int) -> None:
    world.controllers[number].process.kill()
    await asyncio.sleep(world.draw(0.5, 5))
    if not world.controllers[number].process.is_alive:
        world.start_controller(number)


async def kill_api(world: World) -> None:
    """F26: between a commit and its ring, too."""
    number = world.kernel.random.randrange(len(world.apis))
    world.apis[number].process.kill()
    await asyncio.sleep(world.draw(0.5, 3))
    if not world.apis[number].process.is_alive:
        world.start_api(number)


async def lose_messages(world: World) -> None:
    """F25: connections that break after a commit and before its answer, or before it; answers that take long."""
    if world.network.badness:
        return
    world.checker.trouble()
    world.network_bad_until = float("inf")
    world.network.badness = world.kernel.random.choice((0.02, 0.1, 0.3))
    await asyncio.sleep(world.draw(1, 12))
    world.network.badness = 0.0
    await asyncio.sleep(times.SETTLE)
    await asyncio.sleep(world.network.bad_until - world.kernel.now)  # the last answers are still on their way
    world.network_bad_until = world.kernel.now
    world.checker.relief()


FAULTS: tuple[Fault, ...] = (
    kill_pod,
    kill_keeper,
    kill_celery,
    kill_child,
    kill_all_children,
    freeze_pod,
    freeze_keeper,
    freeze_for_good,
    freeze_child,
    drain_pod,
    fill_disk,
    cut_from_database,
    cut_from_redis,
    stop_result_store,
    restart_database,
    stop_database,
    fail_over_database,
    hang_database,
    refuse_writes,
    flush_redis,
    drop_redis_clients,
    stop_redis,
    hang_redis,
    fail_over_redis,
    repeat_rings,
    forge_rings,
    kill_controller,
    freeze_controller,
    kill_api,
    lose_messages,
)
