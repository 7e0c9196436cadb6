"""Clients that submit without a pause, repeat what was not accepted, and note all that they were told."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import httpx2
from tests.waiting import eventually

PAUSE_SECONDS = 0.03
"""Between two requests of one client: the machine has other things to do too."""


class Submitters:
    """`clients` of an API at `url`, each with one job of `body` after another, until the end of the block.

    Each job has an Idempotency-Key of its own, under which it is sent until it is accepted: also at the end.
    """

    def __init__(self, url: str, body: dict[str, Any], *, clients: int = 4, name: str = "load") -> None:
        self.accepted: dict[str, str] = {}
        """Job ids by their keys, each answered with 202 or 200."""
        self.answers: Counter[int] = Counter()
        """How often each status came; 0 is a connection that broke."""
        self.slowest_seconds = 0.0
        """From a request to its answer, whatever it was."""
        self.refused_without_hint = 0
        """Answers of 503 that had no Retry-After."""
        self._http = httpx2.AsyncClient(base_url=url, timeout=30)
        self._body = body
        self._keys = (f"{name}-{number}" for number in itertools.count())
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._clients = clients

    async def more(self, count: int, *, timeout_seconds: float = 30) -> None:
        """Wait until `count` more jobs were accepted."""
        until = len(self.accepted) + count

        async def enough() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return len(self.accepted) >= until

        await eventually(enough, timeout_seconds=timeout_seconds, what=f"{count} more jobs were accepted")

    async def more_answers(self, status: int, count: int, *, timeout_seconds: float = 30) -> None:
        """Wait until `count` more answers had this status."""
        until = self.answers[status] + count

        async def enough() -> bool:
            return self.answers[status] >= until

        await eventually(enough, timeout_seconds=timeout_seconds, what=f"{count} more answers were {status}")

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._submit()) for _ in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        if error is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.wait(self._tasks, timeout=60)
        await self._http.aclose()
        if error is None:
            for task in self._tasks:
                task.result()

    async def _submit(self) -> None:
        while not self._stop.is_set():
            key, is_accepted = next(self._keys), False
            while not is_accepted:
                is_accepted = await self._is_accepted(key)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _is_accepted(self, key: str) -> bool:
        began = time.monotonic()
        try:
            answer = await self._http.post("/v1/jobs", json=self._body, headers={"Idempotency-Key": key})
        except httpx2.TransportError:
            self.answers[0] += 1
            return False
        finally:
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code == 503:
            self.refused_without_hint += int(answer.headers.get("retry-after", 0)) < 1
            return False
        assert answer.status_code in (200, 202), answer.text
        self.accepted[key] = answer.json()["id"]
        return True
