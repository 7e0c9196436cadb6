"""The reference model of the ledger: a job as its row holds it, and what each statement makes of that row. Pure.

`longhaul.ledger` says the same in SQL, and the ledger's tests compare every row of a real PostgreSQL with this model; the
simulation of faults (`tests/faults/simulation`) uses it as its database. A function returns None if the statement's
condition does not hold: then nothing is written. `now` is the database's clock, in seconds; no other clock counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from longhaul.states import PRIORITY_STEP_SECONDS, Budget, Ending, State, Transition, decide


class Terms(NamedTuple):
    """What was asked for: it never changes."""

    task: str
    queue: str
    priority: int
    retries_max: int
    max_interruptions: int
    backoff_seconds: float
    backoff_max_seconds: float


class Job(NamedTuple):
    """A row of `jobs`, as far as the protocol goes. Times are seconds of the database's clock."""

    id: Any
    """Its order decides between equals."""
    terms: Terms
    run_after: float
    rank_at: float
    state: State = State.QUEUED
    epoch: int = 0
    owner: Any = None
    """The worker that runs it."""
    lease_expires_at: float | None = None
    retries: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    progress: float = 0.0
    checkpoint: Any = None
    result: Any = None
    resolution: str | None = None
    event_seq: int = 1

    @property
    def budget(self) -> Budget:
        return Budget(
            retries=self.retries,
            retries_max=self.terms.retries_max,
            interruptions=self.interruptions,
            max_interruptions=self.terms.max_interruptions,
            backoff_seconds=self.terms.backoff_seconds,
            backoff_max_seconds=self.terms.backoff_max_seconds,
        )


class Change(NamedTuple):
    """What a statement wrote: the row as it is now, and the types of the events that went with it, numbered on."""

    job: Job
    events: Sequence[str] = ()


class Limits(NamedTuple):
    """What may run at once; None or missing: any number."""

    is_paused: bool = False
    queue: int | None = None
    tasks: dict[str, int] = {}  # noqa: RUF012 - a tuple's field; nothing writes to it


NO_LIMITS = Limits()


def submit(id: Any, terms: Terms, *, now: float, run_after: float | None = None) -> Change:
    """A new job. A `run_after` that has passed is now: it must not buy a place in the queue."""
    due = now if run_after is None else max(run_after, now)
    return Change(Job(id, terms, run_after=due, rank_at=_rank(due, terms)), ("queued",))


def is_due(job: Job, *, now: float) -> bool:
    """Whether a job waits, and its time has come."""
    return job.state is State.QUEUED and job.run_after <= now


def is_suspect(job: Job) -> bool:
    """Whether a job used up more than half of its interruptions, so that it may be what kills workers."""
    return job.interruptions * 2 > job.terms.max_interruptions


def choose(
    jobs: Iterable[Job], *, owner: Any, queue: str, tasks: Sequence[str], now: float, limits: Limits = NO_LIMITS
) -> Job | None:
    """The job that a worker's claim takes: the best one that is due and that nothing holds back. A worker runs one
    suspect at most: a neighbour that was lost with one would else be lost with it again and again."""
    if limits.is_paused:
        return None
    running, candidates = [], []
    for job in jobs:
        if job.state is State.RUNNING:
            running.append(job)
        elif is_due(job, now=now) and job.terms.queue == queue and job.terms.task in tasks:
            candidates.append(job)
    if not candidates:
        return None
    if limits.queue is not None and limits.queue <= sum(job.terms.queue == queue for job in running):
        return None
    full = {task for task, most in limits.tasks.items() if most <= sum(job.terms.task == task for job in running)}
    has_suspect = any(job.owner == owner and is_suspect(job) for job in running)
    allowed = [job for job in candidates if job.terms.task not in full and not (has_suspect and is_suspect(job))]
    return min(allowed, key=lambda job: (job.rank_at, job.id), default=None)


def claim(job: Job, *, owner: Any, now: float, lease_seconds: float) -> Change | None:
    """An owner, a lease, and the next epoch: for a job that waits and is due."""
    if not is_due(job, now=now):
        return None
    job = job._replace(
        state=State.RUNNING,
        epoch=job.epoch + 1,
        owner=owner,
        lease_expires_at=now + lease_seconds,
        event_seq=job.event_seq + 1,
    )
    return Change(job, ("started",))


