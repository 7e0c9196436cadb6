"""Reads that many clients make at once, coalesced: jobs by id, events by job."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from longhaul.errors import UnknownJob
from longhaul.ledger import events as ledger_events
from longhaul.ledger import jobs as ledger_jobs
from longhaul_api.coalescer import Coalescer
from longhaul_api.ledger_access import LedgerAccess

EVENT_PAGE = 256
"""Events of one job that one question brings."""
CHANGES_PAGE = 500
"""The same for those that changed its state: each attempt has two."""


class JobReader:
    """Reads jobs as they stand."""

    def __init__(self, ledger: LedgerAccess, *, deadline_seconds: float) -> None:
        self._ledger = ledger
        self._coalescer: Coalescer[UUID, dict[str, Any] | None] = Coalescer(
            self._read, batch_size=100, deadline_seconds=deadline_seconds
        )

    async def read(self, id: UUID, *, tenant: str) -> dict[str, Any]:
        """The row of a job. Raises UnknownJob, where it is another tenant's too, and LedgerUnavailable."""
        row = await self._coalescer.ask(id)
        if row is None or row["tenant"] != tenant:
            raise UnknownJob
        return row

    async def _read(self, ids: list[UUID], timeout_seconds: float) -> Sequence[dict[str, Any] | None]:
        rows = await self._ledger.ask(partial(ledger_jobs.read, ids=set(ids)), timeout_seconds=timeout_seconds)
        return [rows.get(id) for id in ids]


class EventReader:
    """Reads jobs' histories."""

    def __init__(self, ledger: LedgerAccess, *, deadline_seconds: float) -> None:
        self._ledger = ledger
        self._coalescer: Coalescer[tuple[UUID, int], list[dict[str, Any]]] = Coalescer(
            self._read, batch_size=16, deadline_seconds=deadline_seconds
        )

    async def read(self, job_id: UUID, *, after: int) -> list[dict[str, Any]]:
        """Up to EVENT_PAGE events of a job with ids above `after`, in order. Raises LedgerUnavailable."""
        return await self._coalescer.ask((job_id, after))

    async def read_changes(self, job_id: UUID, *, after: int, until: int) -> list[dict[str, Any]]:
        """Up to CHANGES_PAGE events of that range that changed the job's state. Raises LedgerUnavailable."""
        return await self._ledger.ask(
            partial(ledger_events.read_changes, job_id=job_id, after=after, until=until, limit=CHANGES_PAGE)
        )

    async def read_last_ids(self, job_ids: Sequence[UUID]) -> dict[UUID, int]:
        """The newest event's id of each of these jobs, in one question. Raises LedgerUnavailable."""
        return await self._ledger.ask(partial(ledger_events.read_last_ids, job_ids=job_ids))

    async def _read(self, wanted: list[tuple[UUID, int]], timeout_seconds: float) -> Sequence[list[dict[str, Any]]]:
        pages = await self._ledger.ask(
            partial(ledger_events.read_pages, wanted=sorted(set(wanted)), limit=EVENT_PAGE),
            timeout_seconds=timeout_seconds,
        )
        return [pages[one] for one in wanted]
