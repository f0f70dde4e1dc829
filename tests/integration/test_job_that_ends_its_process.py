"""A job whose body ends its process takes a few processes with it, is set aside then, and is lost to nobody."""

import os
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cluster import Cluster
from deadly_worker import DIES_WITH, TAKEOVERS, Deadly
from domain.jobs.job import Job
from domain.jobs.request import JobRequest
from support import wait_until

TESTS = Path(__file__).parents[1]
Start = Callable[[], Awaitable[Process]]


@pytest.fixture
async def start(redis_url: str, namespace: str) -> AsyncIterator[Start]:
    """Start workers, each ended in the end."""

    async def ended(process: Process) -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def begin() -> Process:
        path = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
        worker = (sys.executable, str(TESTS / "deadly_worker.py"), redis_url, namespace)
        process = await create_subprocess_exec(*worker, env={**os.environ, "PYTHONPATH": path})
        stack.push_async_callback(ended, process)
        return process

    async with AsyncExitStack() as stack:
        yield begin


async def test_it_is_taken_over_some_times_and_then_parked(cluster: Cluster, start: Start) -> None:
    api = await cluster.start(jobs=(Deadly,), executes=False)
    job = (await api.jobs.submit(JobRequest(task="Deadly"))).job
    for _ in range(TAKEOVERS + 1):
        assert await (await start()).wait() == DIES_WITH
    survivor = await start()

    async def parked() -> Job | None:
        found = await api.jobs.get(job.id)
        return found if found.parked else None

    found = await wait_until(parked, "the job to be parked")
    assert (found.status, found.attempt) == ("queued", TAKEOVERS + 1)
    assert str(found.parked).startswith(f"it has outlived {TAKEOVERS + 1} owners, the last was w")
    assert [attempt.error for attempt in found.attempts] == ["lost: the lease of its owner lapsed"] * (TAKEOVERS + 1)
    topics = [event["topic"] for event in await cluster.events("job") if event["run_id"] == job.id]
    assert (topics.count("job.started"), topics.count("job.parked"), topics[-1]) == (3, 1, "job.parked")

    well = (await api.jobs.submit(JobRequest(task="Deadly", params={"mended": True}))).job
    await wait_until(lambda: is_over(api.jobs.get, well.id), "another job to be executed")
    assert await api.jobs.result(well.id) == "survived"
    assert survivor.returncode is None
    assert (await api.jobs.cancel(job.id)).status == "cancelled"


async def is_over(get: Callable[[str], Awaitable[Job]], job_id: str) -> bool:
    return (await get(job_id)).ended_at is not None
