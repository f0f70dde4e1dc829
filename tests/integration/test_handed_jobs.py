"""An idle instance offers slots, and a job that is submitted alone is handed to it in the same step."""

import asyncio
import dataclasses
import json
import logging
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.jobs.publishing import Accepted
from application.runs.context import JobContext
from application.scheduling import JobLimits, ScheduledBackgroundJob, backgroundjob
from cluster import Cluster, Instance
from domain.jobs.queue import QueueRules, Queues
from domain.jobs.request import JobRequest
from infrastructure.redis.connection import RedisStore
from infrastructure.scheduling.claiming import MOST_OFFERED
from sample_jobs import Note, Once
from support import wait_until

LEASE_MS = 300_000
"""So long that what waits for its end does not run in these tests."""
FAR = 10**15
QUEUES = Queues({"free": QueueRules(), "tight": QueueRules(max_running=3), "rated": QueueRules(rate_per_s=1000)})


@backgroundjob(task_type="scheduled", limits=JobLimits(one_per=("customer",)))
class Keyed(ScheduledBackgroundJob):
    """One a customer at a time."""

    customer: int

    async def run_at(self, ctx: JobContext) -> None:
        """Do nothing."""


@backgroundjob(task_type="scheduled", limits=JobLimits(max_running=2))
class Limited(ScheduledBackgroundJob):
    """Two at a time."""

    async def run_at(self, ctx: JobContext) -> None:
        """Do nothing."""


@backgroundjob(task_type="scheduled")
class Unknown(ScheduledBackgroundJob):
    """Executed by nobody here."""

    async def run_at(self, ctx: JobContext) -> None:
        """Do nothing."""


WORKED = (Note, Once, Keyed, Limited)


@pytest.fixture
async def api(cluster: Cluster) -> Instance:
    return await cluster.start(executes=False, jobs=(*WORKED, Unknown), queues=QUEUES)


@pytest.fixture
async def idle(cluster: Cluster) -> Instance:
    """An instance that offers slots for long, makes no more passes, and claims nothing on its loop."""
    one = await cluster.start(jobs=WORKED, queues=QUEUES, lease_ms=LEASE_MS)
    await offers_alone(one)
    return one


async def offers_alone(one: Instance, slots: int = 5) -> None:
    await offers(one)
    await one.end_passes()
    one.engine._at_once.begin = lambda: True  # type: ignore[method-assign]
    await one.store.command.hset(one.store.key("offered"), one.id, slots)
    await one.store.command.zadd(one.store.key("offers"), {one.id: FAR})


async def offers(one: Instance) -> None:
    """Return when an instance has told the store of its slots, and listens."""

    async def is_offering() -> bool:
        return await one.store.command.zscore(one.store.key("offers"), one.id) is not None

    await wait_until(is_offering, "an offer")


def asked(task: str = "Once", queue: str = "free", **more: Any) -> JobRequest:
    return JobRequest(task=task, queue=queue, **more)


async def topics(cluster: Cluster, job_id: str) -> list[tuple[str, str | None]]:
    return [
        (event["topic"], event.get("instance_id")) for event in await cluster.events("job") if event["job_id"] == job_id
    ]


async def status(one: Instance, job_id: str) -> tuple[str, int]:
    job = await one.jobs.get(job_id)
    return job.status.value, job.attempt


async def succeeds(api: Instance, job_id: str) -> None:
    async def is_over() -> bool:
        return (await status(api, job_id))[0] == "succeeded"

    await wait_until(is_over, f"{job_id} to succeed")


async def test_a_job_begins_without_a_claim(api: Instance, idle: Instance, cluster: Cluster) -> None:
    job = (await api.jobs.submit(asked(params={"label": "x"}, correlation_id="c1"))).job
    await succeeds(api, job.id)
    told = await topics(cluster, job.id)
    assert [topic for topic, _ in told if topic != "job.progress"] == ["job.queued", "job.started", "job.succeeded"]
    assert [who for topic, who in told if topic == "job.started"] == [idle.id]
    assert [(entry.attempt, entry.label) for entry in cluster.ledger.of(job.id)] == [(1, "x")]
    assert (await api.jobs.get(job.id)).correlation_id == "c1"
    assert not idle.engine._claiming.turn.locked()


