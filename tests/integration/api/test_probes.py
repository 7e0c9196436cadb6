"""Probes and metrics of the API: fast, honest, and of use to a scrape."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.api.harness import REPORT, Api, EventStream, Keeper, serving

from longhaul.ledger.connection import connect
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(api: Api) -> Samples:
    """All samples by name and labels."""
    answer = await api.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


async def test_the_process_lives_and_is_ready(api: Api) -> None:
    assert (await api.client.get("/livez")).json() == {"status": "ok"}
    ready = await api.client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "problems": {}, "degraded": {}})


async def test_another_schema_is_not_ready_and_says_what_to_do(settings: ApiSettings) -> None:
    async with await connect(settings.database_url, application_name="test") as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '0000'")
    async with serving(settings) as api:
        answer = await api.client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "unready")
        assert "longhaul migrate" in answer.json()["problems"]["ledger"]
        assert (await api.client.get("/livez")).status_code == 200


async def test_an_empty_database_is_not_ready(empty_database_url: str, settings: ApiSettings) -> None:
    async with serving(settings.model_copy(update={"database_url": empty_database_url})) as api:
        answer = await api.client.get("/readyz")
        assert (answer.status_code, list(answer.json()["problems"])) == (503, ["ledger"])


async def test_a_process_that_goes_is_not_ready(api: Api) -> None:
    api.context.stopping = True
    answer = await api.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")
    assert (await api.client.get("/livez")).status_code == 200


async def test_a_connection_ends_with_its_answer_once_the_process_goes(api: Api) -> None:
    assert "connection" not in (await api.client.get("/v1/tasks")).headers
    api.context.stopping = True
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"GET /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = await reader.read()  # until the server closes it
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nconnection: close\r\n" in answer


async def test_an_idle_connection_outlasts_those_of_proxies(api: Api) -> None:
    assert api.server.config.timeout_keep_alive > 60


async def test_metrics_count_what_happened(api: Api, keeper: Keeper) -> None:
    job = await api.submit()
    await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "k"})
    await api.client.post("/v1/jobs", json=REPORT, headers={"Idempotency-Key": "k"})
    await api.client.get("/v1/jobs/7")
    await api.client.get("/nothing/here")
    stream = await EventStream.open(api.port, f"/v1/jobs/{job['id']}/events")
    await stream.ids(1)
    open_now = await scrape(api)
    assert value(open_now, "longhaul_api_streams") == 1
    assert value(open_now, "longhaul_api_event_channel_up") == 1
    await keeper.end(await keeper.claim())
    assert len(await stream.rest()) == 2
    samples = await scrape(api)
    assert value(samples, "longhaul_api_streams") == 0
    assert value(samples, "longhaul_api_submits_total", outcome="accepted") == 2
    assert value(samples, "longhaul_api_submits_total", outcome="replayed") == 1
    assert value(samples, "longhaul_api_rings_total", outcome="rung") == 2
    assert value(samples, "longhaul_api_events_delivered_total") == 3
    for pool, at_most in (("hot", 4), ("other", api.context.settings.pool_size)):
        assert 1 <= value(samples, "longhaul_api_ledger", pool=pool, figure="size") <= at_most
        assert value(samples, "longhaul_api_ledger", pool=pool, figure="waiting") == 0
    counted = "longhaul_api_request_seconds_count"
    assert value(samples, counted, route="/v1/jobs", method="POST", status="202") == 2
    assert value(samples, counted, route="/v1/jobs", method="POST", status="200") == 1
    # A route, not an address: made-up addresses must not become a label each.
    assert value(samples, counted, route="/v1/jobs/{job_id}", method="GET", status="404") == 1
    assert value(samples, counted, route="none", method="GET", status="404") == 1
    seconds = value(samples, "longhaul_api_request_seconds_sum", route="/v1/jobs", method="POST", status="202")
    assert 0 < seconds < 5
    assert value(samples, "process_resident_memory_bytes") > 2**24
