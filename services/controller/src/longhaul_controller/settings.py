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
    """Interval at which doorbells and demand are compared with the ledger; the reaper runs twice as often."""
    retention_seconds: float = Field(default=30 * 24 * 3600.0, gt=0)
    """How long a job is kept after its end. Dead letters are kept until they are resolved, and this long."""
    retention_interval_seconds: float = Field(default=60.0, gt=0)
    result_collect_interval_seconds: float = Field(default=3600.0, gt=0)
    """Interval at which the result store is searched for objects that no job refers to."""
    result_orphan_seconds: float = Field(default=24 * 3600.0, ge=0)
    """Age at which such an object is deleted."""
    worker_silence_seconds: float = Field(default=3600.0, gt=0)
    """Silence after which a worker that holds no job is deleted from the list."""
    deletion_cost: bool = False
    """Write on each worker's pod what its deletion would cost, so that a scale-in takes idle pods first. Kubernetes only."""
    deletion_cost_interval_seconds: float = Field(default=2.0, gt=0)
    """Interval at which deletion costs are written: for at most this long a pod that became busy looks idle."""
    deletion_cost_patches_per_second: float = Field(default=20.0, gt=0)
    """How many pods may be changed per second; pods that became busy come first."""
    worker_selector: str = ""
    """Labels of this release's worker pods, such as `app.kubernetes.io/component=worker`."""
    pod_namespace: str = Field(default="", validation_alias="POD_NAMESPACE")
    """The namespace of the worker pods: the controller's own."""

    webhook_secret: SecretStr | None = None
    """Secret of 32 characters or more from which each tenant's signing secret is derived. Webhooks are delivered only if it
    is set. To rotate it, set two, separated by a comma, the new one first."""
    webhook_allow_private: bool = False
    """Allow webhooks to private and local addresses. For development only: anyone who may submit a job could then reach
    whatever this process reaches."""
    webhook_timeout_seconds: float = Field(default=15.0, gt=0)
    """Time limit of one try, from resolving the host to reading the status."""
    webhook_tries: int = Field(default=8, ge=1, le=20)
    """How often a delivery is tried before it fails: with the default backoff, for about eight hours."""
    webhook_backoff_seconds: float = Field(default=5.0, gt=0)
    """Pause before the second try. Each further pause is four times the one before."""
    webhook_concurrency: int = Field(default=64, ge=1, le=1000)
    """How many tries may be under way at once."""

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
