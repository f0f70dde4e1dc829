"""An instance with nothing to do claims on its event loop what it hears is ready; the tick claims the rest."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator

import pytest

from application.scheduling import (
    Injected,
    RecurrentTaskDescriptor,
    ScheduledBackgroundJob,
    ScheduledTaskDescriptor,
    backgroundjob,
)
from cluster import Cluster, Instance
from domain.errors import StoreUnavailable
from domain.runs.run import RunStatus
from fault_proxy import FaultProxy
from hands import Hands
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.scheduling.claim_at_once import REST_S
from sample_jobs import Ledger
from support import wait_until

LEASE_MS = 300_000
"""So long that what waits for its end does not run in these tests."""


@pytest.fixture
async def proxy(valkey: EmbeddedValkey) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(valkey) as running:
        yield running


@pytest.fixture
async def far(proxy: FaultProxy, namespace: str) -> AsyncIterator[Cluster]:
    """A cluster behind the proxy."""
    async with Cluster(proxy.url, namespace) as cluster:
        yield cluster
        proxy.latency_s = 0.0
        await proxy.set_fault("none")


def once(task_id: str = "o", **data: object) -> ScheduledTaskDescriptor:
    return ScheduledTaskDescriptor(id=task_id, name="Once", data=data)


async def silence(instance: Instance) -> None:
    """Let the instance's thread make no more passes, and return when the last one has ended."""
    await instance.end_passes()
    await listens(instance)
    await rested(instance)


async def listens(instance: Instance) -> None:
    channel = instance.store.key("wake")

    async def is_heard() -> bool:
        return dict(await instance.store.command.pubsub_numsub(channel))[channel] > 0

    await wait_until(is_heard, "the instance to hear hints")


async def rested(instance: Instance) -> None:
    """Return when what the instance claimed last was long enough ago."""
    await wait_until(lambda: time.monotonic() > instance.engine._claiming.asked + REST_S)


async def given_up(instance: Instance) -> None:
    """Return when the instance has given up a claim on its loop."""
    task = instance.engine._at_once._task
    assert task is not None
    await wait_until(task.done, "the claim to be given up")
    assert isinstance(task.exception(), StoreUnavailable)


def is_claiming(instance: Instance) -> bool:
    task = instance.engine._at_once._task
    return task is not None and not task.done()


async def status(instance: Instance, run_id: str) -> tuple[RunStatus, int] | None:
    run = await instance.runs.get(run_id)
    return None if run is None else (run.status, run.attempt)


async def test_what_is_ready_is_claimed_without_a_pass(cluster: Cluster) -> None:
    one, api = await cluster.start(lease_ms=LEASE_MS), await cluster.start(executes=False)
    await silence(one)
    await api.bus.schedule_task(once())

    async def succeeded() -> bool:
        return await status(api, "o") == (RunStatus.SUCCEEDED, 1)

    await wait_until(succeeded)
    assert not one.engine._claiming.turn.locked()


async def test_what_has_lapsed_is_taken_over_without_a_pass(cluster: Cluster) -> None:
    one, other = await cluster.start(), await cluster.start(executes=False)
    await silence(one)
    hand = Hands(other)
    one.engine.refuse_work()
    await other.bus.schedule_task(once())
    assert [claim.spec.run_id for claim in hand.claim()] == ["o"]
    hand.lapse()
    one.engine._draining = False
    await other.store.command.publish(other.store.key("wake"), "ready")
    await wait_until(lambda: [entry.attempt for entry in cluster.ledger.of("o")] == [2])
    figures = one.engine.figures()
    assert figures is not None
    assert figures.taken_over == 1


async def test_no_more_than_there_are_slots_and_the_rest_by_the_tick(cluster: Cluster) -> None:
    one, api = await cluster.start(concurrency=2), await cluster.start(executes=False)
    one.engine._draining = True
    for n in range(5):
        await api.bus.schedule_task(once(f"o{n}", label=f"l{n}", hold=True))
    tick = one.engine._scheduler._tick
    await silence(one)
    one.engine._draining = False
    one.engine._claim_at_once()
    await wait_until(lambda: len(cluster.ledger.entries) == 2)
    await rested(one)
    one.engine._claim_at_once()
    assert not is_claiming(one), "no slot is free"
    one.engine._scheduler._tick = tick
    for n in range(5):
        cluster.ledger.gate(f"l{n}").set()
        await wait_until(lambda n=n: len(cluster.ledger.entries) == min(n + 3, 5))  # type: ignore[misc]  # n is bound
        assert len(one.engine.runner.held) <= 4  # two whose outcomes are on their way need no slot


