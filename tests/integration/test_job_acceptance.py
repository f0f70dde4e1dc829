"""Accepting jobs: once a key, refused when a queue is full, later, in time or not at all, and again."""

import asyncio
from datetime import timedelta

import pytest

from application.jobs.store import JobFilter
from cluster import Cluster
from domain.jobs.errors import InvalidJobQuery
from domain.runs.outcome import Failed, Retry, Succeeded
from domain.runs.run import RunStatus
from infrastructure.runs.scripts import Retention
from integration.jobs_kit import JobHands
from support import wait_until

DONE = Succeeded('{"ok":true}')


@pytest.fixture
async def one(cluster: Cluster) -> JobHands:
    return JobHands(cluster.redis)


async def topics(cluster: Cluster, job_id: str) -> list[str]:
    entries = await cluster.redis.command.xrange(cluster.redis.key("ev", "job"))
    return [fields["t"] for _, fields in entries if f'"run_id":"{job_id}"' in fields["d"]]


async def test_the_same_key_and_request_are_the_same_job(one: JobHands) -> None:
    (first,) = await one.enqueue(one.job(key="a:k", digest="d1"))
    (again,) = await one.enqueue(one.job(key="a:k", digest="d1"))
    assert (first.verdict, again.verdict, again.id, again.status) == ("created", "same", first.id, "queued")
    assert again.queued_ms == first.queued_ms
    assert await one.claimed() == [first.id]


async def test_the_same_key_for_something_else_is_a_conflict(one: JobHands) -> None:
    (first,) = await one.enqueue(one.job(key="a:k", digest="d1"))
    (other,) = await one.enqueue(one.job(key="a:k", digest="d2"))
    assert (other.verdict, other.id) == ("conflict", first.id)
    (elsewhere,) = await one.enqueue(one.job(key="b:k", digest="d2"))
    assert elsewhere.verdict == "created"


async def test_fifty_at_once_with_one_key_make_one_job(one: JobHands) -> None:
    answers = await asyncio.gather(*[one.enqueue(one.job(key="a:k", digest="d")) for _ in range(50)])
    assert sorted(answer.verdict for (answer,) in answers) == ["created"] + ["same"] * 49
    assert len({answer.id for (answer,) in answers}) == 1


async def test_twice_in_one_call_is_once(one: JobHands) -> None:
    first, again = await one.enqueue(one.job(key="a:k", digest="d"), one.job(key="a:k", digest="d"))
    assert (first.verdict, again.verdict, again.id) == ("created", "same", first.id)


async def test_a_key_is_forgotten_after_its_time(one: JobHands) -> None:
    await one.enqueue(one.job(key="a:k", digest="d1"))
    left = await one.store.command.pttl(one.store.key("idem", "a:k"))
    assert 86_000_000 < left <= 86_400_000
    await one.store.command.delete(one.store.key("idem", "a:k"))
    (again,) = await one.enqueue(one.job(key="a:k", digest="d2"))
    assert again.verdict == "created"


async def test_an_id_that_is_in_use_is_refused(one: JobHands) -> None:
    await one.enqueue(one.job("mine"))
    (again,) = await one.enqueue(one.job("mine"))
    assert (again.verdict, again.status) == ("taken", "queued")


async def test_a_full_queue_takes_no_more_and_says_how_many_wait(one: JobHands) -> None:
    most = {"free": 3}
    answers = await one.enqueue(*[one.job() for _ in range(5)], most_waiting=most)
    assert [answer.verdict for answer in answers] == ["created"] * 3 + ["full"] * 2
    assert answers[-1].waiting == 3
    (other,) = await one.enqueue(one.job(queue="pro"), most_waiting=most)
    assert other.verdict == "created"
    await one.claimed(1)
    (again,) = await one.enqueue(one.job(), most_waiting=most)
    assert again.verdict == "created"


async def test_a_delayed_job_waits_for_its_time(one: JobHands) -> None:
    now = await one.jobs.now()
    (soon,) = await one.put(1, due_ms=now + 300)
    assert await one.claimed() == []
    assert int(one.next_look) == now + 300

    async def due() -> bool:
        return await one.claimed() == [soon]

    await wait_until(due, "the delayed job to be due")


