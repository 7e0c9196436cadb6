"""The kinds of hostile jobs, and what must become of each. Pure: the checker reads it, and the client draws from it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

FATAL_SIGNALS: tuple[int, ...] = (4, 6, 7, 8, 9, 11, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
"""Those that end a Python process which does not handle them, on any Linux."""
ODD_SIGNALS = (1, 2, 3, 5, 10, 12, 13, 14, 15, 16, 17, 18, 23, 24, 25, 26, 27, 28, 29, 30, 31)
"""All others but those that stop a process: some are ignored, some handled by Python or Celery, some end it."""
OUTPUTS = 4
"""Texts that a job of the kind `output.captured` prints and logs, each its own way."""


@dataclass(frozen=True)
class Kind:
    """What a job of this kind may become, beside what faults of the infrastructure make of it."""

    shows: str
    """The fault of docs/reference/faults.md."""
    task: str
    """Whose limits it runs under: `hostile.tasks`."""
    ends: str
    """`succeeded`, or the state and the code of the error; `|` between alternatives, `*` for any code."""
    traceback: bool = False
    """Its log must hold one line with the traceback, naming the attempt."""
    is_exact: bool = True
    """It reports like an honest job, one call after the other: its log must be complete and in order."""
    evidence: str = ""
    """What the evidence of a crash must name: `exit_code` or `signal`, made from the variant, or `any`."""
    weight: float = 1.0
    """How often it is drawn; less for what takes long or writes much."""

    def may_end(self, state: str, code: str | None) -> bool:
        allowed = {one.strip() for one in self.ends.split("|")}
        return (state if code is None else f"{state}/{code}") in allowed or f"{state}/*" in allowed


PLAIN, RETRIED, CRASHING = "hostile.plain", "hostile.retried", "hostile.crashing"
SOFT, ASYNC, DEAF, OVERDUE = "hostile.soft", "hostile.async", "hostile.deaf", "hostile.overdue"

FAILED = "failed/task_failed"
UNSTORABLE = "failed/unstorable"
REFUSED = f"{UNSTORABLE} | {FAILED}"
"""At the call in the task, as the task's own error; or by the seam."""
KEPT = f"succeeded | {UNSTORABLE}"
"""Made fit to be stored, or refused."""
SURVIVED_OR_KILLED = "succeeded | failed/* | dead/*"
"""A connection that speaks out of turn: nothing of it may be booked, and the job must end."""

