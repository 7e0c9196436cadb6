"""Dead letters: listed, replayed, discarded; one by one and many at once."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis.asyncio as redis
from tests.integration.api.harness import Api, Keeper
from tests.waiting import eventually

from longhaul import doorbell
from longhaul.contract import BulkAnswer, DeadLetterView, JobPage, JobView
from longhaul.ledger import leases
from longhaul.ledger.leases import AttemptEnd, Note, Record
from longhaul.states import Ending, State, Transition

pytestmark = pytest.mark.anyio


async def make_dead(api: Api, keeper: Keeper, count: int = 1, queue: str = "default") -> list[str]:
    """Ids of new dead letters, newest first."""
    made = []
    for _ in range(count):
        made.append((await api.submit(queue=queue))["id"])
        await keeper.die(await keeper.claim(queue))
    return made[::-1]


async def listed(api: Api, **query: str | int) -> list[str]:
    page = JobPage.model_validate_json((await api.client.get("/v1/dead-letters", params=query)).content)
    return [str(job.id) for job in page.jobs]


async def test_dead_letters_are_listed_with_filters_and_pages(api: Api, keeper: Keeper) -> None:
    dead = await make_dead(api, keeper, 3)
    (printed,) = await make_dead(api, keeper, queue="printing")
    failed = await api.submit()
    await keeper.end(await keeper.claim(), Ending.PERMANENT)
    assert failed["id"] not in await listed(api)
    assert await listed(api) == [printed, *dead]
    assert await listed(api, queue="printing") == [printed]
    assert await listed(api, task="report.print") == []
    first = (await api.client.get("/v1/dead-letters", params={"limit": 3})).json()
    assert [job["id"] for job in first["jobs"]] == [printed, *dead[:2]]
    last = (await api.client.get("/v1/dead-letters", params={"limit": 3, "cursor": first["next"]})).json()
    assert ([job["id"] for job in last["jobs"]], last["next"]) == ([dead[2]], None)
    assert {job["state"] for job in first["jobs"]} == {"dead"}
    assert first["jobs"][0]["error"] == {"code": "task_failed", "message": "It broke."}


async def test_a_dead_letter_says_why_it_is_dead(api: Api, keeper: Keeper) -> None:
    """Every attempt's evidence, the last checkpoint, and the last of many log lines."""
    alive = await api.submit()
    refused = await api.client.get(f"/v1/dead-letters/{alive['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_dead_lettered")
    claim = await keeper.claim()
    lease = leases.Lease(job_id=claim.job_id, epoch=claim.epoch)
    await leases.record(
        keeper.connection,
        [Record(lease=lease, notes=[Note(type="checkpoint", data={})], checkpoint='{"row":7}')],
    )
    for number in range(25):
        await keeper.log(claim, f"line {number}")
    dead = Transition(state=State.DEAD, event="dead", interruptions_used=1)
    error = {"code": "out_of_memory", "message": "The process that ran this job died: it was killed for memory."}
    evidence = {"oom_killed": True, "signal": "SIGKILL", "peak_memory_bytes": 536870912}
    end = AttemptEnd(lease=lease, ending=Ending.CRASHED, transition=dead, error=error, evidence=evidence)
    assert await leases.end(keeper.connection, [end]) != [None]

    letter = DeadLetterView.model_validate_json((await api.client.get(f"/v1/dead-letters/{alive['id']}")).content)
    assert (letter.job.state, letter.job.error and letter.job.error.code) == ("dead", "out_of_memory")
    assert [attempt.evidence for attempt in letter.attempts] == [evidence]
    assert letter.checkpoint is not None
    assert (letter.checkpoint.state, letter.checkpoint.size_bytes) == ({"row": 7}, 9)
    assert [line.data["message"] for line in letter.logs] == [f"line {number}" for number in range(5, 25)]


async def test_a_dead_letter_is_replayed_once(api: Api, keeper: Keeper) -> None:
    (dead,) = await make_dead(api, keeper)
    answer = await api.client.post(f"/v1/dead-letters/{dead}/replay")
    replay = JobView.model_validate_json(answer.content)
    assert (answer.status_code, replay.state, str(replay.origin_id)) == (202, "queued", dead)
    assert answer.headers["location"] == f"/v1/jobs/{replay.id}"
    assert int(answer.headers["retry-after"]) >= 1
    assert await listed(api) == []
    for action, code in (("replay", "not_replayable"), ("discard", "not_dead_lettered")):
        again = await api.client.post(f"/v1/dead-letters/{dead}/{action}")
        assert (again.status_code, again.json()["code"]) == (409, code)
    claim = await keeper.claim()
    assert claim.job_id == replay.id


async def test_a_discarded_letter_stays_as_a_job(api: Api, keeper: Keeper) -> None:
    (dead,) = await make_dead(api, keeper)
    answer = await api.client.post(f"/v1/dead-letters/{dead}/discard")
    assert (answer.status_code, answer.json()["state"], answer.json()["resolution"]) == (200, "dead", "discarded")
    assert await listed(api) == []
    assert await api.job(dead) == answer.json()


async def test_many_are_replayed_and_rung_for_and_the_others_are_named(api: Api, keeper: Keeper) -> None:
    dead = await make_dead(api, keeper, 3)
    queued, unknown = (await api.submit())["id"], str(uuid4())
    async with redis.Redis.from_url(api.context.settings.redis_url) as client:

        async def rung(count: int) -> bool:
            return await doorbell.count(client, ["default"]) == {"default": count}

        await eventually(partial(rung, 4), what="4 doorbells for 4 submits")
        answer = await api.client.post("/v1/dead-letters:replay", json={"ids": [*dead[:2], queued, unknown, dead[0]]})
        bulk = BulkAnswer.model_validate_json(answer.content)
        assert answer.status_code == 200
        assert (len(bulk.done), bulk.skipped) == (2, [UUID(queued), UUID(unknown)])
        assert {(await api.job(id))["origin_id"] for id in bulk.done} == set(dead[:2])
        await eventually(partial(rung, 6), what="2 doorbells for 2 replays")
    assert await listed(api) == [dead[2]]
    again = (await api.client.post("/v1/dead-letters:replay", json={"ids": dead[:2]})).json()
    assert again == {"done": [], "skipped": dead[:2]}


async def test_many_are_found_by_a_filter_and_an_empty_request_means_all(api: Api, keeper: Keeper) -> None:
    dead = await make_dead(api, keeper, 2)
    (printed,) = await make_dead(api, keeper, queue="printing")
    wrong = await api.client.post("/v1/dead-letters:discard", json={"ids": [printed], "queue": "default"})
    assert wrong.json() == {"done": [], "skipped": [printed]}
    answer = await api.client.post("/v1/dead-letters:discard", json={"queue": "printing"})
    assert answer.json() == {"done": [printed], "skipped": []}
    assert await listed(api) == dead
    rest = (await api.client.post("/v1/dead-letters:discard", json={})).json()
    assert (sorted(rest["done"]), rest["skipped"]) == (sorted(dead), [])
    assert await listed(api) == []


async def test_a_bulk_request_of_the_wrong_shape_is_refused(api: Api) -> None:
    wrong: list[Any] = [{"ids": []}, {"ids": ["7"]}, {"ids": [str(uuid4())] * 1001}, {"task": ""}, {"all": True}, []]
    for body in wrong:
        for action in ("replay", "discard"):
            answer = await api.client.post(f"/v1/dead-letters:{action}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), body
