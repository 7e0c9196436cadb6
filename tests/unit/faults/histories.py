"""Small histories, written by hand, in which nothing is wrong."""

from __future__ import annotations

from tests.faults.mixed.history import Accepted, Event, Execution, Exit, Fault, History, Job, Request, Started
from tests.faults.mixed.hostile.kinds import KINDS
from tests.faults.mixed.payload import Payload, digest, mark, size_bytes
from tests.faults.mixed.work import Order

JOB, SECOND_JOB = "01a2193d-7f4f-7fb1-a076-000000000001", "01a2193d-7f4f-7fb1-a076-000000000002"
KEY, SECOND_KEY = "key-1", "key-2"
WORKER, OTHER = "worker-0.1", "worker-1.1"
KILLED_AT, KEEPER, CHILD = 14.0, 100, 101
STEPS = 4


def good() -> History:
    """Two jobs that save checkpoints. Their worker is killed at 14 s, when the first has saved one step and the second two;
    they go on from there 15 s later, and the second's next attempt fails once more before its last."""
    history = History(
        lease_seconds=15.0,
        renew_seconds=3.0,
        deadline_seconds=5.0,
        ended_at=60.0,
        requests=[Request(10.0, 10.1, "api-0", 202)],
        faults=[Fault("worker.kill", KILLED_AT, 14.1, [WORKER], [KEEPER, CHILD, CHILD + 1])],
        exits=[Exit(WORKER, 14.1, -9, was_told=True)],
    )
    _add(history, Order(KEY, "mixed.steps", "tk-0000000000000001", 4.0, STEPS), JOB, [(0, 1, "lost"), (1, 4, "ends")])
    _add(
        history,
        Order(SECOND_KEY, "mixed.steps", "tk-0000000000000002", 4.0, STEPS, fails=2),
        SECOND_JOB,
        [(0, 2, "lost"), (2, 3, "fails"), (3, 4, "ends")],
    )
    return history


def good_hostile() -> History:
    """One hostile job, which raised at once and left a process that ended with its attempt."""
    history = History(lease_seconds=15.0, renew_seconds=3.0, deadline_seconds=5.0, ended_at=60.0)
    order = Order(KEY, KINDS["error.plain"].task, "tk-0000000000000001", kind="error.plain")
    payload = Payload(order.token, JOB, 1)
    error = {"code": "task_failed", "message": payload.raised(), "type": "ValueError"}
    log = {"level": "error", "message": f"ValueError: {payload.raised()}", "fields": {"traceback": payload.raised()}}
    history.orders.append(order)
    history.accepted.append(Accepted(10.1, KEY, JOB))
    history.events += [
        Event(JOB, 1, "queued", 0, 10.0),
        Event(JOB, 2, "started", 1, 12.0, WORKER),
        Event(JOB, 3, "log", 1, 12.1, data=payload.line(0)),
        Event(JOB, 4, "log", 1, 12.1, data=log),
        Event(JOB, 5, "failed", 1, 12.2, ending="permanent", data={"ending": "permanent", "error": error}),
    ]
    history.executions.append(Execution(KEY, JOB, 1, CHILD, 12.0, 12.1, "left", lines=1))
    history.jobs.append(Job(JOB, KEY, "failed", 1, 0, error=error))
    history.started.append(Started(mark(JOB, 1), 500, WORKER, "sleep 600", 12.1, 12.3))
    return history


def _add(history: History, order: Order, job_id: str, attempts: list[tuple[int, int, str]]) -> None:
    """A job whose attempts go from one step to another, and then are lost, fail or end."""
    history.orders.append(order)
    history.accepted.append(Accepted(10.1, order.key, job_id))
    events = [Event(job_id, 1, "queued", 0, 10.0)]
    found, message = None, ""
    for epoch, (first, last, how) in enumerate(attempts, 1):
        payload = Payload(order.token, job_id, epoch)
        at = 12.0 if epoch == 1 else 29.0 + 2 * (epoch - 2)
        reports: list[tuple[str, object]] = [("log", payload.line(0))]
        saved = found
        for step in range(first + 1, last + 1):
            value = digest(order.token, step)
            progress = payload.progress(step, STEPS, value)
            saved, message = payload.checkpoint(step, value), progress["message"]
            reports += [
                ("log", payload.line(step - first)),
                ("progress", progress),
                ("checkpoint", {"size_bytes": size_bytes(saved)}),
            ]
        if how == "fails":
            reports.append(("log", _traceback(payload)))
        events.append(Event(job_id, len(events) + 1, "started", epoch, at, WORKER if epoch == 1 else OTHER))
        events += [
            Event(job_id, len(events) + 1 + number, type, epoch, at + 0.1 * number, data=data)
            for number, (type, data) in enumerate(reports)
        ]
        events.append(_end(job_id, len(events) + 1, epoch, at, how, payload))
        ending = {"lost": "killed", "fails": "left", "ends": "completed"}[how]
        seen_at = 13.9 if how == "lost" else at + 1.9
        lines = (last - first + 1, last) if how != "lost" else (0, 0)
        history.executions.append(
            Execution(
                order.key, job_id, epoch, CHILD + (job_id == SECOND_JOB) + 100 * (epoch > 1), at + 0.01, seen_at,
                ending, found, last, *lines,
            )
        )  # fmt: skip
        found = saved
    result = payload.result(STEPS, digest(order.token, STEPS))
    history.events += events
    history.jobs.append(
        Job(job_id, order.key, "succeeded", len(attempts), 1, result, checkpoint=found, progress_message=message)
    )


def _traceback(payload: Payload) -> dict[str, object]:
    text = f"ConnectionError: {payload.raised()}"
    return {"level": "warning", "message": text, "fields": {"traceback": f"Traceback\n{text}\n"}}


def _end(job_id: str, seq: int, epoch: int, at: float, how: str, payload: Payload) -> Event:
    if how == "lost":
        error = {"code": "lease_lost", "message": "The worker was not heard of."}
        return Event(
            job_id, seq, "interrupted", epoch, 28.5, ending="lease_lost", data={"ending": "lease_lost", "error": error}
        )
    if how == "fails":
        error = {"code": "task_failed", "message": payload.raised()}
        return Event(
            job_id, seq, "retrying", epoch, at + 2.0, ending="transient", data={"ending": "transient", "error": error}
        )
    return Event(job_id, seq, "succeeded", epoch, at + 2.0, ending="succeeded", data={"ending": "succeeded"})
