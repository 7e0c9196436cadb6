"""A whole Longhaul on servers that a test may break: API, controller and workers as processes, and what watches them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.cli.stack import Api
from tests.pods import Platform, free_port, platform
from tests.waiting import eventually

PROBE_SECONDS = 0.5
"""Between two looks at everybody's liveness."""


class Service:
    """Jobs go in over HTTP; their executions are counted in a file, outside of the ledger."""

    def __init__(self, here: Platform, folder: Path, *, workers: int, slots: int) -> None:
        port = free_port()
        self.here = here
        self.slots = workers * slots
        self.controller_url = f"http://127.0.0.1:{port}"
        self.signatures = folder / "signatures"
        self.controller = here.start_controller(LONGHAUL_CONTROLLER_PROBE_PORT=str(port))
        self.workers = here.start_workers(workers, LONGHAUL_SLOTS=str(slots))
        self.api = Api(environment=here.environment, port=free_port(), log=folder / "api.log")

    @property
    def probe_urls(self) -> dict[str, str]:
        """Where each process answers its probes."""
        workers = {worker.name: worker.probe_url for worker in self.workers}
        return {"api": self.api.url, "controller": self.controller_url, **workers}

    def client(self) -> httpx2.AsyncClient:
        """For the API, in this test's event loop."""
        return httpx2.AsyncClient(base_url=self.api.url, timeout=10, verify=False)

    def signing(self, *, seconds: float = 0.0) -> dict[str, Any]:
        """The body of a submit: a job that leaves a line in the file each time it starts, and runs for `seconds`."""
        return {"task": "sample.sign", "params": {"path": str(self.signatures), "seconds": seconds}}

    async def submit(self, count: int = 1, *, seconds: float = 0.0) -> list[UUID]:
        """Submit jobs, ten at a time. Each must be accepted."""

        async with self.client() as client:

            async def one() -> UUID:
                answer = await client.post("/v1/jobs", json=self.signing(seconds=seconds))
                assert answer.status_code == 202, answer.text
                return UUID(answer.json()["id"])

            return [
                id
                for start in range(0, count, 10)
                for id in await asyncio.gather(*(one() for _ in range(min(10, count - start))))
            ]

    async def submit_long(self, seconds: float) -> UUID:
        """Submit a job that reports a step each second."""
        params = {"seconds": seconds, "steps": max(1, round(seconds))}
        async with self.client() as client:
            answer = await client.post("/v1/jobs", json={"task": "demo.sleep", "params": params})
            assert answer.status_code == 202, answer.text
            return UUID(answer.json()["id"])

    async def states(self, ids: Sequence[UUID]) -> Counter[str]:
        """How many of these jobs are in which state."""
        async with await self.here.connect() as connection:
            cursor = await connection.execute(
                "SELECT state, count(*) AS jobs FROM jobs WHERE id = ANY(%s) GROUP BY state", (list(ids),)
            )
            return Counter({row["state"]: row["jobs"] for row in await cursor.fetchall()})

    async def wait_succeeded(self, ids: Sequence[UUID], *, timeout_seconds: float = 30) -> None:
        """Until all of these jobs have succeeded: none is lost, and none ended in another way."""

        async def all_done() -> bool:
            states = await self.states(ids)
            unexpected = states.keys() - {"queued", "running", "succeeded"}
            assert not unexpected, states
            return states["succeeded"] == len(ids)

        await eventually(all_done, timeout_seconds=timeout_seconds, what=f"all {len(ids)} jobs succeeded")

    async def waits(self, ids: Sequence[UUID]) -> list[float]:
        """For each job that was started: seconds from its submit to its first start, by PostgreSQL's clock."""
        async with await self.here.connect() as connection:
            cursor = await connection.execute(
                "SELECT extract(epoch FROM min(job_events.at) - jobs.created_at)::float8 AS wait FROM jobs"
                " JOIN job_events ON job_id = jobs.id AND type = 'started' WHERE jobs.id = ANY(%s) GROUP BY jobs.id",
                (list(ids),),
            )
            return [row["wait"] for row in await cursor.fetchall()]

    @property
    def executed(self) -> int:
        """Executions so far, of all jobs."""
        return len(self.signatures.read_bytes().splitlines()) if self.signatures.exists() else 0

    def executions(self, ids: Sequence[UUID]) -> Counter[UUID]:
        """How often each of these jobs was executed, as the executions themselves say."""
        lines = self.signatures.read_text().splitlines() if self.signatures.exists() else []
        wanted = set(ids)
        return Counter(id for line in lines if (id := UUID(line.split()[0])) in wanted)

    def assert_each_once(self, ids: Sequence[UUID]) -> None:
        """No job was executed twice, and none was only said to be."""
        assert self.executions(ids) == Counter(ids)

    async def metrics(self, name: str) -> dict[str, float]:
        """All samples of a process (a key of `probe_urls`), as `metric{label,label}` by the labels' names."""
        async with self.client() as client:
            text = (await client.get(f"{self.probe_urls[name]}/metrics")).text
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return {
            f"{one.name}{{{','.join(one.labels[name] for name in sorted(one.labels))}}}"
            if one.labels
            else one.name: one.value
            for one in samples
        }

    @asynccontextmanager
    async def deaf(self) -> AsyncIterator[None]:
        """No worker hears a doorbell until the end of the block: what is submitted waits. Running jobs go on."""
        mains = [worker.celery() for worker in self.workers]
        for main in mains:
            main.suspend()
        try:
            yield
        finally:
            for main in mains:
                main.resume()

    @asynccontextmanager
    async def staying_live(self) -> AsyncIterator[None]:
        """No probe of any process fails until the end of the block, so that Kubernetes would restart nobody."""
        failures: list[str] = []
        looks = 0

        async def watch() -> None:
            nonlocal looks
            async with self.client() as client:
                while True:
                    for name, url in self.probe_urls.items():
                        answer = await client.get(f"{url}/livez")
                        if answer.status_code != 200:
                            failures.append(f"{name}: {answer.text}")
                    looks += 1
                    await asyncio.sleep(PROBE_SECONDS)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            if watching.done():
                watching.result()
            watching.cancel()
        assert not failures
        assert looks

    def end(self) -> None:
        self.api.end()


@contextmanager
def service(
    database_url: str, redis_url: str, folder: Path, *, workers: int = 2, slots: int = 4, **environment: str
) -> Iterator[Service]:
    """A service whose processes are gone at the end."""
    with platform(database_url, redis_url, folder, **environment) as here:
        one = Service(here, folder, workers=workers, slots=slots)
        try:
            yield one
        finally:
            one.end()