async def test_what_nobody_started_in_time_expires(cluster: Cluster, one: JobHands) -> None:
    now = await one.jobs.now()
    (late,) = await one.put(1, expires_ms=now - 1)
    (in_time,) = await one.put(1, expires_ms=now + 60_000)
    assert await one.claimed() == [in_time]
    assert await one.status(late) == "expired"
    assert await topics(cluster, late) == ["job.queued", "job.expired"]


async def test_what_was_started_in_time_does_not_expire(one: JobHands) -> None:
    now = await one.jobs.now()
    (job_id,) = await one.put(1, expires_ms=now + 60_000)
    (claim,) = await one.claim()
    await one.settle(claim, Retry("no luck", 0.0))
    await one.store.command.zadd(one.store.key("expiring"), {job_id: 1})
    await one.claim()
    assert await one.status(job_id) == "running"


async def test_what_expires_where_nobody_executes_expires_too(one: JobHands) -> None:
    (late,) = await one.put(1, expires_ms=1)
    await one.sweep()
    assert await one.status(late) == "expired"


async def test_a_job_that_failed_for_good_is_dead_until_a_person_runs_it_again(cluster: Cluster, one: JobHands) -> None:
    (job_id,) = await one.put(1)
    (claim,) = await one.claim()
    await one.settle(claim, Retry("no luck", 0.0))
    (claim,) = await one.claim()
    assert (claim.attempt, claim.retries) == (2, 1)
    await one.settle(claim, Failed("broken"))
    page = await one.jobs.page(JobFilter(status=RunStatus.FAILED), 10, "")
    assert [(run.run_id, run.error) for run in page.items] == [(job_id, "broken")]
    assert await one.publisher.republish([job_id, "nobody"], "again", None) == {job_id: "failed", "nobody": ""}
    assert (await one.jobs.page(JobFilter(status=RunStatus.FAILED), 10, "")).items == []
    (claim,) = await one.claim()
    assert (claim.spec.run_id, claim.attempt, claim.retries) == (job_id, 3, 0)
    await one.settle(claim, DONE)
    assert await one.status(job_id) == "succeeded"
    told = await topics(cluster, job_id)
    assert told[-5:] == ["job.failed", "job.dead", "job.queued", "job.started", "job.succeeded"]


async def test_what_succeeded_or_is_not_over_is_not_run_again(one: JobHands) -> None:
    done, waits = await one.put(2)
    claim = next(claim for claim in await one.claim(1))
    await one.settle(claim, DONE)
    assert await one.publisher.republish([done, waits], "again", None) == {done: "succeeded", waits: "queued"}
    assert await one.status(done) == "succeeded"
    assert await one.claimed() == [waits]


async def test_two_who_run_it_again_at_once_run_it_once(one: JobHands) -> None:
    (job_id,) = await one.put(1)
    await one.runs.cancel([job_id], "why")
    answers = await asyncio.gather(*[one.publisher.republish([job_id], "again", None) for _ in range(2)])
    assert sorted(answer[job_id] for answer in answers) == ["cancelled", "queued"]
    assert await one.claimed() == [job_id]
    assert await one.claimed() == []


async def test_a_cancelled_job_never_ends_as_succeeded(one: JobHands) -> None:
    (job_id,) = await one.put(1)
    (claim,) = await one.claim()
    assert await one.runs.cancel([job_id], "why") == {job_id: "running"}
    assert await one.settle(claim, DONE) == "lost"
    assert await one.status(job_id) == "cancelled"


async def test_dead_jobs_outlive_others_that_are_over(cluster: Cluster) -> None:
    one = JobHands(cluster.redis, kept=Retention(finished_jobs_kept=2, dead_jobs_kept=3))
    dead = await one.put(3)
    for claim in await one.claim(3):
        await one.settle(claim, Failed("broken"))
    done = await one.put(4)
    for claim in await one.claim(4):
        await one.settle(claim, DONE)
    assert [await one.status(job_id) for job_id in dead] == ["failed"] * 3
    assert [await one.status(job_id) for job_id in done] == ["", "", "succeeded", "succeeded"]
    (one_more,) = await one.put(1)
    (claim,) = await one.claim(1)
    await one.settle(claim, Failed("broken"))
    assert [await one.status(job_id) for job_id in (*dead, one_more)] == ["", "failed", "failed", "failed"]


