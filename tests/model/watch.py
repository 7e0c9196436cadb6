"""What the real control plane makes of a workload, second by second."""

from __future__ import annotations

import asyncio
import time
from collections import deque

import redis
from tests.model import control_plane
from tests.model.player import Player
from tests.model.workload import Workload

from longhaul_controller.deletion_cost import plan
from longhaul_controller.pods import Pods

COSTS_EVERY_SECONDS, PATCHES_AT_ONCE = 2.0, 40
"""The controller's defaults."""
LOOK_EVERY_SECONDS = 0.5


class PlacedPods(Pods):
    """Pods on a node, that are not going: on nodes that run nothing this is as good as running."""

    FIELDS = "spec.nodeName!="


async def watch(workload: Workload, slots: int, client: redis.Redis) -> list[int]:
    """Worker pods that have a place, at each second from the start."""
    placed = PlacedPods(
        namespace=control_plane.NAMESPACE,
        selector=f"app.kubernetes.io/instance={control_plane.RELEASE},app.kubernetes.io/component=worker",
    )
    player = Player(deque(workload.jobs()), slots, client)
    curve: list[int] = []
    costs: asyncio.Task[None] | None = None
    began = time.monotonic()
    try:
        while (now := time.monotonic() - began) < workload.watch_seconds:
            there = await placed.read()
            player.play(now, {pod.name for pod in there})
            curve += [len(there)] * (int(now) + 1 - len(curve))
            if costs is None or costs.done():
                costs = asyncio.create_task(_write_costs(placed, player))
            await asyncio.sleep(LOOK_EVERY_SECONDS)
        if costs is not None:
            await costs
    finally:
        await placed.close()
    return curve


async def _write_costs(placed: Pods, player: Player) -> None:
    """As the controller does it, by its own plan."""
    for patch in plan(player.work(), await placed.read())[:PATCHES_AT_ONCE]:
        await placed.annotate(patch.pod, patch.annotations)
    await asyncio.sleep(COSTS_EVERY_SECONDS)
