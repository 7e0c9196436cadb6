"""Stored results: a row holds where its result is, instead of the result."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# NOT VALID: each row that is there keeps the older, stricter rule, and nobody waits for a scan. New rows are checked.
UP = """
ALTER TABLE jobs
    ADD COLUMN result_key    text,
    ADD COLUMN result_size   bigint CHECK (result_size >= 0),
    ADD COLUMN result_sha256 bytea,
    ADD CONSTRAINT stored_result_is_whole CHECK (
        (result_key IS NULL) = (result_size IS NULL) AND (result_key IS NULL) = (result_sha256 IS NULL)) NOT VALID,
    DROP CONSTRAINT succeeded_has_result,
    ADD CONSTRAINT succeeded_has_result CHECK (
        (state = 'succeeded') = (result IS NOT NULL OR result_key IS NOT NULL)
        AND (result IS NULL OR result_key IS NULL)) NOT VALID;
"""

# A result in the store alone can't be kept: such a job has none after this, and `null` stands for it.
DOWN = """
UPDATE jobs SET result = 'null', result_key = NULL, result_size = NULL, result_sha256 = NULL
WHERE result_key IS NOT NULL;
ALTER TABLE jobs
    DROP CONSTRAINT succeeded_has_result,
    DROP CONSTRAINT stored_result_is_whole,
    DROP COLUMN result_key,
    DROP COLUMN result_size,
    DROP COLUMN result_sha256,
    ADD CONSTRAINT succeeded_has_result CHECK ((state = 'succeeded') = (result IS NOT NULL));
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
