"""Results in the store as the API answers with them, also where they or the store are not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.integration.api.harness import Api, Keeper, job_id, serving
from tests.stores import store_away

from longhaul.client import AsyncClient
from longhaul.errors import ResultGone
from longhaul.ledger import leases
from longhaul.ledger.claims import Claim
from longhaul.ledger.connection import dumps
from longhaul.ledger.leases import AttemptEnd, Lease
from longhaul.results import CHUNK_BYTES, ResultStore, StoredResult
from longhaul.states import Ending, decide
from longhaul_api.settings import ApiSettings

pytestmark = pytest.mark.anyio

RESULT = {"text": "0123456789" * (CHUNK_BYTES // 4)}
"""Two and a half chunks."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def api(settings: ApiSettings, folder: Path) -> AsyncIterator[Api]:
    with_a_store = settings.model_copy(update={"result_store_url": f"file://{folder}"})
    async with serving(with_a_store) as running:
        yield running


async def store_result(keeper: Keeper, claim: Claim, folder: Path) -> StoredResult:
    """Put a result into the store and commit the job's end."""
    store = ResultStore(f"file://{folder}")
    stored = await store.put(dumps(RESULT).encode(), tenant=claim.tenant, job_id=claim.job_id, epoch=claim.epoch)
    end = AttemptEnd(
        lease=Lease(job_id=claim.job_id, epoch=claim.epoch),
        ending=Ending.SUCCEEDED,
        transition=decide(Ending.SUCCEEDED, claim.budget, jitter=0),
        stored=stored,
    )
    assert (await leases.end(keeper.connection, [end]))[0] is not None
    return stored


async def finished(api: Api, keeper: Keeper, folder: Path) -> tuple[dict[str, Any], StoredResult]:
    view = await api.submit()
    return view, await store_result(keeper, await keeper.claim(), folder)


async def test_a_stored_result_is_answered_whole(api: Api, keeper: Keeper, folder: Path) -> None:
    view, stored = await finished(api, keeper, folder)
    answer = await api.client.get(f"/v1/jobs/{view['id']}/result")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"id": view["id"], "result": RESULT}
    assert int(answer.headers["content-length"]) == len(answer.content) > stored.size_bytes


async def test_a_deleted_result_is_gone(api: Api, keeper: Keeper, folder: Path) -> None:
    view, stored = await finished(api, keeper, folder)
    await ResultStore(f"file://{folder}").delete([stored.key])
    answer = await api.client.get(f"/v1/jobs/{view['id']}/result")
    assert (answer.status_code, answer.json()["code"]) == (410, "result_gone")
    async with AsyncClient(api.url) as client:
        with pytest.raises(ResultGone):
            await client.result(job_id(view))


async def test_a_changed_result_breaks_off(api: Api, keeper: Keeper, folder: Path) -> None:
    """Its last chunk and the closing brace never come: nobody takes it for the result."""
    view, stored = await finished(api, keeper, folder)
    (folder / stored.key).write_bytes(dumps(RESULT).replace("9", "8", 1).encode())
    with pytest.raises(httpx2.RemoteProtocolError):
        await api.client.get(f"/v1/jobs/{view['id']}/result")


async def test_while_the_store_is_away_all_else_goes_on(api: Api, keeper: Keeper, folder: Path) -> None:
    view, _ = await finished(api, keeper, folder)
    with store_away(folder):
        answer = await api.client.get(f"/v1/jobs/{view['id']}/result")
        assert (answer.status_code, answer.json()["code"]) == (503, "result_store_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert str(folder) not in answer.text
        assert (await api.client.get("/readyz")).status_code == 200
        assert (await api.job(view["id"]))["state"] == "succeeded"
    assert (await api.client.get(f"/v1/jobs/{view['id']}/result")).json()["result"] == RESULT


async def test_an_api_without_the_store_says_so(settings: ApiSettings, api: Api, keeper: Keeper, folder: Path) -> None:
    view, _ = await finished(api, keeper, folder)
    async with serving(settings) as without:
        answer = await without.client.get(f"/v1/jobs/{view['id']}/result")
    assert (answer.status_code, answer.json()["code"]) == (503, "result_store_unavailable")
