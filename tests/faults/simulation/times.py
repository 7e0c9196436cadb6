"""The product's own numbers, in seconds, read from where it keeps them; those that only this world has stand below."""

from __future__ import annotations

from typing import Any

from longhaul.settings import Settings
from longhaul_controller.settings import ControllerSettings
from longhaul_worker.settings import WorkerSettings


def _default(settings: type[Settings], name: str) -> float:
    value: Any = settings.model_fields[name].default
    return float(value)


LEASE = _default(Settings, "lease_seconds")
RENEW = _default(Settings, "renew_seconds")
RECONNECT = _default(Settings, "reconnect_seconds")
TICK = _default(ControllerSettings, "tick_seconds")
REDIS_SILENCE = _default(WorkerSettings, "redis_silence_seconds")

RECOVERY = LEASE + 2.0
"""I4: the longest that a lost job may take to its next attempt, once database and broker are up."""
REDIS_TIMEOUT = 1.0
"""Of `doorbell.create_client`; Celery's own, for a BRPOP, is 5 s."""
CELERY_TIMEOUT = 5.0
POP = 1.0
"""kombu's `brpop_timeout`: after it Redis answers a BRPOP with nothing, and forgets it."""
CONNECT_TIMEOUT = 5.0
"""Of `longhaul.ledger.connection`."""
LEADER_IDLE = 10.0
"""`idle_session_timeout` of a leader's session: `longhaul_controller.ledger`."""
SETTLE = 3.0
"""After a fault: what was under way comes to its end."""
