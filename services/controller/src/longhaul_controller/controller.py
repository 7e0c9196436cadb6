"""Duties, each at its interval, while this replica leads."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import redis.asyncio as redis
import structlog
import uvloop

from longhaul import doorbell, telemetry
from longhaul.errors import LedgerUnavailable, ResultStoreUnavailable
from longhaul.ledger.connection import Connection, Pool, acquire, create_pool
from longhaul.serving import create_probe_app, create_server, end, exit_with_a_sentence
from longhaul.settings import load_settings
from longhaul_controller import metrics
from longhaul_controller.collector import collect
from longhaul_controller.demand import Demand
from longhaul_controller.leader import Leader
from longhaul_controller.reaper import reap
from longhaul_controller.rering import Rering
from longhaul_controller.retention import retain
from longhaul_controller.settings import ControllerSettings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Duty:
    """Something that the leader does again and again. Safe to run twice at once."""

    name: str
    interval_seconds: float
    run: Callable[[Connection], Awaitable[None]]
    close: Callable[[], Awaitable[None]] | None = None


def start() -> None:
    """Run until SIGTERM or SIGINT. Exits 2 with a sentence where a setting is wrong."""
    with exit_with_a_sentence():
        settings = load_settings(ControllerSettings)
        telemetry.setup("longhaul-controller", settings)
        uvloop.run(control(settings))


def create_duties(
    settings: ControllerSettings, leader: Leader, *, doorbells: redis.Redis, channel: redis.Redis
) -> list[Duty]:
    """All that the leader does. Schedules get their place here."""
    rering, demand, losses = Rering(), Demand(), None
    duties: list[Duty] = []
    if settings.deletion_cost:
        # Here, since the Kubernetes client takes a second and 50 MiB to import.
        from longhaul_controller.deletion_cost import DeletionCosts
        from longhaul_controller.losses import Losses
        from longhaul_controller.pods import Pods

        pods = Pods(namespace=settings.pod_namespace, selector=settings.worker_selector)
        costs, losses = DeletionCosts(settings, pods), Losses(pods)
        duties.append(
            Duty(
                name="deletion_cost",
                interval_seconds=settings.deletion_cost_interval_seconds,
                run=costs.run,
                close=costs.close,
            )
        )
    duties += [
        Duty(
            name="reap",
            # Half a tick: a frozen worker may swallow the ring, and the next one must come within the promised time.
            interval_seconds=settings.tick_seconds / 2,
            run=lambda connection: reap(
                connection,
                leader,
                doorbells=doorbells,
                channel=channel,
                lease_seconds=settings.lease_seconds,
                losses=losses,
            ),
        ),
        Duty(
            name="rering",
            interval_seconds=settings.tick_seconds,
            run=lambda connection: rering.run(connection, doorbells),
        ),
        Duty(
            name="demand",
            interval_seconds=settings.tick_seconds,
            run=lambda connection: demand.run(connection, doorbells),
        ),
        Duty(
            name="retain",
            interval_seconds=settings.retention_interval_seconds,
            run=lambda connection: retain(
                connection,
                retention_seconds=settings.retention_seconds,
                worker_silence_seconds=settings.worker_silence_seconds,
            ),
        ),
    ]
    if settings.webhook_secrets:
        # Here, so that only who delivers loads an HTTP client.
        from longhaul_controller.webhooks import Webhooks

        told = Webhooks(settings)
        duties.append(Duty(name="webhooks", interval_seconds=settings.tick_seconds, run=told.run, close=told.close))
    if store := settings.create_result_store():
        duties.append(
            Duty(
                name="collect_results",
                interval_seconds=settings.result_collect_interval_seconds,
                run=lambda connection: collect(connection, store, older_than_seconds=settings.result_orphan_seconds),
            )
        )
    return duties


async def control(settings: ControllerSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    leader = Leader(settings)
    doorbells = doorbell.create_client(settings.redis_url)
    channel = doorbell.create_client(settings.events_redis_url)
    duties = create_duties(settings, leader, doorbells=doorbells, channel=channel)
    pool = create_pool(settings.database_url, application_name="longhaul-controller", max_size=len(duties))
    app = create_probe_app({"/livez": _healthy, "/readyz": _healthy})
    server = create_server(app, host=settings.controller_probe_host, port=settings.controller_probe_port)
    async with pool:
        tasks = [
            asyncio.create_task(leader.run()),
            asyncio.create_task(server.serve()),
            *(asyncio.create_task(_repeat(duty, leader, pool)) for duty in duties),
        ]
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await end(tasks)
        for duty in duties:
            if duty.close is not None:
                await duty.close()
        await doorbells.aclose()
        await channel.aclose()
        for ended in done:
            ended.result()  # what ended by itself ended wrong: say so, and let the pod be restarted


async def _repeat(duty: Duty, leader: Leader, pool: Pool) -> None:
    loop = asyncio.get_running_loop()
    away = False
    while True:
        next_at = loop.time() + duty.interval_seconds
        if leader.is_leader:
            try:
                with metrics.DUTY_SECONDS.labels(duty.name).time():
                    async with acquire(pool) as connection:
                        await duty.run(connection)
                away = False
            except (LedgerUnavailable, ResultStoreUnavailable, redis.RedisError, OSError) as error:
                metrics.DUTY_FAILURES.labels(duty.name).inc()
                if not away:
                    _log.warning("duty_failed", duty=duty.name, error=repr(error))
                away = True
        await asyncio.sleep(max(0.0, next_at - loop.time()))


async def _healthy() -> dict[str, str]:
    """That this answers is the loop's health. A dependency that is down fails no probe, and a standby is ready too."""
    return {}
