"""Webhooks: tells receivers that jobs have ended, signed, at least once, for a bounded time. No job waits for any of it."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import httpcore2
import orjson
import structlog
from standardwebhooks import Webhook

from longhaul.ledger import webhooks
from longhaul.ledger.connection import Connection
from longhaul.ledger.webhooks import Delivery, Outcome
from longhaul.webhooks import tenant_secret
from longhaul_controller import metrics
from longhaul_controller.addresses import AddressRefused, CheckedBackend, Resolve, resolve
from longhaul_controller.duty import Duty
from longhaul_controller.ports import AcquireConnection
from longhaul_controller.settings import ControllerSettings

_BACKOFF_FACTOR = 4.0
_HOLD_MARGIN_SECONDS = 10.0
"""On top of a try's own time, until another leader may try: the outcome must be written by then."""
_BITE = 16
"""Tries that one claim takes. A host with so many under way gets no more, so that one that hangs leaves places free."""
_CONNECT_SECONDS = 5.0
_GONE = 410

_log = structlog.get_logger(__name__)


class Webhooks(Duty):
    """Tries what is due, many at once. A try goes on between two runs; its outcome is written in the next."""

    name = "webhooks"

    def __init__(
        self,
        acquire: AcquireConnection,
        settings: ControllerSettings,
        *,
        resolve_host: Resolve | None = None,
        ssl_context: ssl.SSLContext | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.interval_seconds = settings.tick_seconds
        self.deadline_seconds = settings.tick_seconds + Duty.deadline_seconds
        self._acquire = acquire
        self._settings = settings
        self._jitter = jitter
        self._names = ThreadPoolExecutor(settings.webhook_concurrency, thread_name_prefix="webhook-names")
        # Plain httpcore: it follows no redirect, asks no proxy of the environment, keeps no cookie and unpacks nothing.
        self._http = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or httpcore2.default_ssl_context(),
            max_connections=settings.webhook_concurrency,
            max_keepalive_connections=0,  # each try is checked by a connection of its own
            network_backend=CheckedBackend(
                resolve_host or partial(resolve, self._names), allow_private=settings.webhook_allow_private
            ),
        )
        self._trying: dict[asyncio.Task[Outcome], Delivery] = {}

    async def run(self) -> None:
        """Claim what is due and write what became of tries, for one interval, or until there is nothing left to do.

        Raises LedgerUnavailable.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.interval_seconds
        async with self._acquire() as connection:
            while True:
                await self._settle(connection)
                await self._claim(connection)
                left_seconds = until - loop.time()
                if not self._trying or left_seconds <= 0:
                    break
                await asyncio.wait(self._trying, timeout=left_seconds, return_when=asyncio.FIRST_COMPLETED)
            waiting = await webhooks.count_waiting(connection)
        metrics.WEBHOOKS_WAITING.labels("first").set(waiting.first)
        metrics.WEBHOOKS_WAITING.labels("another").set(waiting.another)

    async def close(self) -> None:
        """Cut what is under way: it is due again soon, and the next leader tries it."""
        for task in self._trying:
            task.cancel()
        await asyncio.gather(*self._trying, return_exceptions=True)
        await self._http.aclose()
        self._names.shutdown(wait=False, cancel_futures=True)

    async def _claim(self, connection: Connection) -> None:
        while (free := self._settings.webhook_concurrency - len(self._trying)) > 0:
            busy = Counter(one.host for one in self._trying.values())
            claimed = await webhooks.claim(
                connection,
                limit=min(free, _BITE),
                hold_seconds=self._settings.webhook_timeout_seconds + _HOLD_MARGIN_SECONDS,
                busy_hosts=[host for host, tries in busy.items() if tries >= _BITE],
            )
            self._trying |= {asyncio.create_task(self._try(one)): one for one in claimed}
            if len(claimed) < min(free, _BITE):
                return

    async def _settle(self, connection: Connection) -> None:
        done = [task for task in self._trying if task.done()]
        if not done:
            return
        outcomes = [task.result() for task in done]
        await webhooks.settle(connection, outcomes)
        for task, outcome in zip(done, outcomes, strict=True):
            delivery = self._trying.pop(task)
            metrics.WEBHOOK_TRIES.labels("retried" if outcome.state == "waiting" else outcome.state).inc()
            facts = {"job_id": str(delivery.job_id), "host": delivery.host, "tries": delivery.tries}
            if outcome.state == "failed":
                _log.warning("webhook_failed", **facts, error=outcome.last_error)
            else:
                _log.debug("webhook_tried", **facts, state=outcome.state, error=outcome.last_error)

    async def _try(self, delivery: Delivery) -> Outcome:
        status, error, is_final = await self._send(delivery)
        if error is None:
            return Outcome(job_id=delivery.job_id, tries=delivery.tries, state="delivered", last_status=status)
        is_final = is_final or delivery.tries >= self._settings.webhook_tries
        pause_seconds = pause_after(delivery.tries, self._settings.webhook_backoff_seconds, jitter=self._jitter())
        return Outcome(
            job_id=delivery.job_id,
            tries=delivery.tries,
            state="failed" if is_final else "waiting",
            delay_seconds=0.0 if is_final else pause_seconds,
            last_status=status,
            last_error=error,
        )

    async def _send(self, delivery: Delivery) -> tuple[int | None, str | None, bool]:
        """The status, if any; what went wrong, as a sentence, if anything; and whether another try can't be better."""
        timeout_seconds = self._settings.webhook_timeout_seconds
        try:
            body = message(delivery)
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "longhaul",
                **signature(str(delivery.job_id), body, self._secrets(delivery.tenant), at=datetime.now(UTC)),
            }
            async with asyncio.timeout(timeout_seconds):
                request = self._http.stream(
                    "POST",
                    delivery.url,
                    headers=list(headers.items()),
                    content=body,
                    extensions={"timeout": {"connect": _CONNECT_SECONDS}},
                )
                async with request as response:  # its body is never read
                    status = response.status
        except AddressRefused:
            return None, "The host's address is not public, so nothing was sent to it.", True
        except (TimeoutError, httpcore2.TimeoutException):
            return None, f"The receiver did not answer within {timeout_seconds:g} seconds.", False
        except httpcore2.ProtocolError:
            return None, "The receiver's answer was not HTTP.", False
        except (httpcore2.NetworkError, ssl.SSLError, OSError):
            return None, "The receiver could not be reached.", False
        except Exception as unexpected:  # noqa: BLE001 - what one URL provokes must not end the controller
            _log.error("webhook_error", job_id=str(delivery.job_id), exc_info=unexpected)
            return None, "The message could not be sent.", False
        error = None if 200 <= status < 300 else f"The receiver answered {status}."
        return status, error, status == _GONE

    def _secrets(self, tenant: str) -> list[str]:
        return [tenant_secret(one, tenant) for one in self._settings.webhook_secrets]


