"""Pools as the chart makes them of Helm values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.alias_generators import to_camel

from longhaul.errors import ConfigurationError
from longhaul.sizing.packing import Pods, Room
from longhaul.sizing.sizing import GRACE_SECONDS
from longhaul_cli.documents import read_mapping
from longhaul_cli.simulator.chart import CHART_DEFAULTS, CHART_KEYS, POOL_KEYS
from longhaul_cli.simulator.description import Mib, Millicores, parse
from longhaul_cli.simulator.hpa import TOLERANCE, Policy, PolicyType, Rules, Select
from longhaul_cli.simulator.pools import Mode, Pool


class _Partly(BaseModel):
    """Values that hold much else, which does not matter here."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, alias_generator=to_camel)


class _Whole(_Partly):
    """Values that are all known here, so that a slip is found."""

    model_config = ConfigDict(extra="forbid")


class _Requests(_Partly):
    cpu: Millicores = Field(gt=0)
    memory: Mib = Field(gt=0)


class _Resources(_Partly):
    requests: _Requests

    @property
    def room(self) -> Room:
        return Room(self.requests.cpu, self.requests.memory)


class _Policy(_Whole):
    type: PolicyType
    value: PositiveInt
    period_seconds: float = Field(gt=0, le=1800)


class _Rules(_Whole):
    stabilization_window_seconds: float = Field(ge=0, le=3600)
    select_policy: Select = Select.MAX
    policies: tuple[_Policy, ...] = Field(min_length=1)
    tolerance: float = Field(default=TOLERANCE, ge=0, lt=1)

    @property
    def rules(self) -> Rules:
        return Rules(
            policies=tuple(
                Policy(type=one.type, value=one.value, period_seconds=one.period_seconds) for one in self.policies
            ),
            stabilization_seconds=self.stabilization_window_seconds,
            select=self.select_policy,
            tolerance=self.tolerance,
        )


class _Autoscaling(_Whole):
    mode: Literal["keda", "none"] | None
    min_replicas: NonNegativeInt
    max_replicas: PositiveInt
    target: PositiveInt | None
    polling_interval_seconds: PositiveFloat
    cooldown_seconds: float = Field(ge=0)
    scale_up: _Rules
    scale_down: _Rules
    fallback_failures: Any = None
    annotations: Any = None


class _Job(_Partly):
    idle_seconds: PositiveFloat


class _Pool(_Partly):
    mode: Literal["deployment", "job"]
    queues: tuple[str, ...] = Field(min_length=1)
    slots: PositiveInt
    max_job_seconds: PositiveInt
    drain_seconds: PositiveInt | None
    handover_seconds: NonNegativeInt
    termination_grace_period_seconds: PositiveInt | None
    replicas: NonNegativeInt | None
    autoscaling: _Autoscaling
    job: _Job
    resources: _Resources


class _ApiAutoscaling(_Partly):
    min_replicas: PositiveInt


class _Api(_Partly):
    replicas: PositiveInt | None
    autoscaling: _ApiAutoscaling
    resources: _Resources


class _DeletionCost(_Partly):
    enabled: bool


class _Controller(_Partly):
    replicas: PositiveInt
    resources: _Resources
    deletion_cost: _DeletionCost


class _Headroom(_Partly):
    enabled: bool
    replicas: PositiveInt
    resources: _Resources | None


class _Mode(_Partly):
    mode: Literal["keda", "none"]


class _Values(_Partly):
    autoscaling: _Mode
    api: _Api
    controller: _Controller
    headroom: _Headroom


