"""Jobs that are over get into the history, whatever dies in between; on real stores and databases."""

import asyncio
import json
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from application.jobs.history import FROM_THE_START
from application.jobs.service import JobService
from application.jobs.store import JobFilter
from application.runs.registry import JobRegistry
from domain.errors import StoreUnavailable
from domain.jobs.errors import HistoryUnavailable, JobIsOver, JobIsPast, JobNotFound, NoResultYet
from domain.runs.outcome import Failed, Outcome, Succeeded
from domain.runs.run import RunStatus
from infrastructure.jobs.history.address import read_address
from infrastructure.jobs.history.connection import HistoryConnection
from infrastructure.jobs.history.exports import ExportSet
from infrastructure.jobs.history.keeper import HistoryKeeper
from infrastructure.jobs.history.part import HistoryPart
from infrastructure.jobs.history.settings import HistorySettings
from infrastructure.redis.connection import RedisStore
from infrastructure.runs.scripts import Retention
from integration.jobs_kit import JobHands
from postgres_server import PostgresServer
from support import wait_until

KEPT = Retention(exported_at_most=1_000)
Make = Callable[..., HistoryPart]


@pytest.fixture
async def make(store: RedisStore) -> AsyncIterator[Make]:
    """Make histories of instances on one store, which poll often; they are stopped at the end."""
    parts: list[HistoryPart] = []

    def part(url: str, name: str = "one", kept: Retention = KEPT, **settings: Any) -> HistoryPart:
        connection = HistoryConnection(read_address(url, Path("unused")))
        exports = ExportSet(store, name, kept, with_params=settings.get("params", False))
        keeper = HistoryKeeper(connection, exports, HistorySettings(**settings), poll_s=0.02, lease_s=1.0)
        parts.append(HistoryPart(connection, keeper, exports))
        return parts[-1]

    yield part
    for one in parts:
        await one.keeper.stop()
        await one.connection.stop()


async def start(part: HistoryPart) -> None:
    await part.connection.start()
    await part.keeper.start()


async def settled(part: HistoryPart, jobs: int = 0) -> None:
    await wait_until(lambda: waits(part, jobs), f"{jobs} jobs to wait for the history")


async def waits(part: HistoryPart, jobs: int) -> bool:
    return (await part.exports.backlog()).jobs == jobs


async def end(hands: JobHands, *ids: str, outcome: Outcome | None = None) -> None:
    """Let these jobs run, and end so."""
    for claim in await hands.claim(limit=len(ids)):
        if claim.spec.run_id in ids:
            await hands.settle(claim, outcome or Succeeded('{"rows":3}'))


def service(hands: JobHands, part: HistoryPart) -> JobService:
    return JobService(JobRegistry([]), hands.publisher, hands.jobs, hands.runs, history=part.connection)


async def forget(hands: JobHands) -> None:
    """Let the store forget all jobs that are over, as time does."""
    redis, key = hands.store.command, hands.store.key
    for job_id in await redis.zrange(key("done"), 0, -1):
        await redis.hdel(key("runs"), job_id)
        await redis.hdel(key("payloads"), job_id)
    await redis.delete(key("done"), key("dead"))


async def test_a_job_that_is_over_is_in_the_history_as_it_was(store: RedisStore, history_url: str, make: Make) -> None:
    hands, part = JobHands(store, kept=KEPT), make(history_url, params=True)
    await start(part)
    job = hands.job("j1", priority=7, user_id="u", team_id="t", correlation_id="c")
    await hands.enqueue(job)
    await end(hands, "j1", outcome=Succeeded(json.dumps({"text": "a\0b ü", "list": []})))
    in_store = await service(hands, part).get("j1")
    await settled(part)
    assert await part.connection.get("j1") == in_store.model_copy(update={"result": {"text": "a\0b ü", "list": []}})
    assert in_store.instance_id == "one"
    await forget(hands)
    jobs = service(hands, part)
    assert await jobs.get("j1") == in_store
    assert await jobs.result("j1") == {"text": "a\0b ü", "list": []}
    assert await jobs.params("j1") == {"customer": 1}
    with pytest.raises(JobIsOver):
        await jobs.cancel("j1")
    with pytest.raises(JobIsPast):
        await jobs.retry("j1")
    with pytest.raises(JobNotFound):
        await jobs.get("j2")


