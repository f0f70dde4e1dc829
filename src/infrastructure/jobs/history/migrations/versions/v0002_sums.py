"""Count the days of everybody and of each team by themselves, and no more by all that a job has at once.

How a week fared was added up from a row for each day, task, queue and team: 2.4 s where there are many teams.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"

WORD = sa.String().with_variant(sa.String(collation="C"), "postgresql")
ENDINGS = ("succeeded", "failed", "cancelled", "expired")
SKETCHES = ("waiting", "running")


def upgrade() -> None:
    """Make the new table, fill it day by day from the old one, and drop that."""
    sums = op.create_table(
        "roundsman_job_sums",
        *(sa.Column(name, WORD, primary_key=True) for name in ("scope", "kind")),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", WORD, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ENDINGS),
        *(sa.Column(name, sa.Text, nullable=False) for name in SKETCHES),
    )
    op.create_index("roundsman_job_sums_day", "roundsman_job_sums", ["kind", "day"])
    connection = op.get_bind()
    for day in connection.execute(sa.text("SELECT DISTINCT day FROM roundsman_job_days")).scalars().all():
        query = sa.text("SELECT * FROM roundsman_job_days WHERE day = :day")
        op.bulk_insert(sums, list(_summed(connection.execute(query, {"day": day}).mappings().all())))
    op.drop_table("roundsman_job_days")


def _summed(rows: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a day as they are counted now."""
    found: dict[tuple[str, str, int, str], dict[str, Counter[Any]]] = {}
    for row in rows:
        counted: dict[str, Counter[Any]] = {"endings": Counter({name: row[name] for name in ENDINGS})}
        counted |= {name: _read(row[name]) for name in SKETCHES}
        for scope in ("*", f"={row['team_id']}"):
            for kind, name in (("all", ""), ("task", row["task"]), ("queue", row["queue"])):
                if scope == "=" and kind != "all":
                    continue  # of the jobs without a team nobody asks more
                of = found.setdefault((scope, kind, row["day"], name), {part: Counter() for part in counted})
                for part, counts in counted.items():
                    of[part].update(counts)
    for group, of in found.items():
        named = dict(zip(("scope", "kind", "day", "name"), group, strict=True))
        yield {
            **named,
            **{name: of["endings"][name] for name in ENDINGS},
            **{name: _text(of[name]) for name in SKETCHES},
        }


def _read(sketch: str) -> Counter[int]:
    """Read a sketch as it was written: ``bucket:count`` with spaces between them."""
    return Counter({int(bucket): int(count) for bucket, count in (pair.split(":") for pair in sketch.split())})


def _text(sketch: Counter[int]) -> str:
    """Write a sketch as it is now: a list of buckets and counts by turns."""
    return str([number for pair in sorted(sketch.items()) for number in pair])
