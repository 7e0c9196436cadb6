"""`python -m tests.model`: the simulator and `longhaul size` against a real control plane with KEDA, HPA and scheduler.

Needs a cluster in KUBECONFIG with KEDA, and KWOK for its fake nodes. Prints the figures, writes `build/model.md` and
`build/model.png`, and exits with 1 where the model is further off than it may be. `--short` takes a few minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.e2e.cluster import ROOT, wait_until
from tests.e2e.settings import E2ESettings
from tests.model import control_plane
from tests.model.comparison import Comparison
from tests.model.report import Report
from tests.model.watch import watch
from tests.model.workload import GUIDE, SHORT, Workload

from longhaul.sizing.assumptions import PRESETS, Assumptions, parse
from longhaul.sizing.emit import helm_values
from longhaul.sizing.fleet import by_guide, packed
from longhaul_cli.simulator import Cluster, simulate
from longhaul_cli.simulator.values import Release, merge

ERROR_AT_MOST = 0.10
"""Mean distance of the curves of replicas, of the real curve's mean."""
SECONDS_AT_MOST = 15.0
"""To each number of replicas: one sync of the HPA."""
SHARES = (0.25, 0.5, 0.75, 0.95)
"""Of the most replicas: how long it takes to these."""
PHASES = 30
"""Nobody outside knows when in its period an HPA looks: of so many seeds the one whose first step is at the same time."""
FAKE_POD_START_SECONDS = 0.0
SIZES: tuple[Mapping[str, float], ...] = (
    {},
    {"concurrent_tasks": 400, "worker_cpu": 1.2, "worker_memory_gib": 3},
    {"concurrent_tasks": 600, "worker_cpu": 0.25, "worker_memory_gib": 2.5, "api_memory_gib": 1},
)
"""What differs from the guide's case: its own pods, large ones, and such that memory decides."""
SHORT_SIZES = SIZES[1:2]
PARTS = ("nodes", "replicas")
SHORT_SCALE_DOWN = {
    "scaleDown": {
        "stabilizationWindowSeconds": 30,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 15}],
    }
}


def main() -> int:
    """The exit code."""
    arguments = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    arguments.add_argument("--short", action="store_true", help="half of the load, one size of nodes")
    arguments.add_argument("--only", choices=PARTS, help="this part")
    given = arguments.parse_args()
    if reason := control_plane.why_none():
        print(f"The model is not compared: {reason}", file=sys.stderr)
        return 0
    report = Report(limits=(ERROR_AT_MOST, SECONDS_AT_MOST))
    if given.only in {None, "nodes"}:
        for changes in SHORT_SIZES if given.short else SIZES:
            assumptions = parse({**PRESETS["aks-guide"], **changes})
            report.sizes.append((assumptions, *_nodes(assumptions)))
    if given.only in {None, "replicas"}:
        workload, autoscaling = (SHORT, SHORT_SCALE_DOWN) if given.short else (GUIDE, {})
        report.comparison = _replicas(workload, autoscaling)
        report.times = list(_times(report.comparison))
    report.write(ROOT / "build")
    print(report.markdown())
    return 0 if report.passed else 1


def _nodes(assumptions: Assumptions) -> tuple[int, int, int]:
    """Nodes by the guide's division, by `longhaul size`, and those with which the real scheduler finds a place for all.

    It begins with one node less than `longhaul size` says, and adds one while pods wait.
    """
    guide = by_guide(assumptions)
    counted = packed(assumptions, guide).nodes
    fixed = {"mode": "none", "minReplicas": guide.worker_max_replicas}
    print(f"model: the nodes of {guide.worker_max_replicas} workers ...", file=sys.stderr, flush=True)
    count = counted - 1
    with (
        control_plane.fake_nodes(count, assumptions),
        control_plane.release(assumptions, guide, fixed, E2ESettings().helm_set),
    ):
        everyone = guide.worker_max_replicas + guide.api_max_replicas
        wait_until(lambda: control_plane.fake_pods() == everyone, seconds=120, what=f"{everyone} pods are there")
        while wait_until(control_plane.Settled(), seconds=120, what="the scheduler has tried all pods") != "all placed":
            control_plane.add_nodes(count, 1, assumptions)
            count += 1
    return guide.nodes, counted, count


def _replicas(workload: Workload, autoscaling: Mapping[str, Any]) -> Comparison:
    """The curve of workers that have a place, on the real control plane and simulated."""
    assumptions = parse(PRESETS["aks-guide"])
    guide = by_guide(assumptions)
    nodes = packed(assumptions, guide).nodes
    print(f"model: {workload.watch_seconds:g} s of {len(workload.jobs()):,} jobs ...", file=sys.stderr, flush=True)
    with (
        control_plane.fake_nodes(nodes, assumptions),
        control_plane.release(assumptions, guide, autoscaling, E2ESettings().helm_set) as client,
    ):
        wait_until(lambda: control_plane.ready_workers() == 1, seconds=120, what="the first worker is there")
        real = asyncio.run(watch(workload, guide.tasks_per_worker, client))
    values = merge(helm_values(assumptions, guide), {"worker": {"poolDefaults": {"autoscaling": autoscaling}}})
    curves = [_simulated(workload, values, nodes, seed) for seed in range(PHASES)]
    first = _first_step(real)
    return Comparison(real=real, simulated=min(curves, key=lambda curve: abs(_first_step(curve) - first)))


def _simulated(workload: Workload, values: Mapping[str, Any], nodes: int, seed: int) -> list[int]:
    cluster = Cluster(min_nodes=nodes, max_nodes=nodes, pod_start_seconds=FAKE_POD_START_SECONDS)
    release = Release(values, source="the size")
    outcome = simulate(
        workload.jobs(),
        release.pools,
        cluster,
        seed=seed,
        until_seconds=workload.watch_seconds,
        sample_seconds=1.0,
    )
    return [sample.pools["default"].ready for sample in outcome.samples][: int(workload.watch_seconds)]


def _first_step(curve: Sequence[int]) -> int:
    return next((second for second, count in enumerate(curve) if count > curve[0]), len(curve))


def _times(comparison: Comparison) -> Iterator[tuple[int, int | None, int | None]]:
    for share in SHARES:
        replicas = round(max(comparison.real) * share)
        yield (replicas, *comparison.seconds_to(replicas))


if __name__ == "__main__":
    raise SystemExit(main())
