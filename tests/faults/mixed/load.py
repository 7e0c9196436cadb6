"""The client: sends orders at a rate, and again under the same key whatever was not answered, over real HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any, Protocol

import httpx2
from tests.faults.mixed.history import Accepted, History, Request
from tests.faults.mixed.work import Order

SENDERS = 8
PATIENCE_SECONDS = 10.0
"""Twice the API's deadline: past that, the client calls an answer missing."""
AGAIN_SECONDS = 0.5
UNSENT_AT_MOST = 400
"""While nobody answers, the client wants no more than this."""
TICK_SECONDS = 0.05
LAST_SECONDS = 60.0
"""How long the client tries to get its last orders accepted."""


@dataclass(frozen=True)
class Call:
    """A request of some API, and the orders that it is about."""

    path: str
    body: dict[str, Any]
    orders: Sequence[Order] = ()
    key: str | None = None
    """For the header `Idempotency-Key`."""


class Dialect(Protocol):
    """How an API is spoken to."""

    def call(self, orders: Sequence[Order]) -> Call: ...
    def batch_size(self, random: Random) -> int:
        """How many orders the next request may have."""

    def accepted(self, call: Call, status: int, body: Any) -> list[tuple[Order, str]]:
        """The orders that were answered with a job, and its id."""

    def cancel(self, job_id: str) -> Call | None: ...


class Load:
    """Submits from a thread of its own until `finish`."""

    def __init__(self, urls: dict[str, str], dialect: Dialect, orders: Iterator[Order], rate: float, seed: int) -> None:
        self.is_held = False
        """The queue is deep enough: no new orders for now."""
        self.is_exhausted = False
        """There are no orders left."""
        self._urls = urls
        self._dialect = dialect
        self._orders = orders
        self._rate = rate
        self._random = Random(f"batches {seed}")
        self._unsent: deque[Order] = deque()
        self._ordered: list[Order] = []
        self._last_orders: Sequence[Order] = ()
        self._in_flight = 0
        self._is_finishing = False
        self._requests: list[Request] = []
        self._accepted: list[Accepted] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    @property
    def accepted_count(self) -> int:
        return len(self._accepted)

    def start(self) -> None:
        self._thread.start()

    def finish(self, history: History, *, last: Sequence[Order] = ()) -> None:
        """No new orders but the `last`; return once those that were sent are answered, with all that was seen written into
        the history."""
        self._last_orders = last
        self._is_finishing = True
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        history.orders += self._ordered
        history.requests += self._requests
        history.accepted += self._accepted

    def _run(self) -> None:
        try:
            asyncio.run(self._submit())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits for this one
            self._failure = error

    async def _submit(self) -> None:
        limits = httpx2.Limits(max_connections=2 * SENDERS)
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, limits=limits) as client, asyncio.TaskGroup() as group:
            senders = [group.create_task(self._send(client)) for _ in range(SENDERS)]
            await self._order()
            for sender in senders:
                sender.cancel()

    async def _order(self) -> None:
        """Want new jobs at the rate, then wait for the last answers."""
        began = time.monotonic()
        while not self._is_finishing:
            # What an outage held up is made up for afterwards.
            due = int((time.monotonic() - began) * self._rate) - len(self._ordered)
            count = 0 if self.is_held else max(0, min(due, UNSENT_AT_MOST - len(self._unsent)))
            new = list(islice(self._orders, count))
            self.is_exhausted = len(new) < count
            self._want(new)
            await asyncio.sleep(TICK_SECONDS)
        self._want(self._last_orders)
        async with asyncio.timeout(LAST_SECONDS):
            while self._unsent or self._in_flight:  # noqa: ASYNC110 - eight senders, looked at twenty times a second
                await asyncio.sleep(TICK_SECONDS)

    def _want(self, orders: Sequence[Order]) -> None:
        self._ordered += orders
        self._unsent.extend(orders)

    async def _send(self, client: httpx2.AsyncClient) -> None:
        while True:
            orders: list[Order] = []
            size = self._dialect.batch_size(self._random)
            while self._unsent and len(orders) < size:
                orders.append(self._unsent.popleft())
            if not orders:
                await asyncio.sleep(TICK_SECONDS)
                continue
            self._in_flight += 1
            try:
                await self._place(client, orders)
            finally:
                self._in_flight -= 1

    async def _place(self, client: httpx2.AsyncClient, orders: Sequence[Order]) -> None:
        call = self._dialect.call(orders)
        status, body = await self._exchange(client, call)
        now = time.monotonic()
        found = self._dialect.accepted(call, status, body) if status is not None else []
        self._accepted += [Accepted(now, order.key, job_id) for order, job_id in found]
        answered = {order.key for order, _ in found}
        again = [order for order in orders if order.key not in answered]
        if again:
            await asyncio.sleep(AGAIN_SECONDS)
            self._unsent.extend(again)
        for order, job_id in found:
            if order.cancel and (cancel := self._dialect.cancel(job_id)):
                await self._exchange(client, cancel)

    async def _exchange(self, client: httpx2.AsyncClient, call: Call) -> tuple[int | None, Any]:
        """Status and body; None where the connection broke or nothing came in time."""
        server = self._random.choice(list(self._urls))
        headers = {} if call.key is None else {"Idempotency-Key": call.key}
        sent_at, status, body, has_retry_after = time.monotonic(), None, None, False
        try:
            answer = await client.post(self._urls[server] + call.path, json=call.body, headers=headers)
            status, has_retry_after = answer.status_code, "retry-after" in answer.headers
            body = answer.json()
        except (httpx2.TransportError, ValueError):
            pass
        self._requests.append(Request(sent_at, time.monotonic(), server, status, has_retry_after))
        return status, body
