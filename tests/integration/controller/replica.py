"""A replica of the controller as a process of its own, and what its probe port says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from tests.pods import Process, free_port
from tests.waiting import wait_for

LEASE_SECONDS = 1.5


class Replica(Process):
    """`longhaul-controller`, or a program that starts it, with a tenth of the usual lease. `environment` replaces settings."""

    def __init__(
        self,
        name: str,
        database_url: str,
        redis_url: str,
        folder: Path,
        *,
        program: Sequence[str] = ("longhaul-controller",),
        **environment: str,
    ) -> None:
        port = free_port()
        self.name = name
        self.probe_url = f"http://127.0.0.1:{port}"
        settings = {
            "LONGHAUL_DATABASE_URL": database_url,
            "LONGHAUL_REDIS_URL": redis_url,
            "LONGHAUL_CONTROLLER_PROBE_PORT": str(port),
            "LONGHAUL_TICK_SECONDS": "0.3",
            "LONGHAUL_RECONNECT_SECONDS": "0.3",
            "LONGHAUL_LOG_FORMAT": "console",
            "LONGHAUL_LEASE_SECONDS": str(LEASE_SECONDS),
            "LONGHAUL_RENEW_SECONDS": str(LEASE_SECONDS / 5),
            **environment,
        }
        super().__init__(*program, environment=settings, log=folder / f"{name}.log")

    def probe(self, path: str) -> httpx2.Response | None:
        """The answer; None where nobody answers."""
        try:
            return httpx2.get(f"{self.probe_url}{path}", timeout=2, verify=False)
        except httpx2.TransportError:
            return None

    def metrics(self) -> dict[str, float]:
        """All samples, as `name` or `name{label}`: none of ours has more than one label. Empty where nobody answers."""
        answer = self.probe("/metrics")
        if answer is None:
            return {}
        samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
        return {_name(one.name, one.labels): one.value for one in samples}

    def leads(self) -> bool:
        return self.metrics().get("longhaul_controller_is_leader") == 1

    def wait_probes(self) -> None:
        def answers() -> bool:
            assert self._process.poll() is None, f"{self.name} ended:\n{self.log[-3000:]}"
            return self.probe("/livez") is not None

        wait_for(answers, timeout_seconds=20, what=f"{self.name} answers its probes")

    def wait_leads(self, timeout_seconds: float = 20) -> None:
        wait_for(self.leads, timeout_seconds=timeout_seconds, what=f"{self.name} leads")


def _name(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(labels.values())}}}" if labels else name
