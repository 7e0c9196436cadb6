"""Webhooks: where the end of a job is told, and how far that is."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE jobs ADD COLUMN webhook_url text;

-- The outbox: a row is there if, and only if, a job with a webhook has ended. No foreign key, as for events: the trigger
-- below writes it with its job, and `purge` deletes both.
CREATE TABLE webhook_deliveries (
    job_id       uuid PRIMARY KEY,
    host         text NOT NULL,
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    -- counted when a try begins: its number is the fencing token of what is written about it
    tries        integer NOT NULL DEFAULT 0 CHECK (tries >= 0),
    due_at       timestamptz NOT NULL DEFAULT now(),
    last_status  integer,
    last_error   text,
    finished_at  timestamptz,
    CONSTRAINT ended_is_finished CHECK ((state = 'waiting') = (finished_at IS NULL))
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE state = 'waiting';

-- A trigger, since it covers every way in which a job can end, also those that pods of the release before commit.
CREATE FUNCTION insert_webhook_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- nothing in here may ever fail: the end of the job would fail with it
    INSERT INTO webhook_deliveries (job_id, host)
    VALUES (NEW.id, coalesce(lower(substring(NEW.webhook_url FROM '^https?://([^/?#]*)')), ''))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
-- OF finished_at: renewals and progress, which do not name that column, do not even ask.
CREATE TRIGGER job_end_is_delivered AFTER UPDATE OF finished_at ON jobs FOR EACH ROW
WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND NEW.webhook_url IS NOT NULL)
EXECUTE FUNCTION insert_webhook_delivery();
"""

DOWN = """
DROP TRIGGER job_end_is_delivered ON jobs;
DROP FUNCTION insert_webhook_delivery;
DROP TABLE webhook_deliveries;
ALTER TABLE jobs DROP COLUMN webhook_url;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