async def test_what_dies_between_the_database_and_the_store_is_made_up_for(
    store: RedisStore, history_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands, part = JobHands(store, kept=KEPT), make(history_url)
    await end(hands, *await hands.put(10))
    await part.connection.start()

    async def die(*_: Any) -> int:
        raise StoreUnavailable(why="the process died")

    with monkeypatch.context() as patch:
        patch.setattr(part.exports, "exported", die)
        with pytest.raises(StoreUnavailable):
            await part.keeper.export()
    assert (await part.connection.stats(1)).all.total == 10
    other = make(history_url, "two")
    await start(other)
    await settled(other)
    assert (await other.connection.stats(1)).all.total == 10
    assert len((await other.connection.search(JobFilter(), 100)).items) == 10


async def test_a_job_that_is_run_again_is_exported_as_it_ends_anew(
    store: RedisStore, history_url: str, make: Make
) -> None:
    hands, part = JobHands(store, kept=KEPT), make(history_url)
    (job_id,) = await hands.put(1)
    await end(hands, job_id, outcome=Failed("no"))
    await part.connection.start()
    (waiting,) = await part.exports.first(10)
    assert await hands.publisher.republish([job_id], "again", None) == {job_id: "failed"}
    assert await part.exports.exported([waiting]) == 0
    await part.keeper.export()
    assert await part.connection.get(job_id) is None, "it was not over when it was looked at"
    await end(hands, job_id, outcome=Failed("still no"))
    await part.keeper.export()
    first = await part.connection.get(job_id)
    await hands.publisher.republish([job_id], "again", None)
    await end(hands, job_id)
    await part.keeper.export()
    last = await part.connection.get(job_id)
    assert first is not None
    assert last is not None
    assert (first.status, first.error, first.attempt) == ("failed", "still no", 2)
    assert (last.status, last.error, last.attempt) == ("succeeded", None, 3)
    assert dict((await part.connection.stats(1)).all.counts)["failed"] == 0


async def test_more_than_the_buffer_holds_is_dropped_counted_and_told(
    store: RedisStore, history_url: str, make: Make
) -> None:
    kept = Retention(exported_at_most=5, finished_jobs_kept=2)
    hands, part = JobHands(store, kept=kept), make(history_url, kept=kept)
    assert (await part.standing()).troubles == []
    ids = await hands.put(12)
    await end(hands, *ids)
    found = await part.exports.backlog()
    assert (found.jobs, found.dropped) == (5, 7)
    assert await store.command.hlen(store.key("runs")) == 5
    assert "7 jobs, ever, are not in the history" in (await part.standing()).troubles[0]
    await start(part)
    await settled(part)
    assert {job.id for job in (await part.connection.search(JobFilter(), 100)).items} == set(ids[-5:])
    assert await store.command.hlen(store.key("runs")) == 2


async def test_a_database_that_cannot_be_opened_delays_the_history_alone(
    store: RedisStore, tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "infrastructure.jobs.history")
    (tmp_path / "file").mkdir()
    hands, part = JobHands(store, kept=KEPT), make(f"sqlite:///{tmp_path / 'file'}")
    await start(part)
    await end(hands, *await hands.put(3))
    await wait_until(lambda: part.connection.trouble and part.keeper.counters.failures > 1, "trouble")
    assert "jobs that are over do not get into the history: " in (await part.standing()).troubles[0]
    with pytest.raises(HistoryUnavailable):
        await part.connection.get("x")
    (tmp_path / "file").rmdir()
    await settled(part)
    assert (await part.connection.stats(1)).all.total == 3
    await wait_until(lambda: not part.keeper.trouble, "the trouble to be over")
    assert (await part.standing()).troubles == []
    told = [record.getMessage().split(":")[0].split(" (")[0] for record in caplog.records]
    assert sorted(told) == sorted(
        [
            "the history cannot be opened",
            "the history takes no jobs",
            "the history is open",
            "the history takes jobs again",
        ]
    )


async def test_a_postgresql_that_stops_and_freezes_delays_the_history_alone(
    store: RedisStore, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.jobs.history.database.STATEMENT_TIMEOUT_S", 0.5)
    server = PostgresServer().start()
    try:
        hands, part = JobHands(store, kept=KEPT), make(server.new_database())
        await start(part)
        await end(hands, *await hands.put(3))
        await settled(part)
        server.stop()
        await end(hands, *await hands.put(3))
        await wait_until(lambda: part.keeper.trouble, "trouble with a server that is away")
        jobs = service(hands, part)
        with pytest.raises(HistoryUnavailable):
            await jobs.get("j-unknown")
        page = await jobs.list(JobFilter())
        assert (len(page.items), page.next_cursor is not None) == (6, True)
        server.start()
        await settled(part)
        await wait_until(lambda: not part.keeper.trouble, "the trouble to be over")
        with server.frozen():
            await end(hands, *await hands.put(2))
            await wait_until(lambda: part.keeper.trouble, "trouble with a server that is frozen")
        await settled(part)
        assert (await part.connection.stats(1)).all.total == 8
    finally:
        server.remove()


async def test_a_database_that_lost_its_tables_gets_them_again(store: RedisStore, tmp_path: Path, make: Make) -> None:
    file = tmp_path / "h.sqlite3"
    hands, part = JobHands(store, kept=KEPT), make(f"sqlite:///{file}")
    await start(part)
    await end(hands, *await hands.put(1))
    await settled(part)
    with sqlite3.connect(file) as connection:
        for name in ("roundsman_jobs", "roundsman_job_sums", "roundsman_history_version"):
            connection.execute(f"DROP TABLE {name}")
    connection.close()
    await end(hands, *await hands.put(2))
    await settled(part)
    assert (await part.connection.stats(1)).all.total == 2


async def test_one_instance_exports_at_a_time_and_another_goes_on(
    store: RedisStore, history_url: str, make: Make
) -> None:
    hands, one, two = JobHands(store, kept=KEPT), make(history_url), make(history_url, "two")
    await start(one)
    await end(hands, *await hands.put(3))
    await settled(one)
    await start(two)
    await end(hands, *await hands.put(3))
    await settled(one)
    assert (one.keeper.counters.exported, two.keeper.counters.exported) == (6, 0)
    await one.keeper.stop()
    await end(hands, *await hands.put(2))
    await settled(two)
    assert two.keeper.counters.exported == 2


async def test_what_cannot_be_read_is_named_and_holds_up_no_other(
    store: RedisStore, history_url: str, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    hands, part = JobHands(store, kept=KEPT), make(history_url)
    ids = await hands.put(3)
    await end(hands, *ids)
    text = await store.command.hget(store.key("runs"), ids[1])
    await store.command.hset(store.key("runs"), ids[1], str(text).replace('"ended"', '"endet"'))
    await store.command.hset(store.key("runs"), ids[2], "nonsense")
    await start(part)
    await settled(part)
    assert [job.id for job in (await part.connection.search(JobFilter(), 9)).items] == [ids[0]]
    assert all(f"cannot have the job {job_id}" in caplog.text for job_id in ids[1:])
    assert "2 jobs could not be written" in (await part.standing()).troubles[0]


async def test_large_results_are_read_some_at_a_time(
    store: RedisStore, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.jobs.history.exports.LARGE_BYTES", 100_000)
    hands, part = JobHands(store, kept=KEPT), make(f"sqlite:///{tmp_path / 'h'}")
    await end(hands, *await hands.put(20), outcome=Succeeded(json.dumps("x" * 20_000)))
    assert len(await part.exports.first(20)) == 20
    assert len(await part.exports.first(20)) in (4, 5)
    await start(part)
    await settled(part)
    assert (await part.connection.stats(1)).all.total == 20


async def test_old_jobs_are_taken_out_of_the_history(
    store: RedisStore, history_url: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.jobs.history.keeper.REMOVED_AT_ONCE", 7)
    monkeypatch.setattr("infrastructure.jobs.history.keeper.TIDY_EVERY_S", 0.05)
    hands, part = JobHands(store, kept=KEPT), make(history_url, jobs_kept=100)
    for _ in range(2):
        await end(hands, *await hands.put(70))
    await start(part)
    await wait_until(lambda: part.keeper.counters.removed == 40, "40 jobs to be removed")
    assert len((await part.connection.search(JobFilter(), 1_000)).items) == 100
    assert (await part.connection.stats(1)).all.total == 140


async def test_a_history_that_stops_leaves_no_thread_and_no_connection(
    store: RedisStore, history_url: str, postgres: PostgresServer, make: Make
) -> None:
    before = set(threading.enumerate())
    hands, part = JobHands(store, kept=KEPT), make(history_url)
    await start(part)
    await end(hands, *await hands.put(3))
    await settled(part)
    await asyncio.gather(*(part.connection.stats(1) for _ in range(8)))
    await part.keeper.stop()
    await part.connection.stop()
    await part.connection.stop()
    left = [thread for thread in set(threading.enumerate()) - before if "asyncio" not in thread.name]
    await wait_until(lambda: not any(thread.is_alive() for thread in left), f"{left} to end")
    await wait_until(lambda: postgres.connections() == 0, "the connections to end")


async def test_the_list_goes_on_into_the_history_without_a_job_twice(
    store: RedisStore, history_url: str, make: Make
) -> None:
    hands, part = JobHands(store, kept=KEPT), make(history_url)
    await part.connection.start()
    ids = await hands.put(30)
    await end(hands, *ids[:10], outcome=Failed("no"))
    await part.keeper.export()
    await forget(hands)  # these ten are in the history alone
    await end(hands, *ids[10:20], outcome=Failed("no"))
    await part.keeper.export()
    await hands.publisher.republish(ids[12:14], "again", None)  # these are in the history as they were, and queued
    jobs = service(hands, part)
    expected = set(ids[:20])
    for limit in (1, 3, 7, 100):
        found = await listed(jobs, JobFilter(), limit)
        assert sorted(found) == sorted({*ids})
        assert set(found[-18:]) == expected - set(ids[12:14])
        assert sorted(await listed(jobs, JobFilter(status=RunStatus.FAILED), limit)) == sorted(found[-18:])
    assert await listed(jobs, JobFilter(status=RunStatus.SUCCEEDED), 5) == []
    with pytest.raises(NoResultYet):
        await jobs.result(ids[0])


async def listed(jobs: JobService, wanted: JobFilter, limit: int) -> list[str]:
    ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await jobs.list(wanted, limit, cursor)
        ids += [job.id for job in page.items]
        cursor = page.next_cursor
    return ids


async def test_a_job_that_the_store_forgets_while_it_is_listed_is_listed_once(
    store: RedisStore, history_url: str, make: Make
) -> None:
    hands, part = JobHands(store, kept=KEPT), make(history_url)
    await part.connection.start()
    ids = await hands.put(6)
    for job_id in ids:
        await end(hands, job_id)
    await part.keeper.export()
    jobs = service(hands, part)
    first = await jobs.list(JobFilter(), 6)
    assert first.next_cursor is not None
    assert first.next_cursor != FROM_THE_START
    await forget(hands)
    assert (await jobs.list(JobFilter(), 6, first.next_cursor)).items == []
