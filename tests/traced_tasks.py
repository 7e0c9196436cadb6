"""Tasks that call others over the network and log, as their traces and log lines are looked at."""

from __future__ import annotations

import logging

import httpx2
import requests
import structlog
from pydantic import BaseModel

from longhaul import Job, Retryable, task


class Upstream(BaseModel):
    url: str
    fails_first: bool = False


class Statuses(BaseModel):
    statuses: list[int]


@task(name="traced.fetch", backoff=0.1)
def fetch(job: Job, params: Upstream) -> Statuses:
    """Call a server with two libraries, and log with two."""
    structlog.get_logger("task").info("fetching", url=params.url)
    logging.getLogger("task").warning("fetching %s", params.url)
    if params.fails_first and job.attempt == 1:
        raise Retryable("the first attempt fails")
    return Statuses(statuses=[requests.get(params.url, timeout=5).status_code, httpx2.get(params.url).status_code])


@task(name="traced.fetch_async")
async def fetch_async(_job: Job, params: Upstream) -> Statuses:
    """The same in an event loop."""
    async with httpx2.AsyncClient() as client:
        return Statuses(statuses=[(await client.get(params.url)).status_code])
