"""Settings of the controller."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from longhaul.settings import Settings
from longhaul.webhooks import split_secrets


class ControllerSettings(Settings):
    """All times in seconds."""

    controller_probe_host: str = "127.0.0.1"
    controller_probe_port: int = Field(default=8082, ge=0, le=65535)
    tick_seconds: float = Field(default=1.0, gt=0)
    """Between two looks of the reaper, at doorbells and at demand."""
    retention_seconds: float = Field(default=30 * 24 * 3600.0, gt=0)
    """Jobs that ended so long ago are deleted; dead letters only once they are resolved."""
    retention_interval_seconds: float = Field(default=60.0, gt=0)
    result_collect_interval_seconds: float = Field(default=3600.0, gt=0)
    """Between two looks through the result store for what no job refers to."""
    result_orphan_seconds: float = Field(default=24 * 3600.0, ge=0)
    """Only what was written so long ago is deleted there: until then it can be looked at."""
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

    webhook_secret: SecretStr | None = None
    """What tenants' secrets are made from, 32 characters or more; two parted by a comma, the new one first, while they
    change. Webhooks are delivered where it is set."""
    webhook_allow_private: bool = False
    """Webhooks may also go to private and local addresses. For development only: whoever may submit a job could reach
    what this process reaches."""
    webhook_timeout_seconds: float = Field(default=15.0, gt=0)
    """All of one try, from the host's name to the status."""
    webhook_tries: int = Field(default=8, ge=1, le=20)
    """After so many the delivery is given up: with the default backoff within about eight hours."""
    webhook_backoff_seconds: float = Field(default=5.0, gt=0)
    """Before the second try; each further pause is four times the one before."""
    webhook_concurrency: int = Field(default=64, ge=1, le=1000)
    """Tries that are under way at once."""

    @property
    def webhook_secrets(self) -> list[str]:
        """The newest first."""
        return split_secrets(self.webhook_secret.get_secret_value()) if self.webhook_secret else []

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secrets_are_long(cls, secret: SecretStr | None) -> SecretStr | None:
        parts = [one.strip() for one in secret.get_secret_value().split(",")] if secret else []
        if any(len(one) < 32 for one in parts):
            raise ValueError("must have 32 characters or more: make one with `openssl rand -base64 32`")
        return secret

    @model_validator(mode="after")
    def _deletion_costs_know_their_pods(self) -> Self:
        if self.deletion_cost and not (self.worker_selector and self.pod_namespace):
            raise ValueError(
                "LONGHAUL_DELETION_COST needs LONGHAUL_WORKER_SELECTOR and POD_NAMESPACE: set both to where the worker "
                "pods are, or leave it out"
            )
        return self
