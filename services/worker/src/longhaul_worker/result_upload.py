"""Results that are too large for the ledger go into the result store before their attempt's end is committed.

The attempt's lease is renewed all the while. Its process waits, too, and claims no other job: so the results that wait in
memory are at most as many as slots.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from longhaul.errors import ResultStoreUnavailable
from longhaul.states import Ending
from longhaul_worker import metrics
from longhaul_worker.attempt import Attempt
from longhaul_worker.settings import WorkerSettings

_log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 10.0


class ResultUpload:
    """Ends attempts whose task has returned a result. Raises ConfigurationError where the store's settings can't be right."""

    def __init__(self, settings: WorkerSettings, *, random: Callable[[], float] = random.random) -> None:
        self._store = settings.create_result_store()
        self._inline_bytes = settings.result_limit_bytes
        self.limit_bytes = settings.result_limit_bytes
        """A larger result is refused."""
        if self._store is not None:
            self._inline_bytes = min(settings.result_inline_bytes, settings.result_limit_bytes)
            self.limit_bytes = settings.stored_result_limit_bytes
        self._wait_seconds = settings.result_store_wait_seconds
        self._random = random

    async def finish(self, attempt: Attempt, result: bytes) -> None:
        """End the attempt with its result (JSON text), wherever that is kept; as transient where the store stays away."""
        if self._store is None or len(result) <= self._inline_bytes:
            attempt.finish(Ending.SUCCEEDED, result=result)
            return
        attempt.settle()
        metrics.RESULTS_WAITING.inc()
        try:
            await self._put(attempt, result)
        finally:
            metrics.RESULTS_WAITING.dec()

    async def _put(self, attempt: Attempt, result: bytes) -> None:
        assert self._store is not None
        claim, loop = attempt.claim, asyncio.get_running_loop()
        gives_up_at, pause_seconds = loop.time() + self._wait_seconds, _FIRST_PAUSE_SECONDS
        while not attempt.is_over:  # its lease may be lost meanwhile, its job cancelled, its pod drained
            try:
                stored = await self._store.put(result, tenant=claim.tenant, job_id=claim.job_id, epoch=claim.epoch)
            except Exception as error:  # noqa: BLE001 - whatever it was, a job whose lease is renewed must end
                _log.warning(
                    "result_waits",
                    job_id=str(claim.job_id),
                    epoch=claim.epoch,
                    exc_info=None if isinstance(error, ResultStoreUnavailable) else error,
                )
            else:
                attempt.finish(Ending.SUCCEEDED, stored=stored)
                return
            if loop.time() >= gives_up_at:
                message = (
                    f"The result store did not take the result of {len(result)} bytes in {self._wait_seconds:g} s."
                )
                attempt.finish(Ending.TRANSIENT, error={"code": ResultStoreUnavailable.code, "message": message})
                return
            await asyncio.sleep(min(pause_seconds * (0.5 + 0.5 * self._random()), max(0.0, gives_up_at - loop.time())))
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
