"""Duties: what the leader does again and again. None of them can end another, or the process."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ClassVar

from longhaul_controller import metrics
from longhaul_controller.containment import Containment
from longhaul_controller.failures import FailureLog
from longhaul_controller.leader import Leader

_CLOSE_SECONDS = 3.0


class Duty(ABC):
    """Something that the leader does at an interval. Running it twice at once must be safe: leaders can overlap."""

    name: ClassVar[str]
    """In logs and metrics."""
    interval_seconds: float
    """From the start of one run to the start of the next."""
    deadline_seconds: float = 30.0
    """When a run is stopped and counts as failed: six times what one statement may take."""

    @abstractmethod
    async def run(self) -> None:
        """Do it once. Whatever this raises is counted and reported, and the next run comes at its time."""

    async def stand_by(self) -> None:  # noqa: B027 - most duties have nothing to know
        """At the interval of a replica that does not lead: note what it must know once it does."""

    def lead_anew(self) -> None:  # noqa: B027 - most duties remember nothing
        """This replica leads from now on. What it remembers of an earlier time may have been changed by another leader."""

    async def close(self) -> None:  # noqa: B027 - most duties hold nothing
        """Release what the duty holds, when the process ends."""


async def repeat(duty: Duty, leader: Leader) -> None:
    """Run a duty at its interval while this replica leads, until cancelled."""
    loop = asyncio.get_running_loop()
    run = Containment(duty.run, deadline_seconds=duty.deadline_seconds)
    stand_by = Containment(duty.stand_by, deadline_seconds=duty.deadline_seconds)
    failures = FailureLog("duty_failed", "duty_recovered", duty=duty.name)
    counted = metrics.DUTY_FAILURES.labels(duty.name)
    led = False
    while True:
        started_at = loop.time()
        leads = leader.is_leader
        if leads and not led:
            duty.lead_anew()
        led = leads
        if not leads:
            with suppress(Exception):  # whatever it did not learn, it does not know
                await stand_by()
        else:
            try:
                await run()
                failures.succeeded()
                is_failing = False
            except Exception as error:  # noqa: BLE001 - the others, and the process, go on
                counted.inc()
                failures.failed(error)
                is_failing = True
            metrics.DUTY_SECONDS.labels(duty.name).observe(loop.time() - started_at)
            if leader.is_leader:  # the gauge of a standby stays away
                metrics.DUTY_FAILING.labels(duty.name).set(is_failing)
        await asyncio.sleep(max(0.0, started_at + duty.interval_seconds - loop.time()))


async def close(name: str, release: Callable[[], Awaitable[None]]) -> None:
    """Release something when the process ends, whatever that raises, and however long it takes."""
    try:
        await Containment(release, deadline_seconds=_CLOSE_SECONDS)()
    except Exception as error:  # noqa: BLE001 - what is left must be closed too
        FailureLog("close_failed", "closed", what=name).failed(error)
