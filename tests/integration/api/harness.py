"""An API on a real port, and a keeper's hand on the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import redis.asyncio as redis
from fastapi import FastAPI
from pydantic import BaseModel, Field
from tests.waiting import eventually

from longhaul import Job, task
from longhaul import events as event_channel
from longhaul.ledger import catalogue, claims, leases, workers
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import Connection, connect, dumps
from longhaul.ledger.leases import Lease, Note, Record, Written
from longhaul.serving import Server
from longhaul.states import Ending, decide
from longhaul_api.app import create_app
from longhaul_api.context import Context
from longhaul_api.server import create_server, stop
from longhaul_api.settings import ApiSettings


class Pages(BaseModel):
    text: str = Field(min_length=1)
    pages: int = Field(default=1, ge=1)


class Nothing(BaseModel):
    pass


@task(name="report.write", queue="default", timeout=60, soft_timeout=50)
def write_report(_job: Job, _params: Pages) -> Nothing:
    """Write a report."""
    return Nothing()


@task(name="report.print", queue="printing")
def print_report(_job: Job, _params: Nothing) -> Nothing:
    return Nothing()


REPORT: dict[str, Any] = {"task": "report.write", "params": {"text": "March"}}


@dataclass
class Api:
    """A running API. `client` speaks to it; `context` are its parts."""

    app: FastAPI
    server: Server
    url: str
    client: httpx2.AsyncClient

    @property
    def context(self) -> Context:
        context: Context = self.app.state.context
        return context

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def submit(self, **job: Any) -> dict[str, Any]:
        """Submit a job; the job as it was accepted."""
        answer = await self.client.post("/v1/jobs", json=REPORT | job)
        assert answer.status_code == 202, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def job(self, id: object) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/jobs/{id}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def listening(self, count: int) -> None:
        """Wait until so many clients listen to events."""

        async def enough() -> bool:
            return self.context.hub.count() >= count

        await eventually(enough, what=f"{count} clients listen")


@asynccontextmanager
async def serving(settings: ApiSettings, **client: Any) -> AsyncIterator[Api]:
    """An API on a port of its own until the end of the block."""
    app = create_app(settings)
    server = create_server(app, settings)
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not task.done(), "the API did not start"
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url, timeout=20, **client) as http:
            yield Api(app, server, url, http)
    finally:
        await stop(server, app.state.context)
        await task


def api_settings(database_url: str, redis_url: str, **more: Any) -> ApiSettings:
    """Settings for tests: nothing of the environment, a free port, no keys."""
    values: dict[str, Any] = {"api_port": 0, "auth_mode": "none", "shutdown_seconds": 1.0}
    return ApiSettings(database_url=database_url, redis_url=redis_url, **(values | more))


async def publish_tasks(database_url: str) -> None:
    """What a worker does at its start."""
    connection = await connect(database_url, application_name="test")
    await catalogue.publish(connection, [write_report.spec, print_report.spec], registered_by="test")
    await connection.close()


class Keeper:
    """Claims jobs, writes what they report, and publishes it, as a worker's keeper does."""

    def __init__(self, connection: Connection, client: redis.Redis) -> None:
        self.connection = connection
        self.client = client
        self.worker_id = uuid4()
        self.publishes = True
        """Whether events are published, or only committed: what a lost message looks like."""

    async def register(self) -> None:
        worker = workers.Worker(id=self.worker_id, name="keeper", pool="test", queues=["default"], slots=2, version="1")
        await workers.register(self.connection, worker)

    async def claim(self, queue: str = "default") -> Claim:
        found = await claims.claim(
            self.connection,
            queue=queue,
            slots=[0],
            tasks=["report.write", "report.print"],
            worker_id=self.worker_id,
            worker="keeper",
            lease_seconds=600,
        )
        claim = found[0]
        await self._publish(
            [
                Written(
                    job_id=claim.job_id,
                    seq=claim.event_seq,
                    type="started",
                    epoch=claim.epoch,
                    at=claim.claimed_at,
                    data={"worker": "keeper"},
                )
            ]
        )
        return claim

    async def report(self, claim: Claim, *notes: Note) -> Sequence[Written]:
        (written,) = await leases.record(self.connection, [Record(lease=_lease(claim), notes=notes)])
        assert written is not None
        await self._publish(written)
        return written

    async def progress(self, claim: Claim, count: int = 1, **data: Any) -> Sequence[Written]:
        """`count` progress events in one commit."""
        return await self.report(
            claim, *[Note(type="progress", data={"fraction": 0.5, "number": n, **data}) for n in range(count)]
        )

    async def log(self, claim: Claim, message: str) -> None:
        await self.report(claim, Note(type="log", data={"level": "info", "message": message}))

    async def end(self, claim: Claim, ending: Ending = Ending.SUCCEEDED, result: Any = None) -> None:
        end = leases.AttemptEnd(
            lease=_lease(claim),
            ending=ending,
            transition=decide(ending, claim.budget, jitter=0),
            result=dumps(result or {}) if ending is Ending.SUCCEEDED else None,
            error=None if ending is Ending.SUCCEEDED else {"code": "task_failed", "message": "It broke."},
        )
        (written,) = await leases.end(self.connection, [end])
        assert written is not None
        await self._publish([written])

    async def die(self, claim: Claim) -> None:
        """End a job as dead: its retries are used up."""
        await self.connection.execute("UPDATE jobs SET retries_max = 0 WHERE id = %s", (claim.job_id,))
        await self.connection.execute("UPDATE jobs SET updated_at = now() WHERE id = %s", (claim.job_id,))
        budget = claim.budget.__class__(**{**vars(claim.budget), "retries_max": 0})
        await self.end(Claim(**{**vars(claim), "budget": budget}), Ending.TRANSIENT)

    async def _publish(self, written: Sequence[Written]) -> None:
        if self.publishes:
            await event_channel.publish(self.client, written)


def _lease(claim: Claim) -> Lease:
    return Lease(job_id=claim.job_id, epoch=claim.epoch)


class EventStream:
    """A reader of server-sent events over a socket of its own, which reads no more than it is asked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.comments = 0
        self._received = b""

    @classmethod
    async def open(cls, port: int, path: str, **headers: str) -> EventStream:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
        return await cls(reader, writer).read_head()

    async def read_head(self) -> EventStream:
        status, *rest = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        return self

    async def next(self, *, timeout_seconds: float = 10.0) -> dict[str, str] | None:
        """The next event as its fields, None at the end of the stream. Comments and hints are counted and skipped."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                while b"\n\n" not in self._received:
                    size = int(await self._reader.readline(), 16)
                    self._received += (await self._reader.readexactly(size + 2))[:-2]
                    if size == 0:
                        return None
                frame, _, self._received = self._received.partition(b"\n\n")
                fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if not line.startswith(":"))
                if "data" in fields:
                    return fields
                self.comments += not fields

    async def ids(self, count: int, *, timeout_seconds: float = 10.0) -> list[int]:
        """The ids of the next `count` events."""
        return [int((await self._some(timeout_seconds))["id"]) for _ in range(count)]

    async def rest(self) -> list[dict[str, str]]:
        """All events to the end of the stream."""
        events = []
        while event := await self.next():
            events.append(event)
        return events

    async def _some(self, timeout_seconds: float) -> dict[str, str]:
        event = await self.next(timeout_seconds=timeout_seconds)
        assert event is not None, "the stream has ended"
        return event

    async def close(self) -> None:
        self._writer.close()


def job_id(view: dict[str, Any]) -> UUID:
    return UUID(view["id"])