def message(delivery: Delivery) -> bytes:
    """What is told, as Standard Webhooks lays it out. The result stays in the API: it may be large, or secret."""
    return orjson.dumps(
        {
            "type": f"job.{delivery.state}",
            "timestamp": delivery.finished_at,
            "data": {
                "id": delivery.job_id,
                "task": delivery.task,
                "queue": delivery.queue,
                "state": delivery.state,
                "attempt": delivery.attempt,
                "error": None if delivery.state == "succeeded" else delivery.error,
                "metadata": delivery.metadata,
                "created_at": delivery.created_at,
                "started_at": delivery.started_at,
                "finished_at": delivery.finished_at,
            },
        }
    )


def signature(id: str, body: bytes, secrets: list[str], *, at: datetime) -> dict[str, str]:
    """The headers of Standard Webhooks, signed with each secret. `at` is in UTC: receivers refuse what is old."""
    text = body.decode()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(one).sign(id, at, text) for one in secrets),
    }


def pause_after(tries: int, backoff_seconds: float, *, jitter: float) -> float:
    """Seconds after so many tries: four times as long each time, less or more a quarter. `jitter` is from 0 to 1."""
    return float(backoff_seconds * _BACKOFF_FACTOR ** (tries - 1) * (0.75 + jitter / 2))
