"""What a size follows from: the load, a task's need, the machines, and what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from longhaul.errors import ConfigurationError

_TOLERANCE = 0.01
"""By which rate, duration and concurrency may contradict each other."""


class Assumptions(BaseModel):
    """Only the load and a task's need must be said; the rest is the sizing guide's.

    Rates are a second, CPU is in vCPU (1 = one hyperthread of the node), memory in GiB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    request_rate_per_second: float = Field(gt=0, description="HTTP requests a second at the peak")
    concurrent_tasks: float | None = Field(default=None, gt=0, description="tasks that run at once at the peak")
    jobs_per_second: float | None = Field(default=None, gt=0, description="jobs submitted a second at the peak")
    task_seconds: float = Field(gt=0, description="how long an average task runs")
    task_seconds_cv: float = Field(
        default=1.0, ge=0, le=100, description="spread of that: standard deviation / mean; 0 where all take the same"
    )
    max_job_seconds: int = Field(default=3600, gt=0, description="how long the longest job runs")
    task_cpu: float = Field(gt=0, description="vCPU that a task keeps busy")
    task_memory_gib: float = Field(gt=0, description="memory that a task takes")

    wait_target_seconds: float = Field(default=10.0, ge=0, description="how long a job may wait for a slot")
    wait_target_share: float = Field(
        default=0.95, gt=0, lt=1, description="share of the jobs that wait no longer than that"
    )
    availability: float = Field(default=0.999, ge=0.9, lt=1, description="share of the time that it must be up")
    zones: int = Field(default=3, ge=1, le=9, description="availability zones that it runs in")
    waiting_jobs: int | None = Field(
        default=None,
        ge=0,
        description="jobs that wait at once at the worst: all that come until a burst's pods are there",
    )

    api_requests_per_second_per_pod: float = Field(default=20.0, gt=0, description="what an API pod answers a second")
    api_headroom: float = Field(default=1.5, ge=1, description="how much more the API may scale to than the peak needs")
    api_min_replicas: int = Field(default=3, ge=1, description="API pods at least")
    api_cpu_target: float = Field(default=0.7, gt=0, le=1, description="share of its CPU at which the API's HPA holds")
    api_cpu: float = Field(default=0.25, gt=0, description="vCPU that an API pod requests")
    api_memory_gib: float = Field(default=0.25, gt=0, description="memory that an API pod requests")

    tasks_per_worker: int = Field(default=5, ge=1, le=100, description="slots of a worker pod")
    worker_cpu: float = Field(default=0.5, gt=0, description="vCPU that a worker pod requests")
    worker_memory_gib: float = Field(default=0.5, gt=0, description="memory that a worker pod requests")
    pod_start_seconds: float = Field(default=15.0, ge=0, description="from a pod's node to its readiness")

    node_cpu: float = Field(default=3.8, gt=0, description="vCPU of a node that pods may request")
    node_memory_gib: float = Field(default=14.0, gt=0, description="memory of a node that pods may request")
    node_daemons_cpu: float = Field(default=0.25, ge=0, description="vCPU that DaemonSets request on each node")
    node_daemons_memory_gib: float = Field(default=0.5, ge=0, description="memory that DaemonSets request on each node")
    node_min: int = Field(default=2, ge=1, description="nodes at least")
    node_headroom: float = Field(default=1.1, ge=1, description="how many more nodes may be than the peak needs")
    node_start_seconds: float = Field(
        default=348.0,
        ge=0,
        description="from a pod without room to its node: 348 by the cluster autoscaler, 83 by AKS' own",
    )

    @model_validator(mode="after")
    def _load_is_one(self) -> Self:
        if self.concurrent_tasks is None and self.jobs_per_second is None:
            raise ValueError("say concurrent_tasks or jobs_per_second: how much there is to do at the peak")
        if self.concurrent_tasks is not None and self.jobs_per_second is not None:
            follows = self.jobs_per_second * self.task_seconds
            if abs(follows - self.concurrent_tasks) > _TOLERANCE * self.concurrent_tasks:
                raise ValueError(
                    f"{self.jobs_per_second:g} jobs a second of {self.task_seconds:g} s are {follows:g} tasks at once, "
                    f"and concurrent_tasks says {self.concurrent_tasks:g}: leave one of them out"
                )
        return self

    @model_validator(mode="after")
    def _pods_fit_a_node(self) -> Self:
        cpu, memory = self.node_cpu - self.node_daemons_cpu, self.node_memory_gib - self.node_daemons_memory_gib
        for what, needs_cpu, needs_memory in (
            ("a worker pod", self.worker_cpu, self.worker_memory_gib),
            ("an API pod", self.api_cpu, self.api_memory_gib),
            ("a task", self.task_cpu, self.task_memory_gib),
        ):
            if needs_cpu > cpu or needs_memory > memory:
                raise ValueError(
                    f"{what} of {needs_cpu:g} vCPU and {needs_memory:g} GiB fits no node, which has {cpu:g} and "
                    f"{memory:g} beside its DaemonSets: take larger nodes"
                )
        return self

    @property
    def offered(self) -> float:
        """The offered load in erlangs: the mean number of tasks that run at once where none waits."""
        if self.concurrent_tasks is not None:
            return self.concurrent_tasks
        assert self.jobs_per_second is not None  # one of them is there
        return self.jobs_per_second * self.task_seconds

    @property
    def arrivals_per_second(self) -> float:
        """Jobs submitted a second at the peak."""
        return self.offered / self.task_seconds


def parse(values: Mapping[str, Any]) -> Assumptions:
    """Raise ConfigurationError with a sentence for each value that is missing, unknown or out of its bounds."""
    try:
        return Assumptions.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigurationError(" ".join(_sentence(dict(problem)) for problem in error.errors())) from None


PRESETS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        # The reference case of the AKS sizing guide.
        "aks-guide": {
            "request_rate_per_second": 100,
            "concurrent_tasks": 1000,
            "task_seconds": 30,
            "task_cpu": 0.5,
            "task_memory_gib": 0.5,
        }
    }
)


def _sentence(problem: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    field = Assumptions.model_fields.get(name)
    if problem["type"] == "missing" and field:
        return f"{name} is missing: say {field.description}."
    if problem["type"] == "extra_forbidden":
        return f"{name} is no assumption: they are {', '.join(Assumptions.model_fields)}."
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not name:
        return f"{message[0].upper()}{message[1:]}."
    meaning = f" ({field.description})" if field else ""
    return f"{name}{meaning} is {problem['input']!r}: {message[0].lower()}{message[1:]}."
