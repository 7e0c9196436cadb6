"""Longhaul under load: two APIs, two controllers, four workers, with the settings of production."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import httpx2
import orjson
import psycopg
from prometheus_client.parser import text_string_to_metric_families
from tests.faults.mixed.executions import read
from tests.faults.mixed.fleet import Seat
from tests.faults.mixed.history import Event, History, Job
from tests.faults.mixed.load import Call, Dialect
from tests.faults.mixed.payload import UNREADABLE
from tests.faults.mixed.stack import Road, Stack, answers
from tests.faults.mixed.work import Order
from tests.pods import Process, Worker, free_port

from longhaul import doorbell
from longhaul.ledger.events import REPORTS
from longhaul.ledger.schema import migrate
from longhaul.settings import Settings
from longhaul_api.settings import ApiSettings

QUEUE = "default"
DRAIN_SECONDS = 8.0
"""The default is made for jobs of an hour. So short, the jobs of seconds are handed over too."""
BATCH_AT_MOST = 40
_SINGLE_SHARE = 0.25


# As text: what a hostile task may have stored can be too deep for psycopg's own reader.
_EVENTS = "SELECT job_id::text, seq, type, epoch, extract(epoch FROM at)::float8, data::text FROM job_events"
_JOBS = (
    "SELECT id::text, idempotency_key, state, epoch, result::text, error::text, checkpoint::text, progress_message"
    " FROM jobs"
)


class LonghaulSide(Stack):
    name: ClassVar[str] = "longhaul"
    queue_key: ClassVar[str] = doorbell.key(QUEUE)
    controller_count: ClassVar[int] = 2
    hostile_share: ClassVar[float] = 0.2

    def _start(self) -> None:
        migrate(self.postgres.database_url)
        ports = [free_port() for _ in range(self.controller_count)]
        self._probes = {f"controller-{i}": f"http://127.0.0.1:{port}" for i, port in enumerate(ports)}
        for name in self.urls:
            self._add_api(name, self._start_api, "/readyz")
        for name, url in self._probes.items():
            self._add_controller(name, url)
        for number in range(self.worker_count):
            self._add_worker(f"worker-{number}")

    def _environment(self, road: Road | None = None) -> dict[str, str]:
        return {
            "LONGHAUL_DATABASE_URL": road.postgres_url if road else self.postgres.database_url,
            "LONGHAUL_REDIS_URL": road.redis_url if road else self.valkey.url,
        }

    def _start_api(self, _name: str, log: Path, port: int) -> Process:
        own = {"LONGHAUL_API_PORT": str(port), "LONGHAUL_AUTH_MODE": "none"}
        return Process("longhaul-api", environment={**self._environment(), **own}, log=log)

    def _add_controller(self, name: str, url: str) -> None:
        port = {"LONGHAUL_CONTROLLER_PROBE_PORT": url.rpartition(":")[2]}
        self.fleet.add(
            name,
            lambda _, log: Process("longhaul-controller", environment={**self._environment(), **port}, log=log),
            lambda _: answers(f"{url}/readyz"),
        )

    def _add_worker(self, seat_name: str) -> None:
        def start(name: str, log: Path) -> Worker:
            environment = {
                **self._environment(self.roads[seat_name]),
                **self.task_environment,
                "LONGHAUL_TASKS": "tests.faults.mixed.tasks,tests.faults.mixed.hostile.tasks",
                "LONGHAUL_SLOTS": str(self.slots),
                "LONGHAUL_WORKER_NAME": name,
                "LONGHAUL_DRAIN_SECONDS": str(DRAIN_SECONDS),
                "LONGHAUL_SPOOL_DIR": str(self.folder / "spool" / name),
                "LONGHAUL_LOG_LEVEL": "warning",
            }
            return Worker(name, environment=environment, log=log)

        def is_ready(process: Process) -> bool:
            assert isinstance(process, Worker)
            answer = process.probe("/readyz")
            return answer is not None and answer.is_success

        self.fleet.add(seat_name, start, is_ready)

    def leads(self, seat: Seat) -> bool:
        """Whether the controller in this seat is the leader."""
        try:
            text = httpx2.get(f"{self._probes[seat.name]}/metrics", timeout=2, verify=False).text
        except httpx2.TransportError:
            return False
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        return any(one.name == "longhaul_controller_is_leader" and one.value == 1 for one in samples)

    @property
    def dialect(self) -> Dialect:
        return _Api()

    def new_history(self) -> History:
        settings = Settings(database_url=self.postgres.database_url, redis_url=self.valkey.url)
        return History(
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            deadline_seconds=ApiSettings.model_fields["deadline_seconds"].default,
        )

    @property
    def meeting_size(self) -> int:
        return self.worker_count * self.slots

    def waiting(self) -> int:
        return self._count("state = 'queued' AND run_after <= now()")

    def unfinished(self) -> int:
        return self._count("state NOT IN ('succeeded', 'failed', 'dead', 'cancelled')")

    def _count(self, condition: str) -> int:
        with psycopg.connect(self.postgres.database_url, connect_timeout=2) as connection:
            row = connection.execute(f"SELECT count(*) FROM jobs WHERE {condition}".encode()).fetchone()
            return int(row[0]) if row else 0

    def collect(self, history: History) -> None:
        offset = time.time() - time.monotonic()
        commits: Counter[str] = Counter()
        with psycopg.connect(self.postgres.database_url) as connection:
            history.ended_at = time.monotonic()
            # Nothing may change while both are read.
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.cursor("events") as cursor:
                for job_id, seq, type, epoch, at, data in cursor.execute(_EVENTS):
                    history.events.append(_event(job_id, seq, type, epoch, at - offset, _parse(data)))
                    commits[job_id] += type == "succeeded"
            for job_id, key, state, epoch, result, error, checkpoint, message in connection.execute(_JOBS):
                values = (_parse(result), _parse(error), _parse(checkpoint))
                history.jobs.append(Job(job_id, key, state, epoch, commits[job_id], *values, progress_message=message))
        history.executions, history.ghosts = read(self.executions)
        history.started = self.census.started

    def copies(self, count: int) -> list[bytes]:
        return doorbell.messages(QUEUE, 1) * count

    def forgeries(self) -> list[bytes]:
        (message,) = doorbell.messages(QUEUE, 1)
        return [
            b"not json",
            b"{}",
            b'{"body": 1, "headers": {}, "properties": {}}',
            message.replace(doorbell.CELERY_TASK.encode(), b"os.system"),
            message.replace(b'"body":"W1tdLCB7fSwg', b'"body":"////'),
            message.replace(self.queue_key.encode(), b"doorbell:other"),
            message[: len(message) // 2],
            b"x" * 1_000_000,
        ]


def _event(job_id: str, seq: int, type: str, epoch: int, at: float, data: Any) -> Event:
    details = data if isinstance(data, dict) else {}
    return Event(
        job_id,
        seq,
        type,
        epoch,
        at,
        worker=details.get("worker"),
        ending=details.get("ending"),
        delay_seconds=float(details.get("retry_after_seconds", 0.0)),
        data=data if type in REPORTS or "ending" in details else None,
    )


def _parse(text: str | None) -> Any:
    """JSON as the ledger holds it, read as all of Longhaul reads it."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"{UNREADABLE} ({error}): {text[:100]}"


class _Api:
    """Longhaul's API: batches, and now and then a submit of its own."""

    def batch_size(self, random: Random) -> int:
        return 1 if random.random() < _SINGLE_SHARE else random.randint(2, BATCH_AT_MOST)

    def call(self, orders: Sequence[Order]) -> Call:
        items = [{"task": order.task, "params": order.params} for order in orders]
        if len(orders) == 1:
            return Call("/v1/jobs", items[0], orders, orders[0].key)
        keyed = [item | {"idempotency_key": order.key} for item, order in zip(items, orders, strict=True)]
        return Call("/v1/jobs:batch", {"jobs": keyed}, orders)

    def accepted(self, call: Call, status: int, body: Any) -> list[tuple[Order, str]]:
        if status not in (200, 202):
            return []
        if len(call.orders) == 1:
            return [(call.orders[0], body["id"])]
        answers = zip(call.orders, body["jobs"], strict=True)
        return [(order, one["job"]["id"]) for order, one in answers if one["status"] in (200, 202)]

    def cancel(self, job_id: str) -> Call:
        return Call(f"/v1/jobs/{job_id}/cancel", {})
