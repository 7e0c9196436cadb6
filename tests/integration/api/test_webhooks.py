"""What the API takes as a webhook, and what it tells of its delivery, which is the controller's."""

from __future__ import annotations

import pytest
from tests.integration.api.harness import REPORT, Api, Keeper, api_settings, job_id, serving

from longhaul.client import AsyncClient
from longhaul.errors import UnknownWebhook
from longhaul.ledger import jobs, webhooks
from longhaul.ledger.webhooks import Outcome
from longhaul_api.settings import ApiSettings, Webhooks

pytestmark = pytest.mark.anyio

URL = "https://example.com/hook?for=acme"


@pytest.fixture
def settings(settings: ApiSettings) -> ApiSettings:
    return api_settings(settings.database_url, settings.redis_url, webhooks="https")


async def refused(api: Api, url: object) -> str:
    answer = await api.client.post("/v1/jobs", json=REPORT | {"webhook": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), url
    (error,) = answer.json()["errors"]
    assert error["field"] == "/webhook"
    return str(error["message"])


async def test_a_webhook_is_told_of_from_submit_to_delivery(api: Api, keeper: Keeper) -> None:
    view = await api.submit(webhook=URL)
    assert view["webhook"] == URL
    path = f"/v1/jobs/{view['id']}/webhook"
    pending = {"url": URL, "state": "pending", "tries": 0} | dict.fromkeys(
        ("last_status", "last_error", "next_try_at", "finished_at")
    )
    assert (await api.client.get(path)).json() == pending
    assert (await api.client.post(f"{path}/redeliver")).json()["code"] == "unknown_webhook"

    await keeper.end(await keeper.claim())
    waiting = (await api.client.get(path)).json()
    assert (waiting["state"], waiting["tries"]) == ("waiting", 0)
    assert waiting["next_try_at"] is not None
    (delivery,) = await webhooks.claim(keeper.connection, limit=1, hold_seconds=60)
    sentence = "The receiver answered 410."
    outcome = Outcome(job_id=delivery.job_id, tries=1, state="failed", last_status=410, last_error=sentence)
    await webhooks.settle(keeper.connection, [outcome])
    failed = (await api.client.get(path)).json()
    assert (failed["state"], failed["last_status"], failed["last_error"]) == ("failed", 410, sentence)
    assert failed["next_try_at"] is None
    assert failed["finished_at"] is not None

    again = await api.client.post(f"{path}/redeliver")
    assert again.status_code == 202
    assert (again.json()["state"], again.json()["tries"]) == ("waiting", 0)
    assert (await api.job(view["id"]))["state"] == "succeeded"


async def test_a_job_without_a_webhook_says_so(api: Api) -> None:
    view = await api.submit()
    assert view["webhook"] is None
    async with AsyncClient(api.url) as client:
        for ask in (client.webhook, client.redeliver):
            with pytest.raises(UnknownWebhook, match="has no webhook to tell"):
                await ask(view["id"])


async def test_the_client_names_a_webhook(api: Api) -> None:
    async with AsyncClient(api.url) as client:
        job = await client.submit("report.write", {"text": "March"}, webhook=URL)
        assert job.webhook == URL
        assert (await client.webhook(job.id)).state == "pending"


async def test_only_addresses_that_can_be_told_are_taken(api: Api) -> None:
    shape = "must look like https://example.com/path, in ASCII, without user, password and fragment"
    for url in (
        "example.com",
        "ftp://example.com",
        "https://",
        "https:///path",
        "https://user:secret@example.com",
        "https://example.com@evil.example",
        "https://example.com/#fragment",
        "https://example.com:0",
        "https://example.com:65536/",
        "https://exämple.com",
        "https://example.com/a b",
        "https://example.com/\r\nX-Injected: 1",
        "https://[::1",
    ):
        assert await refused(api, url) == shape
    assert "at most 2000 characters" in await refused(api, f"https://example.com/{'x' * 2000}")
    assert "string" in await refused(api, 7)
    for url in ("https://example.com", "https://EXAMPLE.com:8443/a?b=c%20d", "https://[2606:4700::1111]/x"):
        assert (await api.submit(webhook=url))["webhook"] == url


@pytest.mark.parametrize(
    ("accepted", "message"),
    [("off", "must be left out: this installation delivers no webhooks"), ("https", "must begin with https://"), ("http", "")],
)  # fmt: skip
async def test_the_installation_says_which_are_taken(settings: ApiSettings, accepted: Webhooks, message: str) -> None:
    async with serving(api_settings(settings.database_url, settings.redis_url, webhooks=accepted)) as api:
        url = "http://receiver.local"
        batch = {"jobs": [REPORT, REPORT | {"webhook": url}]}
        plain, told = (await api.client.post("/v1/jobs:batch", json=batch)).json()["jobs"]
        assert plain["status"] == 202
        if message:
            assert await refused(api, url) == message
            assert told["error"]["errors"] == [{"field": "/webhook", "message": message}]
        else:
            assert told["job"]["webhook"] == url


async def test_another_webhook_is_another_request(api: Api) -> None:
    key = {"Idempotency-Key": "one"}
    for url, status in ((URL, 202), (URL, 200), ("https://example.com/other", 409), (None, 409)):
        body = REPORT | ({"webhook": url} if url else {})
        assert (await api.client.post("/v1/jobs", json=body, headers=key)).status_code == status


async def test_a_replay_is_told_to_the_same(api: Api, keeper: Keeper) -> None:
    view = await api.submit(webhook=URL)
    await keeper.die(await keeper.claim())
    answer = await api.client.post(f"/v1/jobs/{view['id']}/replay")
    assert answer.json()["webhook"] == URL
    rows = await jobs.read(keeper.connection, [job_id(answer.json())])
    assert rows[job_id(answer.json())]["webhook_url"] == URL
