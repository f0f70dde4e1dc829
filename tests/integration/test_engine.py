"""The engine in bad company: failing ticks, a blocked loop, full slots, a store that goes away; and its end."""

import asyncio
import logging
import threading
import time

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

from application.scheduling import (
    Injected,
    JobContext,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    ScheduledTaskDescriptor,
    backgroundjob,
)
from cluster import Cluster, Instance
from domain.errors import StoreUnavailable
from fault_proxy import Fault, FaultProxy
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.scheduling.cluster import ClusterScheduler
from sample_jobs import Ledger
from support import wait_until, wait_until_sync


def note(task_id: str = "s", interval: float = 0.05, **data: object) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id=task_id, name="Note", data=data, interval=interval)


def test_apscheduler_still_calls_the_method_that_is_replaced() -> None:
    assert "_process_jobs" in BlockingScheduler._main_loop.__code__.co_names
    assert issubclass(ClusterScheduler, BackgroundScheduler)
    with pytest.raises(TypeError, match="BackgroundTasksBus"):
        ClusterScheduler(lambda: 1.0).add_job(print)


def test_an_exception_in_a_tick_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    ticks: list[int] = []

    def tick() -> float:
        ticks.append(1)
        if len(ticks) == 1:
            raise RuntimeError("as in get_next_run_time")
        return 3600.0

    scheduler = ClusterScheduler(tick)
    with caplog.at_level(logging.ERROR):
        scheduler.start()
        wait_until_sync(lambda: ticks, "the first tick")
        scheduler.wakeup()
        wait_until_sync(lambda: len(ticks) == 2, "the second tick")
    scheduler.shutdown()
    assert "a tick failed" in caplog.text


