"""Make the tables of the history."""

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None

WORD = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make jobs and their days."""
    op.create_table(
        "roundsman_jobs",
        sa.Column("id", WORD, primary_key=True),
        sa.Column("task", WORD, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("queue", WORD),
        sa.Column("priority", sa.Integer, nullable=False),
        *(sa.Column(name, WORD) for name in ("user_id", "team_id", "correlation_id")),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("scheduled_ms", sa.BigInteger),
        sa.Column("started_ms", sa.BigInteger),
        sa.Column("ended_ms", sa.BigInteger, nullable=False),
        sa.Column("waiting_ms", sa.BigInteger),
        sa.Column("running_ms", sa.BigInteger),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("instance", WORD),
        *(sa.Column(name, sa.Text) for name in ("error", "message", "attempts", "params", "result")),
    )
    op.create_index("roundsman_jobs_ended", "roundsman_jobs", ["ended_ms", "id"])
    for name in ("status", "task", "queue"):
        op.create_index(f"roundsman_jobs_{name}", "roundsman_jobs", [name, "ended_ms", "id"])
    for name in ("user_id", "team_id", "correlation_id"):
        given = sa.text(f"{name} IS NOT NULL")
        columns = [name, "ended_ms", "id"]
        op.create_index(f"roundsman_jobs_{name}", "roundsman_jobs", columns, sqlite_where=given, postgresql_where=given)
    op.create_table(
        "roundsman_job_days",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, WORD, primary_key=True) for name in ("task", "queue", "team_id")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("succeeded", "failed", "cancelled", "expired")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("waiting", "running")),
    )
    op.create_index("roundsman_job_days_team", "roundsman_job_days", ["team_id", "day"])
