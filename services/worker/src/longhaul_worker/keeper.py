"""The keeper: PID 1 of a worker pod. Holds the leases of the jobs that run here, from registration to drain."""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
import uvloop

from longhaul import doorbell, telemetry
from longhaul.errors import LedgerUnavailable, LonghaulError, SchemaMismatch
from longhaul.ledger import catalogue, queues, schema
from longhaul.ledger.connection import AWAY, connect
from longhaul.ledger.workers import Worker
from longhaul.serving import create_probe_app, create_server, end, exit_with_a_sentence
from longhaul.settings import load_settings
from longhaul.task import TaskSpec
from longhaul_worker import metrics
from longhaul_worker.drain import drain, wait_until_done
from longhaul_worker.fallback import Fallback
from longhaul_worker.ledger import open_ledger
from longhaul_worker.outcome_spool import OutcomeSpool
from longhaul_worker.pool_process import CeleryProcesses
from longhaul_worker.probes import Probes
from longhaul_worker.recorder import Recorder
from longhaul_worker.redis_publisher import EventPublisher, OccupancyPublisher
from longhaul_worker.session import frames
from longhaul_worker.session.server import SessionServer
from longhaul_worker.settings import WorkerSettings
from longhaul_worker.slots import Slots
from longhaul_worker.supervisor import Supervisor
from longhaul_worker.task_specs import load_specs

_log = structlog.get_logger(__name__)

_PR_SET_DUMPABLE = 4
_PAUSE_AFTER_FAILURE_SECONDS = 1.0


def start(arguments: Sequence[str] | None = None) -> None:
    """Run the keeper, or with `register` publish tasks and queues and end. Exits 2 with a sentence where a setting is wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments not in ([], ["register"]):
        sys.exit("usage: longhaul-worker [register]")
    with exit_with_a_sentence():
        settings = load_settings(WorkerSettings)
        telemetry.setup_logs("keeper", log_format=settings.log_format, log_level=settings.log_level)
        _hide_environment()
        specs = load_specs(settings.tasks)
        uvloop.run(register(settings, specs) if arguments else keep(settings, specs))


async def register(settings: WorkerSettings, specs: Sequence[TaskSpec]) -> None:
    """Publish the tasks and the queues, as soon as the ledger has the schema for them: jobs can be submitted to a pool
    that has no pods yet, and so be what starts its first one.

    Raises LedgerUnavailable or SchemaMismatch where that takes more than `register_wait_seconds`.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + settings.register_wait_seconds
    while True:
        try:
            async with await connect(settings.database_url, application_name="longhaul-worker register") as connection:
                schema.check(await schema.read_revision(connection))
                await catalogue.publish(connection, specs, registered_by=settings.worker_name)
                await queues.declare(connection, settings.queues)
            break
        except SchemaMismatch as error:
            reason: LonghaulError = error
        except (LedgerUnavailable, *AWAY):
            reason = LedgerUnavailable("The database can't be reached: see that it runs, and LONGHAUL_DATABASE_URL.")
        if loop.time() >= ends_at:
            raise type(reason)(f"{reason.message} No task was registered in {settings.register_wait_seconds:g} s.")
        _log.info("register_waits", reason=reason.message)
        await asyncio.sleep(settings.reconnect_seconds)
    _log.info("tasks_registered", tasks=[spec.name for spec in specs], queues=settings.queues)


async def keep(settings: WorkerSettings, specs: Sequence[TaskSpec]) -> None:
    """Serve until SIGTERM or SIGINT, or until this worker is done, then drain. A second signal ends everything at once."""
    metrics.SLOTS.set(settings.slots)
    worker = Worker(
        id=uuid4(),
        name=settings.worker_name,
        pool=settings.pool,
        queues=settings.queues,
        slots=settings.slots,
        version=version("longhaul-worker"),
    )
    folder = Path(tempfile.mkdtemp(prefix="longhaul-"))  # private to this user: mode 0700
    events_client = doorbell.create_client(settings.events_redis_url)
    doorbells = doorbell.create_client(settings.redis_url)
    publisher = EventPublisher(events_client)
    recorder = Recorder(
        settings,
        worker,
        specs,
        OutcomeSpool(settings.spool_dir),
        publisher.announce,
        partial(open_ledger, settings.database_url, application_name=f"longhaul-worker {worker.name}"),
    )
    socket_path = folder / "keeper.sock"
    supervisor = Supervisor(settings, socket_path)
    slots = Slots(settings, recorder, CeleryProcesses(supervisor))
    probes = Probes(settings, recorder, slots, supervisor, doorbells)
    occupancy = OccupancyPublisher(doorbells, recorder, settings.pool)
    fallback = Fallback(settings, slots, probes, folder / frames.DOORBELLS_SOCKET)
    app = create_probe_app({"/livez": probes.live, "/readyz": probes.ready, "/startupz": probes.started})
    server = create_server(app, host=settings.probe_host, port=settings.probe_port)
    signals = _listen_for_signals()

    sessions = SessionServer(slots)
    await sessions.listen(socket_path)
    celery = asyncio.create_task(_keep_doing(supervisor.run))
    background = [
        asyncio.create_task(recorder.run()),
        asyncio.create_task(server.serve()),
        *(
            asyncio.create_task(_keep_doing(work))
            for work in (publisher.run, occupancy.run, fallback.run, slots.sample_memory, probes.watch, sessions.watch)
        ),
    ]
    done = asyncio.create_task(wait_until_done(settings, recorder, slots))
    try:
        await _first(asyncio.create_task(signals.get()), done, celery, *background)
        leaving = asyncio.create_task(drain(settings, recorder, slots, supervisor, celery))
        await _first(asyncio.create_task(signals.get()), leaving, *background)
    finally:
        supervisor.kill()
        server.should_exit = True
        await end([celery, done, *background])
        sessions.close()
        await events_client.aclose()
        await doorbells.aclose()
        shutil.rmtree(folder, ignore_errors=True)


def _hide_environment() -> None:
    """Keep this process's environment, with the database's credentials, from other processes of the same user."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _listen_for_signals() -> asyncio.Queue[int]:
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    # The image starts this process with SIGTERM blocked: one that came before now has waited. Process 1 would otherwise
    # never get it, since the kernel drops what it has no handler for, and would claim jobs until it is killed.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return signals


async def _keep_doing(work: Callable[[], Awaitable[None]]) -> None:
    """Until the work returns. What it raises is told, and it begins anew: jobs run here, and would end with this process."""
    while True:
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - whatever it is
            metrics.FAILURES.labels(work.__qualname__).inc()
            _log.error("keeper_failed", work=work.__qualname__, exc_info=error)
            await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)


async def _first(*tasks: asyncio.Future[Any]) -> None:
    """Until one of the tasks ends; what it raised is raised here: nothing that the keeper needs may end silently."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
