"""The pace of queues and classes as the store counts it, and the estimates that follow."""

import pytest

from cluster import Cluster
from domain.jobs.job import Job
from domain.jobs.pace import expected_end_ms
from domain.runs.outcome import Cancelled, Failed, Released, Retry, Succeeded
from integration.jobs_kit import JobHands

DONE = Succeeded("null")


@pytest.fixture
async def one(cluster: Cluster) -> JobHands:
    return JobHands(cluster.redis)


async def shown(one: JobHands, job_id: str) -> Job:
    run = await one.runs.get(job_id)
    assert run is not None
    return Job(
        id=job_id,
        task=run.name,
        status=run.status,
        queue=run.queue,
        created_at=run.fire_time,
        started_at=run.started_at,
    )


async def paces(one: JobHands) -> dict[str, str]:
    found: dict[str, str] = await one.store.command.hgetall(one.store.key("pace"))  # type: ignore[misc]  # for both clients
    return found


async def test_nothing_is_known_before_a_job_has_ended(one: JobHands) -> None:
    (job_id,) = await one.put(1)
    outlook = await one.jobs.outlook(await shown(one, job_id))
    assert (outlook.ahead, outlook.average_ms, outlook.per_s, outlook.running) == (0, None, None, 0)
    assert await one.jobs.pace_of("free") is None
    assert expected_end_ms(await shown(one, job_id), outlook, None) is None


async def test_what_is_before_a_job_is_what_its_queue_starts_earlier(one: JobHands) -> None:
    first, _, third = await one.put(3)
    await one.put(2, queue="pro")
    (mail,) = await one.put(1, task="Mail")
    (urgent,) = await one.put(1, priority=1)
    ahead = {
        job_id: (await one.jobs.outlook(await shown(one, job_id))).ahead for job_id in (first, third, mail, urgent)
    }
    assert ahead[urgent] == 0
    assert ahead[first] == 1
    assert ahead[third] >= 1
    assert ahead[mail] == 4
    assert len(await one.claim(10)) == 7
    (late,) = await one.put(1)
    outlook = await one.jobs.outlook(await shown(one, late))
    assert (outlook.running, outlook.ahead) == (5, 0)


async def test_only_those_that_succeed_say_how_long_it_takes(one: JobHands) -> None:
    await one.put(5)
    outcomes = [DONE, Failed("broken"), Cancelled("why"), Retry("again", 3600.0), Released(started=True)]
    for claim, outcome in zip(await one.claim(5), outcomes, strict=True):
        assert await one.settle(claim, outcome) == "settled"
    known = await paces(one)
    assert known.keys() == {"job:Import", "queue:free"}
    average, counted = known["job:Import"].split()
    assert (float(average) >= 0, counted) == (True, "1")
    rate, last, first = known["queue:free"].split()
    assert (float(rate), last >= first) == (pytest.approx(4 / 60, rel=0.01), True)


async def test_a_job_that_runs_and_one_that_waits_are_estimated_from_the_others(one: JobHands) -> None:
    await one.put(3)
    for claim in await one.claim(3):
        await one.settle(claim, DONE)
    await one.store.command.hset(one.store.key("pace"), "job:Import", "5000 20")  # type: ignore[misc]  # for both clients
    running, waiting = await one.put(2)
    await one.claim(1)
    for job_id in (running, waiting):
        job = await shown(one, job_id)
        outlook = await one.jobs.outlook(job)
        started = None if job.started_at is None else round(job.started_at.timestamp() * 1000)
        expected = expected_end_ms(job, outlook, started)
        assert expected is not None
        assert 0 <= expected - outlook.now_ms <= 5001
    assert (await one.jobs.outlook(await shown(one, waiting))).running == 1


async def test_a_retry_that_waits_is_expected_after_its_time(one: JobHands) -> None:
    (job_id,) = await one.put(1)
    (claim,) = await one.claim()
    await one.settle(claim, Retry("no luck", 60.0))
    outlook = await one.jobs.outlook(await shown(one, job_id))
    assert outlook.due_ms is not None
    assert 0 < outlook.due_ms - outlook.now_ms <= 60_000


async def test_a_queue_that_drains_has_a_pace(one: JobHands) -> None:
    await one.put(30, queue="pro")
    for claim in await one.claim(30):
        await one.settle(claim, DONE)
    pace = await one.jobs.pace_of("pro")
    assert pace is not None
    assert 1 < pace <= 31