async def test_a_broken_key_stops_no_other_work_for_good(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(note("good"))
    await wait_until(lambda: cluster.ledger.of("good"))
    broken = cluster.redis.key("ready", "Once@1")
    await cluster.redis.command.set(broken, "not a sorted set")
    await asyncio.sleep(0.1)
    await cluster.redis.command.delete(broken)
    seen = len(cluster.ledger.of("good"))
    await wait_until(lambda: len(cluster.ledger.of("good")) > seen)


async def test_no_more_runs_at_once_than_slots(cluster: Cluster) -> None:
    one = await cluster.start(concurrency=3)
    for n in range(8):
        await one.bus.schedule_task(
            ScheduledTaskDescriptor(id=f"o{n}", name="Once", data={"label": "held", "hold": True})
        )
    await wait_until(lambda: len(cluster.ledger.entries) == 3)
    other = await cluster.start(concurrency=2)
    await wait_until(lambda: len(cluster.ledger.entries) == 5)
    assert one.engine.runner.free_slots == other.engine.runner.free_slots == 0
    cluster.ledger.gate("held").set()
    await wait_until(lambda: len(cluster.ledger.entries) == 8)


@backgroundjob(task_type="recurrent", name="Note")
class BlockingNote(RecurrentBackgroundJob):
    """A ``Note`` that blocks the event loop."""

    label: str = "plain"
    hold: bool = False
    fail: str = ""
    end: bool = False
    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> None:
        time.sleep(float(self.label))  # what one must not do
        self.ledger.cancelled.append(f"{ctx.run_id} attempt {ctx.attempt}")


async def test_a_blocked_loop_keeps_its_leases_and_is_named(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    one = await cluster.start(jobs=[BlockingNote], lease_ms=1_000)
    await one.bus.schedule_task(note(interval=3600, label="2.5"))
    with caplog.at_level(logging.ERROR):
        run_id = await one.scheduler.run_now("s")
        await wait_until(lambda: cluster.ledger.cancelled == [f"{run_id} attempt 1"])
    assert f"run {run_id} blocks the event loop" in caplog.text
    assert "what one must not do" in caplog.text
    await wait_until(lambda: one.engine.condition().blocked is None)
    past = one.engine.condition().was_blocked
    assert past is not None
    assert past.by == f"run {run_id}"
    assert await cluster.events("job", "job.lost") == []


async def test_what_has_not_begun_on_a_blocked_loop_is_given_back(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    await api.bus.schedule_task(note("blocks", interval=3600, label="2.5"))
    await api.scheduler.run_now("blocks")
    for n in range(20):
        await api.bus.schedule_task(note(f"s{n}", interval=3600, label="0"))
        await api.scheduler.run_now(f"s{n}")
    one = await cluster.start(jobs=[BlockingNote], lease_ms=1_000)
    await wait_until(lambda: len(cluster.ledger.cancelled) == 21, "all to end")
    assert one.engine.condition().was_blocked is not None
    assert all(line.endswith("attempt 1") for line in cluster.ledger.cancelled)
    given_back = [event for event in await cluster.events("job", "job.queued") if "why" in event]
    assert {event["job_id"] for event in given_back} == {f"s{n}" for n in range(20)}
    assert {event["why"] for event in given_back} == {"given back: a job blocks its instance's event loop"}
    assert await cluster.events("job", "job.lost") == []


async def test_stopping_leaves_no_thread_no_task_and_no_connection(cluster: Cluster) -> None:
    info = await cluster.redis.command.client_list()
    tasks, threads = asyncio.all_tasks(), {thread.name for thread in threading.enumerate()}
    one = await cluster.start()
    await one.bus.schedule_task(note())
    await wait_until(lambda: cluster.ledger.of("s"))
    assert {"APScheduler", "renewal"} <= {thread.name for thread in threading.enumerate()}
    await one.stop()
    await one.stop()
    assert {thread.name for thread in threading.enumerate()} - threads <= {"asyncio_0", "asyncio_1"}
    assert asyncio.all_tasks() == tasks

    async def only_the_old_ones() -> bool:
        return {client["id"] for client in await cluster.redis.command.client_list()} == {
            client["id"] for client in info
        }

    await wait_until(only_the_old_ones, "connections to be gone")
    assert await cluster.redis.command.hlen(cluster.redis.key("instances")) == 0


async def test_what_was_claimed_and_not_begun_is_given_back_without_an_attempt(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "held", "hold": True}))
    await wait_until(lambda: cluster.ledger.of("o"))
    one.engine._grace_s = 0.05
    stopping = asyncio.create_task(one.stop())
    await stopping
    run = await (await cluster.start(executes=False)).runs.get("o")
    assert run is not None
    assert (run.status, run.attempt) == ("queued", 1)
    cluster.ledger.gate("held").set()
    await cluster.start()
    await wait_until(lambda: len(cluster.ledger.of("o")) == 2)
    assert cluster.ledger.of("o")[1].attempt == 2


@pytest.mark.parametrize("fault", ["down", "reset", "black hole"])
async def test_the_store_goes_away_and_comes_back(valkey: EmbeddedValkey, namespace: str, fault: Fault) -> None:
    ledger = Ledger()
    async with FaultProxy(valkey) as proxy:
        one = Instance(proxy.url, namespace, "i1", ledger, lease_ms=1_000)
        await one.start()
        await one.bus.schedule_task(note(label="held", hold=True))
        await one.bus.schedule_task(note("other"))
        await wait_until(lambda: ledger.of("s") and ledger.of("other"))
        await proxy.set_fault(fault)
        ledger.gate("held").set()  # it ends while there is nowhere to settle it
        with pytest.raises(StoreUnavailable):
            await one.scheduler.list_tasks()
        seen = len(ledger.of("other"))
        await proxy.set_fault("none")
        await wait_until(lambda: len(ledger.of("other")) > seen + 3, "the schedule to go on")

        async def settled() -> bool:
            found = await one.scheduler.runs("s")
            return any(run.run_id == ledger.of("s")[0].run_id and run.status == "succeeded" for run in found)

        await wait_until(settled)
        assert len([entry for entry in ledger.of("s") if entry.run_id == ledger.of("s")[0].run_id]) == 1
        await one.stop()


async def test_who_is_about_to_stop_takes_no_more_work(cluster: Cluster) -> None:
    leaving, staying = await cluster.start(), await cluster.start(executes=False)
    leaving.engine.refuse_work()
    await staying.bus.schedule_task(note())
    await staying.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))

    async def fired() -> bool:
        return len(await cluster.made()) >= 2

    await wait_until(fired)  # whoever leaves still fires what is due: others begin it
    passes = leaving.engine.figures().passes
    await wait_until(lambda: leaving.engine.figures().passes > passes + 2)
    assert await cluster.events("job", "job.started") == []
    await cluster.start()
    await wait_until(lambda: cluster.ledger.of("o") and cluster.ledger.of("s"))
    started = {event["instance_id"] for event in await cluster.events("job", "job.started")}
    assert leaving.id not in started
