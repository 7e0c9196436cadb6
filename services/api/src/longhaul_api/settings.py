"""Settings of the API, from the environment with the prefix `LONGHAUL_`."""

from __future__ import annotations

import ipaddress
from typing import Literal, Self

from pydantic import Field, model_validator

from longhaul.settings import Settings

Webhooks = Literal["off", "https", "http"]


class ApiSettings(Settings):
    """What the API needs. All times in seconds."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=65535)
    auth_mode: Literal["none", "keys"] = "keys"
    auth_none_anywhere: bool = False
    """Says explicitly that everyone who can reach this address may do everything."""
    key_cache_seconds: float = Field(default=10.0, ge=0)
    """How long a revoked key may still work."""

    body_limit_bytes: int = Field(default=2 * 1024 * 1024, gt=0)
    """Larger inputs belong into object storage."""
    queue_threshold: int = Field(default=1000, ge=0)
    """A queue with more waiting jobs than this is reported as unhealthy."""
    deadline_seconds: float = Field(default=5.0, gt=0)
    """Every answer that needs the ledger comes within this time; without one from the ledger it is a 503."""
    pool_size: int = Field(default=4, ge=1)
    """Connections for all but submits and status reads, which have their own."""
    catalogue_seconds: float = Field(default=2.0, ge=0)
    """How old the catalogue may be that a submit is checked against."""
    webhooks: Webhooks = "off"
    """Which URLs a submit may name as its webhook: none, https ones, or http ones too. The controller delivers them."""

    heartbeat_seconds: float = Field(default=15.0, gt=0)
    """Between two comments on an idle stream, as the HTML standard recommends; and between two safety looks at the ledger."""
    away_poll_seconds: float = Field(default=2.0, gt=0)
    """How often open streams look into the ledger while Redis is away."""
    shutdown_delay_seconds: float = Field(default=0.0, ge=0)
    """After SIGTERM, how long requests are still accepted while `/readyz` says 503, for load balancers that need to see it."""
    shutdown_seconds: float = Field(default=10.0, gt=0)
    """After that, how long requests in flight may take."""

    @model_validator(mode="after")
    def _no_open_door_by_accident(self) -> Self:
        if self.auth_mode == "none" and not self.auth_none_anywhere and not is_loopback(self.api_host):
            raise ValueError(
                f"LONGHAUL_AUTH_MODE=none on {self.api_host} would let everyone in: use LONGHAUL_AUTH_MODE=keys, bind to "
                "127.0.0.1, or set LONGHAUL_AUTH_NONE_ANYWHERE=true to say that this is what you want"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
