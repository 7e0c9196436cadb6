"""The leader's row: what each controller writes once a second, to see that the ledger accepts writes."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE leader (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    seen_at    timestamptz NOT NULL
);
"""

DOWN = "DROP TABLE leader;"


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
