"""The guide line by line: its number and how that follows, and beside it what is needed and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from longhaul.sizing import queueing
from longhaul.sizing import reaction as reactions
from longhaul.sizing.fleet import LIMIT_FACTOR, api_replicas_at_peak, slots_for_target
from longhaul.sizing.packing import Room
from longhaul.sizing.sizing import Sizing
from longhaul.sizing.tiers import GUIDE_REDIS, MEMORY_SHARE

AKS_GRACEFUL_TERMINATION_SECONDS: Final = 600
AKS_DRAIN_TIMEOUT_MINUTES: Final = 30
"""What AKS does where nothing is said: both cut a job of an hour short."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting. `how` derives the guide's number, `why` the needed one; the same number needs no reason."""

    component: str
    setting: str
    guide: str
    how: str
    needed: str
    why: str


def lines(sizing: Sizing) -> list[Line]:
    """In the guide's order."""
    return [*_api(sizing), *_workers(sizing), *_servers(sizing), *_nodes(sizing), *_time(sizing)]


def _api(sizing: Sizing) -> list[Line]:
    a, guide, needed = sizing.assumptions, sizing.guide, sizing.needed
    per_pod, peak = a.api_requests_per_second_per_pod, api_replicas_at_peak(a)
    exact = a.request_rate_per_second / per_pod * a.api_headroom
    held = f"{_n(a.request_rate_per_second)} / {_n(per_pod)} / {_n(a.api_cpu_target)}"
    why = f"at {a.api_cpu_target:.0%} CPU the peak takes {held} = {_n(a.request_rate_per_second / per_pod / a.api_cpu_target)}, so {peak} pods"
    if a.zones > 1:
        why += f"; so many must be left where one of {a.zones} zones is lost"
    return [
        Line(
            "API pod",
            "requests / limits",
            resources(a.api_cpu, a.api_memory_gib),
            f"{_n(per_pod)} requests/s a pod",
            "the same",
            "",
        ),
        Line(
            "API",
            "HPA",
            f"CPU {a.api_cpu_target:.0%}, min {guide.api_min_replicas}",
            "one pod a zone" if guide.api_min_replicas == a.zones else "as assumed",
            f"CPU {a.api_cpu_target:.0%}, min {needed.api_min_replicas}",
            "" if needed.api_min_replicas == guide.api_min_replicas else f"one pod in each of {a.zones} zones",
        ),
        Line(
            "API",
            "max",
            str(guide.api_max_replicas),
            f"{_n(a.request_rate_per_second)} / {_n(per_pod)} x {_n(a.api_headroom)} = {_n(exact)}, rounded up",
            str(needed.api_max_replicas),
            why,
        ),
    ]


def _workers(sizing: Sizing) -> list[Line]:
    a, guide, needed = sizing.assumptions, sizing.guide, sizing.needed
    slots, load = slots_for_target(a), a.offered
    beta = queueing.beta_for_wait(0.5)
    waits = queueing.erlang_c(load, guide.slots)
    target = f"{a.wait_target_share:.0%} within {_n(a.wait_target_seconds)} s"
    outcome = "all jobs wait, ever longer" if guide.slots <= load else f"{waits:.0%} of the jobs wait"
    shared = (
        f"{guide.tasks_per_worker} tasks of {_n(a.task_cpu)} vCPU are {_n(guide.tasks_per_worker * a.task_cpu)} on a pod "
        f"that requests {_n(guide.worker_cpu)}: {_n(guide.oversubscription)} times oversubscribed"
    )
    return [
        Line(
            "worker pod",
            "requests / limits",
            resources(guide.worker_cpu, guide.worker_memory_gib),
            "one task's need",
            resources(needed.worker_cpu, needed.worker_memory_gib),
            f"{needed.tasks_per_worker} x a task's need, and memory for Longhaul's own processes",
        ),
        Line(
            "worker",
            "KEDA target",
            f"{guide.keda_target} per pod (queue length)",
            f"{guide.tasks_per_worker} tasks at once in a pod",
            f"{needed.keda_target} per pod (waiting + running)",
            "queue length alone does not see what runs, and takes busy pods away"
            + (f"; {shared}" if guide.oversubscription > 1 else ""),
        ),
        Line(
            "worker",
            "slots",
            f"{guide.slots:,}",
            f"{_n(load)} tasks at once",
            f"{slots:,}",
            f"{_n(load)} erlangs on {guide.slots:,} slots: {outcome}; {target} by Erlang C and "
            f"(1 + {_n(a.task_seconds_cv)}²) / 2; square-root staffing, where half of the jobs wait: "
            f"{_n(load)} + {_n(beta)} x √{_n(load)} = {queueing.square_root_staffing(load, beta):,}",
        ),
        Line(
            "worker",
            "max",
            str(guide.worker_max_replicas),
            f"{_n(load)} / {guide.tasks_per_worker}, rounded up",
            str(needed.worker_max_replicas),
            f"{slots:,} slots, {needed.tasks_per_worker} a pod: each task has its {_n(a.task_cpu)} vCPU to itself",
        ),
    ]


