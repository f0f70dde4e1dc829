"""The history's database, on SQLite and on PostgreSQL: what is written is there once, counted once, and found."""

import asyncio
import math
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from application.jobs.store import JobFilter
from domain.jobs.errors import InvalidJobQuery
from domain.runs.run import RunStatus
from infrastructure.jobs.history.schema import KNOWN, NEWEST, VERSION_TABLE, HistoryTooNew, found_version, upgrade
from infrastructure.jobs.history.tables import metadata
from infrastructure.jobs.history.writing import DAY_MS
from integration.history_kit import START_MS, HistoryUnderTest, row


async def test_the_migrations_make_the_very_tables_that_this_version_knows(history: HistoryUnderTest) -> None:
    def differences(connection: sa.Connection) -> Any:
        options = {"compare_type": True, "version_table": VERSION_TABLE}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    async with history.database.reading() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(found_version) == NEWEST


def test_the_newest_version_is_the_last_of_the_migrations() -> None:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "infrastructure.jobs.history:migrations")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [NEWEST]
    assert [one.revision for one in script.walk_revisions()] == list(reversed(KNOWN))


async def test_instances_that_start_together_make_the_tables_once(history_url: str) -> None:
    instances = [HistoryUnderTest(history_url) for _ in range(5)]
    await asyncio.gather(*(one.database.open() for one in instances))
    await instances[0].write(row("a"))
    assert [await one.ids() for one in instances] == [["a"]] * 5
    for one in instances:
        await one.database.close()


async def test_a_schema_of_a_newer_version_is_refused_and_left_as_it_is(history: HistoryUnderTest) -> None:
    async with history.database.writing() as connection:
        await connection.execute(sa.text("UPDATE roundsman_history_version SET version_num = '9999'"))
    with pytest.raises(HistoryTooNew, match=r"version 9999.*knows 0002"):
        await history.database.open()
    async with history.database.reading() as connection:
        assert await connection.run_sync(found_version) == "9999"


async def test_what_is_written_twice_is_there_and_counted_once(history: HistoryUnderTest) -> None:
    rows = [row(f"j{number}", ended_ms=now_ms()) for number in range(20)]
    await asyncio.gather(*(history.write(*rows) for _ in range(4)))
    assert len(await history.ids()) == 20
    assert (await history.search.stats(1)).all.total == 20


async def test_a_job_that_was_run_again_is_counted_as_it_ended_last(history: HistoryUnderTest) -> None:
    now = now_ms()
    first = row("j", status="failed", error="no", ended_ms=now - 1000, waiting_ms=4, running_ms=700)
    again = row("j", status="succeeded", ended_ms=now, waiting_ms=None, attempt=2)
    for rows in ([first], [again], [again, first], [first]):
        await history.write(*rows)
    found = await history.search.get("j")
    assert found is not None
    assert (found.status, found.attempt, found.error) == ("succeeded", 2, None)
    stats = (await history.search.stats(2)).all
    assert {status: count for status, count in stats.counts.items() if count} == {"succeeded": 1}
    assert stats.waiting.quantile(1) is None
    assert stats.running.quantile(1) == pytest.approx(100, rel=0.02)


async def test_a_row_that_cannot_be_stored_keeps_out_no_other(history: HistoryUnderTest) -> None:
    bad = row("bad", priority=2**70)
    refused = await history.writer.write([row("a"), bad, row("b"), row("c")])
    assert [one["id"] for one, _ in refused] == ["bad"]
    assert sorted(await history.ids()) == ["a", "b", "c"]


