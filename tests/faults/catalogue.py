"""The faults that Longhaul survives, and what must hold under each beside the invariants. Tests name them by a mark."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

INVARIANTS = {
    "I1": "every accepted job reaches a terminal state",
    "I2": "at most one attempt commits a result",
    "I3": "no write lands from an older epoch",
    "I4": "a lost job runs again within a lease and 2 s, once database and broker are up",
    "I5": "the API answers, or answers 503, within its deadline",
    "I6": "no healthy job is interrupted by the control plane",
    "I7": "what is booked to an attempt was computed by that attempt",
    "I8": "nothing stays `running` that no process runs, for longer than a lease and 2 s",
}

FAULTS = {
    "F1": ("SIGKILL of a whole worker, of its keeper alone, of Celery alone", "nothing orphaned goes on computing"),
    "F2": ("SIGKILL of the process that runs a job", "noticed at once, within 2 s"),
    "F3": (
        "a job that runs out of memory, again and again",
        "dead letter with its evidence, after `max_interruptions`",
    ),
    "F4": ("SIGKILL between a doorbell and its claim, 200 times under load", "none lost, rung again within 5 s"),
    "F5": ("an idle worker frozen, a job submitted, the worker killed", "as F4"),
    "F6": ("a worker frozen past its lease, then woken", "its late end is refused, its job stopped within a renewal"),
    "F7": ("a worker frozen for 3 s", "the same attempt goes on"),
    "F8": ("SIGTERM, the job shorter than the grace", "it ends, exit code 0, no second run"),
    "F9": ("SIGTERM, the job longer than the grace", "checkpoint, hand-over, next attempt within 2 s"),
    "F10": ("SIGTERM, then SIGKILL before the drain is over", "goes on from the last checkpoint"),
    "F11": ("Celery's warm shutdown hangs", "the worker ends within 30 s of its last job"),
    "F12": ("connections to Redis killed every 2 s", "no job twice, none hidden, heard again within 5 s"),
    "F13": ("Redis restarts with its data", "submits go on"),
    "F14": ("Redis restarts empty, is flushed, loses a list", "all that waits is rung again within 5 s"),
    "F15": ("Redis down for minutes", "submits go on, jobs start, no process is restarted by a probe"),
    "F16": ("Redis hangs", "submits as fast as ever, the ringer gives up within 2 s"),
    "F17": ("Redis fails over to a replica that lags", "lost rings are rung, resurrected ones ignored"),
    "F18": ("Redis full", "submits go on, the ringer backs off, an alert"),
    "F19": ("doorbells repeated a hundred times, reordered, an hour late", "each costs one claim that finds nothing"),
    "F20": ("forged messages in Redis", "dropped and counted; no crash, no claim"),
    "F21": ("PostgreSQL restarts, fast and immediate, under load", "202 only after the commit, no mass reaping"),
    "F22": ("PostgreSQL down for longer than a lease", "jobs compute on and commit; the reaper is silent for a lease"),
    "F23": ("PostgreSQL fails over to a synchronous standby", "the idempotency key tells what was committed"),
    "F24": ("the connection pool exhausted, statements of 5 s", "503 with Retry-After; renewals go on"),
    "F25": ("the client's connection cut after the commit, before the 202", "the same key returns the same job"),
    "F26": ("the API killed between commit and ring", "rung within about a second"),
    "F27": ("whoever rings killed in the middle of a batch", "doorbells twice, jobs once"),
    "F28": ("two reapers; a paused leader wakes up", "each expiry is applied once"),
    "F29": ("no controller for minutes", "API and workers unaffected, an alert, all caught up"),
    "F30": ("a worker's clock wrong by an hour, daylight saving", "leases go by the database's clock"),
    "F31": ("a worker cut off from PostgreSQL, not from Redis", "claims nothing; refused at the commit if reaped"),
    "F32": ("a worker cut off from Redis, not from PostgreSQL", "its job ends and commits"),
    "F33": ("a cancel races with a finish, with a claim", "one terminal state; seen within a renewal"),
    "F34": ("a job ignores its soft limit, or holds the interpreter's lock", "leases renewed, killed at the limit"),
    "F35": ("a rolling deploy with a new schema under jobs", "both versions claim; none interrupted"),
    "F36": ("a scale-in with busy pods", "idle pods go; none interrupted"),
    "F37": ("node drain, scale-down, spot eviction", "as F9, or as F1"),
    "F38": ("the new version's image is missing, or crashes", "old pods work on, no attempt is used up"),
    "F39": ("a webhook's receiver is slow, wrong, gone, private", "signed tries again; jobs unaffected"),
    "F40": ("a result stored, its commit lost", "no visible result; the object is collected"),
    "F41": ("a stream's client stalls; 3,000 come back at once", "bounded memory, no gap"),
    "F42": ("the disk full under PostgreSQL, under Redis", "503 and never a false 202; recovers by itself"),
    "F43": (
        "a soft limit, an alarm or any exception that a signal raises while the task waits for its keeper",
        "no answer reaches another question; the slot goes on",
    ),
    "F44": (
        "anything leaves the task: errors that can't be written down, SystemExit, KeyboardInterrupt, RecursionError",
        "one reported end with a reason, never `running` past its limit",
    ),
    "F45": (
        "values that the database refuses, in progress, log, checkpoint, result and error",
        "that attempt ends `unstorable`; neighbours and keeper untouched",
    ),
    "F46": (
        "a thread, a fork, a process, an async task that outlives its attempt",
        "gets an error and writes nothing; processes end with the attempt",
    ),
    "F47": (
        "a child that speaks out of turn: frames of another attempt, half a frame, megabytes without an end of line",
        "killed with evidence, nothing booked",
    ),
    "F48": (
        "floods of log lines, of output and of progress, results past their limit",
        "bounded memory, backpressure, neighbours' renewals on time",
    ),
    "F58": ("a child that ends by any signal and any exit code", "the evidence names it, the slot is back within 2 s"),
}
"""By number: how, and what must also hold."""

ROOT = Path(__file__).resolve().parents[2]


def shown_by() -> dict[str, list[tuple[str, str]]]:
    """The tests that show each fault, as (path from the project's root, name), read from their marks.

    Raises ValueError where a mark names no fault of this list.
    """
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        of_module = [
            fault
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
            for fault in _marked(node.value)
        ]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for fault in dict.fromkeys(
                    [*of_module, *(one for mark in node.decorator_list for one in _marked(mark))]
                ):
                    if fault not in FAULTS:
                        raise ValueError(f"{path.name}: {node.name} shows {fault}, which is not in the catalogue.")
                    found[fault].append((path.relative_to(ROOT).as_posix(), node.name))
    return found


def _marked(node: ast.expr) -> list[str]:
    return [
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
