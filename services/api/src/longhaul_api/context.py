"""What the routes work with, built once for an app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from starlette.requests import HTTPConnection

from longhaul import doorbell
from longhaul.ledger import catalogue as ledger_catalogue
from longhaul.ledger import keys as ledger_keys
from longhaul.ledger import queues as ledger_queues
from longhaul.ledger.connection import Connection
from longhaul.ledger.keys import ApiKey
from longhaul.task import TaskSpec
from longhaul_api.auth import Authenticator, KeyAuth, NoAuth, Principal, Scope
from longhaul_api.catalogue import Catalogue
from longhaul_api.health import Health
from longhaul_api.hub import Hub
from longhaul_api.ledger_access import LedgerAccess
from longhaul_api.metrics import Metrics
from longhaul_api.readers import EventReader, JobReader
from longhaul_api.ringer import Ringer
from longhaul_api.settings import ApiSettings
from longhaul_api.submissions import Submissions

HOT_CONNECTIONS = 4
"""Two lanes of submits and two of status reads: a slow list can't hold them up."""
DOORBELL_SECONDS = 0.5
"""Longest wait for Redis to take a doorbell."""

_log = structlog.get_logger(__name__)


class Context:
    """The parts of one API process. `running()` opens and closes them."""

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self.stopping = False
        """`/readyz` says 503 from here on."""
        self.metrics = Metrics()
        deadline = settings.deadline_seconds
        self.ledger = self._access(settings.pool_size)
        self._hot = self._access(HOT_CONNECTIONS)
        self.jobs = JobReader(self._hot, deadline_seconds=deadline)
        self.events = EventReader(self.ledger, deadline_seconds=deadline)
        self.submissions = Submissions(self._hot, deadline_seconds=deadline)
        self.catalogue = Catalogue(self._read_catalogue, refresh_seconds=settings.catalogue_seconds)
        self._doorbells = doorbell.create_client(settings.redis_url, timeout_seconds=DOORBELL_SECONDS)
        self._publisher = doorbell.create_client(settings.events_redis_url)
        self.ringer = Ringer(self._doorbells, self.metrics.rings)
        self.hub = Hub(
            self.events,
            events_url=settings.events_redis_url,
            publisher=self._publisher,
            delivered=self.metrics.delivered.inc,
            heartbeat_seconds=settings.heartbeat_seconds,
            away_poll_seconds=settings.away_poll_seconds,
            reconnect_seconds=settings.reconnect_seconds,
        )
        self.results = settings.create_result_store(timeout_seconds=deadline)
        self.health = Health(
            self.ledger, self._doorbells, refusals=lambda: self._hot.refusal() or self.ledger.refusal()
        )
        self._authenticator: Authenticator = (
            NoAuth(loopback_only=not settings.auth_none_anywhere)
            if settings.auth_mode == "none"
            else KeyAuth(self._find_key, cache_seconds=settings.key_cache_seconds)
        )
        self.metrics.watch("longhaul_api_streams", "Open streams and long polls", self.hub.count)
        self.metrics.watch("longhaul_api_event_channel_up", "Events come over Redis", lambda: self.hub.is_live)
        self.metrics.watch_pool("hot", self._hot.figures)
        self.metrics.watch_pool("other", self.ledger.figures)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything open; also while PostgreSQL or Redis are away, which `/readyz` tells."""
        async with AsyncExitStack() as exits:
            for access in (self.ledger, self._hot):
                await access.open()
                exits.push_async_callback(access.close)
            for client in (self._doorbells, self._publisher):
                exits.push_async_callback(client.aclose)
            self.ringer.start()
            exits.push_async_callback(self.ringer.stop)
            self.hub.start()
            exits.push_async_callback(self.hub.close)
            _log.info("api_started", host=self.settings.api_host, port=self.settings.api_port)
            yield
        _log.info("api_stopped")

    async def authenticate(self, connection: HTTPConnection, scope: Scope) -> Principal:
        """Who asks. Raises Unauthenticated, or Forbidden without this scope."""
        principal = await self._authenticator.authenticate(connection)
        principal.require(scope)
        return principal

    def _access(self, pool_size: int) -> LedgerAccess:
        return LedgerAccess(
            self.settings.database_url,
            pool_size=pool_size,
            deadline_seconds=self.settings.deadline_seconds,
            reconnect_seconds=self.settings.reconnect_seconds,
        )

    async def _find_key(self, key: str) -> ApiKey | None:
        async def find(connection: Connection) -> ApiKey | None:
            return await ledger_keys.find(connection, key)

        return await self.ledger.ask(find)

    async def _read_catalogue(self) -> tuple[Mapping[str, TaskSpec], frozenset[str]]:
        async def read(connection: Connection) -> tuple[Mapping[str, TaskSpec], frozenset[str]]:
            return await ledger_catalogue.read(connection), await ledger_queues.read_names(connection)

        return await self.ledger.ask(read)


def context_of(connection: HTTPConnection) -> Context:
    """The context of the app that serves this request."""
    context: Context = connection.app.state.context
    return context
