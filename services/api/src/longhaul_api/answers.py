"""Answers of the API: JSON straight from what the ledger gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from starlette.responses import Response, StreamingResponse

from longhaul.ledger import jobs as ledger_jobs
from longhaul.ledger import stored_json
from longhaul.results import ResultStore, StoredResult
from longhaul.states import TERMINAL

RETRY_SECONDS_AT_MOST = 30


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(stored_json.encode(value), status, headers, "application/json")


def accepted(row: Mapping[str, Any]) -> Response:
    """202 for a job that was just submitted: where it is, and when to look."""
    return answer(ledger_jobs.view(row), 202, {"Location": f"/v1/jobs/{row['id']}", "Retry-After": "1"})


def result(job_id: UUID, text: str) -> Response:
    """`longhaul.contract.ResultView` of a result in a row, as it was written."""
    return answer({"id": job_id, "result": orjson.Fragment(text)})


async def stored_result(store: ResultStore, job_id: UUID, stored: StoredResult) -> Response:
    """What `result` says of one in a row, for one in the store: sent as it is read, never held as a whole.

    Raises ResultGone and ResultStoreUnavailable. Where that shows only on the way, the answer breaks off before its end.
    """
    chunks = await store.read(stored)
    before, after = b'{"id":"%s","result":' % str(job_id).encode(), b"}"

    async def body() -> AsyncIterator[bytes]:
        yield before
        async for chunk in chunks:
            yield chunk
        yield after

    length = len(before) + stored.size_bytes + len(after)
    return StreamingResponse(body(), 200, {"Content-Length": str(length)}, "application/json")


def etag(row: Mapping[str, Any]) -> str:
    """Names this state of a job: every change writes an event, but for what becomes of a dead letter."""
    resolution = row["resolution"]
    return f'"{row["event_seq"]}-{resolution}"' if resolution else f'"{row["event_seq"]}"'


def job_headers(row: Mapping[str, Any]) -> dict[str, str]:
    """ETag, and `Retry-After` while the job is not done: longer the longer it has been there."""
    headers = {"ETag": etag(row), "Cache-Control": "no-cache"}
    if row["state"] not in TERMINAL:
        age_seconds = (datetime.now(UTC) - row["created_at"]).total_seconds()
        headers["Retry-After"] = str(min(RETRY_SECONDS_AT_MOST, max(1, int(age_seconds / 20))))
    return headers