async def test_while_a_claim_is_under_way_the_tick_fires_and_owns_nothing(cluster: Cluster) -> None:
    """Nor does it give back what it does not know: that claim may bring it."""
    one, api = await cluster.start(lease_ms=LEASE_MS), await cluster.start(executes=False)
    hand = Hands(one)
    assert one.engine._claiming.turn.acquire(timeout=5)
    await api.bus.schedule_task(once())
    assert len(hand.claim()) == 1  # as if the answer were on its way
    one.engine._claiming.doubt(time.monotonic() - 10)
    await one.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=0.05))

    async def fired() -> bool:
        return len(await cluster.events("job", "job.queued")) >= 2

    await wait_until(fired, "a fire, beside the one-shot")
    passes = one.engine._tick.passes
    await wait_until(lambda: one.engine._tick.passes > passes + 1)
    assert {event["job_id"] for event in await cluster.events("job", "job.started")} == {"o"}
    assert await status(api, "o") == (RunStatus.RUNNING, 1)
    one.engine._claiming.turn.release()
    one.engine._look_for_runs()
    await wait_until(lambda: cluster.ledger.of("s"), "the fire to begin")
    await wait_until(lambda: cluster.ledger.of("o"), "what nobody knew of to be given back, and to begin")


async def test_ready_runs_that_a_claim_did_not_bring_wake_the_tick(cluster: Cluster) -> None:
    """A hint that comes while a claim is under way, and what its answer says will be due before long."""
    one, api = await cluster.start(), await cluster.start(executes=False)
    await silence(one)
    woken: list[int] = []
    one.engine._at_once._wake_tick = lambda: woken.append(1)

    async def claimed() -> None:
        await rested(one)
        assert one.engine._at_once.begin()
        await one.engine._at_once.stop()

    await claimed()
    assert woken == []
    await rested(one)
    assert one.engine._at_once.begin()
    await asyncio.sleep(0)  # it has begun
    one.engine._claim_at_once()  # another hint
    await one.engine._at_once.stop()
    assert woken == [1]
    await claimed()
    assert woken == [1]
    await api.store.command.zadd(api.store.key("later"), {"nobody": (time.time() + 0.7) * 1000})
    await claimed()
    assert woken == [1, 1]


async def test_a_burst_of_hints_is_not_as_many_claims(cluster: Cluster) -> None:
    one = await cluster.start()
    await listens(one)
    tasks: set[object] = set()
    heard: list[int] = []
    wake = one.engine._wake
    hear = wake._hearing.ready

    def ready() -> None:
        heard.append(1)
        hear()
        tasks.add(one.engine._at_once._task)

    wake._hearing = dataclasses.replace(wake._hearing, ready=ready)
    began = time.monotonic()
    pipe = cluster.redis.command.pipeline(transaction=False)
    for _ in range(10_000):
        pipe.publish(cluster.redis.key("wake"), "ready")
    await pipe.execute()
    await wait_until(lambda: len(heard) == 10_000, "all hints to be heard")
    assert 1 <= len(tasks) <= (time.monotonic() - began) / REST_S + 2
    assert len(tasks) < 2_000


async def test_where_the_loop_leaves_it_to_the_tick(cluster: Cluster) -> None:
    one = await cluster.start()
    await silence(one)
    begin, claiming = one.engine._at_once.begin, one.engine._claiming
    with claiming.turn:
        assert not begin()
    one.engine._renewal.loop_blocked = True
    assert not begin()
    await wait_until(lambda: not one.engine._renewal.loop_blocked, "the watch to look again")
    one.engine._draining = True
    assert not begin()
    one.engine._draining = False
    ahead_ms, claiming.clock.ahead_ms = claiming.clock.ahead_ms, None
    assert not begin(), "the store could not tell a claim that comes late"
    claiming.clock.ahead_ms = ahead_ms
    assert begin()
    await one.engine._at_once.stop()
    claiming.asked = time.monotonic()
    assert not begin(), "it has just claimed"
    await rested(one)
    await one.bus.schedule_task(once(hold=True))
    await wait_until(lambda: cluster.ledger.of("o"))
    await rested(one)
    assert not begin(), "a body is under way"


