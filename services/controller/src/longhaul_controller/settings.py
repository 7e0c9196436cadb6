"""Settings of the controller."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from longhaul.settings import Settings


class ControllerSettings(Settings):
    """All times in seconds."""

    controller_probe_host: str = "127.0.0.1"
    controller_probe_port: int = Field(default=8082, ge=0, le=65535)
    tick_seconds: float = Field(default=1.0, gt=0)
    """Between two looks of the reaper, at doorbells and at demand."""
    retention_seconds: float = Field(default=30 * 24 * 3600.0, gt=0)
    """Jobs that ended so long ago are deleted; dead letters only once they are resolved."""
    retention_interval_seconds: float = Field(default=60.0, gt=0)
    worker_silence_seconds: float = Field(default=3600.0, gt=0)
    """A worker that was not heard of for so long, and holds no job, leaves the list."""
    deletion_cost: bool = False
    """Write on workers' pods what would be lost with them: a scale-in then takes idle ones first. For Kubernetes only."""
    deletion_cost_interval_seconds: float = Field(default=2.0, gt=0)
    """A pod that became busy is marked after at most so long."""
    deletion_cost_patches_per_second: float = Field(default=20.0, gt=0)
    """Pods that are changed in a second, at most; those that became busy come first."""
    worker_selector: str = ""
    """Labels of this release's worker pods, such as `app.kubernetes.io/component=worker`."""
    pod_namespace: str = Field(default="", validation_alias="POD_NAMESPACE")
    """The namespace of the worker pods: the controller's own."""

    @model_validator(mode="after")
    def _deletion_costs_know_their_pods(self) -> Self:
        if self.deletion_cost and not (self.worker_selector and self.pod_namespace):
            raise ValueError(
                "LONGHAUL_DELETION_COST needs LONGHAUL_WORKER_SELECTOR and POD_NAMESPACE: set both to where the worker "
                "pods are, or leave it out"
            )
        return self
