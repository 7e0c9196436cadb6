"""What an attempt says, as a function of its job's params, id and epoch: whoever knows the order can recompute every word.

Pure. The tasks of the run say nothing else, and the checker compares what the ledger holds with what this gives.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

STAMP = re.compile(r"tk-[0-9a-f]{16}@[0-9a-f-]{36}#\d+")
"""How a text names the attempt that wrote it, wherever in a value it stands."""
GHOST = "GHOST"
"""In whatever is reported after the end of an attempt: it must be found nowhere."""

UNREADABLE = "UNREADABLE"
"""In place of what the ledger holds and no reader can parse."""


def digest(token: str, step: int) -> str:
    """What a job has computed after so many steps: the end of a hash chain that begins with its token."""
    value = first_link(token)
    for number in range(1, step + 1):
        value = next_link(value, number)
    return value


def first_link(token: str) -> str:
    return _hash(token)


def next_link(value: str, step: int) -> str:
    """One step of the work: it needs the value of the step before."""
    return _hash(f"{value}/{step}")


def mark(job_id: str, epoch: int) -> str:
    """A name for the processes that an attempt starts, short enough for the name of a process (15 bytes)."""
    return f"lh{_hash(f'{job_id}/{epoch}')[:12]}"


@dataclass(frozen=True)
class Payload:
    """All that one attempt may report."""

    token: str
    """The order's own: sixteen random hexadecimal digits behind `tk-`."""
    job_id: str
    epoch: int

    @property
    def stamp(self) -> str:
        """Names the attempt in texts."""
        return f"{self.token}@{self.job_id}#{self.epoch}"

    def line(self, number: int) -> dict[str, Any]:
        """The data of the attempt's log line of this number, from 0."""
        return {
            "level": ("info", "warning", "debug")[number % 3],
            "message": f"{self.stamp} line {number}",
            "fields": {"job_id": self.job_id, "epoch": self.epoch, "line": number},
        }

    def output(self, number: int) -> str:
        """A text that is printed, or logged with `logging` or structlog."""
        return f"{self.stamp} output {number}."

    def progress(self, step: int, steps: int, value: str) -> dict[str, Any]:
        """The data of a progress event; `value` is the digest that was reached."""
        return {
            "fraction": min(1.0, step / steps),
            "message": f"{self.stamp} step {step} of {steps}",
            "data": {"job_id": self.job_id, "epoch": self.epoch, "step": step, "digest": value},
        }

    def checkpoint(self, step: int, value: str) -> dict[str, Any]:
        """A checkpoint. It is longer with each step, so that the size in its event tells which one it was."""
        return {
            "token": self.token,
            "job_id": self.job_id,
            "epoch": self.epoch,
            "step": step,
            "digest": value,
            "padding": "." * step,
        }

    def result(self, steps: int, value: str) -> dict[str, Any]:
        return {"token": self.token, "job_id": self.job_id, "epoch": self.epoch, "steps": steps, "digest": value}

    def raised(self) -> str:
        """The text of the error with which the attempt ends on purpose."""
        return f"{self.stamp} raised this on purpose."

    def ghost(self, number: int) -> str:
        """What something says that outlived the attempt."""
        return f"{GHOST} {number} of {self.stamp}"


def size_bytes(checkpoint: dict[str, Any]) -> int:
    """Of a checkpoint as compact JSON, which its event tells."""
    return len(json.dumps(checkpoint, separators=(",", ":")))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
