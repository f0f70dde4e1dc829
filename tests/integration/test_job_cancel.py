"""Cancelling jobs that another instance executes: it reaches their bodies, and what was cancelled stays cancelled."""

import asyncio
import threading
import time
from typing import Any

import pytest

from application.scheduling import JobContext, RetryPolicy, ScheduledBackgroundJob, backgroundjob
from cluster import Cluster, Instance
from domain.jobs.errors import JobIsOver
from domain.jobs.request import JobRequest
from support import wait_until

BEGUN: set[str] = set()
HEARD: dict[str, str] = {}
"""What the bodies of this process did, by job id."""


@backgroundjob(task_type="scheduled", retry=RetryPolicy(max_retries=3, backoff_s=0.01))
class Asynchronous(ScheduledBackgroundJob):
    """Wait for ever; ``swallow`` takes its cancellation for a reason to succeed."""

    swallow: bool = False

    async def run_at(self, ctx: JobContext) -> str:
        BEGUN.add(ctx.job_id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            HEARD[ctx.job_id] = str(error)
            if not self.swallow:
                raise
        return "done after all"


@backgroundjob(task_type="scheduled", retry=RetryPolicy(max_retries=3, backoff_s=0.01))
class Synchronous(ScheduledBackgroundJob):
    """Look again and again whether to go on, and succeed in the end all the same."""

    def run_at(self, ctx: JobContext) -> str:
        BEGUN.add(ctx.job_id)
        paused = threading.Event()
        deadline = time.monotonic() + 30
        while not ctx.cancelled and time.monotonic() < deadline:
            paused.wait(0.01)
        HEARD[ctx.job_id] = "cancelled" if ctx.cancelled else "never"
        return "done after all"


JOBS = (Asynchronous, Synchronous)


@pytest.fixture
async def worker(cluster: Cluster) -> Instance:
    return await cluster.start(jobs=JOBS)


@pytest.fixture
async def other(cluster: Cluster, worker: Instance) -> Instance:
    """Another instance, which executes nothing."""
    return await cluster.start(jobs=JOBS, executes=False)


async def begun(other: Instance, task: str, **params: Any) -> str:
    job = (await other.jobs.submit(JobRequest(task=task, params=params))).job
    await wait_until(lambda: job.id in BEGUN, "the body to begin")
    return job.id


@pytest.mark.parametrize(
    ("task", "params"),
    [("Asynchronous", {}), ("Asynchronous", {"swallow": True}), ("Synchronous", {})],
    ids=["async", "async that swallows it", "sync"],
)
async def test_it_reaches_the_body_on_another_instance_and_holds(
    cluster: Cluster, other: Instance, task: str, params: dict[str, Any]
) -> None:
    job_id = await begun(other, task, **params)
    cancelled = await other.jobs.cancel(job_id, "wrong customer")
    assert (cancelled.status, cancelled.error) == ("cancelled", "wrong customer")
    await wait_until(lambda: job_id in HEARD, "the body to hear of it", deadline_s=10)
    assert HEARD[job_id] != "never"
    (worker, _) = cluster.instances
    await wait_until(lambda: not worker.engine.condition().executing, "the slot to be free")
    job = await other.jobs.get(job_id)
    assert (job.status, job.result, job.error) == ("cancelled", None, "wrong customer")
    topics = [event["topic"] for event in await cluster.events("job") if event["run_id"] == job_id]
    assert topics == ["job.queued", "job.started", "job.cancelled"]


async def test_a_retry_after_a_cancel_is_a_new_attempt_which_the_old_body_cannot_end(
    cluster: Cluster, other: Instance
) -> None:
    job_id = await begun(other, "Synchronous")
    await other.jobs.cancel(job_id)
    await wait_until(lambda: job_id in HEARD, "the first body to end")
    BEGUN.discard(job_id)
    del HEARD[job_id]
    await other.jobs.retry(job_id)
    await wait_until(lambda: job_id in BEGUN, "the second attempt")
    job = await other.jobs.get(job_id)
    assert (job.status, job.attempt) == ("running", 2)
    await other.jobs.cancel(job_id)
    await wait_until(lambda: job_id in HEARD, "the second body to end")
    with pytest.raises(JobIsOver):
        await other.jobs.cancel(job_id)


async def test_many_that_execute_are_cancelled_by_many_at_once(other: Instance) -> None:
    ids = [await begun(other, "Asynchronous") for _ in range(10)]
    answers = await asyncio.gather(*[other.jobs.cancel(job_id) for job_id in ids * 2], return_exceptions=True)
    assert sum(isinstance(answer, JobIsOver) for answer in answers) == 10
    await wait_until(lambda: all(job_id in HEARD for job_id in ids), "all bodies to hear of it")
    assert {(await other.jobs.get(job_id)).status for job_id in ids} == {"cancelled"}


@pytest.mark.parametrize("task", ["Asynchronous", "Synchronous"])
async def test_it_reaches_the_body_also_when_the_hint_is_lost(cluster: Cluster, other: Instance, task: str) -> None:
    (worker, _) = cluster.instances
    job_id = await begun(other, task)
    await worker.engine._wake.stop()  # whatever is said from now on, it does not hear
    await other.jobs.cancel(job_id)
    await wait_until(lambda: job_id in HEARD, "the body to hear of it with the renewal of its claim")
    await wait_until(lambda: not worker.engine.condition().executing, "the slot to be free")
    assert (HEARD[job_id] != "never", (await other.jobs.get(job_id)).status) == (True, "cancelled")
