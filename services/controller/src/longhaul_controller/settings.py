"""Settings of the controller."""

from __future__ import annotations

from pydantic import Field

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