def _servers(sizing: Sizing) -> list[Line]:
    redis, postgres = sizing.redis, sizing.postgres
    return [
        Line(
            "Redis",
            "tier",
            GUIDE_REDIS,
            "the guide's choice; the next tier above 70 % memory or where persistence is needed",
            f"Azure Managed Redis {redis.tier} ({_n(redis.tier_gb)} GB), no cluster",
            f"Azure Cache for Redis is being retired; {redis.waiting_jobs:,} doorbells (what comes until a burst's pods are "
            f"there) and the running jobs are {redis.memory_gib * 1024:.0f} MiB with the buffers of {redis.connections:,} connections, less than {MEMORY_SHARE:.0%}; nothing in it must persist",
        ),
        Line(
            "PostgreSQL",
            "tier",
            "-",
            "the guide has none",
            f"{postgres.tier}, {'with a standby in another zone' if postgres.is_zone_redundant else 'one server'}",
            f"{postgres.connections:,} connections, {postgres.cores:.2f} cores",
        ),
    ]


def _nodes(sizing: Sizing) -> list[Line]:
    a, guide, packed, needed = sizing.assumptions, sizing.guide, sizing.packed, sizing.needed
    cpu, memory = guide.peak_cpu / a.node_cpu, guide.peak_memory_gib / a.node_memory_gib
    decides = "CPU" if cpu >= memory else "memory"
    sums = (
        f"{guide.api_max_replicas} x {_n(a.api_cpu)} + {guide.worker_max_replicas} x {_n(guide.worker_cpu)} = "
        f"{_n(guide.peak_cpu)} vCPU, {_n(guide.peak_cpu)} / {_n(a.node_cpu)} = {cpu:.1f}; memory: "
        f"{_n(guide.peak_memory_gib)} GiB, {memory:.1f}: {decides} decides"
    )
    return [
        Line(
            "user nodes",
            "at peak",
            str(guide.nodes),
            sums,
            f"{packed.nodes} for these pods, {needed.nodes} for the needed ones",
            f"whole pods: {packed.workers_per_node} workers fit on the {_n(a.node_cpu - a.node_daemons_cpu)} vCPU that "
            f"DaemonSets leave, beside the API's; {needed.workers_per_node} of the needed ones",
        ),
        Line(
            "user nodes",
            "autoscaler",
            f"min {a.node_min}, max {guide.nodes_max}",
            f"{guide.nodes} x {_n(a.node_headroom)}, rounded up",
            f"min {a.node_min}, max {packed.nodes_max} for these pods, {needed.nodes_max} for the needed ones",
            f"the same over {packed.nodes} and {needed.nodes}",
        ),
    ]


def _time(sizing: Sizing) -> list[Line]:
    a, burst, workers = sizing.assumptions, sizing.reaction, sizing.needed.worker_max_replicas
    slow = reactions.steps(1, workers, percent=reactions.DEFAULT_PERCENT, pods=reactions.DEFAULT_PODS)
    return [
        Line(
            "worker",
            f"from a burst to {workers} pods",
            "-",
            "the guide does not say",
            f"{burst.seconds:.0f} s",
            f"{burst.steps} HPA syncs of {_n(reactions.HPA_SYNC_SECONDS)} s ({slow} by the HPA's own policies), "
            f"{_n(burst.node_start_seconds)} s for nodes, {_n(burst.pod_start_seconds)} s for pods; on nodes that are "
            f"there {burst.seconds - burst.node_start_seconds:.0f} s: headroom pods keep room",
        ),
        Line(
            "AKS",
            "max-graceful-termination-sec",
            "-",
            "the guide does not say",
            str(sizing.max_graceful_termination_seconds),
            f"a job of {a.max_job_seconds} s and its end; AKS waits {AKS_GRACEFUL_TERMINATION_SECONDS} s where nothing is "
            "said",
        ),
        Line(
            "AKS",
            "drain_timeout_in_minutes",
            "-",
            "the guide does not say",
            str(sizing.drain_timeout_minutes),
            f"the same, for upgrades; AKS waits {AKS_DRAIN_TIMEOUT_MINUTES} min where nothing is said",
        ),
    ]


def resources(cpu: float, memory_gib: float) -> str:
    """Requests and limits, as the guide writes them: `250m, 256Mi / 500m, 512Mi`."""
    room = Room.of(cpu, memory_gib)
    limit = room.times(LIMIT_FACTOR)
    return f"{room.cpu}, {room.memory} / {limit.cpu}, {limit.memory}"


def _n(value: float) -> str:
    return f"{round(value, 2):,g}" if value < 1e6 else f"{value:,.0f}"