async def test_what_was_handed_over_is_leased_and_renewed(api: Instance, idle: Instance) -> None:
    job = (await api.jobs.submit(asked(params={"hold": True}))).job
    lease = idle.store.key("leases", "Once@1#free")

    async def ends() -> float:
        return float(await idle.store.command.zscore(lease, job.id) or 0)

    first = await ends()
    assert first - time.time() * 1000 > LEASE_MS / 2
    assert await status(api, job.id) == ("running", 1)
    await wait_until(lambda: idle.engine.runner.held, "the run to be held")
    assert list(idle.engine.runner.held) == [job.id]


async def test_what_is_cancelled_before_it_begins_does_not_begin(
    api: Instance, idle: Instance, cluster: Cluster
) -> None:
    claiming, handed = idle.engine._claiming, idle.engine._handed
    assert claiming.turn.acquire(timeout=30)
    job = (await api.jobs.submit(asked())).job
    await wait_until(lambda: handed._waiting, "the job to be heard of")
    await api.jobs.cancel(job.id)
    await wait_until(lambda: not handed._waiting, "its cancellation to be heard of")
    claiming.release()
    await succeeds(api, (await api.jobs.submit(asked())).job.id)
    assert not cluster.ledger.of(job.id)
    assert (await status(api, job.id))[0] == "cancelled"


async def test_each_offered_slot_is_taken_once(api: Instance, idle: Instance) -> None:
    await idle.store.command.hset(idle.store.key("offered"), idle.id, 2)
    jobs = [(await api.jobs.submit(asked(params={"hold": True}))).job for _ in range(3)]
    assert [(await status(api, job.id))[0] for job in jobs] == ["running", "running", "queued"]
    assert await idle.store.command.zscore(idle.store.key("offers"), idle.id) is None


@pytest.mark.parametrize(
    "request_",
    [
        asked("Unknown"),
        asked("Limited"),
        asked("Keyed", params={"customer": 1}),
        asked(queue="tight"),
        asked(queue="rated"),
        asked(params={"label": "x" * 20_000}),
        asked(scheduled_at=datetime.now(UTC) + timedelta(hours=1)),
    ],
    ids=["unknown", "job's limit", "key's limit", "queue's limit", "queue's rate", "large", "later"],
)
async def test_what_is_not_for_anybody_at_any_time_waits_to_be_claimed(
    api: Instance, idle: Instance, request_: JobRequest
) -> None:
    job = (await api.jobs.submit(request_)).job
    assert await status(api, job.id) == ("queued", 0)
    assert await idle.store.command.hget(idle.store.key("offered"), idle.id) == "5"


async def test_many_at_once_wait_to_be_claimed(api: Instance, idle: Instance) -> None:
    answers = await api.jobs.submit_many([asked(), asked()])
    assert [(await status(api, answer.id))[0] for answer in answers] == ["queued", "queued"]  # type: ignore[union-attr]


async def test_an_offer_that_has_ended_is_none(api: Instance, idle: Instance) -> None:
    await idle.store.command.zadd(idle.store.key("offers"), {idle.id: time.time() * 1000 - 1})
    job = (await api.jobs.submit(asked())).job
    assert await status(api, job.id) == ("queued", 0)


async def test_who_does_not_listen_is_passed_over(api: Instance, idle: Instance) -> None:
    command, key = idle.store.command, idle.store.key
    await command.hset(key("takes"), "ghost", await command.hget(key("takes"), idle.id))
    await command.hset(key("offered"), "ghost", 5)
    await command.zadd(key("offers"), {"ghost": FAR - 1})
    job = (await api.jobs.submit(asked())).job
    await succeeds(api, job.id)
    assert await command.zscore(key("offers"), "ghost") is None


async def test_while_somebody_has_the_turn_it_waits(api: Instance, idle: Instance, cluster: Cluster) -> None:
    claiming, handed = idle.engine._claiming, idle.engine._handed
    assert claiming.turn.acquire(timeout=30)
    job = (await api.jobs.submit(asked())).job
    await wait_until(lambda: handed._waiting, "the job to be heard of")
    assert not idle.engine.runner.held
    await asyncio.to_thread(claiming.release)
    await succeeds(api, job.id)
    assert len(cluster.ledger.of(job.id)) == 1


