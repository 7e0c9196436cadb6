"""A size as values for the chart and as variables for Terraform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from longhaul.sizing.assumptions import Assumptions
from longhaul.sizing.fleet import LIMIT_FACTOR, Fleet
from longhaul.sizing.packing import Room


def helm_values(assumptions: Assumptions, fleet: Fleet) -> dict[str, Any]:
    """Values for `charts/longhaul`: the API and the pool `default`. Limits are twice what is requested, as the guide's."""
    return {
        "api": {
            "autoscaling": {
                "minReplicas": fleet.api_min_replicas,
                "maxReplicas": fleet.api_max_replicas,
                "targetCPUUtilizationPercentage": round(assumptions.api_cpu_target * 100),
            },
            "resources": _resources(assumptions.api_cpu, assumptions.api_memory_gib),
        },
        "worker": {
            "poolDefaults": {
                "slots": fleet.tasks_per_worker,
                "maxJobSeconds": assumptions.max_job_seconds,
                "autoscaling": {"maxReplicas": fleet.worker_max_replicas},
                "resources": _resources(fleet.worker_cpu, fleet.worker_memory_gib),
            }
        },
    }


def terraform_variables(assumptions: Assumptions, fleet: Fleet) -> dict[str, Any]:
    """Variables of `terraform/`: the assumptions with which its own arithmetic comes to this fleet."""
    return {
        "assumptions": {
            "request_rate_per_second": assumptions.request_rate_per_second,
            "api_requests_per_second_per_pod": assumptions.api_requests_per_second_per_pod,
            "api_headroom": _headroom(assumptions, fleet),
            "api_min_replicas": fleet.api_min_replicas,
            "api_cpu": assumptions.api_cpu,
            "api_memory_gib": assumptions.api_memory_gib,
            "concurrent_tasks": fleet.slots,
            "tasks_per_worker": fleet.tasks_per_worker,
            "task_seconds": assumptions.task_seconds,
            "task_cpu": assumptions.task_cpu,
            "task_memory_gib": assumptions.task_memory_gib,
            "worker_cpu": fleet.worker_cpu,
            "worker_memory_gib": fleet.worker_memory_gib,
            "node_cpu": assumptions.node_cpu,
            "node_memory_gib": assumptions.node_memory_gib,
            "node_daemons_cpu": assumptions.node_daemons_cpu,
            "node_daemons_memory_gib": assumptions.node_daemons_memory_gib,
            "node_min": assumptions.node_min,
            "node_headroom": assumptions.node_headroom,
        }
    }


def hcl(variables: Mapping[str, Mapping[str, float]]) -> str:
    """Variables that are objects of numbers, as a `.tfvars` file."""
    return "".join(f"{name} = {{\n{''.join(_aligned(values))}}}\n" for name, values in variables.items())


def _aligned(values: Mapping[str, float]) -> Iterator[str]:
    width = max(len(name) for name in values)
    for name, value in values.items():
        yield f"  {name:{width}} = {value:.12g}\n"


def _resources(cpu: float, memory_gib: float) -> dict[str, dict[str, str]]:
    room = Room.of(cpu, memory_gib)
    return {
        name: {"cpu": amount.cpu, "memory": amount.memory}
        for name, amount in (("requests", room), ("limits", room.times(LIMIT_FACTOR)))
    }


def _headroom(assumptions: Assumptions, fleet: Fleet) -> float:
    """Terraform rounds pods up: half a pod less than the number leads to it, whatever its last digit is."""
    per_pod = assumptions.api_requests_per_second_per_pod / assumptions.request_rate_per_second
    return max(1.0, round((fleet.api_max_replicas - 0.5) * per_pod, 6))
