"""Prometheus metrics of the controller."""

from prometheus_client import Counter, Gauge, Histogram

IS_LEADER = Gauge("longhaul_controller_is_leader", "Whether this replica leads.")
LEASES_REAPED = Counter("longhaul_leases_reaped_total", "Attempts that ended because their lease ran out.")
DOORBELLS_RERUNG = Counter("longhaul_doorbells_rerung_total", "Doorbells pushed for due jobs that had none.", ["queue"])
DOORBELLS_TRIMMED = Counter(
    "longhaul_doorbells_trimmed_total", "Doorbells removed that no due job stood behind.", ["queue"]
)
JOBS_DUE = Gauge("longhaul_jobs_due", "Jobs that a worker could claim now.", ["queue"])
OLDEST_WAIT_SECONDS = Gauge(
    "longhaul_queue_oldest_wait_seconds", "How long the oldest due job has waited, also in a paused queue.", ["queue"]
)
JOBS_RUNNING = Gauge("longhaul_jobs_running", "Running jobs that count as demand.", ["pool"])
JOBS_PURGED = Counter("longhaul_jobs_purged_total", "Jobs deleted by retention.")
ORPHANED_RESULTS_DELETED = Counter(
    "longhaul_orphaned_results_deleted_total", "Objects deleted from the result store since no job refers to them."
)
DUTY_SECONDS = Histogram("longhaul_controller_duty_seconds", "How long a run of a duty took.", ["duty"])
DUTY_FAILURES = Counter("longhaul_controller_duty_failures_total", "Runs of a duty that failed.", ["duty"])
DUTY_FAILING = Gauge("longhaul_controller_duty_failing", "Whether the last run of a duty failed.", ["duty"])
EVIDENCE_FAILURES = Counter(
    "longhaul_evidence_failures_total", "Reaps that went on without evidence, since reading or writing it failed."
)
WORKER_PODS = Gauge("longhaul_worker_pods", "Pods of workers, by what they run.", ["runs"])
POD_PATCHES = Counter("longhaul_pod_patches_total", "Pods whose deletion cost was written.")
KUBERNETES_FAILURES = Counter(
    "longhaul_kubernetes_failures_total", "Calls of the Kubernetes API that failed, by its answer.", ["reason"]
)
WEBHOOK_TRIES = Counter(
    "longhaul_webhook_tries_total", "Tries to deliver a webhook, by what became of it.", ["outcome"]
)
WEBHOOKS_WAITING = Gauge(
    "longhaul_webhooks_waiting", "Webhooks that have a try before them: the first, or another.", ["try"]
)

OF_THE_LEADER = (DUTY_FAILING, JOBS_DUE, OLDEST_WAIT_SECONDS, JOBS_RUNNING, WORKER_PODS, WEBHOOKS_WAITING)
"""What only the leader knows. If a standby kept its old numbers, they would be added to the leader's."""