KINDS: dict[str, Kind] = {
    # F43: exceptions that signals raise while the task waits for its keeper.
    "soft.saves": Kind("F43", SOFT, "dead/soft_timeout", is_exact=False),
    "soft.loops": Kind("F43", SOFT, "succeeded", is_exact=False),
    "soft.swallowed": Kind("F43", SOFT, "succeeded", is_exact=False),
    "soft.in_error": Kind("F43", SOFT, f"{FAILED} | dead/soft_timeout", is_exact=False),
    "soft.async": Kind("F43", ASYNC, "dead/soft_timeout", is_exact=False),
    "soft.ignored": Kind("F43", DEAF, "dead/timeout", is_exact=False, weight=0.3),
    "alarm.caught": Kind("F43", PLAIN, "succeeded", is_exact=False),
    "alarm.uncaught": Kind("F43", PLAIN, FAILED, traceback=True, is_exact=False),
    "alarm.reports": Kind("F43", PLAIN, "succeeded", is_exact=False),
    "alarm.left_on": Kind("F43", PLAIN, f"succeeded | {FAILED}", is_exact=False),
    # F44: whatever leaves the task.
    "error.plain": Kind("F44", PLAIN, FAILED, traceback=True),
    "error.transient": Kind("F44", RETRIED, "dead/task_failed", traceback=True),
    "error.surrogate": Kind("F44", PLAIN, FAILED, traceback=True),
    "error.nul": Kind("F44", PLAIN, FAILED, traceback=True),
    "error.huge": Kind("F44", PLAIN, FAILED, traceback=True),
    "error.str_raises": Kind("F44", PLAIN, FAILED),
    "error.str_exits": Kind("F44", PLAIN, FAILED),
    "error.str_is_no_text": Kind("F44", PLAIN, FAILED),
    "error.class_name": Kind("F44", PLAIN, FAILED, traceback=True),
    "error.cycle": Kind("F44", PLAIN, FAILED, traceback=True),
    "error.group": Kind("F44", PLAIN, FAILED, traceback=True),
    "error.attributes": Kind("F44", PLAIN, "failed/* | dead/*"),
    "error.details": Kind("F44", PLAIN, f"failed/permanent | {UNSTORABLE}"),
    "error.recursion": Kind("F44", PLAIN, FAILED),
    "error.memory": Kind("F44", CRASHING, "dead/out_of_memory"),
    "base.own": Kind("F44", PLAIN, FAILED, traceback=True),
    "base.system_exit": Kind("F44", PLAIN, FAILED),
    "base.system_exit_text": Kind("F44", PLAIN, FAILED),
    "base.keyboard_interrupt": Kind("F44", PLAIN, FAILED),
    "base.generator_exit": Kind("F44", PLAIN, FAILED),
    "base.asyncio_cancelled": Kind("F44", PLAIN, FAILED),
    "base.stop_iteration": Kind("F44", ASYNC, FAILED),
    "stop.hand_over": Kind("F44", PLAIN, "failed/* | dead/*"),
    "stop.cancelled": Kind("F44", PLAIN, "cancelled | failed/*"),
    "retry.delay_text": Kind("F44", RETRIED, f"dead/retryable | {FAILED}"),
    "retry.delay_nan": Kind("F44", RETRIED, f"dead/retryable | {FAILED}"),
    "params.validator_raises": Kind("F44", "hostile.validated", "failed/*", is_exact=False),
    # F45: values that the database refuses, or that nobody can read back.
    "progress.nan": Kind("F45", PLAIN, REFUSED),
    "progress.infinity": Kind("F45", PLAIN, REFUSED),
    "progress.huge": Kind("F45", PLAIN, REFUSED),
    "progress.text": Kind("F45", PLAIN, REFUSED),
    "progress.no_message": Kind("F45", PLAIN, REFUSED),
    "progress.tiny": Kind("F45", PLAIN, KEPT),
    "progress.odd_message": Kind("F45", PLAIN, KEPT),
    "progress.data_nan": Kind("F45", PLAIN, UNSTORABLE),
    "progress.data_deep": Kind("F45", PLAIN, UNSTORABLE),
    "log.surrogate": Kind("F45", PLAIN, "succeeded", is_exact=False),
    "log.nul": Kind("F45", PLAIN, KEPT, is_exact=False),
    "log.nan": Kind("F45", PLAIN, KEPT, is_exact=False),
    "log.huge": Kind("F45", PLAIN, KEPT, is_exact=False),
    "log.deep": Kind("F45", PLAIN, KEPT, is_exact=False),
    "log.object": Kind("F45", PLAIN, KEPT, is_exact=False),
    "log.no_text": Kind("F45", PLAIN, f"{KEPT} | {FAILED}", is_exact=False),
    "checkpoint.nan": Kind("F45", PLAIN, UNSTORABLE),
    "checkpoint.huge": Kind("F45", PLAIN, UNSTORABLE),
    "checkpoint.deep": Kind("F45", PLAIN, UNSTORABLE),
    "checkpoint.surrogate": Kind("F45", PLAIN, UNSTORABLE),
    "checkpoint.object": Kind("F45", PLAIN, UNSTORABLE),
    "checkpoint.large": Kind("F45", PLAIN, f"{UNSTORABLE} | failed/permanent", weight=0.3),
    "result.nan": Kind("F45", PLAIN, UNSTORABLE),
    "result.infinity": Kind("F45", PLAIN, UNSTORABLE),
    "result.huge": Kind("F45", PLAIN, KEPT),
    "result.deep": Kind("F45", PLAIN, f"{UNSTORABLE} | {FAILED}"),
    "result.surrogate": Kind("F45", PLAIN, f"{UNSTORABLE} | {FAILED}"),
    "result.nul": Kind("F45", PLAIN, KEPT),
    "result.large": Kind("F45", PLAIN, f"failed/result_too_large | {UNSTORABLE}", weight=0.3),
    "result.none": Kind("F45", PLAIN, "failed/*"),
    "result.dump_raises": Kind("F45", PLAIN, "failed/*"),
    # F46: what outlives its attempt.
    "thread.reports": Kind("F46", PLAIN, "succeeded"),
    "fork.reports": Kind("F46", PLAIN, "succeeded"),
    "fork.returns": Kind("F46", PLAIN, "succeeded"),
    "fork.raises": Kind("F46", PLAIN, "succeeded"),
    "fork.exits": Kind("F46", PLAIN, "succeeded"),
    "async.reports": Kind("F46", ASYNC, "succeeded"),
    "process.left": Kind("F46", PLAIN, "succeeded"),
    "process.shell": Kind("F46", PLAIN, "succeeded"),
    "process.daemon": Kind("F46", PLAIN, "succeeded"),
    "process.deaf": Kind("F46", PLAIN, "succeeded"),
    "process.many": Kind("F46", PLAIN, "succeeded", weight=0.3),
    "process.overdue": Kind("F46", OVERDUE, "dead/timeout", weight=0.5),
    "process.crash": Kind("F46", CRASHING, "dead/crash", is_exact=False, weight=0.5),
    "left.handlers": Kind("F46", PLAIN, "succeeded"),
    "left.mask": Kind("F46", PLAIN, "succeeded"),
    "left.settings": Kind("F46", PLAIN, "succeeded"),
    # F47: a child that speaks out of turn.
    "socket.second": Kind("F47", CRASHING, SURVIVED_OR_KILLED, is_exact=False),
    "socket.junk": Kind("F47", CRASHING, SURVIVED_OR_KILLED, is_exact=False),
    "socket.half_frame": Kind("F47", CRASHING, SURVIVED_OR_KILLED, is_exact=False),
    "socket.flood": Kind("F47", CRASHING, SURVIVED_OR_KILLED, is_exact=False, weight=0.2),
    "socket.closed": Kind("F47", CRASHING, SURVIVED_OR_KILLED, is_exact=False),
    "socket.shut": Kind("F47", CRASHING, SURVIVED_OR_KILLED, is_exact=False),
    # F48: too much of everything.
    "flood.lines": Kind("F48", PLAIN, "succeeded", weight=0.2),
    "flood.big_lines": Kind("F48", PLAIN, "succeeded", is_exact=False, weight=0.2),
    "flood.output": Kind("F48", PLAIN, "succeeded", weight=0.2, is_exact=False),
    "flood.progress": Kind("F48", PLAIN, "succeeded", weight=0.3),
    "output.captured": Kind("F48", PLAIN, "succeeded", is_exact=False),
    "output.closed": Kind("F48", PLAIN, "succeeded"),
    # F58: a child that ends by any exit code and any signal.
    "exit.code": Kind("F58", CRASHING, "dead/crash", is_exact=False, evidence="exit_code", weight=0.5),
    "signal.fatal": Kind("F58", CRASHING, "dead/crash", is_exact=False, evidence="signal", weight=0.5),
    "signal.odd": Kind(
        "F58", CRASHING, f"succeeded | dead/crash | {FAILED}", is_exact=False, evidence="any", weight=0.5
    ),
    "signal.stop": Kind("F58", OVERDUE, "dead/timeout", is_exact=False, weight=0.3),
}


def fatal_signal(variant: int) -> int:
    return FATAL_SIGNALS[variant % len(FATAL_SIGNALS)]


def odd_signal(variant: int) -> int:
    return ODD_SIGNALS[variant % len(ODD_SIGNALS)]
