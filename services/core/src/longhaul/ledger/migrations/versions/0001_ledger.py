"""The ledger: jobs, their events, workers, the catalogue of tasks, queues, API keys."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UP = """
CREATE TABLE jobs (
    id                   uuid PRIMARY KEY,
    tenant               text NOT NULL,
    submitted_by         text NOT NULL,
    task                 text NOT NULL,
    queue                text NOT NULL,
    priority             smallint NOT NULL CHECK (priority BETWEEN -9 AND 9),
    -- json, not jsonb: stored as sent, never searched, and written in half the time
    params               json NOT NULL,
    metadata             json NOT NULL,
    idempotency_key      text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    request_digest       bytea,
    origin_id            uuid,
    trace_context        text,

    -- the task's limits on the day of the submit
    retries_max          integer NOT NULL CHECK (retries_max >= 0),
    max_interruptions    integer NOT NULL CHECK (max_interruptions >= 0),
    timeout_seconds      double precision NOT NULL CHECK (timeout_seconds > 0),
    soft_timeout_seconds double precision CHECK (soft_timeout_seconds > 0),
    backoff_seconds      double precision NOT NULL CHECK (backoff_seconds >= 0),
    backoff_max_seconds  double precision NOT NULL CHECK (backoff_max_seconds >= 0),
    interruptible        boolean NOT NULL,

    state                text NOT NULL CHECK (state IN
                             ('waiting', 'queued', 'running', 'succeeded', 'failed', 'dead', 'cancelled')),
    -- the number of the attempt is its fencing token: +1 at each claim
    epoch                bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    retries              integer NOT NULL DEFAULT 0,
    interruptions        integer NOT NULL DEFAULT 0,
    worker_id            uuid,
    slot                 smallint,
    lease_expires_at     timestamptz,
    cancel_requested_at  timestamptz,
    progress             real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    progress_message     text NOT NULL DEFAULT '',
    checkpoint           json,
    checkpointed_at      timestamptz,
    result               json,
    error                json,
    resolution           text CHECK (resolution IN ('replayed', 'discarded')),
    event_seq            bigint NOT NULL,

    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    -- Python's datetime ends with the year 9999: a row past it could be written and never read
    run_after            timestamptz NOT NULL CHECK (run_after < '9999-12-31 UTC'),
    -- run_after less what the priority is worth in waiting time: the claim order, with ageing built in
    rank_at              timestamptz NOT NULL,
    started_at           timestamptz,
    finished_at          timestamptz,

    CONSTRAINT running_has_owner_and_lease CHECK (
        (state = 'running') = (worker_id IS NOT NULL) AND (state = 'running') = (lease_expires_at IS NOT NULL)
        AND (state = 'running') = (slot IS NOT NULL)),
    CONSTRAINT running_was_claimed CHECK (state <> 'running' OR (epoch > 0 AND started_at IS NOT NULL)),
    CONSTRAINT terminal_is_finished CHECK (
        (state IN ('succeeded', 'failed', 'dead', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT succeeded_has_result CHECK ((state = 'succeeded') = (result IS NOT NULL)),
    CONSTRAINT failed_has_error CHECK (state NOT IN ('failed', 'dead') OR error IS NOT NULL),
    CONSTRAINT only_dead_letters_are_resolved CHECK (resolution IS NULL OR state IN ('failed', 'dead'))
)
-- renewals and progress change no indexed column, so they stay on their page (HOT) while it has room
WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE UNIQUE INDEX jobs_idempotency ON jobs (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_due ON jobs (queue, rank_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (worker_id) WHERE state = 'running';
CREATE INDEX jobs_dead ON jobs (id) WHERE state = 'dead' AND resolution IS NULL;
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- The history of each job, numbered without gaps. No foreign key: an event is only ever written by the statement that
-- changes its job, and `purge` deletes both.
CREATE TABLE job_events (
    job_id  uuid NOT NULL,
    seq     bigint NOT NULL,
    type    text NOT NULL,
    epoch   bigint NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    data    json NOT NULL,
    PRIMARY KEY (job_id, seq)
);

CREATE TABLE workers (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    pool        text NOT NULL,
    queues      text[] NOT NULL,
    slots       integer NOT NULL CHECK (slots > 0),
    version     text NOT NULL,
    draining    boolean NOT NULL DEFAULT false,
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tasks (
    name           text PRIMARY KEY,
    queue          text NOT NULL,
    version        text NOT NULL,
    concurrency    integer CHECK (concurrency > 0),
    spec           json NOT NULL,
    registered_by  text NOT NULL,
    registered_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE queues (
    name         text PRIMARY KEY,
    paused_at    timestamptz,
    max_running  integer CHECK (max_running > 0)
);

CREATE TABLE api_keys (
    id            text PRIMARY KEY,
    name          text NOT NULL,
    tenant        text NOT NULL,
    scopes        text[] NOT NULL,
    secret_sha256 bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    revoked_at    timestamptz
);
"""

DOWN = "DROP TABLE api_keys, queues, tasks, workers, job_events, jobs;"


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