@pytest.mark.parametrize("why", ["it stops", "no slot"])
async def test_who_has_no_slot_any_more_gives_it_back(
    api: Instance, idle: Instance, cluster: Cluster, why: str
) -> None:
    if why == "it stops":
        idle.engine.refuse_work()
    else:
        idle.engine.runner.concurrency = 0
    other = await cluster.start(jobs=WORKED, queues=QUEUES)
    job = (await api.jobs.submit(asked())).job
    await succeeds(api, job.id)
    assert [entry.attempt for entry in cluster.ledger.of(job.id)] == [1], "who never began it used up no attempt"
    assert [who for topic, who in await topics(cluster, job.id) if topic == "job.succeeded"] == [other.id]


@pytest.mark.parametrize("why", ["late", "given back"])
async def test_what_may_be_another_s_by_now_is_not_begun(
    api: Instance, idle: Instance, cluster: Cluster, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    claiming = idle.engine._claiming
    if why == "late":
        claiming.clock.ahead_ms = (claiming.clock.ahead_ms or 0) + LEASE_MS // 2 + 1
    else:
        claiming.given_back_until = round(time.time() * 1000) + 60_000
    with caplog.at_level(logging.INFO, "infrastructure.scheduling.handed"):
        job = (await api.jobs.submit(asked())).job
        await wait_until(lambda: "is left to others" in caplog.text)
    assert job.id in caplog.text
    assert not idle.engine.runner.held
    assert not cluster.ledger.entries


async def test_what_a_lost_connection_kept_from_us_is_given_back(api: Instance, cluster: Cluster) -> None:
    """Its lease is long: only who gives it back can have it run soon. Heard after all, it is not begun twice."""
    one = await cluster.start(jobs=WORKED, queues=QUEUES, lease_ms=LEASE_MS)
    await offers(one)
    handed, claiming = one.engine._handed, one.engine._claiming
    accept, handed._accept = handed._accept, lambda: None  # type: ignore[method-assign]
    claiming.heard = list
    job = (await submitted_to(api, one)).id
    await wait_until(lambda: handed._waiting, "the message, which is not looked at")
    await one.store.command.client_kill_filter(_type="pubsub")
    await succeeds(api, job)
    handed._accept = accept  # type: ignore[method-assign]
    assert claiming.turn.acquire(timeout=30)
    claiming.release()
    await wait_until(lambda: not handed._waiting, "what was heard late to be looked at")
    assert len(cluster.ledger.of(job)) == 1
    told = [topic for topic, _ in await topics(cluster, job) if topic != "job.progress"]
    assert told == ["job.queued", "job.started", "job.queued", "job.started", "job.succeeded"]


async def submitted_to(api: Instance, one: Instance) -> Any:
    """Submit jobs until one is handed over: offers last for a second, which a busy machine may take for itself."""

    async def handed_over() -> Any:
        job = (await api.jobs.submit(asked())).job
        return job if (await status(api, job.id))[0] == "running" and job.id not in one.engine.runner.held else None

    return await wait_until(handed_over, "a job to be handed over")


async def test_a_stop_gives_back_what_it_has_not_heard(api: Instance, idle: Instance, cluster: Cluster) -> None:
    wake = idle.engine._wake
    wake._hearing = dataclasses.replace(wake._hearing, handed=lambda _: None)
    job = (await api.jobs.submit(asked())).job
    assert await status(api, job.id) == ("running", 1)
    await idle.stop()
    assert (await status(api, job.id))[0] == "queued"
    await cluster.start(jobs=WORKED, queues=QUEUES)
    await succeeds(api, job.id)


async def test_a_stop_refuses_what_still_waits(api: Instance, idle: Instance) -> None:
    claiming, handed = idle.engine._claiming, idle.engine._handed
    assert claiming.turn.acquire(timeout=30)
    job = (await api.jobs.submit(asked())).job
    await wait_until(lambda: handed._waiting, "the job to be heard of")
    idle.engine.refuse_work()
    claiming.turn.release()
    await idle.stop()
    assert await status(api, job.id) == ("queued", 0)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "[Infinity]", '[1,"","x","l",1,0,"t"]', '["x","\\"a\\":1","{}","l",1,0,"t"]', "5"]
)
async def test_what_cannot_be_read_is_told_and_harms_nothing(
    api: Instance, idle: Instance, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    await idle.store.command.publish(idle.store.key("hand", idle.id), text)
    await wait_until(lambda: "is left to others: it cannot be read" in caplog.text)
    await succeeds(api, (await api.jobs.submit(asked())).job.id)


async def test_what_a_newer_version_adds_is_ignored(api: Instance, idle: Instance, cluster: Cluster) -> None:
    hear, wake = idle.engine._handed.hear, idle.engine._wake
    more = dataclasses.replace(wake._hearing, handed=lambda text: hear(json.dumps([*json.loads(text), "more"])))
    wake._hearing = more
    job = (await api.jobs.submit(asked())).job
    await succeeds(api, job.id)
    assert len(cluster.ledger.of(job.id)) == 1


async def test_after_the_store_s_clock_was_put_back_jobs_begin(api: Instance, idle: Instance) -> None:
    idle.engine._claiming.given_back_until = round(time.time() * 1000) + 2 * LEASE_MS
    await succeeds(api, (await api.jobs.submit(asked())).job.id)


async def test_who_has_no_slot_to_spare_or_hears_nothing_offers_nothing(api: Instance, cluster: Cluster) -> None:
    one = await cluster.start(jobs=WORKED, queues=QUEUES, concurrency=2)
    await offers(one)
    claiming = one.engine._claiming
    assert claiming.words(50)[5] == MOST_OFFERED
    assert claiming.words(5)[5] == 2
    assert claiming.words(1)[5] == 0, "the only slot is the tick's"
    claiming.listens = False
    assert claiming.words(50)[5:7] == [0, ""]
    claiming.listens = True
    job = (await api.jobs.submit(asked(params={"hold": True}))).job
    await wait_until(lambda: one.engine.runner.held)

    async def is_withdrawn() -> bool:
        return await one.store.command.zscore(one.store.key("offers"), one.id) is None

    await wait_until(is_withdrawn, "the next claim to withdraw the offer")
    cluster.ledger.gate("plain").set()
    await succeeds(api, job.id)
    await offers(one)


async def test_a_pass_begins_what_waits_for_the_turn(api: Instance, idle: Instance, cluster: Cluster) -> None:
    claiming, handed = idle.engine._claiming, idle.engine._handed
    accept, handed._accept = handed._accept, lambda: None  # type: ignore[method-assign]
    job = (await api.jobs.submit(asked())).job
    await wait_until(lambda: handed._waiting, "the job to be heard of")
    await asyncio.to_thread(idle.engine._tick)
    handed._accept = accept  # type: ignore[method-assign]
    await succeeds(api, job.id)
    assert len(cluster.ledger.of(job.id)) == 1
    assert claiming.given_back_until == 0


async def test_slots_that_a_claim_takes_are_not_offered(api: Instance, cluster: Cluster) -> None:
    one = await cluster.start(jobs=WORKED, queues=QUEUES, concurrency=4)
    await offers(one)
    jobs = await api.jobs.submit_many([asked(params={"hold": True})] * 6)
    await wait_until(lambda: len(one.engine.runner.held) == 4, "all slots to be used")
    assert await one.store.command.zcard(one.store.key("offers")) == 0
    cluster.ledger.gate("plain").set()
    for job in jobs:
        assert isinstance(job, Accepted)
        await succeeds(api, job.id)


async def test_who_leaves_offers_nothing(idle: Instance, redis_url: str, namespace: str) -> None:
    await idle.stop()
    store = RedisStore(redis_url, namespace)
    found = [await store.command.hget(store.key(name), idle.id) for name in ("offered", "takes")]
    found.append(await store.command.zscore(store.key("offers"), idle.id))
    await store.close()
    assert found == [None, None, None]


async def test_however_many_come_one_by_one_each_runs_once_and_no_slot_twice(api: Instance, cluster: Cluster) -> None:
    workers = [await cluster.start(jobs=WORKED, queues=QUEUES, concurrency=4, lease_ms=LEASE_MS) for _ in range(2)]
    most = Counter[str]()

    def watch(one: Instance) -> None:
        began = one.engine.runner._begin

        def begin(claim: Any) -> None:
            began(claim)
            most[one.id] = max(most[one.id], len(one.engine.runner._executing))

        one.engine.runner._begin = begin  # type: ignore[method-assign]

    for one in workers:
        watch(one)
        await offers(one)
    ids: list[str] = []

    async def submit_some() -> None:
        for _ in range(40):
            ids.append((await api.jobs.submit(asked())).job.id)

    await asyncio.gather(*(submit_some() for _ in range(5)))
    for job_id in ids:
        await succeeds(api, job_id)
    assert Counter(entry.run_id for entry in cluster.ledger.entries) == Counter(ids)
    assert all(0 < count <= 4 for count in most.values()), most
