"""What may go wrong, each fault as the steps of the world that strikes: begin, wait, end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.faults.simulation import times
from tests.faults.simulation.kernel import Steps
from tests.faults.simulation.worker import Pod

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

Fault = Callable[["World"], Steps]


def draw_pod(world: World) -> Pod:
    """Any of them; often the one that wrote last, since it waits for an answer."""
    writers = [pod for pod in world.pods if pod.keeper.id == world.checker.last_owner]
    return world.kernel.random.choice(writers if writers and world.flip() else world.pods)


# A worker pod, or a process in it.


def kill_pod(world: World) -> Steps:
    """F1: the node is gone, and its disk with it."""
    draw_pod(world).kill(restart_seconds=world.draw(0.5, 3), keeps_disk=False)
    yield 0.0


def kill_keeper(world: World) -> Steps:
    """F1: process 1 dies, so all die; the container starts again on the same disk, perhaps after a long back-off."""
    draw_pod(world).kill(restart_seconds=world.draw(0.5, 3) if world.flip() else world.draw(10, 25))
    yield 0.0


def kill_celery(world: World) -> Steps:
    """F1: Celery's main process alone."""
    draw_pod(world).celery.kill()
    yield 0.0


def kill_child(world: World) -> Steps:
    """F2."""
    world.kernel.random.choice(draw_pod(world).celery.children).kill()
    yield 0.0


def freeze_pod(world: World) -> Steps:
    """F6, F7: for a moment, or past the lease."""
    yield from _freeze(world, draw_pod(world), world.draw(0.5, 4) if world.flip() else world.draw(12, 24))


def freeze_keeper(world: World) -> Steps:
    """The keeper alone: its children compute on, and those that are free hear doorbells in vain."""
    world.checker.trouble()
    yield from _freeze(world, draw_pod(world), world.draw(1, 24), only_keeper=True)
    world.checker.relief()


def freeze_for_good(world: World) -> Steps:
    """F5: frozen, and then killed."""
    pod = draw_pod(world)
    keeper = pod.keeper
    yield from _freeze(world, pod, world.draw(1, 20), thaws=False)
    if pod.keeper is keeper:
        pod.kill(restart_seconds=1.0, keeps_disk=False)


def drain_pod(world: World) -> Steps:
    """F8, F9: SIGTERM."""
    keeper = draw_pod(world).keeper
    if keeper.process.is_running and not keeper.is_draining:
        keeper.process.start(keeper.drain())
    yield 0.0


def fill_disk(world: World) -> Steps:
    """The spool can't be written."""
    pod = draw_pod(world)
    pod.has_disk = False
    yield world.draw(1, 15)
    pod.has_disk = True


def cut_from_database(world: World) -> Steps:
    """F31."""
    yield from _cut(world, draw_pod(world), "database")


def cut_from_redis(world: World) -> Steps:
    """F32."""
    yield from _cut(world, draw_pod(world), "redis")


def _freeze(world: World, pod: Pod, seconds: float, *, only_keeper: bool = False, thaws: bool = True) -> Steps:
    keeper = pod.keeper
    processes = [keeper.process] if only_keeper else pod.processes
    world.owner_lost(pod)
    for process in processes:
        process.freeze()
    world.capacity_changed()
    yield seconds
    if thaws:
        for process in processes:
            process.thaw()
    keeper.healthy_since = world.kernel.now
    world.capacity_changed()


def _cut(world: World, pod: Pod, server: str) -> Steps:
    cut = (pod.name, server)
    if cut in world.network.cuts:
        return
    # A pod that can't reach the ledger still hears doorbells, in vain: meanwhile others hear theirs late.
    world.checker.trouble()
    if server == "database":
        world.owner_lost(pod)
    world.network.cuts.add(cut)
    yield world.draw(0.5, 22)
    world.network.cuts.discard(cut)
    pod.keeper.healthy_since = world.kernel.now
    while not pod.keeper.is_up and pod.keeper.process.is_alive:
        yield 0.5
    world.checker.relief()


# PostgreSQL.


def restart_database(world: World) -> Steps:
    """F21."""
    yield from _stop_database(world, world.draw(0.2, 3))


def stop_database(world: World) -> Steps:
    """F22: for longer than a lease."""
    yield from _stop_database(world, world.draw(10, 22))


