"""The Python client against a real API, worker and controller, also through a network that loses connections."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from uuid import uuid4

import pytest
from tests.integration.cli.proxy import Proxy
from tests.integration.cli.stack import Stack
from tests.waiting import wait_for

from longhaul import errors
from longhaul.client import ApiUnreachable, AsyncClient, Client, StillRunning
from longhaul.contract import BatchItem, EventView, JobView
from longhaul.states import State


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url) as one:
        yield one


def started(client: Client, job: JobView) -> EventView:
    """Wait until the job's first attempt has begun."""
    return next(event for event in client.events(job.id) if event.type == "started")


def test_a_job_from_submit_to_result(client: Client) -> None:
    job = client.submit("demo.sleep", {"seconds": 0.4, "steps": 4, "payload": ["é", None], "log_lines": 2})
    events = list(client.events(job.id))
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert (events[0].type, events[-1].type) == ("queued", "succeeded")
    done = client.get(job.id)
    assert (done.state, done.progress.fraction, done.last_event_id) == (State.SUCCEEDED, 1.0, events[-1].id)
    result = client.result(job.id)
    assert isinstance(result, dict)
    assert result["echo"] == ["é", None]
    assert [attempt.ending for attempt in client.attempts(job.id)] == ["succeeded"]
    logs = client.logs(job.id)
    assert len(logs) == 2
    assert client.logs(job.id, after=logs[0].id) == logs[1:]
    assert list(client.events(job.id, after=events[-1].id)) == []


@pytest.mark.anyio
async def test_the_async_client_does_the_same(stack: Stack) -> None:
    async with AsyncClient(stack.url) as client:
        job = await client.submit("demo.sleep", {"seconds": 0.4, "steps": 4, "payload": 7})
        types = [event.type async for event in client.events(job.id)]
        assert (types[0], types[-1]) == ("queued", "succeeded")
        assert (await client.wait(job.id, 5)).state is State.SUCCEEDED
        result = await client.result(job.id)
        assert isinstance(result, dict)
        assert result["echo"] == 7
        listed = [one.id async for one in client.list(task="demo.sleep", page_size=1)]
        assert job.id in listed
        with pytest.raises(errors.UnknownJob):
            await client.get(uuid4())


def test_the_same_key_is_the_same_job(client: Client) -> None:
    key = str(uuid4())
    first = client.submit("demo.echo", {"payload": 1}, idempotency_key=key)
    assert client.submit("demo.echo", {"payload": 1}, idempotency_key=key).id == first.id
    with pytest.raises(errors.IdempotencyConflict):
        client.submit("demo.echo", {"payload": 2}, idempotency_key=key)


def test_errors_are_the_classes_of_longhaul(client: Client) -> None:
    with pytest.raises(errors.UnknownTask, match="no_such_task"):
        client.submit("no_such_task")
    with pytest.raises(errors.InvalidParams) as caught:
        client.submit("demo.sleep", {"steps": 0})
    assert "/params/steps" in str(caught.value.details["errors"])
    with pytest.raises(errors.UnknownJob):
        client.get("no-such-id")
    with pytest.raises(errors.UnknownQueue):
        client.pause("no-such-queue")
    job = client.submit("demo.echo", {})
    assert client.wait(job.id, 20).state is State.SUCCEEDED
    with pytest.raises(errors.JobFinished):
        client.cancel(job.id)
    with pytest.raises(errors.NotReplayable):
        client.replay(job.id)


def test_a_running_job_is_waited_for_and_cancelled(client: Client) -> None:
    job = client.submit("demo.sleep", {"seconds": 60})
    started(client, job)
    with pytest.raises(StillRunning, match="goes on"):
        client.wait(job.id, 0.2)
    with pytest.raises(errors.NoResult):
        client.result(job.id)
    assert client.cancel(job.id).cancel_requested
    assert client.wait(job.id, 20).state is State.CANCELLED


