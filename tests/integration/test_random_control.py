"""Anything at any moment, from three instances: afterwards ledger, events and store must agree."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.scheduling import (
    Injected,
    JobContext,
    JobTerminationException,
    RecurrentBackgroundJob,
    RecurrentTaskDescriptor,
    RetryPolicy,
    ScheduledTaskDescriptor,
    SchedulePolicy,
    backgroundjob,
)
from cluster import Cluster, Instance
from domain.errors import RoundsmanError
from domain.scheduling.errors import ScheduleNotFound
from sample_jobs import Entry, Ledger, Once
from support import wait_until

SCHEDULES = [f"s{n}" for n in range(8)]
ENDS = {"job.succeeded", "job.failed", "job.cancelled", "job.terminated"}
STEPS = 100
IN_STORE = {"schedules", "states", "stats", "due", "history", "ids", "limits"}
"""What belongs to a schedule that rests."""
OF_INSTANCES = {"instances", "beats", "batch", "offers", "offered", "takes"}


@backgroundjob(task_type="recurrent", name="Any", retry=RetryPolicy(max_retries=2, backoff_s=0.1))
class AnyBody(RecurrentBackgroundJob):
    """Decide by seed, run and attempt what becomes of it."""

    seed: int
    ledger: Injected[Ledger]

    async def run_every(self, ctx: JobContext) -> None:
        self.ledger.entries.append(Entry(ctx.run_id, ctx.job_id, ctx.fire_time, ctx.attempt, ctx.missed, ctx.token))
        dice = random.Random(f"{self.seed} {ctx.run_id} {ctx.attempt}")  # noqa: S311 - a dice with a seed
        what = dice.choices(["ok", "fail", "slow", "end"], [50, 25, 22, 3])[0]
        if what == "slow":
            await asyncio.sleep(dice.uniform(0.02, 0.3))
        if what == "fail":
            raise ValueError("bad luck")
        if what == "end":
            raise JobTerminationException("enough")


def descriptor(dice: random.Random, seed: int) -> RecurrentTaskDescriptor:
    policy = SchedulePolicy(
        overlap=dice.choice(["skip", "queue_one", "allow(2)", "allow(4)"]),
        catch_up=dice.choice(["one", "none", "all(3)"]),
        jitter_s=dice.choice([0, 0, 0.05]),
        start=datetime.now(UTC) - timedelta(hours=1),
        max_retries=dice.choice([None, 0, 3]),
    )
    interval = dice.choice([0.02, 0.05, 0.1, 0.3])
    return RecurrentTaskDescriptor(
        id=dice.choice(SCHEDULES), name="Any", data={"seed": seed}, interval=interval, policy=policy
    )


async def step(dice: random.Random, seed: int, instances: list[Instance]) -> None:
    """Do one random thing; what the state of its target forbids is refused, and that is fine."""
    scheduler, target = dice.choice(instances).scheduler, dice.choice(SCHEDULES)
    now = datetime.now(UTC)
    actions: list[Callable[[], Awaitable[Any]]] = [
        lambda: scheduler.pause(target, "random"),
        lambda: scheduler.resume(target),
        lambda: scheduler.modify(target, {"interval": dice.choice([0.03, 0.07, 0.2])}),
        lambda: scheduler.modify(target, {"policy": {"overlap": dice.choice(["skip", "allow(3)"])}}),
        lambda: scheduler.stop_task(target, cancel_running=dice.random() < 0.5),
        lambda: scheduler.run_now(target),
        lambda: scheduler.backfill(target, now - timedelta(seconds=0.5), now - timedelta(seconds=0.2)),
        lambda: scheduler.schedule(
            ScheduledTaskDescriptor(name="Once", data={"fail_times": dice.choice([0, 1])}, max_retries=1)
        ),
        *[lambda: scheduler.schedule(descriptor(dice, seed))] * 6,
    ]
    try:
        await dice.choice(actions)()
    except RoundsmanError as error:
        assert error.status < 500, error  # noqa: PT017 - refused, and not broken


async def allowing_404(action: Awaitable[Any]) -> None:
    """Do something to a schedule that may be gone."""
    with contextlib.suppress(ScheduleNotFound):
        await action


async def left_over(cluster: Cluster) -> dict[str, Any]:
    """Return what the store still holds of runs and schedules, but for what is remembered."""
    redis, found = cluster.redis.command, {}
    async for key in redis.scan_iter(match=f"{cluster.redis.prefix}:*", count=1000):
        name = key.removeprefix(f"{cluster.redis.prefix}:")
        family = name.partition(":")[0]
        if family not in OF_INSTANCES and family not in {"ev", "audit", "meta", "lanes", "done", "dead", "pace"}:
            found[name] = await redis.type(key)
    done = set(await redis.zrange(cluster.redis.key("done"), 0, -1))
    for name in ("runs", "payloads"):
        if set(await redis.hkeys(cluster.redis.key(name))) == done:
            found.pop(name, None)
    return found


@pytest.mark.parametrize("seed", [11, 12])
async def test_whatever_is_done_each_run_ends_once_and_nothing_is_left(cluster: Cluster, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a dice with a seed
    instances = [await cluster.start(jobs=[AnyBody, Once], lease_ms=10_000, concurrency=8) for _ in range(3)]
    for _ in range(STEPS):
        await asyncio.gather(*(step(dice, seed, instances) for _ in range(dice.randint(1, 4))))
        await asyncio.sleep(dice.uniform(0, 0.05))
    scheduler = instances[0].scheduler
    for schedule_id in SCHEDULES:
        await allowing_404(scheduler.pause(schedule_id))

    async def all_over() -> bool:
        return {name.partition(":")[0] for name in await left_over(cluster)} <= IN_STORE

    try:
        await wait_until(all_over, "all runs to end by themselves")
    finally:
        print(sorted(await left_over(cluster)))  # noqa: T201 - what a failure is about
    for schedule_id in SCHEDULES:
        await allowing_404(scheduler.stop_task(schedule_id))
    assert await left_over(cluster) == {}
    events = await cluster.events("job")
    made = Counter(event["run_id"] for event in events if event["topic"] == "job.queued" and event["attempt"] == 0)
    made.update({event["run_id"] for event in events if event["topic"] == "job.started"} - made.keys())
    ended = Counter(event["run_id"] for event in events if event["topic"] in ENDS)
    # A backfill that is asked for again after its runs are over makes them again, under the same ids.
    assert ended == made
    assert {count for run_id, count in made.items() if ".backfill." not in run_id} == {1}
    assert [event for event in events if event["topic"] == "job.lost"] == []
    begun = Counter((event["run_id"], event["token"]) for event in events if event["topic"] == "job.started")
    assert set(begun.values()) == {1}
    bodies = Counter(
        (entry.run_id, entry.attempt) for entry in cluster.ledger.entries if "backfill" not in entry.run_id
    )
    assert set(bodies.values()) == {1}
    assert {entry.run_id for entry in cluster.ledger.entries} <= set(made)
    for instance in instances:
        assert instance.engine.runner.held == {}
