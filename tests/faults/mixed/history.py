"""The history of a run, as facts: what was submitted and answered, what was broken, what the ledger says, what really ran.

All times are seconds of CLOCK_MONOTONIC, which every process of the machine shares.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.faults.mixed.work import Order


@dataclass(slots=True)
class Request:
    """One HTTP request of the client. `status` is None where the connection broke or no answer came in time."""

    sent_at: float
    ended_at: float
    server: str
    """The place of the API that was asked, such as `api-0`."""
    status: int | None
    has_retry_after: bool = False


@dataclass(slots=True)
class Accepted:
    """A job that the API answered with 202 (or 200, where the key was known already)."""

    at: float
    key: str
    job_id: str


@dataclass(slots=True)
class Fault:
    """Something that was broken on purpose, from `began_at` until it was whole again."""

    kind: str
    began_at: float
    ended_at: float
    targets: list[str] = field(default_factory=list)
    """By name: a server, or a process with its place, such as `worker-1.4` and `worker-1`."""
    pids: list[int] = field(default_factory=list)
    """Processes that were killed."""
    killed_at: float | None = None
    """When they were, where that was not at once."""


@dataclass(slots=True)
class Exit:
    """A process of the platform that ended. `was_told` where a fault ended it."""

    process: str
    at: float
    code: int
    was_told: bool


@dataclass(slots=True)
class Event:
    """A row of the ledger's history of a job."""

    job_id: str
    seq: int
    type: str
    epoch: int
    at: float
    worker: str | None = None
    """Of a `started`."""
    ending: str | None = None
    delay_seconds: float = 0.0
    """From the end of an attempt until the job is due again: a job that was lost before waits for its backoff."""
    data: Any = None
    """Of what a task reported, and of the end of an attempt."""


@dataclass(slots=True)
class Job:
    """A job as it stands at the end of the run."""

    job_id: str
    key: str
    state: str
    epoch: int
    commits: int
    """How often a result was committed."""
    result: Any = None
    error: Any = None
    checkpoint: Any = None
    """The last that was saved."""
    progress_message: str = ""

    @property
    def result_epoch(self) -> int | None:
        """Which attempt computed the result that the job has."""
        epoch = self.result.get("epoch") if isinstance(self.result, dict) else None
        return epoch if isinstance(epoch, int) else None


@dataclass(slots=True)
class Execution:
    """One run of a task's function. `ending` is `completed`, `left` (it raised) or `killed`."""

    key: str
    job_id: str
    epoch: int
    pid: int
    began_at: float
    seen_at: float
    """When it was last seen to run: its end, or its last sign of life."""
    ending: str
    found: Any = None
    """The checkpoint that it started from."""
    sent_step: int = 0
    """The last step of which it sent a checkpoint."""
    lines: int = 0
    """Log lines that it had written at its end."""
    progress_step: int = 0
    """The last step that it had reported at its end."""


@dataclass(slots=True)
class Ghost:
    """A report that something tried which outlived its attempt; `answer` is the error that it met, if any."""

    job_id: str
    epoch: int
    at: float
    call: str
    answer: str | None


@dataclass(slots=True)
class Started:
    """A process that a task started and named after its attempt (`payload.mark`), as long as it was seen."""

    mark: str
    pid: int
    worker: str
    """Of which process of the fleet it is, such as `worker-1.4`."""
    command: str
    first_seen_at: float
    last_seen_at: float


@dataclass
class History:
    """Everything about one run."""

    lease_seconds: float
    renew_seconds: float
    deadline_seconds: float
    ended_at: float = 0.0
    """When the ledger was read, at the end of the run."""
    orders: list[Order] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    ghosts: list[Ghost] = field(default_factory=list)
    started: list[Started] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """As gzipped JSON lines, so that a finding can be looked at, and checked again, afterwards."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", compresslevel=3) as file:
            file.write(json.dumps({name: getattr(self, name) for name in _LIMITS}) + "\n")
            for name in _FACTS:
                for fact in getattr(self, name):
                    file.write(json.dumps([name, asdict(fact)]) + "\n")


_FACTS: dict[str, Any] = {
    "orders": Order,
    "requests": Request,
    "accepted": Accepted,
    "faults": Fault,
    "exits": Exit,
    "events": Event,
    "jobs": Job,
    "executions": Execution,
    "ghosts": Ghost,
    "started": Started,
}
_LIMITS = [one.name for one in fields(History) if one.name not in _FACTS]


def load(path: Path) -> History:
    """What `History.save` wrote."""
    with gzip.open(path, "rt") as file:
        history = History(**json.loads(next(file)))
        for line in file:
            name, fact = json.loads(line)
            getattr(history, name).append(_FACTS[name](**fact))
    return history