async def test_a_claim_that_was_not_answered_is_given_back_at_once(
    proxy: FaultProxy, far: Cluster, valkey: EmbeddedValkey
) -> None:
    one = await far.start(lease_ms=LEASE_MS)
    one.engine._at_once._patience_s = 0.3
    await silence_and_go_on(one)
    async with Cluster(valkey.url, far._namespace) as near:
        api = near.make(executes=False)
        proxy.mute_at = b'"run_id":"o"'  # which stands in the answer to the claim
        await api.bus.schedule_task(once())

        async def claimed() -> bool:
            return await status(api, "o") == (RunStatus.RUNNING, 1)

        await wait_until(claimed, "the run to be claimed, and nobody to know")
        await given_up(one)
        assert one.engine._claiming.unsure_since is not None
        assert far.ledger.of("o") == []
        await proxy.set_fault("none")
        await wait_until(lambda: [entry.attempt for entry in far.ledger.of("o")] == [2])
    assert await far.events("job", "job.lost") == []


async def silence_and_go_on(instance: Instance) -> None:
    """Return when the loop would claim the next that is ready: no pass is under way, and none comes at once."""
    tick = instance.engine._scheduler._tick
    await silence(instance)
    instance.engine._scheduler._tick = tick


async def test_an_answer_that_comes_too_late_counts_for_lost(proxy: FaultProxy, far: Cluster) -> None:
    one = await far.start(lease_ms=LEASE_MS)
    await one.bus.schedule_task(once("first"))
    await wait_until(lambda: far.ledger.of("first"))
    await wait_until(lambda: not one.engine.runner.held)
    await silence_and_go_on(one)
    one.engine._at_once._patience_s, before = 0.15, one.engine._at_once._task
    proxy.latency_s = 0.1
    await one.bus.schedule_task(once())
    await wait_until(lambda: one.engine._at_once._task is not before)
    await given_up(one)
    proxy.latency_s = 0.0
    await wait_until(lambda: far.ledger.of("o"))
    assert len(far.ledger.of("o")) == 1
    assert await far.events("job", "job.lost") == []


async def test_stopping_waits_for_the_claim_and_gives_its_runs_back(
    proxy: FaultProxy, far: Cluster, valkey: EmbeddedValkey
) -> None:
    one = await far.start(lease_ms=LEASE_MS)
    async with Cluster(valkey.url, far._namespace) as near:
        api = near.make(executes=False)
        await silence(one)
        one.engine._grace_s = 0.0
        proxy.latency_s = 0.05
        await api.bus.schedule_task(once(hold=True))
        await wait_until(lambda: is_claiming(one))
        await one.stop()
        assert one.engine.unsettled == 0
        assert not is_claiming(one)
        found = await status(api, "o")
        assert found is not None
        assert found[0] is RunStatus.QUEUED


@backgroundjob(task_type="scheduled", name="Once")
class Counted(ScheduledBackgroundJob):
    """Note how many bodies there are at a time."""

    label: str = "plain"
    hold: bool = False
    fail_times: int = 0
    ledger: Injected[Ledger]

    async def run_at(self) -> None:
        self.ledger.cancelled.append("+")
        await asyncio.sleep(0.001)
        self.ledger.cancelled.append("-")


async def test_loop_and_tick_together_claim_each_run_once_and_fill_no_slot_twice(cluster: Cluster) -> None:
    one, api = await cluster.start(jobs=[Counted], concurrency=3), await cluster.start(executes=False)
    for n in range(150):
        await asyncio.gather(*[api.bus.schedule_task(once(f"o{n}-{i}")) for i in range(n % 5 + 1)])
        if n % 10 == 0:
            await wait_until(lambda: not one.engine.runner.held)
            await rested(one)
    log = cluster.ledger.cancelled
    await wait_until(lambda: log.count("-") == 450, "all to end")
    assert len(log) == 900, "one ran twice"
    assert max(log[:at].count("+") - log[:at].count("-") for at in range(len(log))) <= 3
    assert await cluster.events("job", "job.lost") == []
