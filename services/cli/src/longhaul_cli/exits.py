"""Exit codes: how a job ended, or what stood in the way."""

from __future__ import annotations

from longhaul.errors import (
    ConfigurationError,
    IdempotencyConflict,
    InvalidParams,
    InvalidRequest,
    LonghaulError,
    UnknownTask,
)
from longhaul.states import State

SUCCEEDED = 0
FAILED = 1
USAGE = 2
DEAD = 3
CANCELLED = 4
OTHER = 5
INTERRUPTED = 130

HELP = (
    "Exit codes: 0 done, or the followed job succeeded; 1 the job failed, or something is wrong; 2 the command or the "
    "job's params can't be used; 3 the job is dead (its retries are used up); 4 it was cancelled; 5 the API can't be "
    "reached or refused; 130 interrupted."
)

_OF_STATES = {State.SUCCEEDED: SUCCEEDED, State.FAILED: FAILED, State.DEAD: DEAD, State.CANCELLED: CANCELLED}


def of_state(state: State) -> int:
    """The exit code that tells how a job ended."""
    return _OF_STATES.get(state, OTHER)


def of_error(error: LonghaulError) -> int:
    """The exit code that tells whether the command was wrong, or something else."""
    wrong_as_typed = (ConfigurationError, InvalidParams, InvalidRequest, UnknownTask, IdempotencyConflict)
    return USAGE if isinstance(error, wrong_as_typed) else OTHER
