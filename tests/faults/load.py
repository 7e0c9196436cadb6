"""A steady load of submits, and how long the answers took."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from tests.faults.service import Service
from tests.integration.cli.stack import Api


@dataclass(frozen=True)
class Sample:
    """One submit."""

    at: float
    """When it was sent, by the monotonic clock."""
    seconds: float
    status: int
    is_control: bool


class Load:
    """Submits at a fixed rate, whatever the answers take: what a client feels that did not wait for the last one.

    With a `control`, an API that the fault does not touch, each submit has a twin there at the same moment: what else
    this machine does meets both.
    """

    def __init__(self, service: Service, per_second: float, job_seconds: float, control: Api | None) -> None:
        self.samples: list[Sample] = []
        self.ids: list[UUID] = []
        """Of the accepted jobs."""
        self._service = service
        self._control = control
        self._pause_seconds = 1 / per_second
        self._body = service.signing(seconds=job_seconds)
        self._stopped = asyncio.Event()

    @property
    def refused(self) -> list[Sample]:
        """Submits that were not accepted."""
        return [sample for sample in self.samples if sample.status != 202]

    def p99_seconds(self, since: float, until: float, *, control: bool) -> float:
        """The 99th percentile of the answers to what was sent within that time."""
        values = [one.seconds for one in self.samples if since <= one.at < until and one.is_control is control]
        return statistics.quantiles(values, n=100, method="inclusive")[98]

    async def run(self) -> None:
        """Until `stop`. What was sent is waited for."""
        urls = [(self._service.api.url, False)] + ([(self._control.url, True)] if self._control else [])
        async with self._service.client() as client, asyncio.TaskGroup() as sending:

            async def submit(url: str, is_control: bool) -> None:
                at = time.monotonic()
                answer = await client.post(f"{url}/v1/jobs", json=self._body)
                self.samples.append(Sample(at, time.monotonic() - at, answer.status_code, is_control))
                if answer.status_code == 202:
                    self.ids.append(UUID(answer.json()["id"]))

            next_at = time.monotonic()
            while not self._stopped.is_set():
                for url, is_control in urls:
                    sending.create_task(submit(url, is_control))
                urls.reverse()
                next_at += self._pause_seconds
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()


@asynccontextmanager
async def load(
    service: Service, per_second: float, *, job_seconds: float = 0.0, control: Api | None = None
) -> AsyncIterator[Load]:
    """Submits `per_second` jobs until the end of the block, which waits for the last answers."""
    one = Load(service, per_second, job_seconds, control)
    running = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        one.stop()
        await running
