"""One thing in the store or in a reply that is spoiled, or one that does not fit, costs no other its turn."""

import asyncio
from collections.abc import Callable

from application.scheduling import RecurrentTaskDescriptor, ScheduledTaskDescriptor, SchedulePolicy
from cluster import Cluster, Instance
from domain.runs.outcome import Failed, Retry, Succeeded
from domain.scheduling.schedule import ScheduleInfo
from hands import Hands, schedule
from infrastructure.redis.embedded import EmbeddedValkey
from infrastructure.scheduling import tick
from sample_jobs import Ledger
from support import wait_until


def note(task_id: str) -> RecurrentTaskDescriptor:
    return RecurrentTaskDescriptor(id=task_id, name="Note", interval=0.05)


async def test_a_state_that_cannot_be_read_stops_no_other_schedule(cluster: Cluster) -> None:
    await cluster.start(lease_ms=1_000)
    api = await cluster.start(executes=False)
    for n in range(2):
        await api.bus.schedule_task(note(f"s{n}"))
    await wait_until(lambda: cluster.ledger.of("s1"))
    states = cluster.redis.key("states")
    await cluster.redis.command.hset(states, "s0", '{"generation":"of a later version","lane":"Note@1"}')
    # Hidden for a lease with each take: two leases show that they are not taken down together.
    seen = len(cluster.ledger.of("s1"))
    await wait_until(lambda: len(cluster.ledger.of("s1")) > seen + 40)
    assert await cluster.redis.command.hexists(states, "s0")


async def test_a_schedule_that_cannot_be_planned_stops_no_other(cluster: Cluster) -> None:
    await cluster.start(lease_ms=1_000)
    api = await cluster.start(executes=False)
    for n in range(2):
        await api.bus.schedule_task(note(f"s{n}").model_copy(update={"policy": SchedulePolicy(catch_up="none")}))
    await wait_until(lambda: cluster.ledger.of("s0") and cluster.ledger.of("s1"))
    await api.scheduler.pause("s0")
    stored = await api.schedules.get("s0")
    assert stored is not None
    ancient = stored.state.model_copy(update={"due": -(10**18), "paused": None}).dump()  # a year that no date can tell
    await cluster.redis.command.hset(cluster.redis.key("states"), "s0", ancient)
    await cluster.redis.command.zadd(cluster.redis.key("due", "Note@1"), {"s0": 1})
    seen = len(cluster.ledger.of("s1"))
    await wait_until(lambda: len(cluster.ledger.of("s1")) > seen + 40)


async def test_a_run_that_cannot_be_read_stops_no_other(cluster: Cluster) -> None:
    api = await cluster.start(executes=False)
    for task_id in ("bad", "good"):
        await api.bus.schedule_task(ScheduledTaskDescriptor(id=task_id, name="Once"))
    await cluster.redis.command.hset(cluster.redis.key("payloads"), "bad", '"timeout_s":"later"\n{}')
    await cluster.start(lease_ms=1_000)
    await wait_until(lambda: cluster.ledger.of("good"))
    assert [entry.attempt for entry in cluster.ledger.of("good")] == [1]


async def test_many_plans_are_committed_in_several_calls(cluster: Cluster) -> None:
    usual = tick.MOST_PARTS, tick.LEAST_PART
    tick.MOST_PARTS, tick.LEAST_PART = 1_000, 2
    try:
        await cluster.start()
        api = await cluster.start(executes=False)
        for n in range(9):
            await api.bus.schedule_task(note(f"s{n}"))
        await wait_until(lambda: all(len(cluster.ledger.of(f"s{n}")) > 2 for n in range(9)))
    finally:
        tick.MOST_PARTS, tick.LEAST_PART = usual


async def test_half_a_surrogate_pair_in_an_error_is_settled(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await schedule(a, interval=3600)
    await a.instance.scheduler.run_now("s")
    (claim,) = a.claim()
    assert a.settle(claim, Failed("half of \ud83d, and \x00")) == "settled"
    info = await a.instance.scheduler.get_task_info("s")
    assert isinstance(info, ScheduleInfo)
    assert info.last_error == "half of ?, and \x00"


async def test_an_outcome_that_the_store_refuses_costs_no_other_its_own(cluster: Cluster) -> None:
    one = await cluster.start()
    held = {"label": "held", "hold": True}
    for task_id in ("a", "b", "c"):
        await one.bus.schedule_task(ScheduledTaskDescriptor(id=task_id, name="Once", data=held))
    await wait_until(lambda: len(one.engine.runner.held) == 3)
    settlements = one.engine._settlements
    claims = dict(one.engine.runner.held)
    settlements.add(claims["a"], Succeeded('"first"'))
    settlements.add(claims["b"], Retry("no number", float("nan")))
    settlements.add(claims["c"], Succeeded('"last"'))

    async def settled() -> bool:
        runs = [await one.runs.get(task_id) for task_id in ("a", "c")]
        return [run.result for run in runs if run is not None] == ["first", "last"]

    await wait_until(settled)
    run = await one.runs.get("b")
    assert run is not None
    assert run.status == "running"


async def test_progress_that_cannot_be_noted_does_not_end_settling(cluster: Cluster) -> None:
    one = await cluster.start()
    await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once", data={"label": "held", "hold": True}))
    await wait_until(lambda: cluster.ledger.of("o"))
    (claim,) = one.engine.runner.held.values()
    one.engine._settlements.progress(claim, 5.0, None)  # type: ignore[arg-type]  # what a caller should not do
    await wait_until(lambda: not one.engine._settlements._reports)
    cluster.ledger.gate("held").set()
    await wait_until(lambda: not one.engine.runner.held)


async def test_a_full_store_lets_what_is_there_be_claimed(
    fresh_valkey: Callable[[], EmbeddedValkey], namespace: str
) -> None:
    server = await asyncio.to_thread(fresh_valkey)
    ledger = Ledger()
    one = Instance(server.url, namespace, "i1", ledger, lease_ms=1_000)
    await one.store.open()
    try:
        await one.bus.schedule_task(ScheduledTaskDescriptor(id="o", name="Once"))
        await one.bus.schedule_task(note("s"))
        await one.store.command.config_set("maxmemory", "1")
        await one.scheduler.start()
        await wait_until(lambda: ledger.of("o"))
        assert ledger.of("s") == []
        await one.store.command.config_set("maxmemory", "0")
        await wait_until(lambda: ledger.of("s"))
    finally:
        await one.stop()
