"""Prometheus metrics of a worker pod."""

from prometheus_client import Counter, Gauge, Histogram

DOORBELLS = Counter(
    "longhaul_doorbells_heard_total", "Doorbells heard, by whether a job was claimed.", ["queue", "claimed"]
)
DROPPED = Counter("longhaul_doorbells_dropped_total", "Messages in Redis that were no doorbells: forged or broken.")
FALLBACK = Gauge(
    "longhaul_keeper_fallback", "Whether the keeper asks the ledger directly, since Redis does not answer."
)
ENDINGS = Counter("longhaul_attempts_ended_total", "Attempts that ended, by how.", ["task", "ending"])
RUN_SECONDS = Histogram(
    "longhaul_attempt_run_seconds",
    "How long attempts ran.",
    ["task"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800),
)
WAIT_SECONDS = Histogram(
    "longhaul_job_wait_seconds",
    "How long jobs were due before their claim.",
    ["queue"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600),
)
SLOTS = Gauge("longhaul_slots", "Slots of this pod.")
SLOTS_BUSY = Gauge("longhaul_slots_busy", "Slots that run a job.")
LEDGER_UP = Gauge("longhaul_keeper_ledger_up", "Whether the keeper reaches the ledger.")
LEDGER_FAILURES = Counter(
    "longhaul_keeper_ledger_failures_total", "Rounds of the keeper that the ledger did not carry out.", ["kind"]
)
FAILURES = Counter("longhaul_keeper_failures_total", "Parts of the keeper that failed and began anew.", ["work"])
UNSTORABLE = Counter("longhaul_unstorable_total", "Attempts that ended since the ledger refuses what they said.")
FRAMES_REFUSED = Counter(
    "longhaul_session_frames_refused_total", "Frames about another attempt than the one that runs.", ["op"]
)
SESSIONS_BROKEN = Counter("longhaul_sessions_broken_total", "Processes that broke the protocol with their keeper.")
LEASES_LOST = Counter("longhaul_leases_lost_total", "Leases that this keeper lost.")
OUTCOMES_WAITING = Gauge("longhaul_outcomes_waiting", "Outcomes that wait for the ledger.")
RESULTS_WAITING = Gauge("longhaul_results_waiting", "Results that wait for the result store, each on a slot.")
CELERY_STARTS = Counter("longhaul_celery_starts_total", "Starts of Celery's main process.")
DRAINING = Gauge("longhaul_draining", "Whether this pod is on its way out.")