class Release:
    """What a release with these values has: worker pools, and the pods beside them."""

    def __init__(self, values: Mapping[str, Any], *, source: str) -> None:
        """`values` are merged over the chart's. Raises ConfigurationError."""
        _check_keys(values, CHART_KEYS, source, "")
        merged = merge(CHART_DEFAULTS, values)
        own = parse(_Values, merged, source=source)
        worker = _mapping(merged.get("worker"), source, "worker")
        defaults = _mapping(worker.get("poolDefaults"), source, "worker.poolDefaults")
        pools = _mapping(worker.get("pools"), source, "worker.pools")
        _check_keys(defaults, POOL_KEYS, source, "worker.poolDefaults.")
        self.pools = tuple(
            _pool(str(name), _mapping(pool or {}, source, f"worker.pools.{name}"), defaults, own, source)
            for name, pool in pools.items()
            if pool is not None
        )
        if not self.pools:
            raise ConfigurationError(f"{source}: worker.pools has no pool: say at least one.")
        self.others = (
            Pods(own.api.replicas or own.api.autoscaling.min_replicas, own.api.resources.room),
            Pods(own.controller.replicas, own.controller.resources.room),
        )
        self.headroom: Pods | None = None
        if own.headroom.enabled:
            resources = own.headroom.resources or parse(
                _Resources,
                _mapping(defaults.get("resources"), source, "worker.poolDefaults.resources"),
                source=source,
                below="worker.poolDefaults.resources",
            )
            self.headroom = Pods(own.headroom.replicas, resources.room)

    @property
    def queues(self) -> set[str]:
        """The queues that any pool serves."""
        return {queue for pool in self.pools for queue in pool.queues}


def read_release(paths: Iterable[Path]) -> Release:
    """A release with these files of values, the later over the earlier. Raises ConfigurationError."""
    values: Mapping[str, Any] = {}
    names = [str(path) for path in paths]
    for name in names:
        values = merge(values, read_mapping(Path(name)))
    return Release(values, source=" and ".join(names) or "the chart's values")


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: mappings key by key, all else as a whole."""
    merged = dict(below)
    for key, value in above.items():
        present = merged.get(key)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(present, value)
        else:
            merged[key] = value
    return merged


def _mapping(value: object, source: str, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{source}: {place} is {value!r}: say a mapping of keys and values.")
    return value


def _check_keys(values: Mapping[str, Any], known: frozenset[str], source: str, below: str) -> None:
    if unknown := sorted(set(map(str, values)) - known):
        raise ConfigurationError(
            f"{source}: the chart has no {', '.join(below + key for key in unknown)}: take it out, or look for a slip."
        )


def _pool(name: str, own: Mapping[str, Any], defaults: Mapping[str, Any], values: _Values, source: str) -> Pool:
    _check_keys(own, POOL_KEYS, source, f"worker.pools.{name}.")
    merged = merge(defaults, own)
    is_job = merged.get("mode") == "job"
    pool = parse(_Pool, merged, source=source, below=f"worker.pools.{name}")
    scaling = pool.autoscaling
    mode = Mode.JOB if is_job else Mode.KEDA if (scaling.mode or values.autoscaling.mode) == "keda" else Mode.FIXED
    least = scaling.min_replicas
    if is_job:  # as the chart has it: such a pool counts from 0 where it says nothing itself
        least = (own.get("autoscaling") or {}).get("minReplicas", 0)
    elif mode is Mode.FIXED and pool.replicas is not None:
        least = pool.replicas
    if mode is not Mode.FIXED and least > scaling.max_replicas:
        raise ConfigurationError(
            f"{source}: worker.pools.{name}.autoscaling.minReplicas is {least}, more than maxReplicas, which is "
            f"{scaling.max_replicas}: lower one, or raise the other."
        )
    drain = pool.drain_seconds or pool.max_job_seconds
    slots = 1 if is_job else pool.slots
    return Pool(
        name=name,
        queues=pool.queues,
        slots=slots,
        room=pool.resources.room,
        mode=mode,
        min_replicas=least,
        max_replicas=scaling.max_replicas,
        target=1 if is_job else scaling.target or slots,
        polling_seconds=scaling.polling_interval_seconds,
        cooldown_seconds=scaling.cooldown_seconds,
        up=scaling.scale_up.rules,
        down=scaling.scale_down.rules,
        idle_seconds=pool.job.idle_seconds,
        drain_seconds=drain,
        handover_seconds=pool.handover_seconds,
        grace_seconds=pool.termination_grace_period_seconds or drain + GRACE_SECONDS,
        has_deletion_costs=values.controller.deletion_cost.enabled,
    )