async def test_every_word_finds_its_jobs_page_by_page(history: HistoryUnderTest) -> None:
    generator = random.Random(7)  # noqa: S311 - chance, and no secret
    rows = [
        row(
            f"j{number:03}",
            ended_ms=START_MS + number // 3,
            status=generator.choice(["succeeded", "failed", "cancelled", "expired"]),
            task=generator.choice(["Import", "Mail"]),
            queue=generator.choice(["free", "pro", None]),
            user_id=generator.choice(["u1", "u2", None]),
            team_id=generator.choice(["t1", None]),
            correlation_id=generator.choice(["c1", "c2", None]),
        )
        for number in range(120)
    ]
    await history.write(*rows)
    middle = datetime.fromtimestamp((START_MS + 20 - 120) / 1000, UTC)
    for wanted in (
        JobFilter(),
        JobFilter(status=RunStatus.FAILED),
        JobFilter(task="Mail", queue="pro"),
        JobFilter(user_id="u1", team_id="t1"),
        JobFilter(correlation_id="c2", status=RunStatus.SUCCEEDED),
        JobFilter(since=middle),
        JobFilter(task="Nothing"),
    ):
        expected = [one["id"] for one in reversed(rows) if meant(wanted, one)]
        assert await all_pages(history, wanted) == expected
    assert await all_pages(history, JobFilter(status=RunStatus.QUEUED)) == []


def meant(wanted: JobFilter, one: dict[str, Any]) -> bool:
    words = {name: getattr(wanted, name) for name in ("task", "queue", "user_id", "team_id", "correlation_id")}
    words["status"] = wanted.status.value if wanted.status else None
    since_ms = 0 if wanted.since is None else wanted.since.timestamp() * 1000
    return all(word is None or one[name] == word for name, word in words.items()) and one["created_ms"] >= since_ms


async def all_pages(history: HistoryUnderTest, wanted: JobFilter) -> list[str]:
    ids, cursor = [], ""
    while True:
        page = await history.search.search(wanted, 7, cursor)
        ids += [job.id for job in page.items]
        if page.next_cursor is None:
            return ids
        cursor = page.next_cursor


@pytest.mark.parametrize("cursor", ["h:", "h:12", "h:x:y", "1:abc", "h:9999999999999999:a", "h:-1:a"])
async def test_a_cursor_that_no_list_gave_is_refused(history: HistoryUnderTest, cursor: str) -> None:
    with pytest.raises(InvalidJobQuery, match="is not one that this list gave"):
        await history.search.search(JobFilter(), 10, cursor)


async def test_statistics_are_those_of_the_rows(history: HistoryUnderTest) -> None:
    generator = random.Random(3)  # noqa: S311 - chance, and no secret
    now = now_ms()
    rows = [
        row(
            f"j{number}",
            ended_ms=now - generator.randrange(3) * DAY_MS,
            status=generator.choice(["succeeded", "succeeded", "failed", "cancelled"]),
            task=generator.choice(["Import", "Mail"]),
            team_id=generator.choice(["t1", None]),
            waiting_ms=int(generator.lognormvariate(4, 2)),
            running_ms=int(generator.lognormvariate(6, 2)),
        )
        for number in range(600)
    ]
    for start in range(0, 600, 100):
        await history.write(*rows[start : start + 100])
    stats = await history.search.stats(3)
    check(stats.all, rows)
    for task, tally in stats.tasks.items():
        check(tally, [one for one in rows if one["task"] == task])
    today = datetime.fromtimestamp(now / 1000, UTC).date()
    assert list(stats.days) == [(today - timedelta(days=back)).isoformat() for back in (2, 1, 0)]
    check(list(stats.days.values())[-1], [one for one in rows if one["ended_ms"] == now])
    for team, tally in stats.teams.items():
        check(tally, [one for one in rows if (one["team_id"] or "") == team])
    of_team = await history.search.stats(2, team_id="t1")
    assert [*of_team.teams] == ["t1"]
    check(
        of_team.tasks["Mail"], [one for one in of_t1(rows) if one["task"] == "Mail" and one["ended_ms"] >= now - DAY_MS]
    )
    check(of_team.all, [one for one in of_t1(rows) if one["ended_ms"] >= now - DAY_MS])


def of_t1(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in rows if one["team_id"] == "t1"]


