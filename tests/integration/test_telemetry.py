"""Telemetry of a whole stack: one trace from the request to what its task calls, log lines that name their job, metrics
that tell the truth."""

from __future__ import annotations

import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from tests import servers
from tests.integration.cli.stack import Api
from tests.pods import Process, Worker, free_port, platform
from tests.waiting import wait_for
from websockets.sync.client import connect as connect_websocket

from longhaul.client import Client
from longhaul.contract import JobView
from longhaul.states import State

TASKS = "longhaul_examples.demo,tests.traced_tasks"


@dataclass(frozen=True)
class Span:
    """A span as it came over OTLP; ids in hexadecimal."""

    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    failed: bool


class Collector:
    """Receives OTLP over HTTP, and stands in for the server that tasks call. A context manager."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.payloads = b""
        self.called_with: list[str | None] = []
        """The `traceparent` of each call to `/upstream`."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.payloads += body
                outer.spans += _spans(body)
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                outer.called_with.append(self.headers["traceparent"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def trace(self, trace_id: str, *names: str) -> list[Span]:
        """The spans of a trace, once it has all of these names, each as often as it is given."""

        def look() -> list[Span] | None:
            found = [span for span in self.spans if span.trace_id == trace_id]
            return found if Counter(names) <= Counter(span.name for span in found) else None

        return wait_for(look, what=f"a trace with {', '.join(names)}")


def _spans(body: bytes) -> list[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Span(
            name=span.name,
            service=next(one.value.string_value for one in resource.resource.attributes if one.key == "service.name"),
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            attributes={one.key: one.value.string_value or one.value.int_value for one in span.attributes},
            failed=span.status.code == span.status.STATUS_CODE_ERROR,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@dataclass
class Here:
    """What runs."""

    collector: Collector
    api: Api
    worker: Worker
    controller: Process
    controller_url: str

    def run(self, task: str, state: State = State.SUCCEEDED, **params: Any) -> tuple[JobView, str]:
        """Submit a job as a part of a trace of one's own, and wait for its end; the job and the trace's id."""
        trace_id = secrets.token_hex(16)
        parent = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
        answer = httpx2.post(f"{self.api.url}/v1/jobs", json={"task": task, "params": params}, headers=parent)
        assert answer.status_code == 202, answer.text
        with Client(self.api.url) as client:
            job = client.wait(answer.json()["id"], 30)
        assert job.state is state, job
        return job, trace_id


@pytest.fixture(scope="module")
def here(
    file_database_url: str, redis_server: servers.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("telemetry")
    with ExitStack() as exits:
        collector = exits.enter_context(Collector())
        environment = {
            "LONGHAUL_TASKS": TASKS,
            "LONGHAUL_LOG_FORMAT": "json",
            "LONGHAUL_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        below = exits.enter_context(platform(file_database_url, redis_server.redis_url(), folder, **environment))
        port = free_port()
        controller = below.start_controller(LONGHAUL_CONTROLLER_PROBE_PORT=str(port))
        worker = below.start_worker()
        api = Api(environment=below.environment, port=free_port(), log=folder / "api.log")
        exits.callback(api.end)
        yield Here(collector, api, worker, controller, f"http://127.0.0.1:{port}")


def log_lines(process: Process, job: JobView) -> list[dict[str, Any]]:
    """What a process and those below it logged about a job."""
    events = [json.loads(line) for line in process.log.splitlines() if line.startswith('{"')]
    return [event for event in events if event.get("job_id") == str(job.id)]


def scrape(url: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name and by the values of their labels, in the order of the labels' names."""
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(httpx2.get(f"{url}/metrics").text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = (
                sample.value
            )
    return samples


@pytest.mark.parametrize("task", ["traced.fetch", "traced.fetch_async"])
def test_one_trace_joins_the_request_its_job_and_what_the_job_calls(here: Here, task: str) -> None:
    before = len(here.collector.called_with)
    job, trace_id = here.run(task, url=f"{here.collector.url}/upstream")
    spans = here.collector.trace(trace_id, "POST /v1/jobs", f"run {task}", "GET")
    (request,) = (span for span in spans if span.name == "POST /v1/jobs")
    (run,) = (span for span in spans if span.name == f"run {task}")
    calls = [span for span in spans if span.name == "GET"]
    assert (request.service, run.service) == ("longhaul-api", "longhaul-worker")
    assert run.parent_id == request.span_id
    assert (run.attributes["job_id"], run.attributes["epoch"], run.attributes["queue"]) == (str(job.id), 1, "default")
    assert (run.attributes["ending"], run.failed) == ("succeeded", False)
    assert {call.parent_id for call in calls} == {run.span_id}
    # The server that is called continues the trace.
    parents = here.collector.called_with[before:]
    assert len(parents) == len(calls) == (2 if task == "traced.fetch" else 1)
    assert sorted(parents, key=str) == sorted(f"00-{trace_id}-{call.span_id}-01" for call in calls)


def test_every_attempt_and_a_replay_are_traced(here: Here) -> None:
    _, trace_id = here.run("traced.fetch", url=f"{here.collector.url}/upstream", fails_first=True)
    spans = here.collector.trace(trace_id, *["run traced.fetch"] * 2)
    attempts = sorted(
        (span.attributes["epoch"], span.attributes["ending"], span.failed)
        for span in spans
        if span.name.startswith("run ")
    )
    assert attempts == [(1, "transient", True), (2, "succeeded", False)]
    failed, _ = here.run("demo.sleep", State.FAILED, seconds=0, permanent=True)
    with Client(here.api.url) as client:
        again = client.replay(failed.id)
        client.wait(again.id, 30)

    def replayed() -> Span | None:
        return next((span for span in here.collector.spans if span.attributes.get("job_id") == str(again.id)), None)

    run = wait_for(replayed, what="the replay's span")
    here.collector.trace(run.trace_id, "POST /v1/jobs/{job_id}/replay")


def test_log_lines_name_their_job_and_their_trace(here: Here) -> None:
    job, trace_id = here.run("traced.fetch", url=f"{here.collector.url}/upstream", fails_first=True)
    (accepted,) = log_lines(here.api, job)
    assert (accepted["event"], accepted["queue"], accepted["trace_id"]) == ("job_accepted", "default", trace_id)
    lines = log_lines(here.worker, job)
    assert {line["trace_id"] for line in lines} == {trace_id}
    assert {line["queue"] for line in lines} == {"default"}
    told = [(line["epoch"], line["service"], line["event"].split()[0]) for line in lines]
    one_attempt = [
        ("keeper", "attempt_started"),
        ("celery", "fetching"),
        ("celery", "fetching"),
        ("keeper", "attempt_ended"),
    ]
    request = (2, "celery", "HTTP")  # the library that the task calls logs it
    assert sorted(told) == sorted([*((epoch, *line) for epoch in (1, 2) for line in one_attempt), request])
    endings = [line["ending"] for line in lines if line["event"] == "attempt_ended"]
    assert endings == ["transient", "succeeded"]


def test_what_changes_a_job_or_a_queue_is_logged_with_who_did_it(here: Here) -> None:
    with Client(here.api.url) as client:
        job = client.submit("demo.sleep", {"seconds": 60})
        next(event for event in client.events(job.id) if event.type == "started")
        client.cancel(job.id)
        client.wait(job.id, 30)
        client.pause("default")
        client.resume("default")
    (asked,) = (line for line in log_lines(here.api, job) if line["event"] == "cancel_asked")
    assert (asked["epoch"], asked["queue"], asked["by"], len(asked["trace_id"])) == (1, "default", "anonymous", 32)
    events = [json.loads(line) for line in here.api.log.splitlines() if line.startswith('{"')]
    assert [event["queue"] for event in events if event["event"] in ("queue_paused", "queue_resumed")] == [
        "default"
    ] * 2


def test_no_key_and_no_probe_is_in_a_trace(here: Here) -> None:
    job, _ = here.run("demo.echo")
    with connect_websocket(f"{here.api.url.replace('http', 'ws')}/v1/jobs/{job.id}/ws?access_token=lh_1_secret") as one:
        assert len(list(one)) == 3
    _, trace_id = here.run("demo.echo")
    here.collector.trace(trace_id, "POST /v1/jobs", "run demo.echo")
    assert b"lh_1_secret" not in here.collector.payloads
    assert not {"GET /livez", "GET /readyz", "GET /metrics"} & {span.name for span in here.collector.spans}


def test_metrics_tell_what_a_job_did(here: Here) -> None:
    before = scrape(here.worker.probe_url)
    here.run("demo.sleep", seconds=0.3, steps=3)
    worker, api = scrape(here.worker.probe_url), scrape(here.api.url)

    def grew(name: str, *labels: str) -> float:
        return worker[name][labels] - before.get(name, {}).get(labels, 0.0)

    assert worker["longhaul_slots"][()] == 2
    assert worker["longhaul_slots_busy"][()] == 0
    assert worker["longhaul_keeper_ledger_up"][()] == 1
    assert (worker["longhaul_outcomes_waiting"][()], worker["longhaul_draining"][()]) == (0, 0)
    assert worker["longhaul_leases_lost_total"][()] == 0
    assert grew("longhaul_attempts_ended_total", "succeeded", "demo.sleep") == 1
    assert grew("longhaul_attempt_run_seconds_count", "demo.sleep") == 1
    assert 0.25 < grew("longhaul_attempt_run_seconds_sum", "demo.sleep") < 5
    assert grew("longhaul_job_wait_seconds_count", "default") == 1
    assert 0 < grew("longhaul_job_wait_seconds_sum", "default") < 5
    assert grew("longhaul_doorbells_heard_total", "true", "default") == 1
    assert api["longhaul_api_submits_total"]["accepted",] >= 1
    assert api["longhaul_api_rings_total"]["rung",] >= 1
    assert api["longhaul_api_request_seconds_count"]["POST", "/v1/jobs", "202"] >= 1


def test_the_controller_tells_what_waits_what_runs_and_for_how_long(here: Here) -> None:
    with Client(here.api.url) as client:
        long = client.submit("demo.sleep", {"seconds": 60})
        next(event for event in client.events(long.id) if event.type == "started")
        client.pause("default")
        waiting = [client.submit("demo.echo", {}) for _ in range(3)]

        def seen(name: str, value: float, *labels: str) -> bool:
            return scrape(here.controller_url).get(name, {}).get(labels) == value

        wait_for(lambda: seen("longhaul_jobs_running", 1, "default"), what="one job runs")
        wait_for(lambda: seen("longhaul_jobs_due", 0, "default"), what="the controller has looked since the pause")
        wait_for(
            lambda: 1 < scrape(here.controller_url)["longhaul_queue_oldest_wait_seconds"]["default",] < 30,
            what="the queue's oldest job has waited for more than a second",
        )
        assert scrape(here.controller_url)["longhaul_jobs_due"]["default",] == 0  # nobody may start them
        client.resume("default")
        for job in waiting:
            client.wait(job.id, 30)
        client.cancel(long.id)
        client.wait(long.id, 30)
        wait_for(lambda: seen("longhaul_jobs_running", 0, "default"), what="nothing runs")
        wait_for(lambda: seen("longhaul_queue_oldest_wait_seconds", 0, "default"), what="nothing waits")
    samples = scrape(here.controller_url)
    assert samples["longhaul_controller_is_leader"][()] == 1
    assert samples["longhaul_leases_reaped_total"][()] == 0
    assert samples["longhaul_controller_duty_seconds_count"]["rering",] >= 1
    assert sum(samples.get("longhaul_controller_duty_failures_total", {}).values()) == 0
