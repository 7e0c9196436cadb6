"""Following a job: each event once and in order, whatever the streams do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from longhaul.client import StillRunning
from longhaul.client.following import Following, LongPoll
from longhaul.contract import JobView
from longhaul.errors import UnknownJob
from longhaul.states import State

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ID = uuid4()


def job(state: State = State.RUNNING, *, last_event_id: int = 3, **more: Any) -> JobView:
    fields: dict[str, Any] = {
        "id": ID,
        "task": "demo.sleep",
        "queue": "default",
        "priority": 0,
        "state": state,
        "progress": {"fraction": 0.5, "message": "half way"},
        "attempt": 1,
        "retries": 0,
        "retries_max": 3,
        "interruptions": 0,
        "cancel_requested": False,
        "timeout_seconds": 60,
        "params": {},
        "metadata": {},
        "error": None,
        "resolution": None,
        "origin_id": None,
        "created_at": NOW,
        "updated_at": NOW,
        "run_after": NOW,
        "started_at": NOW,
        "checkpointed_at": None,
        "finished_at": None,
        "last_event_id": last_event_id,
    }
    return JobView(**{**fields, **more})


def sent(id: int, type: str = "log") -> httpx2.ServerSentEvent:
    data = f'{{"job_id":"{ID}","id":{id},"type":"{type}","at":"{NOW.isoformat()}","attempt":1,"data":{{}}}}'
    return httpx2.ServerSentEvent(event=type, data=data, id=str(id))


def test_events_come_once_and_the_last_one_ends_it() -> None:
    following = Following(ID, after=0)
    assert following.headers() == {}
    taken = [following.take(sent(id)) for id in (1, 2, 2, 1, 3)]
    assert [event.id for event in taken if event] == [1, 2, 3]
    assert following.headers() == {"Last-Event-ID": "3"}
    assert not following.has_ended
    assert following.take(sent(4, "succeeded")) is not None
    assert following.has_ended


def test_a_keep_alive_without_data_is_no_event() -> None:
    assert Following(ID, after=0).take(httpx2.ServerSentEvent(event="message", data="")) is None


def test_a_job_that_ended_before_the_follower_came_ends_it_at_once() -> None:
    following = Following(ID, after=9)
    assert following.after_stream(job(State.SUCCEEDED, last_event_id=9)) is None
    assert following.has_ended


def test_a_stream_that_broke_is_opened_again_and_misses_nothing() -> None:
    following = Following(ID, after=0)
    following.take(sent(1))
    # Events came into being after the stream broke: the next stream brings them, so none is made up.
    assert following.after_stream(job(last_event_id=5)) is None
    following.take(sent(2))
    assert following.after_stream(job(last_event_id=5)) is None
    assert following.last_id == 2


def test_where_streams_bring_nothing_the_job_itself_stands_in() -> None:
    following = Following(ID, after=0)
    stood_in = [following.after_stream(job(last_event_id=5)) for _ in range(4)]
    assert stood_in[:3] == [None] * 3
    event = stood_in[3]
    assert event is not None
    assert (event.id, event.type, event.data) == (5, "progress", {"fraction": 0.5, "message": "half way"})
    failed = job(State.FAILED, last_event_id=9, error={"code": "permanent", "message": "no"})
    event = following.after_stream(failed)
    assert event is not None
    assert (event.type, event.data["error"]["message"]) == ("failed", "no")
    assert following.has_ended


def test_only_a_passing_refusal_is_tried_again() -> None:
    following = Following(ID, after=0)
    request = httpx2.Request("GET", "http://longhaul.test/")
    assert following.accept(httpx2.Response(200, headers={"content-type": "text/event-stream; charset=utf-8"}))
    assert not following.accept(httpx2.Response(200, headers={"content-type": "text/html"}))
    assert not following.accept(httpx2.Response(503, request=request))
    body = {"type": "x", "title": "x", "status": 404, "detail": "None such.", "code": "unknown_job"}
    with pytest.raises(UnknownJob, match="None such"):
        following.accept(httpx2.Response(404, json=body, request=request))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_wait_is_a_row_of_long_polls_that_ends_with_its_timeout() -> None:
    clock = Clock()
    poll = LongPoll(ID, 40, clock=clock)
    assert poll.next().headers == {"Prefer": "wait=30"}
    clock.now = 30
    assert poll.pause_after(job()) == 0
    call = poll.next()
    assert (call.headers, call.patience_seconds) == ({"Prefer": "wait=10"}, 10)
    clock.now = 30.2  # progress was reported: the next poll does not follow at once
    assert poll.pause_after(job()) == pytest.approx(0.3)
    clock.now = 39.9
    assert poll.next().headers == {}
    assert poll.pause_after(job()) == pytest.approx(0.1)
    clock.now = 40
    with pytest.raises(StillRunning, match="goes on"):
        poll.pause_after(job())


def test_a_wait_ends_with_the_job() -> None:
    assert LongPoll(ID, None, clock=Clock()).pause_after(job(State.CANCELLED)) is None
