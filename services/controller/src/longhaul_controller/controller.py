"""The process: its start, its duties, its probes and its end."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

import uvloop

from longhaul import doorbell, telemetry
from longhaul.ledger.connection import Pool, acquire, create_pool
from longhaul.serving import create_probe_app, create_server, end, exit_with_a_sentence
from longhaul.settings import load_settings
from longhaul_controller.demand import Demand
from longhaul_controller.doorbells import RedisDoorbells, RedisEventChannel
from longhaul_controller.duty import Duty, close, repeat
from longhaul_controller.leader import Leader
from longhaul_controller.ledger import acquire_ledger, connect_leader
from longhaul_controller.orphaned_results import DeleteOrphanedResults
from longhaul_controller.ports import Diagnostics, Doorbells, EventChannel
from longhaul_controller.reaper import Reaper
from longhaul_controller.rering import Rering
from longhaul_controller.retention import PurgeExpired
from longhaul_controller.settings import ControllerSettings

CONNECTIONS = 8
"""One for each duty at least, so that none waits for another's."""


def start() -> None:
    """Run until SIGTERM or SIGINT. Exits 2 with a sentence if a setting is wrong."""
    with exit_with_a_sentence():
        settings = load_settings(ControllerSettings)
        telemetry.setup("longhaul-controller", settings)
        uvloop.run(control(settings))


def create_duties(
    settings: ControllerSettings, leader: Leader, pool: Pool, *, doorbells: Doorbells, channel: EventChannel
) -> list[Duty]:
    """All that the leader does. Schedules get their place here."""
    ledger, connection = partial(acquire_ledger, pool), partial(acquire, pool)
    duties: list[Duty] = []
    diagnostics: Diagnostics | None = None
    if settings.deletion_cost:
        # Here, since the Kubernetes client takes a second and 50 MiB to import.
        from longhaul_controller.deletion_cost import DeletionCosts
        from longhaul_controller.pod_diagnostics import PodDiagnostics
        from longhaul_controller.pods import Pods

        pods = Pods(namespace=settings.pod_namespace, selector=settings.worker_selector)
        diagnostics = PodDiagnostics(pods)
        duties.append(DeletionCosts(connection, pods, settings))
    duties += [
        Reaper(
            leader,
            ledger,
            doorbells=doorbells,
            channel=channel,
            lease_seconds=settings.lease_seconds,
            # Half a tick: a frozen worker may swallow the ring, and the next one must come within the promised time.
            interval_seconds=settings.tick_seconds / 2,
            diagnostics=diagnostics,
        ),
        Rering(ledger, doorbells, interval_seconds=settings.tick_seconds),
        Demand(ledger, doorbells, interval_seconds=settings.tick_seconds),
        PurgeExpired(
            connection,
            retention_seconds=settings.retention_seconds,
            worker_silence_seconds=settings.worker_silence_seconds,
            interval_seconds=settings.retention_interval_seconds,
        ),
    ]
    if settings.webhook_secrets:
        # Here, so that only a controller that delivers webhooks loads an HTTP client.
        from longhaul_controller.webhooks import Webhooks

        duties.append(Webhooks(connection, settings))
    if store := settings.create_result_store():
        duties.append(
            DeleteOrphanedResults(
                connection,
                store,
                older_than_seconds=settings.result_orphan_seconds,
                interval_seconds=settings.result_collect_interval_seconds,
            )
        )
    return duties


async def control(settings: ControllerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises if the probes can't be served: nobody could tell how this process is."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    leader = Leader(partial(connect_leader, settings.database_url), reconnect_seconds=settings.reconnect_seconds)
    pool = create_pool(settings.database_url, application_name="longhaul-controller", max_size=CONNECTIONS)
    doorbells = doorbell.create_client(settings.redis_url)
    channel = doorbell.create_client(settings.events_redis_url)
    duties = create_duties(
        settings, leader, pool, doorbells=RedisDoorbells(doorbells), channel=RedisEventChannel(channel)
    )
    app = create_probe_app({"/livez": _healthy, "/readyz": _healthy})
    server = create_server(app, host=settings.controller_probe_host, port=settings.controller_probe_port)
    await pool.open(wait=False)
    tasks = [
        asyncio.create_task(leader.run()),
        asyncio.create_task(server.serve()),
        *(asyncio.create_task(repeat(duty, leader)) for duty in duties),
    ]
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await end(tasks)
    for duty in duties:
        await close(duty.name, duty.close)
    for name, release in {"doorbells": doorbells.aclose, "events": channel.aclose, "pool": pool.close}.items():
        await close(name, release)
    for ended in done:
        ended.result()  # what ended by itself ended wrong: say so, and let the pod be restarted


async def _healthy() -> dict[str, str]:
    """An answer shows that the loop runs. A dependency that is down fails no probe, and a standby is ready too."""
    return {}
