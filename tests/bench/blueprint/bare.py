"""The least that the same server can do: one insert and an answer; one stream that only waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from tests.bench.blueprint.database import Pool, open_pool


class Submission(BaseModel):
    task: str
    params: dict[str, Any] = {}


class Accepted(BaseModel):
    id: UUID


class Board:
    """One line for everybody: `publish` wakes all who wait in `next_line`."""

    def __init__(self) -> None:
        self._line = ""
        self._published = asyncio.Event()

    def publish(self, line: str) -> None:
        self._line = line
        self._published.set()
        self._published = asyncio.Event()

    async def next_line(self) -> str:
        await self._published.wait()
        return self._line


def create_app() -> FastAPI:
    """The bare endpoints. Reads BLUEPRINT_DATABASE_URL."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.pool = await open_pool()
        app.state.board = Board()
        yield
        await app.state.pool.close()

    app = FastAPI(title="Bare", lifespan=lifespan)
    app.add_api_route("/insert", insert, methods=["POST"], status_code=202)
    app.add_api_route("/stream", stream, methods=["GET"])
    app.add_api_route("/publish", publish, methods=["POST"], status_code=204)
    app.add_api_route("/health", lambda: {"status": "ok"}, methods=["GET"])
    return app


async def insert(submission: Submission, request: Request) -> Accepted:
    pool: Pool = request.app.state.pool
    job_id = uuid4()
    await pool.execute(
        "INSERT INTO jobs (id, task, params) VALUES ($1, $2, $3)", job_id, submission.task, submission.params
    )
    return Accepted(id=job_id)


async def stream(request: Request) -> StreamingResponse:
    board: Board = request.app.state.board

    async def lines() -> AsyncIterator[str]:
        yield ": open\n\n"
        while True:
            yield await board.next_line()

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def publish(request: Request) -> None:
    board: Board = request.app.state.board
    board.publish(f'event: progress\ndata: {{"sent": {time.time()}}}\n\n')
