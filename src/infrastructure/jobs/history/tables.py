"""The tables of the history, as this version knows them. ``migrations`` makes them.

Times are milliseconds since 1970 (UTC), as the store has them: the same integers in every database. Names, ids and
other words compare by their bytes everywhere. All names begin with ``roundsman_``: others may be in the database.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, text

WORD = String().with_variant(String(collation="C"), "postgresql")

metadata = MetaData()

jobs = Table(
    "roundsman_jobs",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("task", WORD, nullable=False),
    Column("status", WORD, nullable=False),
    Column("queue", WORD),
    Column("priority", Integer, nullable=False),
    Column("user_id", WORD),
    Column("team_id", WORD),
    Column("correlation_id", WORD),
    Column("created_ms", BigInteger, nullable=False),
    Column("scheduled_ms", BigInteger),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger, nullable=False),
    Column("waiting_ms", BigInteger),
    Column("running_ms", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("instance", WORD),
    Column("error", Text),
    Column("message", Text),
    Column("attempts", Text),
    Column("params", Text),
    Column("result", Text),
)
"""Jobs that are over, one row each. ``attempts``, ``params`` and ``result`` are JSON."""

Index("roundsman_jobs_ended", jobs.c.ended_ms, jobs.c.id)
for _name in ("status", "task", "queue"):
    Index(f"roundsman_jobs_{_name}", jobs.c[_name], jobs.c.ended_ms, jobs.c.id)
for _name in ("user_id", "team_id", "correlation_id"):
    _given = text(f"{_name} IS NOT NULL")
    Index(
        f"roundsman_jobs_{_name}",
        jobs.c[_name],
        jobs.c.ended_ms,
        jobs.c.id,
        sqlite_where=_given,
        postgresql_where=_given,
    )

sums = Table(
    "roundsman_job_sums",
    metadata,
    Column("scope", WORD, primary_key=True),
    Column("kind", WORD, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("name", WORD, primary_key=True),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
    Column("waiting", Text, nullable=False),
    Column("running", Text, nullable=False),
)
"""How the jobs of a day fared, of everybody and of each team (``scope``): all of them (``kind`` is ``all`` and ``name``
''), those of a task, and those of a queue ('' for none). ``day`` counts from 1970 in UTC; ``waiting`` and ``running``
are sketches (``domain.jobs.statistics``). It is written with the rows that it counts."""

Index("roundsman_job_sums_day", sums.c.kind, sums.c.day)

EVERYBODY, NO_TEAM = "*", "="
KINDS = ("all", "task", "queue")


def scope_of(team_id: str) -> str:
    """Return the scope of a team; '' is that of the jobs without one, of which nobody asks for tasks and queues."""
    return f"{NO_TEAM}{team_id}"
