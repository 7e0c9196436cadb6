"""The product's code, fitted to the simulation: its logs go into a world's story, and its large numbers are made small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import longhaul_controller.failures
import longhaul_controller.leader
import longhaul_controller.reaper
import longhaul_worker.attempt
import longhaul_worker.backlog
import longhaul_worker.child.execute
import longhaul_worker.drain
import longhaul_worker.outcome_spool
import longhaul_worker.recorder
import longhaul_worker.result_upload
import longhaul_worker.session.child
import longhaul_worker.session.server
import longhaul_worker.slots

Change: TypeAlias = tuple[Any, str, Any]
"""A class or module of the product, what is changed in it, and what takes its place."""

_LOGGING = (
    longhaul_controller.failures,
    longhaul_controller.leader,
    longhaul_controller.reaper,
    longhaul_worker.attempt,
    longhaul_worker.drain,
    longhaul_worker.child.execute,
    longhaul_worker.outcome_spool,
    longhaul_worker.recorder,
    longhaul_worker.result_upload,
    longhaul_worker.session.child,
    longhaul_worker.session.server,
    longhaul_worker.slots,
)
_SMALL = {"MAX_BACKLOG_BYTES": 8 * 1024, "MAX_RECORD_BYTES": 4 * 1024}
"""Of `backlog`: what happens at a limit is the same, and takes a thirtieth of the time."""


class _Log:
    """What the modules log, as lines of the story."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = _nobody_reads

    def info(self, event: str, **facts: Any) -> None:
        if self.tell is not _nobody_reads:
            self.tell(f"  log: {event} " + " ".join(f"{name}={value!r}" for name, value in facts.items()))

    warning = error = debug = info


def _nobody_reads(_line: str) -> None:
    """Most stories are not told."""


@contextmanager
def fitted(changes: Sequence[Change] = ()) -> Iterator[_Log]:
    """While a world runs, with these changes of the product's code."""
    log = _Log()
    changes = [
        *((module, "_log", log) for module in _LOGGING),
        *((longhaul_worker.backlog, name, number) for name, number in _SMALL.items()),
        *changes,
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield log
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
