"""Ask the history: one job, a page of them, and how they fared."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from application.jobs.history import HistoryPage, before
from application.jobs.store import JobFilter
from domain.jobs.errors import InvalidJobQuery
from domain.jobs.job import Job
from domain.jobs.statistics import ENDINGS, MOST_GROUPS, JobStats, Tally, largest
from domain.runs.run import TERMINAL
from infrastructure.jobs.history.database import Database
from infrastructure.jobs.history.rows import job_of
from infrastructure.jobs.history.tables import EVERYBODY, KINDS, NO_TEAM, jobs, scope_of, sums
from infrastructure.jobs.history.writing import DAY_MS, tally_of

ASK_TIMEOUT_S = 10.0
NEWEST_FIRST = (jobs.c.ended_ms.desc(), jobs.c.id.desc())


class HistorySearch:
    """Implements ``application.jobs.history.JobHistory`` on an open database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        async with self._database.reading(ASK_TIMEOUT_S) as connection:
            found = (await connection.execute(sa.select(jobs).where(jobs.c.id == job_id))).mappings().first()
        return job_of(dict(found)) if found is not None else None

    async def params(self, job_id: str) -> dict[str, Any] | None:
        """Return the data of a job; None without it, which is the rule (setting ``history.params``)."""
        async with self._database.reading(ASK_TIMEOUT_S) as connection:
            found = (await connection.execute(sa.select(jobs.c.params).where(jobs.c.id == job_id))).scalar()
        data = json.loads(found) if found else None
        return data if isinstance(data, dict) else None

    async def search(self, wanted: JobFilter, limit: int, cursor: str = "") -> HistoryPage:
        """Return a page by keyset: what comes in meanwhile moves nothing."""
        if wanted.status is not None and wanted.status not in TERMINAL:
            return HistoryPage([], None)
        query = sa.select(jobs).where(*_conditions(wanted)).order_by(*NEWEST_FIRST).limit(limit + 1)
        if cursor:
            query = query.where(sa.tuple_(jobs.c.ended_ms, jobs.c.id) < sa.tuple_(*_position(cursor)))
        async with self._database.reading(ASK_TIMEOUT_S) as connection:
            found = (await connection.execute(query)).mappings().all()
        last = found[limit - 1] if len(found) > limit else None
        following = None if last is None else before(last["ended_ms"], last["id"])
        return HistoryPage([job_of(dict(row)) for row in found[:limit]], following)

    async def stats(self, days_wanted: int, team_id: str | None = None) -> JobStats:
        """Return how jobs fared, of what was counted day by day."""
        today = int(time.time() * 1000) // DAY_MS
        first = today - days_wanted + 1
        scope = EVERYBODY if team_id is None else scope_of(team_id)
        counted = sa.select(sums).where(sums.c.kind.in_(KINDS), sums.c.day >= first)
        async with self._database.reading(ASK_TIMEOUT_S) as connection:
            found = (await connection.execute(counted.where(sums.c.scope == scope))).mappings().all()
            if team_id is None:
                largest_teams = (await connection.execute(_largest_teams(first))).scalars().all()
                of_teams = counted.where(sums.c.kind == "all", sums.c.scope.in_(largest_teams))
                teams = (await connection.execute(of_teams)).mappings().all()
            else:
                teams = [row for row in found if row["kind"] == "all"]
        return await asyncio.to_thread(_summed, found, teams, range(first, today + 1))


def _largest_teams(first_day: int) -> "sa.Select[tuple[str]]":
    """Ask for the teams with the most jobs: there may be many thousand, and the sketches of a few are read."""
    total = sa.func.sum(sum((sums.c[status.value] for status in ENDINGS), sa.literal(0)))
    of_teams = (sums.c.kind == "all") & (sums.c.day >= first_day) & (sums.c.scope != EVERYBODY)
    return sa.select(sums.c.scope).where(of_teams).group_by(sums.c.scope).order_by(total.desc()).limit(MOST_GROUPS)


def _conditions(wanted: JobFilter) -> "list[sa.ColumnElement[bool]]":
    words = {
        "status": None if wanted.status is None else wanted.status.value,
        **{name: getattr(wanted, name) for name in ("task", "queue", "user_id", "team_id", "correlation_id")},
    }
    conditions = [jobs.c[name] == word for name, word in words.items() if word is not None]
    if wanted.since is not None:
        since_ms = int(wanted.since.timestamp() * 1000)
        conditions += [jobs.c.created_ms >= since_ms, jobs.c.ended_ms >= since_ms]  # the second has an index
    return conditions


def _position(cursor: str) -> tuple[int, str]:
    kind, _, rest = cursor.partition(":")
    ended, found, job_id = rest.partition(":")
    if kind != "h" or not found or not ended.isdecimal() or len(ended) > 15:
        raise InvalidJobQuery(why=f"cursor '{cursor}' is not one that this list gave")
    return int(ended), job_id


def _summed(found: "Sequence[sa.RowMapping]", of_teams: "Sequence[sa.RowMapping]", all_days: range) -> JobStats:
    whole = Tally()
    by_day = {day: Tally() for day in all_days}
    groups: dict[str, dict[str, Tally]] = {"task": defaultdict(Tally), "queue": defaultdict(Tally)}
    teams: dict[str, Tally] = defaultdict(Tally)
    for row in found:
        if row["kind"] == "all":
            by_day.setdefault(row["day"], Tally()).merge(tally_of(row))
        else:
            groups[row["kind"]][row["name"]].merge(tally_of(row))
    for row in of_teams:
        teams[row["scope"].removeprefix(NO_TEAM)].merge(tally_of(row))
    for tally in by_day.values():
        whole.merge(tally)
    dated = {datetime.fromtimestamp(day * DAY_MS // 1000, UTC).date().isoformat(): one for day, one in by_day.items()}
    tasks, queues = largest(groups["task"]), largest(groups["queue"])
    return JobStats(all=whole, tasks=tasks, queues=queues, teams=largest(teams), days=dated)
