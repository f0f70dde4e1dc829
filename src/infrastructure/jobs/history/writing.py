"""Write jobs into the history, and take old ones out: whole transactions of the only writer."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.jobs.statistics import ENDINGS, Sketch, Tally
from infrastructure.jobs.history.database import Database, is_row_fault
from infrastructure.jobs.history.rows import Row
from infrastructure.jobs.history.tables import EVERYBODY, KINDS, NO_TEAM, jobs, scope_of, sums

DAY_MS = 86_400_000
COUNTED = (jobs.c.id, jobs.c.ended_ms, jobs.c.status, jobs.c.task, jobs.c.queue, jobs.c.team_id)
Group = tuple[str, str, int, str]
"""Scope, kind, day and name: what is counted together."""
GROUP = ("scope", "kind", "day", "name")
GROUPS_AT_ONCE = 1_000
"""Groups that one statement names: each is four values, and PostgreSQL takes 32,767."""


class HistoryWriter:
    """Writes of one process. What is written twice is there once, and counted once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, rows: Sequence[Row]) -> list[tuple[Row, BaseException]]:
        """Write rows in one transaction; of a job that is there, the row that ended later stays.

        Return those that cannot be stored, and why; the others are stored in several transactions then. Raises
        ``HistoryUnavailable``: some may be stored, and can be written again.
        """
        try:
            await self._write(rows)
        except Exception as error:
            if not is_row_fault(error):
                raise
            if len(rows) == 1:
                return [(rows[0], error)]
            middle = len(rows) // 2
            return [*await self.write(rows[:middle]), *await self.write(rows[middle:])]
        return []

    async def _write(self, rows: Sequence[Row]) -> None:
        newest: dict[str, Row] = {}
        for row in rows:
            if row["id"] not in newest or newest[row["id"]]["ended_ms"] < row["ended_ms"]:
                newest[row["id"]] = row
        async with self._database.writing() as connection:
            columns = (*COUNTED, jobs.c.waiting_ms, jobs.c.running_ms)
            found = await connection.execute(sa.select(*columns).where(jobs.c.id.in_(list(newest))))
            known = {one["id"]: dict(one) for one in found.mappings()}
            new = [
                row for row in newest.values() if known.get(row["id"], {"ended_ms": -1})["ended_ms"] < row["ended_ms"]
            ]
            if not new:
                return
            replaced = [known[row["id"]] for row in new if row["id"] in known]
            if replaced:
                await connection.execute(sa.delete(jobs).where(jobs.c.id.in_([row["id"] for row in replaced])))
            await _each(connection, sa.insert(jobs), new)
            await _count(connection, _tallies(new, replaced))

    async def remove(self, where: "sa.ColumnElement[bool]", at_most: int) -> int:
        """Take jobs out of the history, oldest first, in one transaction; return how many. They stay counted."""
        async with self._database.writing() as connection:
            old = sa.select(jobs.c.id).where(where).order_by(jobs.c.ended_ms, jobs.c.id).limit(at_most)
            ids = list((await connection.execute(old)).scalars())
            if ids:
                await connection.execute(sa.delete(jobs).where(jobs.c.id.in_(ids)))
            return len(ids)

    async def remove_ended_before(self, ended_ms: int, at_most: int) -> int:
        """Take out what ended before a time; return how many."""
        return await self.remove(jobs.c.ended_ms < ended_ms, at_most)

    async def remove_beyond(self, kept: int, at_most: int) -> int:
        """Take out what is older than the newest ``kept`` jobs; return how many."""
        async with self._database.reading() as connection:
            newest_first = (jobs.c.ended_ms.desc(), jobs.c.id.desc())
            first = await connection.execute(
                sa.select(jobs.c.ended_ms, jobs.c.id).order_by(*newest_first).offset(kept).limit(1)
            )
            surplus = first.first()
        if surplus is None:
            return 0
        return await self.remove(sa.tuple_(jobs.c.ended_ms, jobs.c.id) <= sa.tuple_(*surplus), at_most)

    async def forget_days(self, before_ms: int) -> None:
        """Forget how jobs fared on days that were over before a time."""
        async with self._database.writing() as connection:
            old = sums.c.kind.in_(KINDS) & (sums.c.day < before_ms // DAY_MS)
            await connection.execute(sa.delete(sums).where(old))


async def _each(connection: AsyncConnection, statement: "sa.Insert | sa.Delete", rows: Sequence[Row]) -> None:
    """Execute a statement with each row as the driver wants it: SQLAlchemy's own way costs the loop twice as much."""
    made = statement.compile(dialect=connection.dialect)
    names: Sequence[str] = made.positiontup or ()
    await connection.exec_driver_sql(str(made), [tuple(row[name] for name in names) for row in rows])


def _tallies(new: Iterable[Row], replaced: Iterable[Row]) -> dict[Group, Tally]:
    """Return what rows change of each group: those that are replaced are taken out of theirs."""
    alike: dict[tuple[int, str, str, str], Tally] = defaultdict(Tally)
    for rows, times in ((new, 1), (replaced, -1)):
        for row in rows:
            which = (row["ended_ms"] // DAY_MS, row["task"], row["queue"] or "", row["team_id"] or "")
            alike[which].add(row["status"], row["waiting_ms"], row["running_ms"], times)
    tallies: dict[Group, Tally] = defaultdict(Tally)
    for (day, task, queue, team), tally in alike.items():
        for scope in (EVERYBODY, scope_of(team)):
            tallies[(scope, "all", day, "")].merge(tally)
            if scope != NO_TEAM:
                tallies[(scope, "task", day, task)].merge(tally)
                tallies[(scope, "queue", day, queue)].merge(tally)
    return tallies


async def _count(connection: AsyncConnection, changes: dict[Group, Tally]) -> None:
    """Add changes to what is counted of their groups."""
    key = sa.tuple_(*(sums.c[name] for name in GROUP))
    groups = list(changes)
    for start in range(0, len(groups), GROUPS_AT_ONCE):
        part = groups[start : start + GROUPS_AT_ONCE]
        found = (await connection.execute(sa.select(sums).where(key.in_(part)))).mappings().all()
        rows = await asyncio.to_thread(_summed, {group: changes[group] for group in part}, found)
        this = sa.and_(*(sums.c[name] == sa.bindparam(name) for name in GROUP))
        await _each(connection, sa.delete(sums).where(this), [dict(zip(GROUP, group, strict=True)) for group in part])
        if rows:
            await _each(connection, sa.insert(sums), rows)


def _summed(changes: dict[Group, Tally], found: "Sequence[sa.RowMapping]") -> list[Row]:
    """Return the rows of sums as they are to be; a thousand of them take long enough to be noticed on the loop."""
    for row in found:
        changes[(row["scope"], row["kind"], row["day"], row["name"])].merge(tally_of(row))
    return [_sum_row(group, tally) for group, tally in changes.items() if tally.total > 0]


def tally_of(found: "sa.RowMapping") -> Tally:
    """Return what is counted in a row of sums."""
    tally = Tally(waiting=Sketch.parse(found["waiting"]), running=Sketch.parse(found["running"]))
    tally.counts.update({status.value: found[status.value] for status in ENDINGS})
    return tally


def _sum_row(group: Group, tally: Tally) -> Row:
    counts = {status.value: tally.counts[status.value] for status in ENDINGS}
    named = dict(zip(GROUP, group, strict=True))
    return {**named, **counts, "waiting": str(tally.waiting), "running": str(tally.running)}
