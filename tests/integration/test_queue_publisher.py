"""The seam to the engines: the job service hands jobs to a publisher, and says of each what that says."""

from collections.abc import Sequence

import pytest

from application.jobs.publishing import MOST_IN_ONE_STEP, Accepted, NewJob
from application.jobs.service import JobService
from application.jobs.store import JobFilter
from application.runs.asking import Note
from application.runs.registry import JobRegistry
from cluster import Cluster, Instance
from domain.errors import StoreUnavailable
from domain.jobs.request import JobRequest
from infrastructure.jobs import clock
from infrastructure.jobs.clock import StoreClock
from infrastructure.jobs.store import RedisJobs
from infrastructure.redis.connection import RedisStore
from sample_jobs import Once


class Broker:
    """A publisher as one of another engine is: it accepts in the store, and sends ids to a queue of its own."""

    def __init__(self, of: Instance, refuses: frozenset[int] = frozenset()) -> None:
        self._inner = of.jobs._publisher
        self._refuses = refuses
        self.calls = 0
        self.sent: list[str] = []

    async def publish(
        self, jobs: Sequence[NewJob], most_waiting: dict[str, int], note: Note | None
    ) -> Sequence[Accepted | StoreUnavailable]:
        self.calls += 1
        if self.calls in self._refuses:
            return [StoreUnavailable(why="the broker is away")] * len(jobs)
        accepted = await self._inner.publish(jobs, most_waiting, note)
        self.sent += [one.id for one in accepted if isinstance(one, Accepted) and one.is_new]
        return accepted

    async def republish(self, job_ids: Sequence[str], why: str, note: Note | None) -> dict[str, str]:
        self.sent += job_ids
        return await self._inner.republish(job_ids, why, note)


def service(of: Instance, broker: Broker) -> JobService:
    return JobService(JobRegistry((Once,)), broker, RedisJobs(of.store, of.runs), of.runs)


@pytest.fixture
async def api(cluster: Cluster) -> Instance:
    return await cluster.start(executes=False)


async def test_whatever_is_queued_passes_the_publisher(api: Instance) -> None:
    broker = Broker(api)
    jobs = service(api, broker)
    one = (await jobs.submit(JobRequest(task="Once"))).job.id
    wanted = [JobRequest(task="Once", idempotency_key="k") for _ in range(2)]
    again, same = await jobs.submit_many(wanted)
    assert isinstance(again, Accepted)
    assert isinstance(same, Accepted)
    assert (again.is_new, same.is_new, same.id) == (True, False, again.id)
    await jobs.cancel(one)
    await jobs.retry(one)
    assert broker.sent == [one, again.id, one]


async def test_what_it_refuses_is_answered_in_its_place(api: Instance) -> None:
    jobs = service(api, Broker(api, refuses=frozenset({2})))
    answers = await jobs.submit_many([JobRequest(task="Once")] * (2 * MOST_IN_ONE_STEP + 1))
    refused = [number for number, one in enumerate(answers) if isinstance(one, StoreUnavailable)]
    assert refused == list(range(MOST_IN_ONE_STEP, 2 * MOST_IN_ONE_STEP))
    assert len((await jobs.list(JobFilter(), 1_000)).items) == MOST_IN_ONE_STEP + 1
    with pytest.raises(StoreUnavailable, match="the broker is away"):
        await service(api, Broker(api, refuses=frozenset({1}))).submit(JobRequest(task="Once"))


class Asked(RedisStore):
    """Counts how often it is asked for the time."""

    times = 0

    async def now(self) -> int:
        self.times += 1
        return await super().now()


async def test_the_stores_time_is_asked_for_once_and_counted_on(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "KEPT_S", 60.0)
    store = Asked(redis_url, namespace)
    told = StoreClock(store)
    try:
        before = [await told.now() for _ in range(100)]
        after = await RedisStore.now(store)
        assert store.times == 1
        assert before == sorted(before)
        assert before[-1] <= after
        assert await told.now() >= before[-1]
        monkeypatch.setattr(clock, "KEPT_S", -1.0)
        await told.now()
        assert store.times == 2
    finally:
        await store.close()