def holds(job: Job, epoch: int) -> bool:
    """Whether the owner of this epoch may write."""
    return job.epoch == epoch and job.state is State.RUNNING


def renew(job: Job, epoch: int, *, owner: Any, now: float, lease_seconds: float) -> Change | None:
    """Prolong a lease: its owner's alone. It is no event."""
    if not holds(job, epoch) or job.owner != owner:
        return None
    return Change(job._replace(lease_expires_at=now + lease_seconds))


def record(
    job: Job, epoch: int, notes: Sequence[str], *, progress: float | None = None, checkpoint: Any = None
) -> Change | None:
    """What a running job said: notes of these types (at least one), the newest progress and checkpoint."""
    if not holds(job, epoch):
        return None
    job = job._replace(
        progress=job.progress if progress is None else progress,
        checkpoint=job.checkpoint if checkpoint is None else checkpoint,
        event_seq=job.event_seq + len(notes),
    )
    return Change(job, notes)


def end(
    job: Job, epoch: int, transition: Transition, *, now: float, result: Any = None, checkpoint: Any = None
) -> Change | None:
    """One end per attempt, under its epoch. A job that someone cancelled meanwhile is not queued again; one that was
    interrupted keeps the place that its age gave it, also where it has to wait."""
    if not holds(job, epoch):
        return None
    is_stopped = transition.state is State.QUEUED and job.cancel_requested
    delay = transition.delay_seconds
    job = job._replace(
        state=State.CANCELLED if is_stopped else transition.state,
        owner=None,
        lease_expires_at=None,
        retries=job.retries + transition.retries_used,
        interruptions=job.interruptions + transition.interruptions_used,
        run_after=now + delay if transition.state is State.QUEUED else job.run_after,
        rank_at=_rank(now + delay, job.terms) if delay > 0 and transition.retries_used else job.rank_at,
        result=result,
        progress=1.0 if transition.state is State.SUCCEEDED else job.progress,
        checkpoint=job.checkpoint if checkpoint is None else checkpoint,
        event_seq=job.event_seq + 1,
    )
    return Change(job, ("cancelled" if job.state is State.CANCELLED else transition.event,))


def has_expired(job: Job, *, now: float) -> bool:
    """Whether its owner was not heard of for a whole lease."""
    return job.lease_expires_at is not None and job.lease_expires_at < now


def reap(job: Job, *, as_of: float, now: float) -> Change | None:
    """End an attempt whose lease had run out when the reaper read the clock, and still has when its statement runs."""
    if not has_expired(job, now=as_of) or not has_expired(job, now=now):
        return None
    return end(job, job.epoch, decide(Ending.LEASE_LOST, job.budget, jitter=0.0), now=now)


def cancel(job: Job) -> Change | None:
    """Cancel what does not run; ask what runs, once; leave what has ended as it is."""
    if job.cancel_requested or job.state not in (State.WAITING, State.QUEUED, State.RUNNING):
        return None
    runs = job.state is State.RUNNING
    job = job._replace(state=job.state if runs else State.CANCELLED, cancel_requested=True, event_seq=job.event_seq + 1)
    return Change(job, ("cancel_requested" if runs else "cancelled",))


def is_dead_letter(job: Job) -> bool:
    """Whether it waits for a human."""
    return job.state is State.DEAD and job.resolution is None


def replay(origin: Job, new_id: Any, *, now: float, dead_letters: bool = False) -> tuple[Job, Change] | None:
    """The origin, resolved, and a new job on its terms. With `dead_letters` only one that is in their queue still."""
    if origin.state not in (State.FAILED, State.DEAD) or (dead_letters and not is_dead_letter(origin)):
        return None
    return origin._replace(resolution="replayed"), submit(new_id, origin.terms, now=now)


def discard(job: Job) -> Job | None:
    """Take a dead letter out of its queue for good."""
    return job._replace(resolution="discarded") if is_dead_letter(job) else None


def _rank(due: float, terms: Terms) -> float:
    return due - terms.priority * PRIORITY_STEP_SECONDS
