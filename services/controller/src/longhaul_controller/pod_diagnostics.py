"""How lost workers ended, as Kubernetes saw it: evidence for their jobs, where nobody else is left to tell."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from itertools import islice
from typing import Any
from uuid import UUID

from longhaul.ledger.leases import Loss, LostOwner
from longhaul_controller import metrics
from longhaul_controller.pods import KubernetesError, PodEnd, Pods

_ANSWER_SECONDS = 0.5
"""Evidence is worth so much of a lost job's time, and no more."""
_PODS_AT_ONCE = 50
_BY_SIGNAL = 128
"""A container that a signal ended has this and the signal's number as its exit code."""


class PodDiagnostics:
    """Asks the Kubernetes API for the pods of lost workers. One that is away or refuses costs the evidence, no job."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    async def explain(self, owners: Iterable[LostOwner]) -> dict[UUID, Loss]:
        """What became of these workers, as far as that is known within half a second."""
        asked = list(islice(owners, _PODS_AT_ONCE))
        answers = await asyncio.gather(*map(self._ask, asked))
        return {one.worker_id: loss for one, loss in zip(asked, answers, strict=True) if loss is not None}

    async def _ask(self, owner: LostOwner) -> Loss | None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                end = await self._pods.read_end(owner.worker, since=owner.registered_at)
        except TimeoutError:
            return None
        except KubernetesError as error:
            metrics.KUBERNETES_FAILURES.labels(error.reason).inc()
            return None
        return describe(end) if end is not None else None


def describe(end: PodEnd) -> Loss:
    """What a pod's end means for the jobs that ran in it."""
    evidence: dict[str, Any] = {"pod": end.reason}
    if end.message:
        evidence["pod_message"] = end.message
    if end.exit_code is not None:
        evidence["oom_killed"] = end.is_oom_killed
        evidence["exit_code"] = end.exit_code
        if end.exit_code > _BY_SIGNAL:
            evidence["signal"] = _signal_name(end.exit_code - _BY_SIGNAL)
    if end.is_oom_killed:
        limit = f" (limit {end.memory_limit})" if end.memory_limit else ""
        if end.memory_limit:
            evidence["memory_limit"] = end.memory_limit
        message = f"The container that ran this job was killed for memory{limit}, with all that ran in it."
        return Loss(code="out_of_memory", message=message, evidence=evidence)
    if end.exit_code is not None:
        how = evidence.get("signal") or f"exit code {end.exit_code}"
        return Loss(message=f"The container that ran this job ended with {how}.", evidence=evidence)
    why = f": {end.message}" if end.message else ""
    return Loss(message=f"The pod that ran this job is gone ({end.reason}){why}", evidence=evidence)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
