"""The job service over a real store: what it accepts, how it refuses, and what it answers about jobs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.jobs.publishing import Accepted
from application.jobs.store import JobFilter
from application.scheduling import JobContext, JobLimits, RetryPolicy, ScheduledBackgroundJob, backgroundjob
from cluster import Cluster, Instance
from domain.errors import RoundsmanError
from domain.jobs.errors import (
    IdempotencyConflict,
    InvalidJob,
    InvalidJobQuery,
    JobIsOver,
    JobNoLongerKept,
    JobNotFound,
    JobNotRetryable,
    NoResultYet,
    QueueFull,
    UnknownQueue,
)
from domain.jobs.job import Job
from domain.jobs.queue import QueueRules, Queues
from domain.jobs.request import JobRequest
from domain.runs.errors import InvalidData, UnknownJob, WrongTaskType
from domain.runs.run import RunStatus
from domain.scheduling.errors import TimeInThePast
from integration.jobs_kit import JobHands
from sample_jobs import Note, Once
from support import wait_until


@backgroundjob(
    task_type="scheduled", retry=RetryPolicy(max_retries=0), limits=JobLimits(one_per=("customer", "region"))
)
class Import(ScheduledBackgroundJob):
    """One import a customer and region at a time."""

    customer: int
    region: str = "eu"
    says: Any = None

    async def run_at(self, ctx: JobContext) -> Any:
        if self.says == "break":
            raise ValueError("no such customer")
        if self.says == "whom":
            return [ctx.queue, ctx.user_id, ctx.team_id, ctx.correlation_id]
        return self.says


QUEUES = Queues({"free": QueueRules(max_waiting=2), "pro": QueueRules(weight=2)}, default="free")


@pytest.fixture
async def api(cluster: Cluster) -> Instance:
    """An instance that accepts jobs and executes none."""
    return await cluster.start(executes=False, jobs=(Note, Once, Import), queues=QUEUES)


@pytest.fixture
async def worker(cluster: Cluster) -> Instance:
    return await cluster.start(jobs=(Note, Once, Import), queues=QUEUES)


def asked(task: str = "Import", **more: Any) -> JobRequest:
    params = more.pop("params", {"customer": 1} if task == "Import" else {})
    return JobRequest.model_validate({"task": task, "params": params, **more})


async def ended(instance: Instance, job_id: str) -> Job:
    """Return a job when it is over."""
    found: list[Job] = []

    async def is_over() -> bool:
        found.append(await instance.jobs.get(job_id))
        return found[-1].ended_at is not None

    await wait_until(is_over, f"job {job_id} to end")
    return found[-1]


async def test_a_job_is_shown_as_it_was_asked_for(api: Instance) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    wanted = asked(queue="pro", priority=3, scheduled_at=later, correlation_id="c", user_id="u", team_id="t")
    submitted = await api.jobs.submit(wanted)
    assert submitted.is_new
    found = await api.jobs.get(submitted.job.id)
    assert found == submitted.job
    assert (found.task, found.status, found.queue, found.priority) == ("Import", "queued", "pro", 3)
    assert (found.scheduled_at, found.correlation_id, found.user_id, found.team_id) == (later, "c", "u", "t")


async def test_ids_sort_by_time(api: Instance) -> None:
    ids = [(await api.jobs.submit(asked(queue="pro"))).job.id for _ in range(3)]
    assert ids == sorted(ids) or len({one[:9] for one in ids}) < 3
    assert len(set(ids)) == 3


async def test_ids_of_one_call_sort_as_they_were_asked_for(api: Instance) -> None:
    answers = await api.jobs.submit_many([asked(queue="pro", params={"customer": n}) for n in range(600)])
    ids = [answer.id for answer in answers if isinstance(answer, Accepted)]
    assert ids == sorted(set(ids))
    assert len(ids) == 600
    for number in (0, 255, 256, 599):
        assert (await api.jobs.params(ids[number]) or {})["customer"] == number


async def test_a_job_that_succeeds_has_a_result(worker: Instance) -> None:
    job = (await worker.jobs.submit(asked(params={"customer": 1, "says": {"rows": 3}}))).job
    found = await ended(worker, job.id)
    assert (found.status, found.attempt, found.instance_id) == ("succeeded", 1, "i1")
    assert await worker.jobs.result(job.id) == {"rows": 3}


async def test_a_body_learns_for_whom_it_is(worker: Instance) -> None:
    wanted = asked(params={"customer": 1, "says": "whom"}, queue="pro", user_id="u", team_id="t", correlation_id="c")
    job = (await worker.jobs.submit(wanted)).job
    await ended(worker, job.id)
    assert await worker.jobs.result(job.id) == ["pro", "u", "t", "c"]


async def test_a_result_is_there_only_after_success(api: Instance) -> None:
    job = (await api.jobs.submit(asked())).job
    with pytest.raises(NoResultYet, match=f"'{job.id}' has no result: it is queued"):
        await api.jobs.result(job.id)


async def test_a_result_that_is_not_json_fails_the_job(worker: Instance) -> None:
    job = (await worker.jobs.submit(asked(params={"customer": 1, "says": "x" * 70_000}))).job
    found = await ended(worker, job.id)
    assert found.status == "failed"
    assert found.error is not None
    assert "65536" in found.error


async def test_nobody_knows_a_job_that_never_was(api: Instance) -> None:
    for call in (api.jobs.get, api.jobs.result, api.jobs.cancel, api.jobs.retry):
        with pytest.raises(JobNotFound, match="no job 'nobody'"):
            await call("nobody")


async def test_a_run_of_a_schedule_is_no_job(cluster: Cluster, worker: Instance) -> None:
    from application.scheduling import RecurrentTaskDescriptor

    await worker.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", data={"hold": True}, interval=3600))
    run_id = await worker.scheduler.run_now("s")
    await wait_until(lambda: len(cluster.ledger.of("s")) == 1, "the run to begin")
    with pytest.raises(JobNotFound):
        await worker.jobs.get(run_id)
    with pytest.raises(JobNotFound):
        await worker.jobs.cancel(run_id)


@pytest.mark.parametrize(
    ("wanted", "refusal", "says"),
    [
        (asked("Imprt"), UnknownJob, "Import"),
        (asked("Note"), WrongTaskType, "recurrent"),
        (asked(params={"customer": "many"}), InvalidData, "customer"),
        (asked(params={"customer": 1, "colour": "blue"}), InvalidData, "colour"),
        (asked(params={"customer": 1, "says": "x" * 300_000}), InvalidData, "262144"),
        (asked(queue="gold"), UnknownQueue, "free, pro"),
        (asked(scheduled_at="2020-01-01T00:00:00Z"), TimeInThePast, "2020"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    api: Instance, wanted: JobRequest, refusal: type[RoundsmanError], says: str
) -> None:
    with pytest.raises(refusal, match=says):
        await api.jobs.submit(wanted)
    assert (await api.jobs.list(JobFilter())).items == []


async def test_a_full_queue_refuses_and_says_when_to_come_again(api: Instance) -> None:
    for customer in range(2):
        await api.jobs.submit(asked(params={"customer": customer}))
    with pytest.raises(QueueFull, match="'free' is full: 2 jobs wait in it") as refused:
        await api.jobs.submit(asked())
    assert 1 <= refused.value.facts["retry_after_s"] <= 300
    assert (await api.jobs.submit(asked(queue="pro"))).is_new


async def test_the_same_key_is_the_same_job_and_another_wish_conflicts(api: Instance) -> None:
    first = await api.jobs.submit(asked(idempotency_key="k"))
    again = await api.jobs.submit(asked(idempotency_key="k", correlation_id="another trace"))
    assert (first.is_new, again.is_new, again.job.id) == (True, False, first.job.id)
    assert again.job.created_at == first.job.created_at
    with pytest.raises(
        IdempotencyConflict, match=f"'k' was used for another request, which made the job '{first.job.id}'"
    ):
        await api.jobs.submit(asked(idempotency_key="k", priority=1))
    elsewhere = await api.jobs.submit(asked(idempotency_key="k", priority=1, team_id="t"))
    assert elsewhere.is_new


async def test_the_same_key_later_tells_how_the_job_of_then_stands(worker: Instance) -> None:
    job = (await worker.jobs.submit(asked(idempotency_key="k"))).job
    await ended(worker, job.id)
    again = await worker.jobs.submit(asked(idempotency_key="k"))
    assert (again.is_new, again.job.id, again.job.status) == (False, job.id, "succeeded")


async def test_asking_again_after_its_time_is_no_mistake(api: Instance) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    first = await api.jobs.submit(asked(idempotency_key="k", scheduled_at=soon))
    late = asked(idempotency_key="k2", scheduled_at=datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(TimeInThePast):
        await api.jobs.submit(late)
    await api.store.command.set(api.store.key("idem", late.scoped_key), f"{late.digest} {first.job.id}")
    again = await api.jobs.submit(late)
    assert (again.is_new, again.job.id) == (False, first.job.id)


async def test_a_key_whose_job_is_no_longer_kept_makes_no_second_one(api: Instance) -> None:
    job = (await api.jobs.submit(asked(idempotency_key="k"))).job
    await api.jobs.cancel(job.id)
    await api.store.command.hdel(api.store.key("runs"), job.id)  # type: ignore[misc]  # typed for both clients
    with pytest.raises(JobNoLongerKept, match=f"'{job.id}', which the idempotency key 'k' made, is over"):
        await api.jobs.submit(asked(idempotency_key="k"))


async def test_all_that_failed_are_queued_again_by_a_filter(worker: Instance) -> None:
    ids = [
        (
            await worker.jobs.submit(asked(params={"customer": n, "says": "break"}, queue="pro", team_id=f"t{n % 2}"))
        ).job.id
        for n in range(4)
    ]
    for job_id in ids:
        await ended(worker, job_id)
    done = await worker.jobs.retry_matching(JobFilter(status=RunStatus.FAILED, team_id="t0"))
    assert (done.retried, done.more) == (2, False)
    for job_id in (ids[0], ids[2]):
        await wait_until(lambda job_id=job_id: _attempts(worker, job_id, 2), "the second attempt")  # type: ignore[misc]
    assert [(await worker.jobs.get(job_id)).attempt for job_id in ids] == [2, 1, 2, 1]
    done = await worker.jobs.retry_matching(JobFilter(status=RunStatus.FAILED), limit=3)
    assert (done.retried, done.more) == (3, True)
    assert (await worker.jobs.retry_matching(JobFilter(status=RunStatus.EXPIRED))).retried == 0
    with pytest.raises(InvalidJob, match="failed, cancelled or expired"):
        await worker.jobs.retry_matching(JobFilter())


async def test_what_a_job_was_given_is_kept_with_it(api: Instance) -> None:
    job = (await api.jobs.submit(asked())).job
    assert await api.jobs.params(job.id) == {"customer": 1, "region": "eu", "says": None}
    assert await api.jobs.params("nobody") is None


async def test_many_are_answered_one_by_one_in_their_order(api: Instance) -> None:
    wanted = [asked(queue="pro"), asked("Imprt"), asked(queue="pro", idempotency_key="k"), asked(params={})]
    wanted += [asked(queue="pro", idempotency_key="k"), asked(queue="pro", idempotency_key="k", priority=2)]
    answers = await api.jobs.submit_many(wanted)
    kinds = [type(answer).__name__ for answer in answers]
    assert kinds == ["Accepted", "UnknownJob", "Accepted", "InvalidData", "Accepted", "IdempotencyConflict"]
    assert len((await api.jobs.list(JobFilter())).items) == 2
    assert await api.jobs.submit_many([]) == []


async def test_of_many_that_differ_each_is_as_it_was_asked_for(api: Instance) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    kinds: list[dict[str, Any]] = [
        {"user_id": r'"-\u0001\x01%1', "team_id": "-", "correlation_id": "ü"},
        {"priority": 5},
        {"scheduled_at": later, "expires_in_s": 5.0},
        {"max_retries": 3, "timeout_s": 7.5, "params": {"customer": 2}},
        {"params": {"customer": 2, "says": r"\u0001"}, "idempotency_key": "k"},
        {"task": "Once"},
    ]
    wanted = [asked(**{"queue": "pro", **kind}) for kind in kinds for _ in range(2)]
    answers = await api.jobs.submit_many(wanted)
    for request, answer in zip(wanted, answers, strict=True):
        assert isinstance(answer, Accepted)
        job = await api.jobs.get(answer.id)
        facts = ("task", "queue", "priority", "scheduled_at", "user_id", "team_id", "correlation_id")
        assert [getattr(job, fact) for fact in facts] == [getattr(request, fact) for fact in facts]
        assert (await api.jobs.params(job.id) or {}).items() >= request.params.items()
    claimed = {claim.spec.run_id: claim for claim in await JobHands(api.store).claim(20, ["Import@1", "Once@1"])}
    assert (claimed[answers[6].id].spec.retry.max_retries, claimed[answers[6].id].spec.timeout_s) == (3, 7.5)
    assert [answer.is_new for answer in answers] == [True] * 9 + [False] + [True] * 2


async def test_more_than_ten_thousand_in_one_call_are_refused(api: Instance) -> None:
    with pytest.raises(InvalidJob, match="10001 jobs in one call; send at most 10000"):
        await api.jobs.submit_many([asked()] * 10_001)
    assert (await api.jobs.list(JobFilter())).items == []


async def test_a_thousand_in_one_call_are_all_there(api: Instance) -> None:
    answers = await api.jobs.submit_many([asked(queue="pro", params={"customer": n}) for n in range(1_000)])
    assert not [answer for answer in answers if isinstance(answer, RoundsmanError)]
    assert (await api.runs.queue_stats([])).lanes["Import@1#pro"].ready == 1_000


async def test_what_waits_is_cancelled_and_what_is_over_is_not(api: Instance) -> None:
    job = (await api.jobs.submit(asked())).job
    cancelled = await api.jobs.cancel(job.id, "not needed")
    assert (cancelled.status, cancelled.error) == ("cancelled", "not needed")
    with pytest.raises(JobIsOver, match=f"'{job.id}' is cancelled"):
        await api.jobs.cancel(job.id)


async def test_two_who_cancel_at_once_cancel_once(api: Instance) -> None:
    job = (await api.jobs.submit(asked())).job
    answers = await asyncio.gather(*[api.jobs.cancel(job.id) for _ in range(2)], return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Job", "JobIsOver"]


async def test_what_failed_or_was_cancelled_can_be_queued_again(worker: Instance) -> None:
    job = (await worker.jobs.submit(asked(params={"customer": 1, "says": "break"}))).job
    failed = await ended(worker, job.id)
    assert (failed.status, failed.error) == ("failed", "ValueError: no such customer")
    again = await worker.jobs.retry(job.id)
    assert again.status in ("queued", "running", "failed")
    await wait_until(lambda: _attempts(worker, job.id, 2), "the second attempt")


async def _attempts(instance: Instance, job_id: str, number: int) -> bool:
    job = await instance.jobs.get(job_id)
    return job.attempt == number and job.ended_at is not None


async def test_what_succeeded_or_waits_cannot_be_queued_again(worker: Instance) -> None:
    job = (await worker.jobs.submit(asked())).job
    await ended(worker, job.id)
    with pytest.raises(JobNotRetryable, match=f"'{job.id}' is succeeded"):
        await worker.jobs.retry(job.id)
    later = datetime.now(UTC) + timedelta(hours=1)
    waits = (await worker.jobs.submit(asked(scheduled_at=later))).job
    with pytest.raises(JobNotRetryable, match="is queued"):
        await worker.jobs.retry(waits.id)


async def test_a_list_is_filtered_and_paged(api: Instance) -> None:
    mine = [(await api.jobs.submit(asked(queue="pro", team_id="t", user_id=f"u{n}"))).job.id for n in range(3)]
    await api.jobs.submit(asked(queue="pro"))
    assert [job.id for job in (await api.jobs.list(JobFilter(team_id="t"))).items] == mine[::-1]
    assert [job.id for job in (await api.jobs.list(JobFilter(user_id="u1"))).items] == [mine[1]]
    assert (await api.jobs.list(JobFilter(status=RunStatus.RUNNING))).items == []
    page = await api.jobs.list(JobFilter(team_id="t"), 2)
    assert page.next_cursor is not None
    rest = await api.jobs.list(JobFilter(team_id="t"), 2, page.next_cursor)
    assert [job.id for job in page.items + rest.items] == mine[::-1]


@pytest.mark.parametrize("cursor", ["x", "1", "-1:a", "0:nobody"])
async def test_a_cursor_that_no_list_gave_is_refused(api: Instance, cursor: str) -> None:
    with pytest.raises(InvalidJobQuery):
        await api.jobs.list(JobFilter(), 2, cursor)


async def test_one_import_a_customer_and_region_executes_at_a_time(api: Instance) -> None:
    job = (await api.jobs.submit(asked(params={"customer": 7}))).job
    text = await api.store.command.hget(api.store.key("runs"), job.id)  # type: ignore[misc]  # typed for both clients
    assert '"key":"Import:[7,\\"eu\\"]"' in str(text)
