"""The way out of a pod that must go: hear nothing new, let jobs finish, ask the others to hand over, leave nothing."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from longhaul.states import Ending
from longhaul_worker import metrics
from longhaul_worker.recorder import Recorder
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.slots import Slots

_log = structlog.get_logger(__name__)

_LOOK_EVERY_SECONDS = 1.0
KILL_MARGIN_SECONDS = 2.0
"""What is left of the drain for the last writes, after a job that did not stop was killed."""


class Celery(Protocol):
    """What a drain asks of the supervisor."""

    def stop(self) -> None:
        """Hear no more doorbells, let the jobs end, then exit."""

    def kill(self) -> None:
        """End everything now."""


async def wait_until_done(settings: WorkerSettings, recorder: Recorder, slots: Slots) -> None:
    """Returns once this worker may end by itself: it ran as many jobs as it should, or could have for long and had none."""
    loop = asyncio.get_running_loop()
    busy_at = loop.time()

    def is_spent() -> bool:
        return slots.jobs_left == 0 and recorder.is_idle

    while not is_spent():
        # A worker that can't hear or claim is not idle: another pod in its place would wait as well.
        if not recorder.is_idle or not recorder.is_up or slots.pulse_at is None:
            busy_at = loop.time()
        elif settings.exit_idle_seconds is not None and loop.time() - busy_at >= settings.exit_idle_seconds:
            break
        await recorder.wait_until(is_spent, loop.time() + _LOOK_EVERY_SECONDS)
    _log.info("worker_done", jobs_left=slots.jobs_left)


async def drain(
    settings: WorkerSettings, recorder: Recorder, slots: Slots, supervisor: Celery, celery: asyncio.Task[None]
) -> None:
    """Returns once nothing runs here and every outcome is written, at the latest when `drain_seconds` are over.

    Jobs may finish for as long as the drain has time. `handover_seconds` before its end (at the latest half way) those
    that can resume are asked to checkpoint and hand over. What still runs at the end is killed and given back.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + settings.drain_seconds
    handover_at = ends_at - min(settings.handover_seconds, settings.drain_seconds / 2)
    kill_at = ends_at - min(KILL_MARGIN_SECONDS, settings.drain_seconds / 4)
    metrics.DRAINING.set(1)
    _log.info("drain_started", running=len(recorder.attempts), drain_seconds=settings.drain_seconds)
    recorder.is_draining = True
    recorder.occupancy_changed.set()
    recorder.wake()
    slots.stop_claims()
    supervisor.stop()

    await recorder.wait_until(lambda: recorder.is_idle, handover_at)
    for attempt in recorder.attempts:
        attempt.ask_to_hand_over()
    await recorder.wait_until(lambda: recorder.is_idle, kill_at)
    for attempt in recorder.attempts:
        error = {"code": "drained", "message": "The pod had to go before the job ended; it goes on elsewhere."}
        attempt.kill(Ending.HANDED_OVER, error)
    await recorder.wait_until(lambda: recorder.is_settled, ends_at)

    await asyncio.wait([celery], timeout=settings.celery_exit_seconds)
    supervisor.kill()
    await celery
    await recorder.leave()
    _log.info("drain_ended", settled=recorder.is_settled)
