"""The blueprint's API: insert a row, hand the job to Celery, poll the row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from tests.bench.blueprint.database import Pool, open_pool
from tests.bench.blueprint.tasks import TASKS

POLL_SECONDS = 1.0


class Submission(BaseModel):
    task: str
    params: dict[str, Any] = {}


class Job(BaseModel):
    id: UUID
    task: str
    params: dict[str, Any]
    status: str
    progress: float
    detail: dict[str, Any]
    created_at: datetime
    updated_at: datetime


def create_app() -> FastAPI:
    """The API. Reads BLUEPRINT_DATABASE_URL and, through `tasks`, BLUEPRINT_BROKER_URL."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.pool = await open_pool()
        yield
        await app.state.pool.close()

    app = FastAPI(title="Blueprint", lifespan=lifespan)
    app.add_api_route("/jobs", submit, methods=["POST"], status_code=202)
    app.add_api_route("/jobs/{job_id}", show, methods=["GET"])
    app.add_api_route("/jobs/{job_id}/events", events, methods=["GET"])
    app.add_api_route("/health", lambda: {"status": "ok"}, methods=["GET"])
    return app


async def submit(submission: Submission, request: Request, response: Response) -> Job:
    task = TASKS.get(submission.task)
    if task is None:
        raise HTTPException(422, f"There is no task {submission.task!r}.")
    job_id = uuid4()
    pool: Pool = request.app.state.pool
    row = await pool.fetchrow(
        "INSERT INTO jobs (id, task, params) VALUES ($1, $2, $3) RETURNING *",
        job_id,
        submission.task,
        submission.params,
    )
    await asyncio.to_thread(task.apply_async, args=(str(job_id), submission.params), task_id=str(job_id))
    response.headers["Location"] = f"/jobs/{job_id}"
    assert row is not None
    return Job(**row)


async def show(job_id: UUID, request: Request) -> Job:
    pool: Pool = request.app.state.pool
    row = await pool.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)
    if row is None:
        raise HTTPException(404, "There is no such job.")
    return Job(**row)


async def events(job_id: UUID, request: Request) -> StreamingResponse:
    pool: Pool = request.app.state.pool

    async def changes() -> AsyncIterator[str]:
        seen = None
        while True:
            row = await pool.fetchrow("SELECT status, progress, detail, updated_at FROM jobs WHERE id = $1", job_id)
            if row is None:
                return
            if row["updated_at"] != seen:
                seen = row["updated_at"]
                body = {"status": row["status"], "progress": row["progress"], **row["detail"]}
                yield f"event: {row['status']}\ndata: {json.dumps(body)}\n\n"
            if row["status"] in ("succeeded", "failed"):
                return
            await asyncio.sleep(POLL_SECONDS)

    return StreamingResponse(changes(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
