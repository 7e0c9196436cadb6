"""What `longhaul doctor` looks at: each check tells what it found, and where something is wrong what to do."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version

import httpx2
import redis.asyncio as redis

from longhaul.client import AsyncClient, connection
from longhaul.errors import LonghaulError, SchemaMismatch
from longhaul.ledger import schema
from longhaul.ledger.connection import Connection, connect
from longhaul.settings import Settings, load_settings, split_commas
from longhaul.task import load_tasks

_TIMEOUT_SECONDS = 5.0
_CLOCK_SKEW_MAX_SECONDS = 5.0
_POSTGRES_MIN = 15
_REDIS_MIN = (6, 2)


class Status(StrEnum):
    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    subject: str
    status: Status
    detail: str
    advice: str = ""
    """What to do; empty where nothing is wrong."""


Findings = AsyncIterator[Finding]


def _ok(subject: str, detail: str) -> Finding:
    return Finding(subject, Status.OK, detail)


def _problem(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, Status.PROBLEM, detail, advice)


async def examine(client: AsyncClient) -> Findings:
    """All checks in order. They reach nothing but what the settings name."""
    checks: list[Callable[[], Findings]] = [
        check_python,
        check_settings,
        check_tasks,
        lambda: check_postgres(os.environ.get("LONGHAUL_DATABASE_URL")),
        lambda: check_redis("Redis", os.environ.get("LONGHAUL_REDIS_URL"), "LONGHAUL_REDIS_URL"),
        lambda: check_api(client),
    ]
    events_url = os.environ.get("LONGHAUL_EVENTS_URL")
    if events_url and events_url != os.environ.get("LONGHAUL_REDIS_URL"):
        checks.insert(-1, lambda: check_redis("Redis (events)", events_url, "LONGHAUL_EVENTS_URL"))
    for check in checks:
        async for finding in check():
            yield finding


async def check_python() -> Findings:
    wanted = (3, 11)
    here = f"Python {platform.python_version()}, Longhaul {version('longhaul')}"
    if sys.version_info >= wanted:
        yield _ok("Python", here)
    else:
        yield _problem("Python", here, "Install Python 3.11 or newer.")


async def check_settings() -> Findings:
    wanted = ("LONGHAUL_DATABASE_URL", "LONGHAUL_REDIS_URL")
    if not any(os.environ.get(name) for name in wanted):
        advice = "for a running `longhaul up`, load the file that it names"
        yield Finding("settings", Status.SKIPPED, f"{' and '.join(wanted)} are not set; {advice}")
        return
    try:
        load_settings(Settings)
    except LonghaulError as error:
        for line in error.message.splitlines():
            yield _problem("settings", line, "Correct this environment variable.")
    else:
        names = sorted(name for name in os.environ if name.startswith("LONGHAUL_"))
        yield _ok("settings", f"{len(names)} variables are set and fit")


async def check_tasks() -> Findings:
    modules = split_commas(os.environ.get("LONGHAUL_TASKS", ""))
    assert isinstance(modules, list)
    if not modules:
        yield Finding("tasks", Status.SKIPPED, "LONGHAUL_TASKS is not set: only workers need it")
        return
    try:
        found = load_tasks(modules)
    except LonghaulError as error:
        yield _problem("tasks", error.message, "Correct LONGHAUL_TASKS, or install the package that it names.")
    except Exception as error:  # noqa: BLE001 - the modules are the user's: importing them may raise anything
        yield _problem("tasks", f"Importing {', '.join(modules)} raised {error!r}.", "Correct that module.")
    else:
        yield _ok("tasks", ", ".join(found))


async def check_postgres(url: str | None) -> Findings:
    if not url:
        yield Finding("PostgreSQL", Status.SKIPPED, "LONGHAUL_DATABASE_URL is not set")
        return
    began = time.monotonic()
    try:
        ledger = await connect(url, application_name="longhaul-doctor", statement_timeout_seconds=_TIMEOUT_SECONDS)
    except LonghaulError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[-1]
        yield _problem("PostgreSQL", reason, "Start the server, or correct LONGHAUL_DATABASE_URL.")
        return
    async with ledger:
        yield await _postgres_version(ledger, (time.monotonic() - began) * 1000)
        yield await _schema(ledger)
        yield await _clock(ledger)


async def _postgres_version(ledger: Connection, connect_ms: float) -> Finding:
    cursor = await ledger.execute("SELECT current_setting('server_version') AS version")
    text = str((await cursor.fetchone() or {})["version"])
    detail = f"PostgreSQL {text}, connected in {connect_ms:.0f} ms"
    if int(text.split(".", maxsplit=1)[0].split(maxsplit=1)[0]) < _POSTGRES_MIN:
        return _problem(
            "PostgreSQL", detail, f"Longhaul needs PostgreSQL {_POSTGRES_MIN} or newer: upgrade the server."
        )
    return _ok("PostgreSQL", detail)


async def _schema(ledger: Connection) -> Finding:
    revision = await schema.read_revision(ledger)
    try:
        schema.check(revision)
    except SchemaMismatch as error:
        hint = "Run `longhaul migrate`." if schema.is_behind(revision) else "Install a newer version."
        return _problem("schema", error.message, hint)
    return _ok("schema", f"at {revision}, as this version needs")


async def _clock(ledger: Connection) -> Finding:
    before = time.time()
    cursor = await ledger.execute("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
    there = float((await cursor.fetchone() or {})["now"])
    skew = there - (before + time.time()) / 2
    detail = f"{abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} PostgreSQL's"
    if abs(skew) > _CLOCK_SKEW_MAX_SECONDS:
        advice = "Synchronise the clocks (NTP): jobs are safe, but logs and traces will not line up."
        return _problem("clock", f"This machine's clock is {detail}.", advice)
    return _ok("clock", detail)


async def check_redis(subject: str, url: str | None, variable: str) -> Findings:
    if not url:
        yield Finding(subject, Status.SKIPPED, f"{variable} is not set")
        return
    try:
        client = redis.Redis.from_url(url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS)
    except ValueError as error:
        yield _problem(subject, str(error), f"Correct {variable}.")
        return
    try:
        began = time.monotonic()
        facts = await client.info()
        answer_ms = (time.monotonic() - began) * 1000
    except (redis.RedisError, OSError) as error:
        yield _problem(
            subject, str(error), f"Start the server, or correct {variable}. Until then jobs are accepted, and wait."
        )
        return
    finally:
        await client.aclose()
    product = "Valkey" if "valkey_version" in facts else "Redis"
    text = str(facts.get("valkey_version") or facts.get("redis_version", "?"))
    detail = f"{product} {text}, answered in {answer_ms:.0f} ms"
    if tuple(int(part) for part in text.split(".")[:2] if part.isdecimal()) < _REDIS_MIN:
        yield _problem(subject, detail, "Longhaul needs Redis 6.2 or newer, or Valkey: upgrade the server.")
    else:
        yield _ok(subject, detail)
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        yield _ok(f"{subject} memory", "maxmemory-policy is noeviction")
    else:
        advice = (
            "Set maxmemory-policy to noeviction: doorbells that are evicted cost a second each, and mislead the scaler."
        )
        yield _problem(f"{subject} memory", f"maxmemory-policy is {policy}", advice)


async def check_api(client: AsyncClient) -> Findings:
    """The API and, through it, workers and queues."""
    try:
        async with httpx2.AsyncClient(**connection.options(connection.load_client_settings(url=client.url))) as http:
            answer = await http.get("/readyz")
    except httpx2.TransportError as error:
        detail = f"{client.url} does not answer ({str(error) or type(error).__name__})"
        yield _problem(
            "API", detail, "Start it with `longhaul-api` or `longhaul up`, or set LONGHAUL_URL to where it is."
        )
        return
    if not answer.is_success:
        advice = "Cure what it names; it takes no jobs until then."
        yield _problem("API", f"{client.url} is not ready: {answer.text.strip()[:200]}", advice)
        return
    yield _ok("API", f"{client.url} is ready")
    try:
        yield await _workers(client)
        async for finding in _queues(client):
            yield finding
    except LonghaulError as error:
        yield _problem("API", error.message, "Set LONGHAUL_API_KEY to a key with the scope `read`.")


async def _workers(client: AsyncClient) -> Finding:
    found = await client.workers()
    online = [worker for worker in found if worker.online]
    if not online:
        advice = "Start one with `longhaul-worker`; until then jobs are accepted, and wait."
        return _problem("workers", "none is online", advice)
    slots = sum(worker.slots for worker in online)
    return _ok("workers", f"{len(online)} online with {slots} slots, {sum(worker.running for worker in online)} busy")


async def _queues(client: AsyncClient) -> Findings:
    found = await client.queues()
    for queue in found:
        subject = f"queue {queue.name}"
        if not queue.healthy:
            advice = f"Start workers with {queue.name} in LONGHAUL_QUEUES, or more of them."
            yield _problem(subject, "; ".join(queue.problems), advice)
        else:
            paused = "paused; " if queue.paused else ""
            yield _ok(subject, f"{paused}{queue.waiting} waiting, {queue.running} running")
