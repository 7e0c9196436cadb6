"""How long killed work waited until it ran again, and what else a run's history adds up to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tests.faults.mixed.history import Execution, Fault, History

ENDED = frozenset({"succeeded", "failed", "dead", "cancelled"})
PILLARS = ("postgres.", "redis.", "leader.")
"""Kinds of faults without whose end nothing can recover."""


@dataclass(frozen=True)
class Recovery:
    """A job whose process was killed, and that ran again."""

    job_id: str
    kind: str
    seconds: float
    """From the kill to the next begin."""
    seconds_since_whole: float
    """The same, counted from when PostgreSQL, Redis and the leader were whole again, where one of them was broken before
    it ran again: I4 holds "once the database and the broker are up", and the reaper is silent for a lease after that.
    Less the backoff of a job that was lost before."""
    is_undisturbed: bool
    """None of these was broken meanwhile; other workers may have been."""


@dataclass(frozen=True)
class Figures:
    """What a run comes to, alike for both sides."""

    accepted: int
    lost: int
    run_twice: int
    """Jobs whose function came to its end more than once, or ran in two processes at once."""
    committed_twice: int
    killed: int
    """Executions that a kill ended before their job was done."""
    recovered: int
    recovery_median_seconds: float | None
    recovery_max_seconds: float | None
    undisturbed: int
    undisturbed_max_seconds: float | None


def recoveries(history: History) -> list[Recovery]:
    """Each execution that a kill ended and another one followed."""
    return [one for one in _after_kills(history) if one is not None]


def _after_kills(history: History) -> Iterator[Recovery | None]:
    """For each execution that a kill ended, how it went on; None where it did not, though its job had to."""
    jobs = {job.job_id: job for job in history.jobs}
    delays = {(event.job_id, event.epoch): event.delay_seconds for event in history.events if event.delay_seconds}
    for execution, fault, following in _killed(history):
        if following is not None:
            delay = delays.get((execution.job_id, execution.epoch), 0.0)
            yield _recovery(history, fault, following, delay_seconds=delay)
        elif execution.job_id in jobs and jobs[execution.job_id].state not in ENDED:
            yield None


def _killed(history: History) -> Iterator[tuple[Execution, Fault, Execution | None]]:
    kills: dict[int, list[Fault]] = defaultdict(list)
    for kill in sorted(history.faults, key=lambda one: one.began_at):
        for pid in kill.pids:
            kills[pid].append(kill)
    by_job: dict[str, list[Execution]] = defaultdict(list)
    for one in sorted(history.executions, key=lambda one: one.began_at):
        by_job[one.job_id].append(one)
    for executions in by_job.values():
        for execution, following in pairwise([*executions, None]):
            if execution is not None and execution.ending == "killed":
                # The first kill after its begin: pids are used again.
                fault = next((one for one in kills[execution.pid] if _kill_time(one) >= execution.began_at), None)
                if fault is not None and (following is None or following.began_at > _kill_time(fault)):
                    yield execution, fault, following  # else it had been frozen, and another one ran already


def _kill_time(fault: Fault) -> float:
    return fault.began_at if fault.killed_at is None else fault.killed_at


def _recovery(history: History, fault: Fault, following: Execution, *, delay_seconds: float) -> Recovery:
    killed_at, again_at = _kill_time(fault), following.began_at
    others = (one for one in history.faults if one.kind.startswith(PILLARS) and one.began_at < again_at)
    whole_at = max((one.ended_at for one in others if one.ended_at > killed_at), default=killed_at)
    return Recovery(
        job_id=following.job_id,
        kind=fault.kind,
        seconds=max(0.0, again_at - killed_at),
        seconds_since_whole=max(0.0, again_at - delay_seconds - max(killed_at, whole_at)),
        is_undisturbed=whole_at <= killed_at,
    )


def figures(history: History) -> Figures:
    """Counts by idempotency key, which is what the client calls a job: a blueprint without keys may make two jobs of one."""
    ended = Counter(job.key for job in history.jobs if job.state in ENDED)
    keys = {one.key for one in history.accepted}
    commits: Counter[str] = Counter()
    for job in history.jobs:
        commits[job.key] += job.commits
    after = list(_after_kills(history))
    recovered = [one for one in after if one is not None]
    seconds = [one.seconds for one in recovered]
    undisturbed = [one.seconds for one in recovered if one.is_undisturbed]
    return Figures(
        accepted=len(keys),
        lost=sum(1 for key in keys if not ended[key]),
        run_twice=_run_twice(history.executions),
        committed_twice=sum(1 for count in commits.values() if count > 1),
        killed=len(after),
        recovered=len(recovered),
        recovery_median_seconds=median(seconds) if seconds else None,
        recovery_max_seconds=max(seconds, default=None),
        undisturbed=len(undisturbed),
        undisturbed_max_seconds=max(undisturbed, default=None),
    )


def _run_twice(executions: Sequence[Execution]) -> int:
    by_key: dict[str, list[Execution]] = defaultdict(list)
    for one in sorted(executions, key=lambda one: one.began_at):
        by_key[one.key].append(one)
    return sum(
        1
        for runs in by_key.values()
        if sum(one.ending == "completed" for one in runs) > 1
        or any(following.began_at < one.seen_at for one, following in pairwise(runs))
    )
