"""Pod diagnostics: how lost workers ended, from Kubernetes. It is the evidence of their jobs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from itertools import islice
from typing import Any
from uuid import UUID

from longhaul.ledger.reaping import Loss, LostOwner
from longhaul_controller import metrics
from longhaul_controller.failures import FailureLog
from longhaul_controller.pod_objects import PodEnd
from longhaul_controller.pods import UNREACHABLE, UNREADABLE, KubernetesError, Pods

_ANSWER_SECONDS = 0.5
"""How long a lost job waits for its evidence."""
_MAX_PODS = 50
_BY_SIGNAL = 128
"""The exit code of a container that a signal ended is this and the signal's number."""


class PodDiagnostics:
    """Asks the Kubernetes API for the pods of lost workers. If it is away or refuses, jobs lose only their evidence."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self._failures = FailureLog("evidence_missing", "evidence_back")

    async def explain(self, owners: Iterable[LostOwner]) -> dict[UUID, Loss]:
        """What became of these workers, as far as that is known within half a second."""
        asked = list(islice(owners, _MAX_PODS))
        answers = await asyncio.gather(*map(self._ask, asked), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        for error in errors:  # a pod that can't be read costs its own jobs their evidence, and no others
            metrics.KUBERNETES_FAILURES.labels(error.reason if isinstance(error, KubernetesError) else UNREADABLE).inc()
        if errors:
            self._failures.failed(errors[0])
        else:
            self._failures.succeeded()
        known = zip(asked, answers, strict=True)
        return {owner.worker_id: loss for owner, loss in known if isinstance(loss, Loss)}

    async def _ask(self, owner: LostOwner) -> Loss | None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                end = await self._pods.read_end(owner.worker, since=owner.registered_at)
        except TimeoutError as error:
            raise KubernetesError(UNREACHABLE, "The Kubernetes API did not answer in time.") from error
        return describe(end) if end is not None else None


def describe(end: PodEnd) -> Loss:
    """What a pod's end means for the jobs that ran in it."""
    evidence: dict[str, Any] = {"pod": end.reason}
    if end.message:
        evidence["pod_message"] = end.message
    if end.exit_code is not None:
        evidence["oom_killed"] = end.is_oom_killed
        evidence["exit_code"] = end.exit_code
        if name := _signal_name(end.exit_code):
            evidence["signal"] = name
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


def _signal_name(exit_code: int) -> str | None:
    """The signal that ended a container; None if its exit code is of its own choice."""
    number = exit_code - _BY_SIGNAL
    if number not in signal.valid_signals():
        return None
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