async def test_what_the_history_has_not_yet_is_kept_up_to_a_bound_and_what_is_dropped_is_counted(
    cluster: Cluster,
) -> None:
    one = JobHands(cluster.redis, kept=Retention(finished_jobs_kept=1, exported_at_most=3))
    ids = await one.put(5)
    for claim in await one.claim(5):
        await one.settle(claim, DONE)
    assert [await one.status(job_id) for job_id in ids] == ["", "", "succeeded", "succeeded", "succeeded"]
    assert await one.store.command.hget(one.store.key("meta"), "export_dropped") == "2"
    ended = await one.store.command.zrange(one.store.key("export"), 0, -1, withscores=True)
    first, score = ended[0]
    assert await one.exported(first, int(score) + 1) == 0
    assert await one.exported(first, int(score)) == 1
    assert await one.status(first) == ""
    assert await one.status(ids[-1]) == "succeeded"


async def test_what_waits_for_a_history_that_was_turned_off_is_let_go_and_counted(cluster: Cluster) -> None:
    before = JobHands(cluster.redis, kept=Retention(finished_jobs_kept=1, exported_at_most=100))
    after = JobHands(cluster.redis, kept=Retention(finished_jobs_kept=1))
    ids = await before.put(5)
    claims = await before.claim(5)
    for claim in claims[:4]:
        await before.settle(claim, DONE)
    assert await before.store.command.zcard(before.store.key("export")) == 4
    await after.settle(claims[4], DONE)
    assert await before.store.command.exists(before.store.key("export")) == 0
    assert [await after.status(job_id) for job_id in ids] == [""] * 4 + ["succeeded"]
    assert await before.store.command.hget(before.store.key("meta"), "export_dropped") == "4"


async def test_jobs_are_listed_newest_first_page_by_page(one: JobHands) -> None:
    ids = await one.put(5)
    (claim,) = await one.claim(1)
    await one.settle(claim, DONE)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await one.jobs.page(JobFilter(), 2, cursor)
        seen += [run.run_id for run in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == [*ids[:0:-1], ids[0]]
    mails = await one.put(2, task="Mail", team_id="t")
    assert {run.run_id for run in (await one.jobs.page(JobFilter(task="Mail"), 10, "")).items} == set(mails)
    assert (await one.jobs.page(JobFilter(task="ail"), 10, "")).items == []
    assert len((await one.jobs.page(JobFilter(team_id="t", queue="free"), 1, "")).items) == 1
    assert (await one.jobs.page(JobFilter(team_id="nobody"), 10, "")).items == []


WORDS = ("acme", "a/b", 'a"b', "a\\b", "ü", "a b", "acm", "a\u2028b", "queued", "1", "a'b<&>")


@pytest.mark.parametrize("field", ["user_id", "team_id", "correlation_id"])
async def test_every_word_finds_its_jobs_and_no_others(one: JobHands, field: str) -> None:
    made = {word: (await one.put(1, **{field: word}))[0] for word in WORDS}
    for word, job_id in made.items():
        page = await one.jobs.page(JobFilter(**{field: word}), 10, "")
        assert [run.run_id for run in page.items] == [job_id]


async def test_what_came_before_a_time_is_not_listed(one: JobHands) -> None:
    (early,) = await one.put(1)
    came = (await one.runs.find([early]))[0].queued_at
    assert came is not None
    for since, expected in ((came, [early]), (came + timedelta(milliseconds=1), [])):
        page = await one.jobs.page(JobFilter(since=since), 10, "")
        assert [run.run_id for run in page.items] == expected


async def test_jobs_that_execute_are_listed_newest_first_page_by_page(one: JobHands) -> None:
    ids = [*(await one.put(3)), *(await one.put(2, task="Mail", queue="pro"))]
    spec = one.job().pattern.spec.model_copy(update={"run_id": "no-queue", "job_id": "no-queue", "queue": None})
    await one.runs.submit(spec, "{}")
    assert set(await one.claimed(6)) == {*ids, "no-queue"}
    await one.put(2)
    running = JobFilter(status=RunStatus.RUNNING)
    seen, cursor = [], ""
    while True:
        page = await one.jobs.page(running, 2, cursor)
        seen += [run.run_id for run in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert seen == ["no-queue", *reversed(ids)]
    found = await one.jobs.page(JobFilter(status=RunStatus.RUNNING, task="Mail"), 10, "")
    assert [run.run_id for run in found.items] == ids[:2:-1]
    with pytest.raises(InvalidJobQuery, match="'nobody', which moved on"):
        await one.jobs.page(running, 2, "0:nobody")
