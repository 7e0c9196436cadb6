"""Recorded jobs: as a file with one JSON object a line, and as jobs to simulate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO

import orjson
from pydantic import TypeAdapter, ValidationError

from longhaul.errors import ConfigurationError
from longhaul.ledger.history import Recorded
from longhaul_cli.simulator.jobs import Job

_RECORDED = TypeAdapter(Recorded)


def write_line(file: IO[bytes], one: Recorded) -> None:
    """Append a job to a file. It holds no params and no results."""
    file.write(orjson.dumps(asdict(one), option=orjson.OPT_APPEND_NEWLINE))


def read_lines(path: Path) -> Iterator[Recorded]:
    """The jobs of a file. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _RECORDED.validate_json(line)
                except ValidationError:
                    raise ConfigurationError(
                        f"{path} holds no recorded job in line {number}: make it with `longhaul replay --save`."
                    ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read ({error.strerror}): check its name.") from None


class Recording:
    """Recorded jobs, put in the order in which they were due."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self.left_out = 0
        """Jobs that never ran to an end: how long they would take nobody knows."""
        self._jobs: list[tuple[datetime, Recorded]] = []
        for one in recorded:
            if one.has_ended and one.run_seconds and one.started_at:
                self._jobs.append((one.due_at, one))
            else:
                self.left_out += 1
        self._jobs.sort(key=lambda pair: (pair[0], pair[1].job_id))

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def queues(self) -> set[str]:
        return {one.queue for _, one in self._jobs}

    @property
    def first_due_at(self) -> datetime:
        """When the simulation begins."""
        return self._jobs[0][0]

    @property
    def seconds(self) -> float:
        """From the first job's time to the last's."""
        return (self._jobs[-1][0] - self.first_due_at).total_seconds()

    @property
    def waits(self) -> list[float]:
        """As they were recorded."""
        return [wait for _, one in self._jobs if (wait := one.wait_seconds) is not None]

    @property
    def interrupted(self) -> int:
        """Attempts that were interrupted in truth."""
        return sum(one.interrupted for _, one in self._jobs)

    def jobs(self) -> Iterator[Job]:
        """The same jobs, due when they were."""
        first = self.first_due_at
        for due_at, one in self._jobs:
            yield Job(
                due_seconds=(due_at - first).total_seconds(),
                run_seconds=_work_seconds(one),
                queue=one.queue,
                task=one.task,
                priority=one.priority,
                checkpoint_seconds=_checkpoint_seconds(one),
            )


def _work_seconds(one: Recorded) -> float:
    """What it takes without an interruption. A job that can hand over went on where it was; others began anew."""
    if one.interruptible and one.interrupted and one.busy_seconds:
        return one.busy_seconds
    assert one.run_seconds is not None
    return one.run_seconds


def _checkpoint_seconds(one: Recorded) -> float | None:
    """As often as it did. One that could hand over and never did save anything would begin anew."""
    if not one.interruptible or not one.checkpoints:
        return None
    return _work_seconds(one) / (one.checkpoints + 1)