def fail_over_database(world: World) -> Steps:
    """F23: to a synchronous standby, whose clock is its own: ahead by up to an hour, or a little behind."""
    ahead = world.draw(0, 3600) if world.flip() else world.draw(-0.2, 0.2)
    yield from _stop_database(world, world.draw(0.5, 5), clock_offset=ahead)


def hang_database(world: World) -> Steps:
    """F24: it does nothing, and all of it when it goes on."""
    yield from _hang(world, "database")


def _stop_database(world: World, seconds: float, *, clock_offset: float = 0.0) -> Steps:
    database = world.database
    if not database.is_up:
        return
    world.checker.trouble()
    database.stop()
    yield seconds
    database.clock_offset += clock_offset
    database.start()
    world.checker.relief()


def _hang(world: World, name: str) -> Steps:
    server = world.database if name == "database" else world.redis
    if not server.answers:
        return
    world.checker.trouble()
    server.hang()
    yield world.draw(0.5, 20)
    server.go_on()
    world.checker.relief()


# Redis.


def flush_redis(world: World) -> Steps:
    """F14."""
    world.redis.doorbells = 0
    yield 0.0


def drop_redis_clients(world: World) -> Steps:
    """F12: `CLIENT KILL`, again and again."""
    for _ in range(4):
        world.redis.generation += 1
        world.redis.drop(0.001)
        yield 0.5


def stop_redis(world: World) -> Steps:
    """F13, F15: down, also for long; it comes back with what it had, or empty."""
    redis = world.redis
    if not redis.is_up:
        return
    world.checker.trouble()
    redis.stop()
    yield world.draw(0.2, 3) if world.flip() else world.draw(10, 45)
    if world.flip():
        redis.doorbells = 0
    redis.start()
    world.checker.relief()


def hang_redis(world: World) -> Steps:
    """F16."""
    yield from _hang(world, "redis")


def fail_over_redis(world: World) -> Steps:
    """F17: to a replica that lags: rings of before are back, newer ones are lost."""
    doorbells = world.redis.doorbells
    yield world.draw(0.1, 2)
    if world.redis.is_up:
        world.redis.stop()
        world.redis.doorbells = doorbells + world.kernel.random.randint(0, 3)
        world.redis.start()


def repeat_rings(world: World) -> Steps:
    """F19."""
    world.redis.repeats = world.kernel.random.choice((0, 2, 30))
    yield world.draw(1, 8)
    world.redis.repeats = 1


# The control plane and the network.


def kill_controller(world: World) -> Steps:
    """F29."""
    yield from _replace_controller(world, world.kernel.random.randrange(len(world.controllers)))


def freeze_controller(world: World) -> Steps:
    """F28: a paused leader wakes up."""
    process = world.kernel.random.choice(world.controllers).process
    process.freeze()
    yield world.draw(1, 22)
    process.thaw()


def _replace_controller(world: World, number: int) -> Steps:
    world.controllers[number].process.kill()
    yield world.draw(0.5, 5)
    if not world.controllers[number].process.is_alive:
        world.start_controller(number)


def kill_api(world: World) -> Steps:
    """F26: between a commit and its ring, too."""
    number = world.kernel.random.randrange(len(world.apis))
    world.apis[number].process.kill()
    yield world.draw(0.5, 3)
    world.start_api(number)


def lose_messages(world: World) -> Steps:
    """F25: connections that break after a commit and before its answer, or before it; answers that take long."""
    if world.network.badness:
        return
    world.checker.trouble()
    world.network_bad_until = float("inf")
    world.network.badness = world.kernel.random.choice((0.02, 0.1, 0.3))
    yield world.draw(1, 12)
    world.network.badness = 0.0
    yield times.LEADER_GAP  # the last answers are still on their way
    world.network_bad_until = world.kernel.now
    world.checker.relief()


FAULTS: tuple[Fault, ...] = (
    kill_pod,
    kill_keeper,
    kill_celery,
    kill_child,
    freeze_pod,
    freeze_keeper,
    freeze_for_good,
    drain_pod,
    fill_disk,
    cut_from_database,
    cut_from_redis,
    restart_database,
    stop_database,
    fail_over_database,
    hang_database,
    flush_redis,
    drop_redis_clients,
    stop_redis,
    hang_redis,
    fail_over_redis,
    repeat_rings,
    kill_controller,
    freeze_controller,
    kill_api,
    lose_messages,
)
