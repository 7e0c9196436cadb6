"""The ordinary blueprint of the bench under the same load: its API and table, and Celery as most teams run it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import psycopg
from tests.faults.mixed.executions import read
from tests.faults.mixed.history import History, Job
from tests.faults.mixed.load import Call, Dialect
from tests.faults.mixed.stack import ROOT, Road, Stack
from tests.faults.mixed.work import Order
from tests.pods import Process

TABLES = ROOT / "tests" / "bench" / "blueprint" / "jobs.sql"
# A commit of a result is a change to `succeeded`, however it comes about.
COUNT_COMMITS = """
CREATE TABLE commits (job_id uuid NOT NULL);
CREATE FUNCTION count_commit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO commits VALUES (NEW.id); RETURN NULL; END $$;
CREATE TRIGGER count_commit AFTER UPDATE ON jobs
    FOR EACH ROW WHEN (NEW.status = 'succeeded') EXECUTE FUNCTION count_commit();
"""
LEASE_SECONDS = 3600.0
"""What stands in the place of a lease: Celery's default `visibility_timeout` of the Redis transport."""
API_DEADLINE_SECONDS = 5.0


class BlueprintSide(Stack):
    """Celery's own defaults: a message is acknowledged before its task runs."""

    name: ClassVar[str] = "blueprint"
    queue_key: ClassVar[str] = "celery"
    acks_late: ClassVar[bool] = False

    def _start(self) -> None:
        with psycopg.connect(self.postgres.database_url, autocommit=True) as connection:
            connection.execute(TABLES.read_bytes())
            connection.execute(COUNT_COMMITS.encode())
        for name in self.urls:
            self._add_api(name, self._start_api, "/health")
        for number in range(self.worker_count):
            self._add_worker(f"worker-{number}", self.roads[f"worker-{number}"])

    def _environment(self, road: Road | None = None) -> dict[str, str]:
        return {
            **self.task_environment,
            "BLUEPRINT_DATABASE_URL": road.postgres_url if road else self.postgres.database_url,
            "BLUEPRINT_BROKER_URL": road.redis_url if road and road.redis else self.valkey.broker_url(),
            "BLUEPRINT_ACKS_LATE": str(int(self.acks_late)),
        }

    def _start_api(self, _name: str, log: Path, port: int) -> Process:
        command = ["--factory", "tests.faults.mixed.blueprint_tasks:create_app", "--host=127.0.0.1", f"--port={port}"]
        command += ["--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"]
        return Process("uvicorn", *command, environment=self._environment(), log=log)

    def _add_worker(self, name: str, road: Road) -> None:
        command = ["--app=tests.faults.mixed.blueprint_tasks", "--quiet", "worker", "--loglevel=warning"]
        command += [f"--concurrency={self.slots}", "--pool=prefork"]
        self.fleet.add(
            name,
            lambda process, log: Process(
                "celery", *command, f"--hostname={process}@blueprint", environment=self._environment(road), log=log
            ),
            lambda process: len(process.descendants()) >= self.slots,
        )

    @property
    def dialect(self) -> Dialect:
        return _Api()

    def new_history(self) -> History:
        return History(lease_seconds=LEASE_SECONDS, renew_seconds=0.0, deadline_seconds=API_DEADLINE_SECONDS)

    def waiting(self) -> int:
        return self.unfinished()

    def unfinished(self) -> int:
        with psycopg.connect(self.postgres.database_url, connect_timeout=2) as connection:
            row = connection.execute("SELECT count(*) FROM jobs WHERE status NOT IN ('succeeded', 'failed')").fetchone()
            return int(row[0]) if row else 0

    def collect(self, history: History) -> None:
        with psycopg.connect(self.postgres.database_url) as connection:
            history.jobs += [
                Job(job_id, key, status, 0, commits)
                for job_id, key, status, commits in connection.execute(
                    "SELECT id::text, params->>'key', status, (SELECT count(*) FROM commits WHERE job_id = jobs.id)"
                    " FROM jobs"
                )
            ]
        executions, _ = read(self.executions)
        history.executions += executions

    def copies(self, count: int) -> list[bytes]:
        """The message at the head, where there is one: delivered again, as brokers may."""
        with self.redis() as client:
            head = client.lindex(self.queue_key, 0)
        return [head] * count if isinstance(head, bytes) else []

    def forgeries(self) -> list[bytes]:
        message = {"body": "W10=", "headers": {"task": "os.system", "id": "1"}, "properties": {}}
        return [b"not json", b"{}", b'{"body": 1, "headers": {}, "properties": {}}', json.dumps(message).encode()]


class BlueprintLateSide(BlueprintSide):
    """With `acks_late` and `reject_on_worker_lost`, as the bench has it: what careful teams switch on."""

    name: ClassVar[str] = "blueprint, acks_late"
    acks_late: ClassVar[bool] = True


class _Api:
    """One job a request, and no idempotency keys: a client that got no answer can only send the job again."""

    def batch_size(self, random: Random) -> int:  # noqa: ARG002 - of the protocol
        return 1

    def call(self, orders: Sequence[Order]) -> Call:
        (order,) = orders
        return Call("/jobs", {"task": "work", "params": order.params}, orders)

    def accepted(self, call: Call, status: int, body: Any) -> list[tuple[Order, str]]:
        return [(call.orders[0], body["id"])] if status == 202 else []

    def cancel(self, job_id: str) -> None:  # noqa: ARG002 - of the protocol
        return None