async def test_of_many_teams_the_largest_are_told(history: HistoryUnderTest) -> None:
    now = now_ms()
    made = [row(f"a{number}", ended_ms=now, team_id=f"t{number:03}") for number in range(120)]
    await history.write(*made, *(row(f"b{number}", ended_ms=now - DAY_MS, team_id="t119") for number in range(2)))
    teams = (await history.search.stats(2)).teams
    assert (len(teams), next(iter(teams)), teams["t119"].total) == (100, "t119", 3)
    assert not (await history.search.stats(2, team_id="nobody")).teams


async def test_what_an_older_version_counted_is_counted_on(history: HistoryUnderTest) -> None:
    now, names = now_ms(), ("day", "task", "queue", "team_id", "succeeded", "failed", "waiting", "running")
    of_acme = (now // DAY_MS, "Mail", "", "acme", 2, 1, "0:1 40:2", "80:3")
    other_rows = [(now // DAY_MS, "Mail", "pro", "", 4, 0, "40:4", "81:4"), (now // DAY_MS - 1, *of_acme[1:])]
    async with history.database.writing() as connection:
        for old in ("roundsman_jobs", "roundsman_job_sums", VERSION_TABLE):
            await connection.execute(sa.text(f"DROP TABLE {old}"))
        await connection.run_sync(upgrade, "0001")
        rows = [dict(zip(names, one, strict=True)) for one in (of_acme, *other_rows)]
        columns = ", ".join(names)
        values = ", ".join(f":{name}" for name in names)
        counted = f"INSERT INTO roundsman_job_days ({columns}, cancelled, expired) VALUES ({values}, 0, 0)"  # noqa: S608 - constants
        await connection.execute(sa.text(counted), rows)
    await history.database.open()
    await history.write(row("j", ended_ms=now, task="Mail", queue="pro", team_id="acme"))
    stats, of_team = await history.search.stats(2), await history.search.stats(1, team_id="acme")
    assert (stats.all.total, dict(stats.all.counts)) == (
        11,
        {"succeeded": 9, "failed": 2, "cancelled": 0, "expired": 0},
    )
    assert {name: tally.total for name, tally in stats.queues.items()} == {"": 6, "pro": 5}
    assert {name: tally.total for name, tally in stats.teams.items()} == {"acme": 7, "": 4}
    assert (of_team.all.total, sum(of_team.all.waiting.counts.values()), of_team.all.running.counts[80]) == (4, 4, 3)


def check(tally: Any, rows: list[dict[str, Any]]) -> None:
    counts = {status: sum(one["status"] == status for one in rows) for status in tally.counts}
    assert dict(tally.counts) == counts
    for name, sketch in (("waiting_ms", tally.waiting), ("running_ms", tally.running)):
        values = sorted(one[name] for one in rows)
        for share in (0.5, 0.95, 0.99):
            exact = values[math.ceil(share * len(values)) - 1]
            assert sketch.quantile(share) == pytest.approx(exact, rel=0.0201, abs=0.5)


async def test_the_oldest_are_taken_out_by_age_and_by_number(history: HistoryUnderTest) -> None:
    await history.write(*(row(f"j{number}", ended_ms=START_MS + number // 2) for number in range(10)))
    assert await history.writer.remove_ended_before(START_MS + 1, at_most=1) == 1
    assert await history.writer.remove_ended_before(START_MS + 1, at_most=100) == 1
    assert await history.writer.remove_beyond(3, at_most=2) == 2
    assert await history.writer.remove_beyond(3, at_most=100) == 3
    assert await history.writer.remove_beyond(3, at_most=100) == 0
    assert await history.ids() == ["j9", "j8", "j7"]


async def test_days_that_are_too_old_are_forgotten(history: HistoryUnderTest) -> None:
    now = now_ms()
    await history.write(row("new", ended_ms=now), row("old", ended_ms=now - 2 * DAY_MS))
    assert (await history.search.stats(3)).all.total == 2
    await history.writer.forget_days(now - DAY_MS)
    assert (await history.search.stats(3)).all.total == 1


def now_ms() -> int:
    return int(time.time() * 1000)