def test_a_batch_is_answered_item_by_item(client: Client) -> None:
    answers = client.submit_batch([BatchItem(task="demo.echo"), BatchItem(task="no_such_task")])
    assert [answer.status for answer in answers] == [202, 422]
    assert answers[0].job is not None
    assert answers[1].error is not None
    assert answers[1].error.code == "unknown_task"


def test_a_list_is_read_page_by_page(client: Client) -> None:
    made = [client.submit("demo.echo", {"payload": n}, metadata={"of": "list"}).id for n in range(5)]
    assert [job.id for job in islice(client.list(task="demo.echo", page_size=2), 5)] == made[::-1]
    assert list(client.list(state=[State.WAITING], task="demo.echo")) == []


def test_dead_letters_are_replayed_and_discarded(client: Client) -> None:
    failed = client.submit("demo.sleep", {"seconds": 0, "permanent": True})
    assert client.wait(failed.id, 20).state is State.FAILED
    again = client.replay(failed.id)
    assert again.origin_id == failed.id
    first, second = (client.submit("sample.odd_error", {"text": "always"}) for _ in range(2))
    assert {client.wait(job.id, 30).state for job in (first, second)} == {State.DEAD}
    assert {first.id, second.id} <= {job.id for job in client.dead_letters(task="sample.odd_error")}
    assert client.discard([second.id]).done == [second.id]
    assert client.discard([second.id]).skipped == [second.id]
    replayed = client.replay_dead_letters([first.id])
    assert client.get(replayed.done[0]).origin_id == first.id
    assert not {first.id, second.id} & {job.id for job in client.dead_letters()}


def test_what_runs_jobs_is_shown_and_queues_are_paused(client: Client) -> None:
    assert {"demo.sleep", "demo.echo"} <= {task.name for task in client.tasks()}
    assert any(worker.online for worker in client.workers())
    assert client.pause("default").paused
    try:
        job = client.submit("demo.echo", {})
        assert next(queue for queue in client.queues() if queue.name == "default").waiting >= 1
    finally:
        assert not client.resume("default").paused
    assert client.wait(job.id, 20).state is State.SUCCEEDED


def test_an_answer_that_was_lost_makes_no_second_job(stack: Stack) -> None:
    with Proxy(stack.api.port) as proxy, Client(proxy.url) as client:
        mark = str(uuid4())
        proxy.drop_next_answer()
        job = client.submit("demo.echo", {"payload": mark})
        assert proxy.connections == 2
        found = [one.id for one in islice(client.list(task="demo.echo"), 50) if one.params == {"payload": mark}]
        assert found == [job.id]


def test_events_have_no_gap_and_no_repeat_over_lost_connections(stack: Stack) -> None:
    with Proxy(stack.api.port) as proxy, Client(proxy.url) as client:
        job = client.submit("demo.sleep", {"seconds": 3, "steps": 30, "checkpoint_every": 1})
        ids, checkpoints = [], 0
        for event in client.events(job.id):
            ids.append(event.id)
            checkpoints += event.type == "checkpoint"
            if event.type == "checkpoint" and checkpoints % 6 == 0:
                proxy.cut()
        assert proxy.connections > 3
        assert ids == list(range(1, client.get(job.id).last_event_id + 1))


@pytest.mark.anyio
async def test_events_go_on_after_the_api_was_killed(stack: Stack) -> None:
    async with AsyncClient(stack.url) as client:
        job = await client.submit("demo.sleep", {"seconds": 4, "steps": 20})
        ids = []
        async for event in client.events(job.id):
            ids.append(event.id)
            if event.id == 5:
                stack.restart_api()
        assert ids == list(range(1, (await client.get(job.id)).last_event_id + 1))


def test_an_api_that_stays_away_is_said_to_be_unreachable(stack: Stack) -> None:
    with Proxy(9) as proxy, Client(proxy.url, retry_seconds=0.3) as client:
        with pytest.raises(ApiUnreachable, match=f"^{proxy.url} does not answer: check that the API runs there"):
            list(client.events(uuid4()))
        wait_for(lambda: proxy.connections > 1, what="it was tried again")
