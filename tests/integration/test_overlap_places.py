"""No more runs of a schedule at once than its policy allows, whatever waits beside them."""

from datetime import UTC, datetime, timedelta

import pytest

from application.scheduling import RecurrentTaskDescriptor, SchedulePolicy
from cluster import Cluster
from domain.runs.outcome import Retry, Succeeded
from domain.runs.run import Claim
from domain.scheduling.errors import ScheduleBusy
from hands import Hands
from support import wait_until


async def hourly(hand: Hands, overlap: str = "skip") -> datetime:
    """Schedule something that has been hourly for five hours; return now."""
    now = datetime.now(UTC)
    policy = SchedulePolicy(overlap=overlap, start=now - timedelta(hours=5, minutes=1))
    await hand.instance.bus.schedule_task(RecurrentTaskDescriptor(id="s", name="Note", interval=3600, policy=policy))
    return now


async def retrying(hand: Hands, delay_s: float) -> Claim:
    """Leave a run now behind that waits for its retry."""
    await hand.instance.scheduler.run_now("s")
    (claim,) = hand.claim()
    assert hand.settle(claim, Retry("no luck", delay_s)) == "settled"
    return claim


async def later_is_empty(hand: Hands) -> bool:
    """Tell whether no retry waits any more; looking claims nothing."""
    hand.claim(limit=0)
    return bool(hand.client.zcard(f"{hand.prefix}later") == 0)


async def test_a_run_now_takes_the_place_of_a_retry_that_waits(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await hourly(a)
    first = await retrying(a, 0.01)
    second_id = await a.instance.scheduler.run_now("s")
    await wait_until(lambda: later_is_empty(a))
    assert [claim.spec.run_id for claim in a.claim()] == [second_id]
    (failed,) = await cluster.events("job", "job.failed")
    assert (failed["run_id"], failed["superseded"], failed["error"]) == (first.spec.run_id, True, "no luck")


async def test_a_run_now_beside_a_retry_needs_no_place_where_there_is_another(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await hourly(a, "allow(2)")
    first = await retrying(a, 0.01)
    second_id = await a.instance.scheduler.run_now("s")
    await wait_until(lambda: later_is_empty(a))
    assert {claim.spec.run_id for claim in a.claim()} == {first.spec.run_id, second_id}
    with pytest.raises(ScheduleBusy):
        await a.instance.scheduler.run_now("s")


async def test_a_backfill_waits_for_a_retry_that_waits(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    now = await hourly(a)
    first = await retrying(a, 0.01)
    made = await a.instance.scheduler.backfill("s", now - timedelta(hours=2.5), now)
    await wait_until(lambda: later_is_empty(a))
    (again,) = a.claim()
    assert again.spec.run_id == first.spec.run_id
    for run_id in made:
        assert a.settle(again, Succeeded()) == "settled"
        (again,) = a.claim()
        assert again.spec.run_id == run_id


async def test_a_run_now_does_not_run_beside_a_backfill_that_retries(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    now = await hourly(a)
    made = await a.instance.scheduler.backfill("s", now - timedelta(hours=2.5), now)
    (claim,) = a.claim()
    assert a.settle(claim, Retry("no luck", 0.01)) == "settled"
    now_id = await a.instance.scheduler.run_now("s")
    order = []
    for _ in range(3):
        (claim,) = await wait_until(a.claim)
        order.append(claim.spec.run_id)
        assert a.settle(claim, Succeeded()) == "settled"
    assert order == [made[0], now_id, made[1]]


async def test_a_fire_waits_for_what_a_superseded_retry_lets_go(hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    now = await hourly(a)
    made = await a.instance.scheduler.backfill("s", now - timedelta(hours=2.5), now)
    (backfill,) = a.claim()
    a.fire("s@x.1")
    assert a.settle(backfill, Succeeded()) == "settled"
    (fire,) = a.claim()
    assert a.settle(fire, Retry("no luck", 3600)) == "settled"
    a.fire("s@x.2")
    (backfill,) = a.claim()
    assert backfill.spec.run_id == made[1]
    assert a.settle(backfill, Succeeded()) == "settled"
    (fire,) = a.claim()
    assert fire.spec.run_id == "s@x.2"


async def test_a_skipped_fire_tells_what_it_stood_for(cluster: Cluster, hands: tuple[Hands, Hands]) -> None:
    a, _ = hands
    await hourly(a)
    a.fire("s@x.1", missed=2)
    a.fire("s@x.2", missed=3)
    (event,) = await cluster.events("schedule", "schedule.fire_skipped")
    assert event["count"] == 4
    (queued,) = await cluster.events("job", "job.queued")
    assert queued["missed"] == 2
    info = await a.instance.scheduler.get_task_info("s")
    assert (info.counts.fired, info.counts.missed, info.counts.skipped) == (1, 2, 4)  # type: ignore[union-attr]
